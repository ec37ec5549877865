"""Quantities that vanish in theory except for rounding: their largest values and their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report.grid import Column
from dnlbench.studies import Quantity

MAX_VIOLATIONS = 6
"""Violations listed individually; more are counted."""


def bounded(profile: Profile) -> list[Quantity]:
    """Return the quantities of the study that have a bound."""
    return [quantity for quantity in profile.declared.quantities if quantity.bound is not None]


def largest(profile: Profile, point: PointSummary, quantity: Quantity) -> float | None:
    """Return the largest value over the successful runs of a point; infinite if one is NaN, None without values."""
    runs = (run for run in profile.runs if (run.series, run.depth, run.status) == (point.series, point.depth, "ok"))
    values = [value for run in runs if isinstance(value := run.measurements.get(quantity.name), float)]
    return max((math.inf if math.isnan(value) else value for value in values), default=None)


def largest_text(value: float | None) -> str:
    """Format a value to two significant digits."""
    return f"{value:.1e}" if value is not None and math.isfinite(value) else units.number(value)


def verdict_column() -> Column:
    """Return the column of `verdict`."""
    return Column(head="within bounds", no_wrap=True)


def verdict(profile: Profile, point: PointSummary) -> str:
    """Return ``yes`` if every bounded quantity is within its bound in every run of a point, else ``no``."""
    values = [largest(profile, point, quantity) for quantity in bounded(profile)]
    if all(value is None for value in values):
        return units.NOTHING
    return "no" if any(True for _ in _violations(profile, point)) else "yes"


def bound_notes(profile: Profile) -> Iterator[str]:
    """Yield the bounds and their violations."""
    quantities = bounded(profile)
    if not quantities:
        return
    bounds: dict[float | None, list[str]] = {}
    for quantity in quantities:
        bounds.setdefault(quantity.bound, []).append(quantity.label)
    yield "within bounds: the theory predicts 0; every run must stay within these bounds for rounding (largest values shown)"
    yield from (f"  {bound:.0e}: {', '.join(labels)}" for bound, labels in bounds.items())
    violations = [
        f"bound exceeded at {point.series} L={point.depth}: {violation}"
        for point in profile.summary.points
        for violation in _violations(profile, point)
    ]
    yield from violations[:MAX_VIOLATIONS]
    if len(violations) > MAX_VIOLATIONS:
        yield f"and {len(violations) - MAX_VIOLATIONS} more"


def _violations(profile: Profile, point: PointSummary) -> Iterator[str]:
    for quantity in bounded(profile):
        value = largest(profile, point, quantity)
        if value is not None and quantity.bound is not None and value > quantity.bound:
            yield f"{quantity.label} {largest_text(value)}"


def cells(profile: Profile, point: PointSummary, shown: Sequence[Quantity]) -> dict[str, str]:
    """Return the largest values of bounded quantities by name."""
    return {q.name: largest_text(largest(profile, point, q)) for q in shown if q.bound is not None}
