"""Quantities over depth with their fits: a limit where there is one, or an order beside the expected one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import FitRecord
from dnlbench.profiles.law import best_words, law_of, order_word, order_words
from dnlbench.report.figures.lines import tied
from dnlbench.report.figures.looks import QUIET, network_look
from dnlbench.report.figures.panel import Block, Curve, Entry, Limit, Look, Panel, Series
from dnlbench.report.figures.quantity import (
    DEPTH,
    Ruler,
    crosses,
    has_problems,
    is_positive,
    measured,
    problems,
    ruler_of,
    seeds_note,
    spread,
    with_scale,
)
from dnlbench.report.figures.subject import (
    Subject,
    bad_entries,
    groups,
    network_entries,
    profile_entries,
)
from dnlbench.studies import Quantity

FIT_POINTS = 49
"""Of the curve of a fit."""
BEYOND = 1.5
"""The curve of a limit goes on to this multiple of the largest depth."""
CLEARANCE = 1.6
"""By this factor the line of an expected order is above the values."""
WIDE = 8.0
"""Values that lie further apart than by this factor have a logarithmic axis."""
THEORY = Look(colour=QUIET, dashes=(2.5, 1.5))


def depth_block(subject: Subject, quantities: Sequence[Quantity], *, log: bool | None = None) -> Block:
    """A panel for each quantity: means over seeds, curves of the fits, and limits at infinite depth.

    Where each seed is a problem of its own, an interval over seeds would tell how problems differ and hide how each goes
    with depth; there every seed has its own faint curve instead.

    Args:
        subject: the profiles.
        quantities: what is drawn.
        log: whether y axes are logarithmic; None: where all values are above 0, but for limits of near values.
    """
    panels = [_panel(subject, quantity, log) for quantity in quantities]
    notes = [note for quantity in quantities for note in _fit_notes(subject, quantity)]
    return Block(
        panels=tuple(panels),
        legend=groups(
            [*network_entries(subject), *_theory_entries(subject, quantities), *bad_entries(subject)],
            profile_entries(subject),
        ),
        notes=(*seeds_note(subject, quantities), *notes),
    )


def _panel(subject: Subject, quantity: Quantity, log: bool | None) -> Panel:
    ruler, places = ruler_of(subject, quantity), range(len(subject.profiles))
    fits = [(place, fit) for place in places for fit in _fits(subject, place, quantity) if fit.is_fitted]
    fitted = {(place, fit.network) for place, fit in fits if law_of(fit) is not None}
    series: list[Series] = []
    for place in places:
        joined = [network for network in subject.networks if (place, network) not in fitted]
        if has_problems(subject):
            series += problems(subject, place, quantity, ruler, joined)
        else:
            series += measured(subject, place, quantity, ruler, joined)
    panel = Panel(
        key=quantity.name,
        title="",
        x=DEPTH,
        y=ruler.axis,
        series=tuple(series),
        curves=(*_curves(subject, fits, ruler), *_theory(fits, series)),
        limits=tuple(limit for place, fit in fits for limit in _limit(subject, place, fit, ruler)),
        crosses=tuple(each for place in places for each in crosses(subject, place, series)),
    )
    models = {trend.model for trend in subject.study.trends if trend.quantity == quantity.name}
    linear = models - {"power"} and spread(panel) <= WIDE
    wanted = (is_positive(panel) and not linear) if log is None else log
    return with_scale(panel, "log" if wanted else "linear")


def _fits(subject: Subject, profile: int, quantity: Quantity) -> list[FitRecord]:
    return [fit for fit in subject.profiles[profile].summary.fits if fit.quantity == quantity.name]


def _curves(subject: Subject, fits: Sequence[tuple[int, FitRecord]], ruler: Ruler) -> Iterator[Curve]:
    for place, fit in fits:
        law = law_of(fit)
        if law is None:
            continue
        first, last = float(min(fit.depths)), float(max(fit.depths))
        if fit.model != "power":
            last *= BEYOND
        depths = [first * (last / first) ** (i / (FIT_POINTS - 1)) for i in range(FIT_POINTS)]
        points = [(depth, value) for depth in depths if math.isfinite(value := law.at(depth) / ruler.unit_size)]
        yield Curve(
            key=f"{subject.whose(place)}{fit.network} fit",
            x=[depth for depth, _ in points],
            y=[value for _, value in points],
            look=network_look(subject.networks[fit.network], place),
        )


def _limit(subject: Subject, profile: int, fit: FitRecord, ruler: Ruler) -> Iterator[Limit]:
    if fit.model == "power" or fit.limit is None:
        return
    low, high = (None if bound is None else bound / ruler.unit_size for bound in (fit.limit_low, fit.limit_high))
    yield Limit(
        key=f"{subject.whose(profile)}{fit.network} limit",
        start=float(max(fit.depths)),
        value=fit.limit / ruler.unit_size,
        low=low,
        high=high,
        look=network_look(subject.networks[fit.network], profile),
    )


def _theory(fits: Sequence[tuple[int, FitRecord]], drawn: Sequence[Series]) -> Iterator[Curve]:
    """A line of each expected order, above all values: only its slope says something."""
    for order in _orders(fit for _, fit in fits):
        points = [(x, y) for series in drawn for x, y in zip(series.x, series.y, strict=True) if y > 0]
        if points:
            first, last = min(x for x, _ in points), max(x for x, _ in points)
            height = CLEARANCE * max(y * (x / first) ** order for x, y in points)
            yield Curve(
                key=f"order {order}", x=(first, last), y=(height, height * (last / first) ** -order), look=THEORY
            )


def _orders(fits: Iterable[FitRecord]) -> list[float]:
    return sorted({fit.expected_order for fit in fits if fit.expected_order is not None and fit.is_fitted})


def _theory_entries(subject: Subject, quantities: Sequence[Quantity]) -> Iterator[Entry]:
    fits = [fit for place in range(len(subject.profiles)) for q in quantities for fit in _fits(subject, place, q)]
    for order in _orders(fits):
        yield Entry(label=f"order {units.number(order)}, as expected", looks=(THEORY,))


def _fit_notes(subject: Subject, quantity: Quantity) -> Iterator[str]:
    """What the fits of a quantity say, and why there are none."""
    fits = [(place, fit) for place in range(len(subject.profiles)) for fit in _fits(subject, place, quantity)]
    said = [
        tied(f"{subject.whose(place)}{fit.network} {_fit_words(fit, quantity)}")
        for place, fit in fits
        if not fit.problem
    ]
    if said:
        powers = all(fit.model == "power" for _, fit in fits)
        what = "order p of C/L^p" if powers else "limit and order p of C/L^p"
        yield f"{quantity.label[0].upper()}{quantity.label[1:]}, {what} [95 %]: {'; '.join(said)}."
    if any(fit.model == "curve-limit" and fit.is_fitted for _, fit in fits):
        yield "Its curve has the mean limit, and the mean fitted values at the largest depth and at twice that."
    lacking: dict[str, list[str]] = {}
    for place, fit in fits:
        if fit.problem:
            lacking.setdefault(fit.problem, []).append(f"{subject.whose(place)}{fit.network}")
    for problem, who in lacking.items():
        whose = "" if len(who) == len(fits) else f" of {', '.join(who)}"
        yield f"No fit of the {quantity.label}{whose}: {problem}."


def _fit_words(fit: FitRecord, quantity: Quantity) -> str:
    if fit.model == "power":
        return order_words(fit)
    if fit.refused:
        return f"none: {fit.refused}; {best_words(fit, quantity)}"
    if fit.undetermined:
        return f"undetermined: {fit.undetermined}"
    unit = f" {quantity.unit}" if quantity.unit else ""
    return f"{units.bounded(fit.limit, fit.limit_low, fit.limit_high)}{unit}, {order_word(fit)}"
