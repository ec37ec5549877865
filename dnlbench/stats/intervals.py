"""Statistics on plain floats: means with intervals.

The replicate is the run of a seed. Intervals are Student-t intervals, which keep their coverage at the three to five seeds of
depth sweeps; a bootstrap at n = 5 covers 84 % instead of 95 %.

The interval of a bounded quantity is a t interval on an unbounded scale: the logarithm for a positive quantity, the log odds
for a fraction. The scale is linearized over the standard error (the delta method), so the estimate remains the arithmetic mean,
and short intervals are ``mean ± t_{n-1} s / sqrt(n)``. Simulated coverage in %, of this interval and of the symmetric one, with
20,000 samples each:

=====================  ===========  ===========  ===========
values                 n = 2        n = 3        n = 5
=====================  ===========  ===========  ===========
log-normal, σ = 0.2    95.0 / 94.9  94.6 / 94.3  94.7 / 94.4
log-normal, σ = 0.5    94.6 / 93.5  94.3 / 92.5  93.6 / 91.9
beta(8, 2)             95.0 / 94.0  95.0 / 93.0  94.9 / 93.0
beta(40, 2)            94.8 / 93.3  94.7 / 92.0  94.5 / 92.0
=====================  ===========  ===========  ===========
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.stats.student import t_quantile

Range = Literal["any", "positive", "fraction"]
"""The range of a quantity: any number, 0 and above, or from 0 to 1."""
_ENDS: dict[Range, tuple[float, float]] = {
    "any": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "fraction": (0.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval at `LEVEL`."""

    estimate: float
    low: float | None
    """Lower bound; None for a single sample."""
    high: float | None
    n: int
    """Number of replicates, or of pairs."""

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def mean_interval(values: Sequence[float], range_: Range = "any") -> Interval:
    """Compute the arithmetic mean and its interval, which lies within the range; see the module.

    Raises:
        ValueError: if there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("the mean of no values is not defined")
    mean = mean_of(values)
    if n == 1 or not math.isfinite(mean):
        return Interval(estimate=mean, low=None, high=None, n=n)
    half = t_quantile(n - 1) * math.sqrt(variance_of(values, mean) / n)
    bounds = bounds_within(range_of(values, range_), mean, half)
    low, high = bounds or (None, None)
    return Interval(estimate=mean, low=low, high=high, n=n)


def log_mean_interval(values: Sequence[float]) -> Interval:
    """Compute the geometric mean of positive values with the t interval of their mean logarithm."""
    logarithms = mean_interval([math.log(value) for value in values])
    low, high = (None if bound is None else exp(bound) for bound in (logarithms.low, logarithms.high))
    return Interval(estimate=exp(logarithms.estimate), low=low, high=high, n=logarithms.n)


def ends_of(range_: Range) -> tuple[float, float]:
    """Return the least and the largest value of a range."""
    return _ENDS[range_]


def range_of(values: Sequence[float], declared: Range) -> Range:
    """Return the declared range, or a wider one if values exceed it, such as a utilization above the measured peak."""
    least, largest = min(values), max(values)
    if declared == "fraction" and largest > 1:
        declared = "positive"
    return "any" if least < 0 else declared


def axis_within(range_: Range, values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Clip the limits of a linear axis to the range of the values."""
    least, largest = ends_of(range_of(values, range_) if values else range_)
    return max(low, least), min(high, largest)


def bounds_within(range_: Range, mean: float, half: float) -> tuple[float, float] | None:
    """Return the bounds of an interval around a mean with half width ``half`` far from the ends of the range.

    None if the mean is at an end of the range, or ``half`` is infinite.
    """
    if range_ == "any":
        return mean - half, mean + half
    if mean in ends_of(range_) or math.isinf(half):
        return None
    if range_ == "positive":
        factor = exp(half / mean)
        return mean / factor, mean * factor
    odds, factor = mean / (1 - mean), exp(half / (mean * (1 - mean)))
    return odds / (odds + factor), 1 / (1 + 1 / (odds * factor))


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return _sum(values) / len(values)


def variance_of(values: Sequence[float], mean: float) -> float:
    """Return the variance, with divisor ``n - 1``, of at least two values with known mean."""
    deviations = [value - mean for value in values]
    return _sum([deviation * deviation for deviation in deviations]) / (len(values) - 1)


def exp(value: float) -> float:
    """Return the exponential, infinite instead of an overflow: a few seeds far apart have such bounds."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _sum(values: Sequence[float]) -> float:
    """Return the correctly rounded sum; infinite instead of an overflow."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)
