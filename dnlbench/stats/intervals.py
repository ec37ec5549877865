"""Statistics on plain floats: means with intervals.

The replicate is the seed run. Intervals are Student-t intervals, which keep their coverage at the three to five seeds that
depth sweeps have; a bootstrap at n = 5 covers 84 % where 95 % is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.stats.student import t_quantile


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval at `LEVEL`."""

    estimate: float
    low: float | None
    """Lower bound; None when one sample gives no spread."""
    high: float | None
    n: int
    """Number of replicates, or of pairs."""

    @property
    def half_width(self) -> float | None:
        """Half the interval's length; None without one."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean and ``mean ± t_{n-1} s / sqrt(n)``.

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
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=n)


def mean_of(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return _sum(values) / len(values)


def variance_of(values: Sequence[float], mean: float) -> float:
    """With ``n - 1``, of at least two values whose mean is known."""
    deviations = [value - mean for value in values]
    return _sum([deviation * deviation for deviation in deviations]) / (len(values) - 1)


def _sum(values: Sequence[float]) -> float:
    """Without rounding on the way; infinite where it leaves the range of floats, as is usual in arithmetic."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)
