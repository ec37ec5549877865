"""The limit of values at growing depth L.

`fit_limit` tests in this order, with the relative variances v of the seeds from `dnlbench.stats.noise`:

1. *Do the means turn?* A significant rise and a significant fall (`dnlbench.stats.monotone`) refuse every fit.
2. *Does a form fit?* The best curve of each form in `dnlbench.stats.forms` has the least ``M = Σ_d n_d / v_d (1 - curve /
   mean_d)²``. Without lack of fit ``M / (D - k) ~ F(D - k, ν)``, where k is the number of parameters that are not held at an
   end, and ν the degrees of freedom of the noise. This is the lack-of-fit test with pure error from replicates (N. R. Draper,
   H. Smith, Applied Regression Analysis, 3rd ed., section 2.1), with estimated weights. The fit is refused if all forms are
   rejected at `MISFIT`, or if the change per doubling of depth grows (at `FASTER`).
3. *Is there a limit?* It is undetermined if the change per doubling does not slow down at the level `FLAT`, if a form without
   a limit is not rejected at `REJECTED`, or if the limit has no bound. Otherwise its interval is the hull over all forms not
   rejected at `REJECTED`, each with the limits of its curves that have ``M <= its least M + s² F(1, ν)``.
4. *What is the next value?* The next value and gain are one doubling away. Their intervals contain the predictions of the
   curves of any form that have ``M <= least M of all forms + s² F(1, ν)``.

``s² = max(1, M / (D - k))`` widens intervals of poor fits that are not rejected (the scale factor of the Particle Data Group).
The method is deterministic: `dnlbench.stats.region` has the bounds in closed form.

`tests/stats/limit_curves.py` simulates the method and has the tables: depths 2 to 32, three and five seeds, lognormal noise of
3 %, of 10 %, and as measured. If a power is true, 1 to 6 % of the fits are refused; intervals cover the limit in 95 to 100 %,
since other forms fit as well, the next value in 90 to 97 %, and the next gain in 92 to 97 %. For curves without a limit a limit
is reported in 0 to 3 of 200 data sets. Of other curves 82 to 100 % of the reported limits are covered, except those with a late
knee (62 to 84 % at a noise of 3 %) and those that change their form behind the last depth (39 to 77 %), which no test can
detect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnlbench import units
from dnlbench.stats import region as regions
from dnlbench.stats.forms import FORMS, POWER
from dnlbench.stats.intervals import Interval, mean_interval
from dnlbench.stats.means import Means, means_of
from dnlbench.stats.monotone import Spread, flattening, p_text, significant_moves, spread_of
from dnlbench.stats.noise import Noise, noise_of
from dnlbench.stats.region import Curve, Quantity, Region, amplitude_of, relative_misfit
from dnlbench.stats.student import f_tail, t_quantile

REJECTED = 0.01
"""Forms with a smaller p value do not contribute to the limit, which is far from the measured depths."""
FLAT = 0.001
"""Level at which the change per doubling must be shown to slow down."""
FASTER = 0.01
"""The change per doubling grows if this rejects that it does not: then no form says where it ends."""
MISFIT = 0.04
"""A curve that fits no better than this does not fit. It refuses the true form in 1 to 6 %, as above."""


class NoSpreadError(ValueError):
    """Too few seeds for a test of fit."""

    def __init__(self) -> None:
        super().__init__("too few seeds: a test of fit needs their spread; run 2 seeds or more")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The reason why no curve is fitted to values over depth."""

    reason: str
    """``it falls from L = 2 to 8 (p < 0.001) and rises from L = 8 to 32 (p = 0.002)``."""
    misfit_p: float | None
    """p value of the form that fits best; None for curves without noise."""


@dataclass(frozen=True, kw_only=True)
class LimitFit:
    """The fitted curve, and the estimates over all curves that fit."""

    form: str
    """Name of the form: ``power`` unless it is rejected."""
    shape: float
    """The shape parameter of the form, for depths in units of the smallest one. For a power it is the order."""
    base: float
    """The curve is ``base + amplitude · x(L)``; base is the limit of forms that have one."""
    amplitude: float
    """Negative if the values rise with depth. For a power it refers to depths in layers."""
    limit: Interval | None
    """The limit; None if undetermined. The interval is between 0 and the cap, and below the last mean if the values fall."""
    undetermined: str
    """The reason for an undetermined limit; empty if there is one."""
    order: Interval | None
    """The order; None if the power is rejected. A bound is None if that end of `ORDERS` is not excluded."""
    fitted_value: float
    """The curve at the largest depth."""
    next_value: Interval
    """The value expected at twice the largest depth."""
    next_gain: Interval
    """The decrease of the curve when the largest depth is doubled; negative if the values rise.

    The interval contains 0 if the order of a power has no upper bound.
    """
    residual: float
    """Root mean square of the relative misfits."""
    misfit_p: float | None
    """p value of the lack-of-fit test; None for curves without noise."""
    forms: tuple[str, ...]
    """Names of all forms that are not rejected."""


def fit_limit(
    depths: Sequence[int], samples: Sequence[Sequence[float]], *, cap: float | None = None
) -> LimitFit | Refusal:
    """Estimate the limit of values over depth, and the gain of the next doubling.

    Depths may be in any order. Samples are the values of the seeds at each depth, independent between depths; their numbers
    may differ. ``cap`` is an upper bound of the limit, such as the loss of a network that guesses.

    Raises:
        TooFewDepthsError: for fewer than `FEWEST_DEPTHS` distinct depths.
        NoSpreadError: for fewer than two seeds at most depths.
        ValueError: for unequal lengths, depths below 1, or values that are negative, not finite or 0 for all seeds.
    """
    means = means_of(depths, samples)
    noise = noise_of(depths, samples)
    if noise is None:
        raise NoSpreadError
    weights = [len(sample) / v for sample, v in zip(samples, noise.variances, strict=True)]
    means = means.weighted(weights)
    variances = [float(value) ** 2 / weight for value, weight in zip(means.values, weights, strict=True)]
    spread = spread_of(depths, means.values.tolist(), variances, noise.freedom)
    trials = [_trial(means, regions.best_curve(means, form), noise) for form in FORMS]
    best = max(trials, key=lambda trial: trial.p)
    moves = significant_moves(spread)
    if len(moves) == 2:
        first, second = sorted(moves.items(), key=lambda item: item[1].end)
        reason = f"it {first[0]} {first[1].text} and {second[0]} {second[1].text}"
        return Refusal(reason=reason, misfit_p=best.p)
    p = flattening(spread)
    if p > 1 - FASTER:
        course = "falls" if spread.means[-1] < spread.means[0] else "rises"
        return Refusal(reason=f"it {course} faster with each doubling of depth ({p_text(1 - p)})", misfit_p=best.p)
    if best.p < MISFIT:
        off = units.percent(relative_misfit(best.curve, means))
        reason = f"no form of curve fits: {best.curve.form.text} misses the means by {off} ({p_text(best.p)})"
        return Refusal(reason=reason, misfit_p=best.p)
    return _judged(means, spread, trials, _ceiling(depths, samples, spread, cap), min(map(len, samples)))


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """The best curve of a form."""

    curve: Curve
    p: float
    """p value of the lack-of-fit test."""
    allowance: float
    """``s² F(1, ν)``, where ``F(1, ν) = t²``."""


def _trial(means: Means, curve: Curve, noise: Noise) -> _Trial:
    held = curve.limit == 0.0
    freedom = len(means.values) - curve.form.parameters + held
    scale = max(1.0, curve.misfit / freedom)
    return _Trial(
        curve=curve,
        p=f_tail(freedom, noise.freedom, curve.misfit / freedom),
        allowance=scale * t_quantile(noise.freedom) ** 2,
    )


def _judged(means: Means, spread: Spread, trials: Sequence[_Trial], ceiling: _Ceiling, n: int) -> LimitFit:
    shown = trials[0] if trials[0].p >= MISFIT else max(trials, key=lambda trial: trial.p)
    curve = shown.curve
    kept = [trial for trial in trials if trial.p >= REJECTED]
    limit = _limit(means, curve, kept, ceiling, n)
    undetermined = _undetermined(spread, kept) or (limit if isinstance(limit, str) else "")
    likely = min(trials, key=lambda trial: trial.curve.misfit)
    threshold = likely.curve.misfit + likely.allowance
    near = [region for trial in trials if (region := regions.region_of(means, trial.curve, threshold)) is not None]
    order = _order(means, shown, n) if curve.form is POWER else None
    return LimitFit(
        form=curve.form.name,
        shape=curve.shape,
        base=means.value_unit * curve.limit,
        amplitude=amplitude_of(means, curve),
        limit=None if undetermined or isinstance(limit, str) else limit,
        undetermined=undetermined,
        order=order,
        fitted_value=regions.estimate(regions.fitted_value, means, curve),
        next_value=not_negative(_hull(regions.next_value, means, curve, near, n)),
        next_gain=_next_gain(means, curve, near, n),
        residual=relative_misfit(curve, means),
        misfit_p=shown.p,
        forms=tuple(trial.curve.form.name for trial in kept),
    )


def _undetermined(spread: Spread, kept: Sequence[_Trial]) -> str:
    """Return the reason for an undetermined limit; empty if the values may have one."""
    for trial in kept:
        if not trial.curve.form.has_limit:
            return f"{trial.curve.form.text} is not rejected ({p_text(trial.p)})"
    p = flattening(spread)
    return f"the change per doubling does not clearly slow down ({p_text(p)})" if p >= FLAT else ""


@dataclass(frozen=True, kw_only=True)
class _Ceiling:
    """An upper bound of the limit."""

    value: float
    reason: str


def _ceiling(depths: Sequence[int], samples: Sequence[Sequence[float]], spread: Spread, cap: float | None) -> _Ceiling:
    last = max(zip(depths, samples, strict=True), key=lambda pair: pair[0])[1]
    unit = max(last)
    high = mean_interval([value / unit for value in last], "positive").high
    ceilings = [_Ceiling(value=math.inf, reason="the limit has no upper bound")]
    if cap is not None:
        ceilings.append(_Ceiling(value=cap, reason=f"the fitted limit is above {cap:.4g}, the value of a guess"))
    if high is not None and spread.means[-1] < spread.means[0]:
        ceilings.append(_Ceiling(value=unit * high, reason="the fitted limit is above the last measured value"))
    return min(ceilings, key=lambda ceiling: ceiling.value)


def _limit(means: Means, curve: Curve, kept: Sequence[_Trial], ceiling: _Ceiling, n: int) -> Interval | str:
    bounds = [
        regions.limit_ends(means, region)
        for trial in kept
        if trial.curve.form.has_limit
        and (region := regions.region_of(means, trial.curve, trial.curve.misfit + trial.allowance)) is not None
    ]
    estimate = means.value_unit * curve.limit
    if not bounds or not curve.form.has_limit or estimate > ceiling.value:
        return ceiling.reason
    low, high = min(estimate, *(low for low, _ in bounds)), max(estimate, *(high for _, high in bounds))
    high = min(high, ceiling.value)
    return Interval(estimate=estimate, low=low, high=high, n=n) if math.isfinite(high) else ceiling.reason


def _order(means: Means, trial: _Trial, n: int) -> Interval:
    region = regions.region_of(means, trial.curve, trial.curve.misfit + trial.allowance)
    low, high = (None, None) if region is None else (region.low, region.high)
    return Interval(estimate=trial.curve.shape, low=low, high=high, n=n)


def _hull(quantity: Quantity, means: Means, curve: Curve, near: Sequence[Region], n: int) -> Interval:
    estimate = regions.estimate(quantity, means, curve)
    bounds = [regions.ends(quantity, means, region) for region in near]
    low = min(estimate, *(float(low.min()) for low, _ in bounds))
    high = max(estimate, *(float(high.max()) for _, high in bounds))
    return Interval(estimate=estimate, low=low, high=high, n=n)


def _next_gain(means: Means, curve: Curve, near: Sequence[Region], n: int) -> Interval:
    """Return the next gain. Its interval includes 0 if the order has no upper bound: a high order leaves nothing to gain."""
    gain = _hull(regions.next_gain, means, curve, near, n)
    if not any(region.form is POWER and region.high is None for region in near):
        return gain
    return replace(gain, low=min(gain.low or 0.0, 0.0), high=max(gain.high or 0.0, 0.0))


def not_negative(interval: Interval) -> Interval:
    """Return the interval with a lower bound of at least 0."""
    return interval if interval.low is None else replace(interval, low=max(interval.low, 0.0))
