"""The verdict on a ratio from its interval and p value."""

from __future__ import annotations

from typing import Literal

from dnlbench.stats import LEVEL, Interval
from dnlbench.studies import Quantity

Verdict = Literal["better", "worse", "no difference", "inconclusive", "not comparable"]


def judge(ratio: Interval, quantity: Quantity, p_adjusted: float | None = None) -> tuple[Verdict, str]:
    """Return the verdict, and the reason if it is inconclusive.

    An interval within the quantity's tolerance is no difference. An interval that contains 1 and exceeds the tolerance is
    inconclusive, and so is one without 1 whose ``p_adjusted``, the p value corrected for the number of tests, is not
    significant. ``p_adjusted`` is None for a single test.
    """
    if ratio.low is None or ratio.high is None:
        return "inconclusive", f"one {'measurement' if quantity.hardware_dependent else 'seed'} gives no interval"
    if within(ratio, quantity.tolerance):
        return "no difference", ""
    if ratio.low <= 1 <= ratio.high:
        return "inconclusive", "the interval contains 1; more seeds may decide"
    if p_adjusted is not None and p_adjusted >= 1 - LEVEL:
        return "inconclusive", "the interval excludes 1, but p adjusted for the number of tests is not below 0.05"
    if quantity.better is None:
        return "inconclusive", "this quantity has no better direction"
    return ("better" if (ratio.high < 1) == (quantity.better == "lower") else "worse"), ""


def within(ratio: Interval, tolerance: float) -> bool:
    """Return True if the entire interval is within the tolerance of 1."""
    if ratio.low is None or ratio.high is None:
        return False
    return 1 / (1 + tolerance) <= ratio.low and ratio.high <= 1 + tolerance
