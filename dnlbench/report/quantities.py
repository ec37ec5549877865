"""How a quantity's values are written; the study says what they are."""

from __future__ import annotations

from dnlbench import units
from dnlbench.stats import Interval
from dnlbench.studies import Quantity


def head(quantity: Quantity) -> str:
    """Label with unit, for the head of a column."""
    return f"{quantity.label} ({quantity.unit})" if quantity.shown_as != "bytes" and quantity.unit else quantity.label


def value(quantity: Quantity, interval: Interval | None) -> str:
    """A mean with half its interval's width."""
    if interval is None:
        return units.NOTHING
    if quantity.shown_as == "number":
        return units.measured(interval.estimate, interval.half_width)
    if quantity.shown_as == "count":
        return units.measured_count(interval.estimate, interval.half_width)
    if quantity.shown_as == "share":
        return units.measured_share(interval.estimate, interval.half_width)
    return units.size(interval.estimate)
