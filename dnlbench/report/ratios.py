"""How ratios and p values are written."""

from __future__ import annotations

from dnlbench import units
from dnlbench.stats import Interval


def p_text(value: float | None) -> str:
    """A p value to the thousandth."""
    if value is None:
        return units.NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ratio_text(ratio: Interval | None) -> str:
    """``1.02 [0.97, 1.06]``, always to the thousandth."""
    if ratio is None:
        return units.NOTHING
    if ratio.low is None or ratio.high is None:
        return _factor(ratio.estimate)
    return f"{_factor(ratio.estimate)} [{_factor(ratio.low)}, {_factor(ratio.high)}]"


def _factor(value: float) -> str:
    """To the thousandth, as far as that says something and fits a column."""
    return f"{value:.3f}" if 1e-3 <= value < 1e5 else units.number(value)
