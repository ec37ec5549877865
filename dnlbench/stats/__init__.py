"""Statistics on plain floats: intervals of means and ratios, and curves fitted over depth."""

from dnlbench.stats.fits import (
    LimitFit,
    OrderFit,
    TooFewDepthsError,
    fit_exponent,
    fit_limit,
    fit_limit_of_curves,
    fit_order,
)
from dnlbench.stats.intervals import LEVEL, Interval, mean_interval, paired_ratio, welch_ratio
from dnlbench.stats.region import ORDERS

__all__ = [
    "LEVEL",
    "ORDERS",
    "Interval",
    "LimitFit",
    "OrderFit",
    "TooFewDepthsError",
    "fit_exponent",
    "fit_limit",
    "fit_limit_of_curves",
    "fit_order",
    "mean_interval",
    "paired_ratio",
    "welch_ratio",
]
