"""Statistics on plain floats: means with intervals, and ratios of two samples.

The replicate is the seed run. Intervals are Student-t intervals, which keep their coverage at the three to five seeds that
depth sweeps have; a bootstrap at n = 5 covers 84 % where 95 % is asked for. Ratios are worked on as differences of
logarithms, so that "twice as large" and "half as large" are the same distance from no difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""Coverage of every interval that dnlbench states."""


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
    mean = _sum(values) / n
    if n == 1 or not math.isfinite(mean):
        return Interval(estimate=mean, low=None, high=None, n=n)
    half = t_quantile(n - 1) * math.sqrt(_variance(values, mean) / n)
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=n)


def paired_ratio(reference: Sequence[float], candidate: Sequence[float]) -> Interval:
    """Geometric mean of ``candidate_i / reference_i`` with its interval, from a t interval of the log-ratios.

    Raises:
        ValueError: if the samples differ in length, are empty or hold a value that is not positive and finite.
    """
    if len(reference) != len(candidate):
        raise ValueError(f"pairs need samples of one length, not {len(reference)} and {len(candidate)}")
    logs = [c - r for r, c in zip(_logs(reference), _logs(candidate), strict=True)]
    return _exponentiated(mean_interval(logs))


def welch_ratio(reference: Sequence[float], candidate: Sequence[float]) -> Interval:
    """Ratio of the geometric means of two independent samples, with Welch's interval of the difference of mean logs.

    Raises:
        ValueError: if a sample is empty or holds a value that is not positive and finite.
    """
    sides = (_logs(reference), _logs(candidate))
    means = [mean_interval(side).estimate for side in sides]
    difference, n = means[1] - means[0], min(len(side) for side in sides)
    if n < 2:
        return _exponentiated(Interval(estimate=difference, low=None, high=None, n=n))
    errors = [_variance(side, mean) / len(side) for side, mean in zip(sides, means, strict=True)]
    total = sum(errors)
    if total == 0:
        return _exponentiated(Interval(estimate=difference, low=difference, high=difference, n=n))
    freedom = total**2 / sum(error**2 / (len(side) - 1) for error, side in zip(errors, sides, strict=True))
    half = t_quantile(freedom) * math.sqrt(total)
    return _exponentiated(Interval(estimate=difference, low=difference - half, high=difference + half, n=n))


def _logs(values: Sequence[float]) -> list[float]:
    if not values:
        raise ValueError("the ratio of no values is not defined")
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a ratio needs positive finite values, not {value}")
    return [math.log(value) for value in values]


def _variance(values: Sequence[float], mean: float) -> float:
    deviations = [value - mean for value in values]
    return _sum([deviation * deviation for deviation in deviations]) / (len(values) - 1)


def _sum(values: Sequence[float]) -> float:
    """Without rounding on the way; infinite where it leaves the range of floats, as is usual in arithmetic."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)


def t_quantile(freedom: float) -> float:
    """What a Student t variable stays within, either way, with probability `LEVEL`."""
    from scipy.special import stdtrit  # here, not above: it takes a fifth of a second that --help should not wait for

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _exponentiated(interval: Interval) -> Interval:
    low, high = interval.low, interval.high
    return Interval(
        estimate=_exp(interval.estimate),
        low=None if low is None else _exp(low),
        high=None if high is None else _exp(high),
        n=interval.n,
    )


def _exp(value: float) -> float:
    """Infinite beyond the range of floats, as it is zero below it: few seeds that lie far apart give such bounds."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
