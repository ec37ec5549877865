"""Fits of ``limit + amplitude · L^-order`` to curves without noise, each a replicate such as one random problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from dnlbench import units
from dnlbench.stats import region as regions
from dnlbench.stats.fits import LimitFit, Refusal, not_negative
from dnlbench.stats.forms import POWER
from dnlbench.stats.intervals import Interval, mean_interval
from dnlbench.stats.means import means_of
from dnlbench.stats.orders import check_curve
from dnlbench.stats.region import Curve, Region, amplitude_of, relative_misfit

CROOKED = 0.1
"""A fit is refused above this root mean square misfit, as a fraction of the curve's range."""


def fit_limit_of_curves(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> LimitFit | Refusal:
    """Fit ``limit + amplitude · L^-order`` to each curve. Estimates are means over curves, with t intervals.

    The curves are complete replicates without noise, such as the errors of one random problem at every depth. The mean order
    has no interval if a curve is flat or its best order is an end of `ORDERS`; the mean limit has none if that is the lower
    end. Without noise any misfit is real. The fit is refused if the misfit of half the curves exceeds `CROOKED`.

    Raises:
        TooFewDepthsError: for fewer than `FEWEST_DEPTHS` distinct depths.
        ValueError: for no curves, unequal lengths, depths below 1 or values that are not positive and finite.
    """
    for curve in curves:
        check_curve(depths, curve)
    fits = [_exact(depths, curve) for curve in curves]
    crooked = sorted(misfit for _, misfit in fits)
    if crooked and crooked[len(crooked) // 2] > CROOKED:
        off = units.percent(crooked[len(crooked) // 2])
        return Refusal(reason=f"{POWER.text} misses the values by {off} of their range", misfit_p=None)
    return _mean_fit([fit for fit, _ in fits])


def _exact(depths: Sequence[int], values: Sequence[float]) -> tuple[LimitFit, float]:
    """Fit a power to a curve without noise; return the fit and its misfit as a fraction of the curve's range."""
    import numpy as np

    means = means_of(depths, [[value] for value in values])
    best = regions.best_curve(means, POWER)
    region = regions.region_of(means, best, best.misfit)
    estimates = {
        name: Interval(estimate=regions.estimate(quantity, means, best), low=None, high=None, n=1)
        for name, quantity in (
            ("limit", regions.limit),
            ("next_value", regions.next_value),
            ("next_gain", regions.next_gain),
        )
    }
    left = means.values - best.limit - best.amplitude * POWER.basis(means.depths, np.array(best.shape))
    span = float(np.ptp(means.values))
    fit = LimitFit(
        form=POWER.name,
        shape=best.shape,
        base=means.value_unit * best.limit,
        amplitude=amplitude_of(means, best),
        undetermined="",
        order=_order_ends(best, region),
        fitted_value=regions.estimate(regions.fitted_value, means, best),
        residual=relative_misfit(best, means),
        misfit_p=None,
        forms=(POWER.name,),
        **estimates,
    )
    return fit, float(np.sqrt(np.mean(left**2))) / span if span > 0 else 0.0


def _order_ends(best: Curve, region: Region | None) -> Interval:
    low, high = (None, None) if region is None else (region.low, region.high)
    return Interval(estimate=best.shape, low=low, high=high, n=1)


def _mean_fit(fits: Sequence[LimitFit]) -> LimitFit:
    limit, order, value, gain = (
        mean_interval([getattr(fit, name).estimate for fit in fits])
        for name in ("limit", "order", "next_value", "next_gain")
    )
    ends = [(fit.order.low is None, fit.order.high is None) for fit in fits if fit.order is not None]
    limit = _without_bounds(limit) if (True, False) in ends else not_negative(limit)
    return LimitFit(
        form=POWER.name,
        shape=order.estimate,
        base=limit.estimate,
        amplitude=mean_interval([fit.amplitude for fit in fits]).estimate,
        limit=limit,
        undetermined="",
        order=order if set(ends) == {(False, False)} else _without_bounds(order),
        fitted_value=mean_interval([fit.fitted_value for fit in fits]).estimate,
        next_value=value,
        next_gain=gain,
        residual=math.sqrt(mean_interval([fit.residual**2 for fit in fits]).estimate),
        misfit_p=None,
        forms=(POWER.name,),
    )


def _without_bounds(interval: Interval) -> Interval:
    return replace(interval, low=None, high=None)
