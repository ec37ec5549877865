"""Ratios of two samples as text."""

from __future__ import annotations

from dnlbench import units
from dnlbench.stats import Interval


def ratio(found: Interval | None) -> str:
    """A ratio with its interval: ``1.066 [0.819, 1.389]``."""
    if found is None:
        return units.NOTHING
    if found.low is None or found.high is None:
        return factor(found.estimate)
    return f"{factor(found.estimate)} [{factor(found.low)}, {factor(found.high)}]"


def factor(value: float) -> str:
    """To the thousandth, as far as that says something and fits a column."""
    return f"{value:.3f}" if 1e-3 <= value < 1e5 else units.number(value)
