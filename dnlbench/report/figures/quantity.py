"""How a study's quantities lie on an axis, and their means over depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench import units
from dnlbench.profiles import PointSummary, values_of
from dnlbench.report.figures.looks import network_look
from dnlbench.report.figures.panel import Axis, Cross, Panel, Scale, Series, Ticks
from dnlbench.report.figures.subject import Subject, is_marked
from dnlbench.studies import Quantity

DEPTH = Axis(label="depth L", scale="log", ticks="depth")
_BINARY = {unit: 1024.0**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))}
_TICKS: dict[str, Ticks] = {"number": "number", "count": "count", "share": "share", "bytes": "number"}


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """A quantity's axis, and the factor by which its values are divided for it."""

    axis: Axis
    unit_size: float = 1.0


def ruler_of(subject: Subject, quantity: Quantity) -> Ruler:
    """In the quantity's unit; bytes in the binary unit that the largest mean is told in."""
    axis = Axis(label=quantity.label, unit=quantity.unit, ticks=_TICKS[quantity.shown_as], range=quantity.range)
    if quantity.shown_as != "bytes":
        return Ruler(axis=axis)
    largest = max((abs(point.quantities[quantity.name].mean) for point in points_with(subject, quantity)), default=0.0)
    unit = units.size(largest).split()[1]
    return Ruler(axis=replace(axis, unit=unit), unit_size=_BINARY[unit])


def points_with(subject: Subject, quantity: Quantity) -> list[PointSummary]:
    """Points of any profile that have a value."""
    points = (point for profile in subject.profiles for point in profile.summary.points)
    return [point for point in points if quantity.name in point.quantities]


def with_scale(panel: Panel, scale: Scale) -> Panel:
    """The panel with another y axis."""
    return replace(panel, y=replace(panel.y, scale=scale))


def is_positive(panel: Panel) -> bool:
    """Whether all measured values have a place on a logarithmic axis."""
    return all(value > 0 for series in panel.series for value in series.y)


def spread(panel: Panel) -> float:
    """The largest measured value over the smallest; at least 1, infinite unless all are above 0."""
    values = [value for series in panel.series for value in series.y]
    return max(values) / min(values) if values and min(values) > 0 else math.inf


def measured(subject: Subject, profile: int, quantity: Quantity, ruler: Ruler, joined: Sequence[str]) -> list[Series]:
    """Means over seeds against depth with their 95 % t intervals, for each network; lines join the points of those named."""
    series = []
    for network, place in subject.networks.items():
        points = (p for p in subject.profiles[profile].summary.points if p.network == network)
        found = {p.depth: p.quantities[quantity.name] for p in points if quantity.name in p.quantities}
        depths = sorted(depth for depth, mean in found.items() if math.isfinite(mean.mean))
        if depths:
            series.append(
                Series(
                    key=f"{subject.whose(profile)}{network}",
                    x=[float(depth) for depth in depths],
                    y=[found[depth].mean / ruler.unit_size for depth in depths],
                    low=[_bound(found[depth].low, ruler) for depth in depths],
                    high=[_bound(found[depth].high, ruler) for depth in depths],
                    look=network_look(place, profile),
                    thin=True,
                    as_bars=True,
                    joined=network in joined,
                )
            )
    return series


def problems(subject: Subject, profile: int, quantity: Quantity, ruler: Ruler, joined: Sequence[str]) -> list[Series]:
    """The same where each seed is a problem of its own: no intervals, but each seed behind the mean."""
    own = subject.profiles[profile].runs
    lines, means = [], []
    for series in measured(subject, profile, quantity, ruler, joined):
        network = series.key.removeprefix(subject.whose(profile))
        values = {
            depth: values_of([run for run in own if (run.network, run.depth) == (network, depth)], quantity)
            for depth in series.x
        }
        seeds = sorted({seed for by_seed in values.values() for seed in by_seed})
        if len(seeds) > 1:
            lines += [_seed(series, seed, values, ruler) for seed in seeds]
        means.append(replace(series, low=None, high=None))
    return [*lines, *means]


def _seed(mean: Series, seed: int, values: Mapping[float, Mapping[int, float]], ruler: Ruler) -> Series:
    found = {depth: by_seed[seed] / ruler.unit_size for depth, by_seed in values.items() if seed in by_seed}
    return replace(
        mean,
        key=f"{mean.key} seed {seed}",
        x=list(found),
        y=list(found.values()),
        low=None,
        high=None,
        joined=True,
        faint=True,
    )


def has_problems(subject: Subject) -> bool:
    """Whether each seed is a problem of its own."""
    return any(trend.model != "limit" for trend in subject.study.trends)


def _bound(bound: float | None, ruler: Ruler) -> float:
    return math.nan if bound is None else bound / ruler.unit_size


def crosses(subject: Subject, profile: int, drawn: Sequence[Series]) -> list[Cross]:
    """Where runs ended badly: at the mean of the others, or at the upper edge where there is none."""
    means = {(series.key, x): y for series in drawn for x, y in zip(series.x, series.y, strict=True)}
    bad = dict.fromkeys((run.network, run.depth) for run in subject.profiles[profile].runs if is_marked(run))
    return [
        Cross(
            key=f"{subject.whose(profile)}{network} L={depth}",
            x=float(depth),
            y=means.get((f"{subject.whose(profile)}{network}", float(depth))),
            look=network_look(subject.networks[network], profile),
        )
        for network, depth in bad
    ]


def seeds_note(subject: Subject, quantities: Sequence[Quantity]) -> tuple[str, ...]:
    """What points, bars and faint lines are."""
    found = [point.quantities.get(q.name) for q in quantities for point in points_with(subject, q)]
    counts = [each.n for each in found if each is not None]
    if not counts:
        return ()
    if max(counts) == 1:
        packed = any((run.pack_size or 1) > 1 for profile in subject.profiles for run in profile.runs)
        return (f"Points: one {'pack of seeds' if packed else 'seed'} each.",)
    n = f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    if not has_problems(subject):
        return (f"Points: mean over n = {n} seeds; bars: 95 % t interval.",)
    kind = "geometric mean" if any(quantity.mean == "geometric" for quantity in quantities) else "mean"
    return (f"Points: {kind} over n = {n} seeds, each a problem of its own; faint lines: single seeds.",)
