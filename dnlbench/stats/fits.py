"""What depth buys: ``value ≈ constant · L^-order`` and ``value ≈ limit + amplitude · L^-order`` from values at growing L.

The intervals of a limit are profile regions: a value θ belongs to the interval if some curve with this θ has ::

    misfit <= least misfit + s² F(1, ν)

where s² is the relative variance of the seeds about their means, with ν degrees of freedom, or that of the seeds about the
curve where this is larger. Nothing is drawn at random: `dnlbench.stats.region` has the ends in closed form.

Simulated coverage, 1000 data sets for each of 36 cases: lognormal noise of 3, 8 and 15 %, 3 and 5 seeds, depths 2, 4, 8, 16
with and without 32, and (limit, amplitude, order) = (0.2, 1, 1), (0.006, 0.6, 1.5) and (0, 1, 1). Mean over the cases and
the worst of them, in %; length is that of a limit's interval. The other methods had 120 data sets for each case, so that
chance alone makes their worst case some 5 % worse:

====================================================  =========  =========  ==========  ======
method                                                limit      order      next value  length
====================================================  =========  =========  ==========  ======
profile region, as here                               96.5 (94)  95.7 (94)  95.8 (94)   1
percentile bootstrap of seeds                         88 (78)    83 (71)    82 (72)     0.75
the same with residuals that are pooled and inflated  92 (88)    90 (82)    90 (82)     0.87
means moved by t draws of their standard errors       95 (88)    92 (84)    93 (89)     0.94
bootstrap-t                                           92 (74)    92 (75)    92 (81)     0.95
delete-one-seed jackknife with t                      95 (87)    94 (90)    94 (89)     1.35
standard errors from derivatives, with t              95 (90)    96 (90)    96 (92)     0.98
====================================================  =========  =========  ==========  ======

The next gain is covered in 95.2 %, and in 92 % at worst: at a limit of 0 with noise of 15 %. All this is for noise that is
as large relative to the value at every depth. Where it grows fivefold from the smallest depth to the largest, the limit is
covered in 88 % at worst and the next value in 83 %; where it shrinks, both intervals are longer than need be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dnlbench.stats import region as regions
from dnlbench.stats.intervals import Interval, mean_interval
from dnlbench.stats.region import Curve, Means, Quantity, Region
from dnlbench.stats.student import t_quantile

FEWEST_DEPTHS = 4
"""Three numbers are fitted, and one depth more is needed to see whether they fit."""


class TooFewDepthsError(ValueError):
    """Too few distinct depths for a limit."""

    def __init__(self, found: int) -> None:
        super().__init__(f"too few depths: {found}, a limit needs at least {FEWEST_DEPTHS}")


@dataclass(frozen=True, kw_only=True)
class OrderFit:
    """``value ≈ constant · L^-order``."""

    order: Interval
    constant: float


@dataclass(frozen=True, kw_only=True)
class LimitFit:
    """``value ≈ limit + amplitude · L^-order``."""

    limit: Interval
    """Never below 0; the upper bound is None where the values may rise without end."""
    order: Interval
    """A bound is None where the values do not rule out that end of `dnlbench.stats.region.ORDERS`."""
    amplitude: float
    """Negative where the values rise with depth."""
    next_value: Interval
    """The value expected at twice the largest depth."""
    next_gain: Interval
    """What doubling the largest depth takes off the value, from the curve at both; negative where the values rise.

    The interval holds 0 wherever the order has no upper bound.
    """
    residual: float
    """Root mean square of the relative misfits."""


def fit_order(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> OrderFit:
    """``log value = log constant - order · log L`` by least squares for each replicate; the mean over replicates.

    The interval is the t interval over replicates. One replicate gives none: how one curve bends about its line says
    nothing about the next curve.

    Args:
        depths: the depths, in any order.
        curves: for each replicate its value at each depth.

    Raises:
        ValueError: for no curves, fewer than two distinct depths, unequal lengths or values that are not positive.
    """
    lines = [_log_line(depths, curve) for curve in curves]
    order = mean_interval([-slope for slope, _ in lines])
    return OrderFit(order=order, constant=math.exp(mean_interval([height for _, height in lines]).estimate))


def fit_exponent(depths: Sequence[int], values: Sequence[float]) -> float:
    """Exponent q of ``cost ≈ c · L^q``: the least-squares slope of log cost on log L over the three largest depths.

    Only those, because what a run costs at any depth hides the growth at small depths.

    Raises:
        ValueError: for fewer than two distinct depths, unequal lengths or values that are not positive.
    """
    _check_curve(depths, values)
    largest = sorted(set(depths))[-3:]
    pairs = [(depth, value) for depth, value in zip(depths, values, strict=True) if depth in largest]
    return _log_line([depth for depth, _ in pairs], [value for _, value in pairs])[0]


def fit_limit(depths: Sequence[int], samples: Sequence[Sequence[float]]) -> LimitFit:
    """``value = limit + amplitude · L^-order`` through the means over seeds, with intervals from the spread of the seeds.

    Misfits are relative to the mean at their depth and count once per seed: the noise is taken to be equally large relative
    to the value at every depth. One seed at every depth gives estimates without intervals.

    Args:
        depths: the depths, in any order.
        samples: for each depth the values of its seeds, independent between depths; their numbers may differ.

    Raises:
        TooFewDepthsError: for fewer than `FEWEST_DEPTHS` distinct depths.
        ValueError: for unequal lengths, depths below 1, or values that are negative, not finite or 0 for all seeds.
    """
    seeds = sum(len(sample) for sample in samples)
    return _fit(depths, samples, partial(_allowance, samples) if seeds > len(samples) else None)


def fit_limit_of_curves(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> LimitFit:
    """`fit_limit` for each curve by itself; every estimate is a mean over curves, its interval the t interval.

    The curves are whole replicates without noise of their own, such as the errors of one random problem at every depth.
    A flat curve, or one that is fitted best at an end of `ORDERS`, leaves the mean order without an interval, and one that
    is fitted best at the lower end leaves the mean limit without one.

    Raises:
        TooFewDepthsError: for fewer than `FEWEST_DEPTHS` distinct depths.
        ValueError: for no curves, unequal lengths, depths below 1 or values that are not positive and finite.
    """
    for curve in curves:
        _check_curve(depths, curve)
    fits = [_fit(depths, [[value] for value in curve], lambda _: 0.0) for curve in curves]
    limit, order, value, gain = (
        mean_interval([getattr(fit, name).estimate for fit in fits])
        for name in ("limit", "order", "next_value", "next_gain")
    )
    ends = [(fit.order.low is None, fit.order.high is None) for fit in fits]
    return LimitFit(
        limit=_without_bounds(limit) if (True, False) in ends else _not_negative(limit),
        order=order if set(ends) == {(False, False)} else _without_bounds(order),
        amplitude=mean_interval([fit.amplitude for fit in fits]).estimate,
        next_value=value,
        next_gain=gain,
        residual=math.sqrt(mean_interval([fit.residual**2 for fit in fits]).estimate),
    )


def _log_line(depths: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Slope of log value on log depth, and log value at depth 1."""
    _check_curve(depths, values)
    if len(set(depths)) < 2:
        raise ValueError(f"a slope needs at least 2 different depths, not {len(set(depths))}")
    x, y = [math.log(depth) for depth in depths], [math.log(value) for value in values]
    centre, height = math.fsum(x) / len(x), math.fsum(y) / len(y)
    steps = [each - centre for each in x]
    slope = math.fsum(s * each for s, each in zip(steps, y, strict=True)) / math.fsum(s * s for s in steps)
    return slope, height - slope * centre


def _check_curve(depths: Sequence[int], values: Sequence[float]) -> None:
    _check_depths(depths, len(values))
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a fit needs positive finite values, not {value}")


def _check_depths(depths: Sequence[int], values: int) -> None:
    if len(depths) != values:
        raise ValueError(f"a fit needs as many values as depths, not {values} for {len(depths)}")
    if any(depth < 1 for depth in depths):
        raise ValueError(f"a depth is at least 1, not {min(depths)}")


def _fit(
    depths: Sequence[int], samples: Sequence[Sequence[float]], allowance: Callable[[Curve], float] | None
) -> LimitFit:
    """The best curve, with the region of all whose misfit is larger by at most the allowance."""
    means, n = _means(depths, samples), min(len(sample) for sample in samples)
    best = regions.best_curve(means)
    region = None if allowance is None else regions.region_of(means, best, allowance(best))
    return LimitFit(
        limit=_limit(means, best, region, n),
        order=_order(best, region, n),
        amplitude=best.amplitude * means.value_unit * means.depth_unit**best.order,
        next_value=_interval(regions.next_value, means, best, region, n),
        next_gain=_next_gain(means, best, region, n),
        residual=math.sqrt(best.misfit / float(means.counts.sum())),
    )


def _means(depths: Sequence[int], samples: Sequence[Sequence[float]]) -> Means:
    import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

    _check_depths(depths, len(samples))
    if len(set(depths)) < FEWEST_DEPTHS:
        raise TooFewDepthsError(len(set(depths)))
    values = [_mean(sample) for sample in samples]
    return Means(
        depths=np.array(depths) / min(depths),
        values=np.array(values) / max(values),
        counts=np.array([float(len(sample)) for sample in samples]),
        depth_unit=float(min(depths)),
        value_unit=max(values),
    )


def _mean(sample: Sequence[float]) -> float:
    if not all(math.isfinite(value) and value >= 0 for value in sample) or not any(sample):
        raise ValueError(f"a limit needs finite values, none negative and not all 0, not {list(sample)}")
    return mean_interval(sample).estimate


def _allowance(samples: Sequence[Sequence[float]], best: Curve) -> float:
    """``s² F(1, ν)``, where ``F(1, ν) = t²`` and s² is the larger variance: of the seeds alone, or with the misfit."""
    squares = [(1 - value / _mean(sample)) ** 2 for sample in samples for value in sample]
    spread, freedom = math.fsum(squares), len(squares) - len(samples)
    variance = max(spread / freedom, (spread + best.misfit) / (len(squares) - 3))
    return variance * t_quantile(freedom) ** 2


def _interval(quantity: Quantity, means: Means, best: Curve, region: Region | None, n: int) -> Interval:
    estimate = regions.estimate(quantity, means, best)
    if region is None:
        return Interval(estimate=estimate, low=None, high=None, n=n)
    low, high = regions.ends(quantity, means, region)
    return Interval(estimate=estimate, low=min(float(low.min()), estimate), high=max(float(high.max()), estimate), n=n)


def _order(best: Curve, region: Region | None, n: int) -> Interval:
    low, high = (None, None) if region is None else (region.low, region.high)
    return Interval(estimate=best.order, low=low, high=high, n=n)


def _limit(means: Means, best: Curve, region: Region | None, n: int) -> Interval:
    """Without the bounds that only the end of `ORDERS` sets: a lower order would move them on."""
    found = _interval(regions.limit, means, best, region, n)
    if region is None or region.low is not None:
        return found
    low, high = regions.ends(regions.limit, means, region)
    falls_on = low[0] < low[1:].min(initial=math.inf) * (1 - 1e-9)
    rises_on = high[0] > high[1:].max(initial=-math.inf) * (1 + 1e-9)
    return replace(found, low=0.0 if falls_on else found.low, high=None if rises_on else found.high)


def _next_gain(means: Means, best: Curve, region: Region | None, n: int) -> Interval:
    """With 0 where no order is too high: the higher it is, the less is left to gain."""
    found = _interval(regions.next_gain, means, best, region, n)
    if region is None or region.high is not None or found.low is None or found.high is None:
        return found
    return replace(found, low=min(found.low, 0.0), high=max(found.high, 0.0))


def _not_negative(interval: Interval) -> Interval:
    return interval if interval.low is None else replace(interval, low=max(interval.low, 0.0))


def _without_bounds(interval: Interval) -> Interval:
    return replace(interval, low=None, high=None)
