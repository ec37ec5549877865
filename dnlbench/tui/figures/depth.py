"""Quantities over depth with their fits, of whatever study declares them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import FitRecord, PointSummary, Profile, Summary
from dnlbench.profiles.law import fit_words, law_of
from dnlbench.studies import STUDIES, Quantity
from dnlbench.tui.figures.naming import Look, names_of, reading, titled
from dnlbench.tui.palette import identity
from dnlbench.tui.plot.figure import Axis, Figure, Series

FIT_POINTS = 48
"""Of the curve of a fit."""


CLEARANCE = 1.5
"""By this factor the line of an expected order is above the values."""


NOTE_LINES = 3
"""More fits than this are left to the tables."""


_MEBIBYTE = 2.0**20


def depth_quantities(profiles: Sequence[Profile]) -> tuple[Quantity, ...]:
    """What the first profile's study measures, as far as any of the profiles holds values."""
    points = [point for profile in profiles for point in profile.summary.points]
    declared = STUDIES[profiles[0].study].quantities if profiles else ()
    return tuple(q for q in declared if any(q.name in point.quantities for point in points))


def depth_figure(
    summaries: Sequence[Summary], quantity: Quantity, *, letters: Sequence[str] = (), ansi: bool = False
) -> Figure:
    """The quantity's mean over seeds against depth, with its 95 % t interval and the fits there are, a curve for each network.

    Equal colour means equal network; each profile has marks of its own. Fits reach to twice the largest depth.

    Args:
        summaries: of one profile, or of several to hold against the first.
        quantity: what is drawn.
        letters: the profiles' short names; by default A, B, … for several, none for one.
        ansi: whether to keep to the terminal's own colours.
    """
    names = names_of(len(summaries), letters)
    places = {n: i for i, n in enumerate(dict.fromkeys(p.network for each in summaries for p in each.points))}
    series: list[Series] = []
    for index, (summary, name) in enumerate(zip(summaries, names, strict=True)):
        for network, place in places.items():
            look = Look(name=name, place=place, dashed=index > 0, ansi=ansi)
            points = [p for p in summary.points if p.network == network and quantity.name in p.quantities]
            if points:
                mark = identity(place + index * len(places))[1]
                series.append(_measured(network, sorted(points, key=lambda p: p.depth), quantity, look, mark))
            series += [line for fit in _fits(summary, quantity, network) for line in _fit_lines(fit, quantity, look)]
    series += _theory(summaries, quantity, series)
    log = all(value > 0 for each in series if not each.faint for value in each.y)
    read, notes = (
        reading("interval", names, geometric=quantity.mean == "geometric"),
        list(_notes(summaries, names, quantity)),
    )
    unit = "MiB" if quantity.shown_as == "bytes" else quantity.unit
    return Figure(
        title=f"{titled(quantity.label, unit)} against depth",
        x=Axis(label="depth L", log=True, base=2),
        y=Axis(label=quantity.label, unit=unit, log=log, range=quantity.range),
        series=tuple(each for each in series if not log or min(each.y) > 0),
        note="\n".join([read, *notes] if len(names) > 1 else notes or [read]),
        empty=f"no value of the {quantity.label}",
    )


def _measured(network: str, points: Sequence[PointSummary], quantity: Quantity, look: Look, mark: str) -> Series:
    found = [point.quantities[quantity.name] for point in points]
    scale, seeds = _scale(quantity), {each.n for each in found}
    return Series(
        key=f"{look.name}:{network}",
        label=f"{look.name} {network}".strip(),
        x=tuple(float(point.depth) for point in points),
        y=tuple(each.mean / scale for each in found),
        low=tuple(math.nan if each.low is None else each.low / scale for each in found),
        high=tuple(math.nan if each.high is None else each.high / scale for each in found),
        n=seeds.pop() if len(seeds) == 1 else None,
        colour=identity(look.place, ansi=look.ansi)[0],
        mark=mark,
        points=True,
        dashed=look.dashed,
    )


def _scale(quantity: Quantity) -> float:
    """Bytes are drawn as MiB: an axis of plain bytes is hard to read."""
    return _MEBIBYTE if quantity.shown_as == "bytes" else 1.0


def _fits(summary: Summary, quantity: Quantity, network: str | None = None) -> list[FitRecord]:
    return [fit for fit in summary.fits if fit.quantity == quantity.name and network in (None, fit.network)]


def _fit_lines(fit: FitRecord, quantity: Quantity, look: Look) -> Iterator[Series]:
    """Its curve, and its limit as a horizontal line. In the background: the points are what was measured."""
    law = law_of(fit) if fit.is_fitted else None
    if not fit.depths or not fit.is_fitted:
        return
    first, last = float(min(fit.depths)), 2.0 * max(fit.depths)
    lines = {}
    if law is not None:
        depths = [first * (last / first) ** (i / (FIT_POINTS - 1)) for i in range(FIT_POINTS)]
        lines["fit"] = (depths, [law.at(depth) for depth in depths])
    if fit.model != "power" and fit.limit is not None:
        lines["L → ∞"] = ([first, last], [fit.limit, fit.limit])
    for what, (x, y) in lines.items():
        yield Series(
            key=f"{look.name}:{fit.network}:{what}",
            label=f"{look.name} {fit.network} {what}".strip(),
            x=tuple(x),
            y=tuple(value / _scale(quantity) for value in y),
            colour=identity(look.place, ansi=look.ansi)[0],
            dashed=True,
            faint=True,
            behind=f"{look.name}:{fit.network}",
        )


def _theory(summaries: Sequence[Summary], quantity: Quantity, drawn: Sequence[Series]) -> Iterator[Series]:
    """A line of the expected order, above the highest first point: only its slope says something."""
    expected = {fit.expected_order for summary in summaries for fit in _fits(summary, quantity)} - {None}
    starts = [(each.y[0], each.x[0]) for each in drawn if each.points and each.y[0] > 0]
    last = max((2 * each.x[-1] for each in drawn if each.points), default=0.0)
    for order in sorted(order for order in expected if order is not None):
        if starts:
            value, depth = max((CLEARANCE * y, x) for y, x in starts)
            yield Series(
                key=f"theory:{order}",
                label=f"order {units.number(order)}",
                x=(depth, last),
                y=(value, value * (last / depth) ** -order),
                dashed=True,
            )


def _notes(summaries: Sequence[Summary], names: Sequence[str], quantity: Quantity) -> Iterator[str]:
    """A line for each fit, and one for all networks that lack theirs for the same reason."""
    lines: list[str] = []
    lacking: dict[tuple[str, str], list[str]] = {}
    for summary, name in zip(summaries, names, strict=True):
        for fit in _fits(summary, quantity):
            if fit.problem:
                what = "order" if fit.model == "power" else "limit"
                lacking.setdefault((what, fit.problem), []).append(f"{name} {fit.network}".strip())
            else:
                lines.append(f"{name} {fit.network}: {fit_words(fit, quantity)}".strip())
    lines += [f"no {what} of {_few(who)}: {problem}" for (what, problem), who in lacking.items()]
    yield from lines[:NOTE_LINES]
    if len(lines) > NOTE_LINES:
        yield f"and {len(lines) - NOTE_LINES} more in the tables"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NOTE_LINES else f"{len(names)} networks"
