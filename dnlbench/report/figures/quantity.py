"""How a study's quantities lie on an axis, and their means over depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnlbench import units
from dnlbench.profiles import PointSummary, Profile
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
    axis = Axis(label=quantity.label, unit=quantity.unit, ticks=_TICKS[quantity.shown_as])
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
                    as_bars=True,
                    joined=network in joined,
                )
            )
    return series


def _bound(bound: float | None, ruler: Ruler) -> float:
    return math.nan if bound is None else bound / ruler.unit_size


def crosses(subject: Subject, profile: int, quantity: Quantity, ruler: Ruler) -> list[Cross]:
    """Where runs ended badly: at the mean of the others, or at the upper edge where there are none."""
    own: Profile = subject.profiles[profile]
    means = {(p.network, p.depth): p.quantities.get(quantity.name) for p in own.summary.points}
    bad = dict.fromkeys((run.network, run.depth) for run in own.runs if is_marked(run))
    return [
        Cross(
            key=f"{subject.whose(profile)}{network} L={depth}",
            x=float(depth),
            y=mean.mean / ruler.unit_size if mean and math.isfinite(mean.mean) else None,
            look=network_look(subject.networks[network], profile),
        )
        for network, depth in bad
        for mean in [means.get((network, depth))]
    ]


def seeds_note(subject: Subject, quantities: Sequence[Quantity]) -> tuple[str, ...]:
    """What points and bars are."""
    found = [point.quantities.get(q.name) for q in quantities for point in points_with(subject, q)]
    counts = [each.n for each in found if each is not None]
    if not counts:
        return ()
    if max(counts) == 1:
        return ("Points: one seed each.",)
    n = f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return (f"Points: mean over n = {n} seeds; bars: 95 % t interval of the mean.",)
