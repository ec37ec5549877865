"""The verdict that a ratio's interval and p value allow."""

from __future__ import annotations

from typing import Literal

from dnlbench.stats import LEVEL, Interval
from dnlbench.studies import Quantity

Verdict = Literal["better", "worse", "no difference", "inconclusive", "not comparable"]


def judge(ratio: Interval, quantity: Quantity, p_adjusted: float | None = None) -> tuple[Verdict, str]:
    """The verdict, and the reason where there is none.

    Within the quantity's tolerance on both sides there is no difference worth the name; an interval that holds 1 and reaches
    beyond the tolerance allows no verdict, and neither does one that leaves 1 out only because many were looked at:
    ``p_adjusted`` is the p value corrected for their number, None where this one is all there is.
    """
    if ratio.low is None or ratio.high is None:
        return "inconclusive", f"one {'measurement' if quantity.hardware_dependent else 'seed'} gives no interval"
    if within(ratio, quantity.tolerance):
        return "no difference", ""
    if ratio.low <= 1 <= ratio.high:
        return "inconclusive", "the interval holds 1; more seeds may decide"
    if p_adjusted is not None and p_adjusted >= 1 - LEVEL:
        return "inconclusive", "the interval leaves 1 out, but p adjusted for the number of tests is not below 0.05"
    if quantity.better is None:
        return "inconclusive", "this quantity has no better direction"
    return ("better" if (ratio.high < 1) == (quantity.better == "lower") else "worse"), ""


def within(ratio: Interval, tolerance: float) -> bool:
    """Whether the whole interval is nearer to 1 than the tolerance, either way."""
    if ratio.low is None or ratio.high is None:
        return False
    return 1 / (1 + tolerance) <= ratio.low and ratio.high <= 1 + tolerance
