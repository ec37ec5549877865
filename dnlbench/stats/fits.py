"""What values at growing depth L say of their limit.

`fit_limit` asks in this order, with the relative variances v of the seeds from `dnlbench.stats.noise`:

1. *Do the means turn?* A significant rise and a significant fall (`dnlbench.stats.monotone`) refuse every fit.
2. *Does a form fit?* The best curve of each form in `dnlbench.stats.forms` has the least ``M = Σ_d n_d / v_d (1 - curve /
   mean_d)²``. Without lack of fit ``M / (D - k) ~ F(D - k, ν)``, where k counts the parameters that are not held at an end, and
   ν is the noise's degrees of freedom: the lack-of-fit test with pure error from replicates (N. R. Draper, H. Smith, Applied
   Regression Analysis, 3rd ed., section 2.1), with estimated weights. The fit is refused if all forms are rejected at `MISFIT`,
   or if the change per doubling of depth grows (at `FASTER`).
3. *Can the limit be told?* It is undetermined where the change per doubling does not slow down at the level `FLAT`, where a
   form without a limit is not rejected at `REJECTED`, and where nothing bounds it. Otherwise its interval is the hull over all
   forms not rejected at `REJECTED`, each with the limits of its curves that have ``M <= its least M + s² F(1, ν)``.
4. *What comes next?* The next value and gain are one doubling away, so there the forms compete: their intervals hold what
   the curves of any form say that have ``M <= least M of all forms + s² F(1, ν)``.

``s² = max(1, M / (D - k))`` widens intervals where the fit is poor but not rejected (the scale factor of the Particle Data
Group). Nothing is drawn at random: `dnlbench.stats.region` has the ends in closed form.

Simulated by `tests/stats/limit_curves.py`: depths 2 to 32, lognormal noise of 3 %, of 10 %, and growing as measured on digits
(.03, .054, .107, then equal) and in a sweep of stability (.023 to .164), three and five seeds. In % of 250 data sets a case
(600 for .2 + 1/L at 3 %), the range over three and five seeds:

=================  =========  ========  =========  ==========  ===========
true form          noise      refused   limit      next value  next gain
=================  =========  ========  =========  ==========  ===========
.2 + 1/L           3 %        2         99         95          95 to 96
.006 + .6/L^1.5    3 %        3 to 6    95 to 97   93 to 94    94 to 95
1/L                3 %        5         99 to 100  95 to 97    96 to 97
.2 + 1/L           10 %       1 to 2    99 to 100  94 to 95    95 to 97
.006 + .6/L^1.5    10 %       2 to 5    98 to 99   94 to 95    96 to 97
1/L                10 %       4         99         95          92 to 94
.2 + 1/L           digits     3         100        95          95
.006 + .6/L^1.5    digits     4 to 5    98         95          95 to 96
1/L                digits     4 to 5    100        97          92 to 93
.2 + 1/L           stability  1 to 3    99         91 to 94    93 to 96
.006 + .6/L^1.5    stability  3 to 4    95         90 to 92    94 to 95
1/L                stability  4 to 5    100        96 to 97    93
=================  =========  ========  =========  ==========  ===========

Limits are covered too often, because other forms fit as well. Of curves that are no power (100 to 300 data sets a case;
"printed" counts data sets, "undetermined" is in %):

======================  =====  =========  ============  ==========  =============
curve                   noise  refused %  undetermined  printed     truth in it %
======================  =====  =========  ============  ==========  =============
.1 + 1/L + .01 L        3 %    100        0             0           –
.1 + 1/L + .01 L        10 %   82 to 100  0 to 18       0 to 1      0
.2 + exp(-L/8)          3 %    4 to 6     0 to 2        281 to 283  94 to 95
.2 + exp(-L/8)          10 %   3          54 to 85      37 to 130   95 to 100
drop at 16              3 %    100        0             0           –
drop at 16              10 %   99 to 100  0 to 1        0           –
hump at 8               3 %    100        0             0           –
hump at 8               10 %   100        0             0           –
1 - .15 ln L            3 %    3 to 5     95 to 97      0           –
1 - .15 ln L            10 %   3 to 4     96 to 97      0           –
1/(1 + ln L)            3 %    2 to 4     0             289 to 293  96 to 98
1/(1 + ln L)            10 %   2          24 to 70      84 to 221   96 to 99
.1 + 1.5/L - 1.2/L^2    3 %    1 to 2     0             294 to 297  100
.1 + 1.5/L - 1.2/L^2    10 %   3          2 to 39       58 to 95    100
max(.3, 2/L)            3 %    40 to 77   0             60 to 70    84 to 95
max(.3, 2/L)            10 %   7 to 10    0 to 38       55 to 90    94 to 98
.1 + 2 exp(-√L)         3 %    5 to 7     0             93 to 95    96 to 98
.1 + 2 exp(-√L)         10 %   2 to 5     0 to 1        95 to 97    98 to 100
.1 + tanh(3/L)          3 %    3 to 7     0             93 to 282   95 to 98
.1 + tanh(3/L)          10 %   3 to 4     0 to 22       74 to 97    100
.3 + .7 exp(-(L/10)^2)  3 %    100        0             0           –
.3 + .7 exp(-(L/10)^2)  10 %   40 to 85   10 to 51      5 to 28     93 to 100
.1 + ln(1 + L)/L        3 %    2 to 5     0 to 2        95 to 96    82 to 97
.1 + ln(1 + L)/L        10 %   4 to 5     70 to 92      4 to 25     100
1/L + .15/L^.25         10 %   4 to 5     0 to 1        285 to 286  39 to 77
======================  =====  =========  ============  ==========  =============

The first and the fifth have no limit, so that any printed one is wrong. The last three rows show what no test at these depths
can see: how a curve goes on behind the last one.

The forms and levels were chosen with these curves in view. Eight curves that were chosen afterwards, with other random numbers
and 200 data sets a case (``limit_curves 200 unseen``):

=======================  =====  =========  ============  ==========  =============  ==========
curve                    noise  refused %  undetermined  printed     truth in it %  next value
=======================  =====  =========  ============  ==========  =============  ==========
.15 + .9/L^.7            3 %    2 to 4     0             191 to 196  100            94 to 97
.15 + .9/L^.7            10 %   2 to 3     10 to 51      92 to 176   100            97 to 98
.2 + 1/(L + 3)           3 %    1 to 2     6 to 42       112 to 187  100            95 to 98
.2 + 1/(L + 3)           10 %   2 to 3     96            1 to 5      100            95 to 98
.25 + .6/(1 + (L/6)^2)   3 %    10 to 20   0             161 to 180  62 to 84       66 to 74
.25 + .6/(1 + (L/6)^2)   10 %   2 to 4     41 to 72      47 to 115   100            94 to 96
.3 + .5/L + .3e^(-L/12)  3 %    4          0 to 10       172 to 193  86 to 97       63 to 84
.3 + .5/L + .3e^(-L/12)  10 %   2          88 to 95      6 to 21     100            97 to 99
.5 - .08 ln L            3 %    2          98            0           –              94 to 95
.5 - .08 ln L            10 %   2          98            0           –              94 to 95
.2 + 1/L, 1.15 × at 16   3 %    98 to 100  0             0 to 3      100            100
.2 + 1/L, 1.15 × at 16   10 %   15 to 42   4 to 44       83 to 108   100            99 to 100
.2 + .8/L + .004 L       3 %    93 to 100  0 to 6        0 to 2      0              100
.2 + .8/L + .004 L       10 %   12 to 20   78 to 86      3           0              82 to 93
.1 + .5 e^(-ln²L/4)      3 %    4 to 5     0             190         90 to 98       58 to 76
.1 + .5 e^(-ln²L/4)      10 %   1 to 2     4 to 42       114 to 191  99 to 100      96 to 98
=======================  =====  =========  ============  ==========  =============  ==========

At 3 % the two curves with a late knee are covered too seldom: a fit that precise keeps the nearest form and rejects the others.
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
"""A form that fits no better than this has no say in the limit, which is far from all that was measured."""
FLAT = 0.001
"""The change per doubling slows down if this rejects that it does not."""
FASTER = 0.01
"""The change per doubling grows if this rejects that it does not: then no form says where it ends."""
MISFIT = 0.04
"""A curve that fits no better than this does not fit. It refuses the true form in 1 to 6 %, as above."""


class NoSpreadError(ValueError):
    """Too few seeds to tell whether a curve fits."""

    def __init__(self) -> None:
        super().__init__("too few seeds: without their spread nothing tells whether a curve fits; run 2 seeds or more")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why no curve is fitted to values over depth."""

    reason: str
    """``it falls from L = 2 to 8 (p < 0.001) and rises from L = 8 to 32 (p = 0.002)``."""
    misfit_p: float | None
    """Of the form that fits best; None for curves without noise."""


@dataclass(frozen=True, kw_only=True)
class LimitFit:
    """The curve that stands for those that fit, and what all of them say."""

    form: str
    """Its name: ``power`` unless the values reject it."""
    shape: float
    """The number of its form, for depths in units of the smallest one. Of a power it is the order."""
    base: float
    """``base + amplitude · x(L)`` is the curve; the limit of forms that have one."""
    amplitude: float
    """Negative where the values rise with depth. A power's is for depths that count from 1."""
    limit: Interval | None
    """None where it is undetermined. Its interval lies between 0, the cap, and what was measured last if the values fall."""
    undetermined: str
    """Why there is no limit; empty if there is one."""
    order: Interval | None
    """None where the power is rejected. A bound is None where the values do not rule out that end of `ORDERS`."""
    fitted_value: float
    """The curve at the largest depth."""
    next_value: Interval
    """The value expected at twice the largest depth."""
    next_gain: Interval
    """What doubling the largest depth takes off the value, from the curve at both; negative where the values rise.

    The interval holds 0 wherever the order of a power has no upper bound.
    """
    residual: float
    """Root mean square of the relative misfits."""
    misfit_p: float | None
    """p of the lack-of-fit test; None for curves without noise."""
    forms: tuple[str, ...]
    """Names of all forms that are not rejected."""


def fit_limit(
    depths: Sequence[int], samples: Sequence[Sequence[float]], *, cap: float | None = None
) -> LimitFit | Refusal:
    """The limit of values over depth, and what the next doubling gains, as far as the spread of the seeds allows.

    Args:
        depths: the depths, in any order.
        samples: for each depth the values of its seeds, independent between depths; their numbers may differ.
        cap: what no limit is above, such as the loss of a network that guesses.

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
    """Of the lack-of-fit test."""
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
    near = [found for trial in trials if (found := regions.region_of(means, trial.curve, threshold)) is not None]
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
    """Why the values have no limit that can be told; empty if they may."""
    for trial in kept:
        if not trial.curve.form.has_limit:
            return f"{trial.curve.form.text} is not rejected ({p_text(trial.p)})"
    p = flattening(spread)
    return f"the change per doubling does not clearly slow down ({p_text(p)})" if p >= FLAT else ""


@dataclass(frozen=True, kw_only=True)
class _Ceiling:
    """What no limit is above."""

    value: float
    reason: str


def _ceiling(depths: Sequence[int], samples: Sequence[Sequence[float]], spread: Spread, cap: float | None) -> _Ceiling:
    last = max(zip(depths, samples, strict=True), key=lambda pair: pair[0])[1]
    unit = max(last)
    high = mean_interval([value / unit for value in last], "positive").high
    ceilings = [_Ceiling(value=math.inf, reason="no upper end is in sight")]
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
    """With 0 where no order is too high: the higher it is, the less is left to gain."""
    found = _hull(regions.next_gain, means, curve, near, n)
    if not any(region.form is POWER and region.high is None for region in near):
        return found
    return replace(found, low=min(found.low or 0.0, 0.0), high=max(found.high or 0.0, 0.0))


def not_negative(interval: Interval) -> Interval:
    """The interval with a lower end of at least 0."""
    return interval if interval.low is None else replace(interval, low=max(interval.low, 0.0))
