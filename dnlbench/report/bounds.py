"""Quantities that theory says vanish but for rounding: their largest values, and whether these are within its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report.grid import Column
from dnlbench.studies import STUDIES, Quantity

NAMED_VIOLATIONS = 6
"""More than this are counted."""


def bounded(profile: Profile) -> list[Quantity]:
    """Those of the profile's study."""
    return [quantity for quantity in STUDIES[profile.study].quantities if quantity.bound is not None]


def largest(profile: Profile, point: PointSummary, quantity: Quantity) -> float | None:
    """Over the runs of a point that ended well; infinite where one is no number, None where there is no value."""
    runs = (run for run in profile.runs if (run.network, run.depth, run.status) == (point.network, point.depth, "ok"))
    values = [value for run in runs if isinstance(value := run.measurements.get(quantity.name), float)]
    return max((math.inf if math.isnan(value) else value for value in values), default=None)


def largest_text(value: float | None) -> str:
    """Of something whose size alone matters."""
    return f"{value:.1e}" if value is not None and math.isfinite(value) else units.number(value)


def verdict_column() -> Column:
    """Head of the column of verdicts."""
    return Column(head="as theory says", no_wrap=True)


def verdict(profile: Profile, point: PointSummary) -> str:
    """Whether every bounded quantity is within its bound in every run of a point."""
    values = [largest(profile, point, quantity) for quantity in bounded(profile)]
    if all(value is None for value in values):
        return units.NOTHING
    return "no" if any(True for _ in _violations(profile, point)) else "yes"


def bound_notes(profile: Profile) -> Iterator[str]:
    """What the verdicts mean, and what is not as theory says."""
    quantities = bounded(profile)
    if not quantities:
        return
    bounds: dict[float | None, list[str]] = {}
    for quantity in quantities:
        bounds.setdefault(quantity.bound, []).append(quantity.label)
    yield "as theory says: whether in every run the following are at most so large; their largest values are shown"
    yield from (f"  {bound:.0e}: {', '.join(labels)}" for bound, labels in bounds.items())
    found = [
        f"not so at {point.network} L={point.depth}: {violation}"
        for point in profile.summary.points
        for violation in _violations(profile, point)
    ]
    yield from found[:NAMED_VIOLATIONS]
    if len(found) > NAMED_VIOLATIONS:
        yield f"and {len(found) - NAMED_VIOLATIONS} more"


def _violations(profile: Profile, point: PointSummary) -> Iterator[str]:
    for quantity in bounded(profile):
        value = largest(profile, point, quantity)
        if value is not None and quantity.bound is not None and value > quantity.bound:
            yield f"{quantity.label} {largest_text(value)}"


def cells(profile: Profile, point: PointSummary, shown: Sequence[Quantity]) -> dict[str, str]:
    """The largest values of the bounded ones, by the quantity's name."""
    return {q.name: largest_text(largest(profile, point, q)) for q in shown if q.bound is not None}
