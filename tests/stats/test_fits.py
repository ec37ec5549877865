"""On curves that are known, against SciPy's fit, and by how often the intervals hold what the data were drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import binom

from dnlbench.stats import (
    Interval,
    LimitFit,
    NoSpreadError,
    Refusal,
    TooFewDepthsError,
    fit_exponent,
    fit_limit,
    fit_limit_of_curves,
    fit_order,
    mean_interval,
)
from dnlbench.stats.noise import noise_of
from tests.stats.limit_curves import NOISE, POWERS, WRONG, simulate

DEPTHS = (2, 4, 8, 16)
FALLING = [(0.2, 1.0, 1.0), (0.006, 0.6, 1.5), (0.0, 1.0, 1.0)]
"""Limit, amplitude, order."""


def power_law(truth: tuple[float, float, float], depths: Sequence[int] = DEPTHS) -> list[float]:
    limit, amplitude, order = truth
    return [limit + amplitude * depth**-order for depth in depths]


def drawn(
    truth: tuple[float, float, float],
    seeds: int,
    sd: float,
    random: np.random.Generator,
    depths: Sequence[int] = DEPTHS,
) -> list[list[float]]:
    """Lognormal noise with mean 1, independent between depths."""
    noise = np.exp(sd * random.standard_normal((len(depths), seeds)) - sd**2 / 2)
    return [[value * float(each) for each in row] for value, row in zip(power_law(truth, depths), noise, strict=True)]


def fitted(found: LimitFit | Refusal) -> LimitFit:
    assert isinstance(found, LimitFit), found
    return found


def refused(found: LimitFit | Refusal) -> str:
    assert isinstance(found, Refusal), found
    return found.reason


def intervals(fit: LimitFit) -> tuple[Interval, ...]:
    assert fit.limit is not None, fit.undetermined
    assert fit.order is not None
    return fit.limit, fit.order, fit.next_value, fit.next_gain


def holds(interval: Interval, value: float) -> bool:
    return (interval.low is None or interval.low <= value) and (interval.high is None or value <= interval.high)


def what_it_says(fit: LimitFit) -> list[float | None]:
    return [bound for each in intervals(fit) for bound in (each.estimate, each.low, each.high)]


def test_order_of_curves_without_noise() -> None:
    fit = fit_order(DEPTHS, [power_law((0, 3.0, 1.5)), power_law((0, 12.0, 1.5))])
    assert fit.order.estimate == pytest.approx(1.5)
    assert fit.order.half_width == pytest.approx(0, abs=1e-12)
    assert fit.constant == pytest.approx(6.0)


def test_order_is_polyfits_with_a_t_interval() -> None:
    random = np.random.default_rng(3)
    curves = np.array(drawn((0, 1, 2), 4, 0.1, random)).T
    slopes = [-np.polyfit(np.log(DEPTHS), np.log(curve), 1)[0] for curve in curves]
    order = fit_order(DEPTHS, curves.tolist()).order
    assert order.estimate == pytest.approx(np.mean(slopes))
    assert order.half_width == pytest.approx(3.182446305 * np.std(slopes, ddof=1) / 2)


def test_order_of_one_curve_has_no_interval() -> None:
    order = fit_order((1, 2), [[4.0, 1.0]]).order
    assert order.estimate == pytest.approx(2.0)
    assert (order.low, order.high, order.n) == (None, None, 1)


@pytest.mark.parametrize(
    ("depths", "curves", "message"),
    [
        ((4, 4), [[1.0, 2.0]], "at least 2 different depths, not 1"),
        ((2, 4), [[1.0, 0.0]], "positive finite values, not 0.0"),
        ((2, 4), [[1.0, math.nan]], "positive finite values, not nan"),
        ((2, 4), [[1.0, 2.0], [1.0]], "as many values as depths, not 1 for 2"),
        ((0, 4), [[1.0, 2.0]], "at least 1, not 0"),
        ((2, 4), [], "no values"),
    ],
)
def test_order_refuses_what_has_no_slope(depths: list[int], curves: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_order(depths, curves)


def test_exponent_is_that_of_the_three_largest_depths() -> None:
    assert fit_exponent((32, 2, 8, 16, 4), [32.0**2, 100.0, 64.0, 256.0, 100.0]) == pytest.approx(2.0)
    assert fit_exponent((2, 8), [1.0, 2.0]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least 2 different depths"):
        fit_exponent((2,), [1.0])


@pytest.mark.parametrize("truth", [*FALLING, (1.0, -0.5, 1.0), (0.3, 2.0, 3.0)])
@pytest.mark.parametrize("depths", [DEPTHS, (3, 5, 9, 17, 33)])
def test_curves_without_noise_are_recovered(truth: tuple[float, float, float], depths: tuple[int, ...]) -> None:
    values = power_law(truth, depths)
    seeds = fitted(fit_limit(depths, [[value] * 3 for value in values]))
    curves = fitted(fit_limit_of_curves(depths, [values, values]))
    last, following = power_law(truth, (depths[-1], 2 * depths[-1]))
    for fit in (seeds, curves):
        expected = [each for value in (truth[0], truth[2], following, last - following) for each in [value] * 3]
        assert what_it_says(fit) == pytest.approx(expected, rel=1e-5, abs=3e-7)
        assert fit.amplitude == pytest.approx(truth[1], rel=1e-5)
        assert fit.residual == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("truth", [*FALLING, (1.0, -0.5, 1.0)])
def test_estimates_are_scipys(truth: tuple[float, float, float]) -> None:
    random = np.random.default_rng(5)
    for _ in range(5):
        samples = drawn(truth, 3, 0.03, random, (2, 4, 8, 16, 32))
        means = np.mean(samples, axis=1)
        noise = noise_of((2, 4, 8, 16, 32), samples)
        assert noise is not None
        errors = np.sqrt(noise.variances)
        (limit, amplitude, order), _ = curve_fit(
            lambda depth, a, b, p: a + b * depth**-p,
            np.array([2.0, 4, 8, 16, 32]),
            means,
            p0=(max(truth[0], 0.01), *truth[1:]),
            sigma=means * errors,
            bounds=([0, -np.inf, 0.1], [np.inf, np.inf, 6]),
            xtol=1e-12,
            ftol=1e-12,
        )
        fit = fitted(fit_limit((2, 4, 8, 16, 32), samples))
        found = (fit.base, fit.amplitude, fit.shape)
        assert found == pytest.approx((limit, amplitude, order), rel=1e-3, abs=1e-5)


def test_the_order_of_depths_does_not_matter() -> None:
    samples = drawn(FALLING[0], 3, 0.05, np.random.default_rng(1))
    there, back = fitted(fit_limit(DEPTHS, samples)), fitted(fit_limit(DEPTHS[::-1], samples[::-1]))
    assert what_it_says(back) == pytest.approx(what_it_says(there), rel=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e200])
def test_the_unit_of_the_values_does_not_matter(factor: float) -> None:
    samples = drawn(FALLING[0], 3, 0.05, np.random.default_rng(1))
    one = fitted(fit_limit(DEPTHS, samples))
    other = fitted(fit_limit(DEPTHS, [[factor * v for v in sample] for sample in samples]))
    assert other.shape == pytest.approx(one.shape, rel=1e-6)
    for before, after in zip(intervals(one), intervals(other), strict=True):
        if before is not one.order:
            assert before.half_width is not None
            assert after.half_width == pytest.approx(factor * before.half_width, rel=1e-6)


def test_the_same_data_give_the_same_fit() -> None:
    samples = drawn(FALLING[0], 3, 0.15, np.random.default_rng(1))
    assert fit_limit(DEPTHS, samples) == fit_limit(DEPTHS, samples)


@pytest.mark.parametrize("depths", [(2, 4, 8), (2, 4, 8, 8), ()])
def test_too_few_depths(depths: tuple[int, ...]) -> None:
    found = len(set(depths))
    with pytest.raises(TooFewDepthsError, match=f"too few depths: {found}, a limit needs at least 4"):
        fit_limit(depths, [[1.0, 2.0] for _ in depths])
    with pytest.raises(TooFewDepthsError, match=f"too few depths: {found}, a limit needs at least 4"):
        fit_limit_of_curves(depths, [[1.0 for _ in depths]])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([[1.0]] * 3, "as many values as depths, not 3 for 4"),
        ([[1.0], [1.0], [], [1.0]], "not all 0"),
        ([[1.0], [1.0], [0.0, 0.0], [1.0]], "not all 0"),
        ([[1.0], [1.0], [-1.0, 3.0], [1.0]], "none negative"),
        ([[1.0], [1.0], [math.inf], [1.0]], "finite"),
    ],
)
def test_limit_refuses_what_has_no_relative_misfit(samples: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_limit(DEPTHS, samples)


def test_no_curves() -> None:
    with pytest.raises(ValueError, match="no values"):
        fit_limit_of_curves(DEPTHS, [])


def test_limits_of_curves_have_t_intervals() -> None:
    truths = [(0.1, 1.0, 1.0), (0.2, 2.0, 1.5), (0.3, 1.0, 2.0)]
    fit = fitted(fit_limit_of_curves(DEPTHS, [power_law(truth) for truth in truths]))
    assert fit.limit is not None
    assert fit.order is not None
    assert fit.limit.estimate == pytest.approx(0.2, rel=1e-5)
    assert fit.limit.high == pytest.approx(0.2 + 4.30265273 * 0.1 / math.sqrt(3), rel=1e-4)
    assert fit.order.estimate == pytest.approx(1.5, rel=1e-5)
    assert fit.limit.low == 0.0, "the t interval goes below"
    close = fitted(fit_limit_of_curves(DEPTHS, [power_law((limit, 1, 1)) for limit in (0.19, 0.2, 0.21)])).limit
    assert close is not None
    assert close.low == pytest.approx(0.2 - 4.30265273 * 0.01 / math.sqrt(3), rel=1e-4)


NEAR = (0.99, 1.0, 1.01)
DEEP = (2, 4, 8, 16, 32)


def near(values: Sequence[float], factors: Sequence[float] = NEAR) -> list[list[float]]:
    """Three seeds a depth, one percent apart."""
    return [[value * factor for factor in factors] for value in values]


def test_a_flat_curve_has_no_limit_that_could_be_told() -> None:
    for samples in ([[0.3, 0.3]] * 4, drawn((0.3, 0, 1), 3, 0.03, np.random.default_rng(2))):
        fit = fitted(fit_limit(DEPTHS, samples))
        assert fit.limit is None
        assert fit.undetermined.startswith("a straight line in log L is not rejected")
        assert holds(fit.next_gain, 0.0)
        assert holds(fit.next_value, 0.3)
    curves = fitted(fit_limit_of_curves(DEPTHS, [[0.3] * 4, [0.5] * 4]))
    assert curves.limit is not None
    assert curves.limit.estimate == pytest.approx(0.4)
    assert curves.order is not None
    assert (curves.order.low, curves.order.high) == (None, None)


def test_a_curve_that_turns_is_refused_with_where_it_does() -> None:
    reason = refused(fit_limit(DEEP, near([0.1 + 1 / depth + 0.01 * depth for depth in DEEP])))
    assert reason == "it falls from L = 2 to 8 (p < 0.001) and rises from L = 8 to 32 (p < 0.001)"
    reason = refused(fit_limit(DEEP, near([0.5, 0.8, 1.2, 0.8, 0.5])))
    assert reason.startswith("it rises from L = 2 to 8 (p < 0.001) and falls from L = 8 to ")


def test_a_curve_of_no_form_is_refused_with_its_misfit() -> None:
    found = fit_limit(DEEP, near([1.0, 0.5, 0.3, 0.3, 0.3], (0.997, 1.0, 1.003)))
    assert isinstance(found, Refusal)
    assert found.reason.startswith("no form of curve fits: ")
    assert found.misfit_p is not None
    assert found.misfit_p < 0.04


def test_a_change_that_grows_is_refused() -> None:
    assert refused(fit_limit(DEEP, near([1.0, 0.98, 0.93, 0.8, 0.5]))).startswith("it falls faster with each doubling")
    assert refused(fit_limit(DEEP, near([1.0, 1.02, 1.07, 1.2, 1.5]))).startswith("it rises faster with each doubling")


@pytest.mark.parametrize("slope", [-0.15, 0.3])
def test_a_line_in_log_depth_has_no_limit_but_a_next_value(slope: float) -> None:
    fit = fitted(fit_limit(DEEP, near([1 + slope * math.log(depth) for depth in DEEP])))
    assert fit.limit is None
    assert fit.undetermined.startswith("a straight line in log L is not rejected (p = ")
    assert holds(fit.next_value, 1 + slope * math.log(64))
    assert holds(fit.next_gain, -slope * math.log(2))


def test_the_limit_spans_forms_that_cannot_be_told_apart() -> None:
    """A logarithmic curve goes to 0, and the power through its values to .17."""
    fit = fitted(fit_limit(DEEP, drawn_from(lambda depth: 1 / (1 + math.log(depth)), 3, 0.03)))
    assert {"power", "logarithmic"} <= set(fit.forms)
    assert fit.limit is not None
    assert fit.limit.low is not None
    assert fit.limit.low < 0.01
    assert fit.limit.high is not None
    assert fit.limit.high > 0.17


def test_another_form_stands_where_the_power_is_rejected() -> None:
    fit = fitted(fit_limit(DEEP, drawn_from(lambda depth: 0.2 + math.exp(-depth / 8), 5, 0.01)))
    assert (fit.form, fit.order) == ("exponential", None)
    assert "power" not in fit.forms
    assert fit.limit is not None
    assert holds(fit.limit, 0.2)
    assert fit.fitted_value == pytest.approx(0.2 + math.exp(-4), rel=0.02)


def drawn_from(curve: Callable[[float], float], seeds: int, sd: float) -> list[list[float]]:
    random = np.random.default_rng(3)
    return [[curve(depth) * float(np.exp(sd * random.standard_normal())) for _ in range(seeds)] for depth in DEEP]


def test_no_limit_is_above_the_cap_or_the_last_value() -> None:
    rising = near([1.0, 1.5, 1.75, 1.875, 1.9375])
    assert (
        fitted(fit_limit(DEEP, rising, cap=1.9)).undetermined == "the fitted limit is above 1.9, the value of a guess"
    )
    capped = fitted(fit_limit(DEEP, rising, cap=2.02)).limit
    assert capped is not None
    assert capped.high is not None
    assert capped.high <= 2.02
    falling = drawn((0.2, 1.0, 1.0), 3, 0.03, np.random.default_rng(7), DEEP)
    last, limit = mean_interval(falling[-1], "positive"), fitted(fit_limit(DEEP, falling)).limit
    assert limit is not None
    assert limit.high is not None
    assert last.high is not None
    assert limit.high <= last.high


def test_no_values_are_too_odd_for_a_fit() -> None:
    random = np.random.default_rng(8)
    for _ in range(60):
        values = 10.0 ** random.uniform(-6, 3, (int(random.integers(4, 7)), int(random.integers(2, 4))))
        fit = fit_limit([2**j for j in range(len(values))], values.tolist())
        if isinstance(fit, LimitFit):
            found = [each for each in (fit.limit, fit.order, fit.next_value, fit.next_gain) if each is not None]
            assert all(holds(each, each.estimate) and math.isfinite(each.estimate) for each in found)
            assert fit.limit is None or fit.limit.estimate >= 0
        fit_limit_of_curves([2**j for j in range(len(values))], values.T.tolist())


def test_single_seeds_tell_nothing_of_the_fit() -> None:
    with pytest.raises(NoSpreadError, match="too few seeds"):
        fit_limit(DEPTHS, [[value] for value in power_law(FALLING[0])])


def test_numbers_of_seeds_may_differ() -> None:
    samples = drawn(FALLING[0], 5, 0.02, np.random.default_rng(4))
    fit = fitted(fit_limit(DEPTHS, [sample[: 5 - j] for j, sample in enumerate(samples)]))
    assert fit.next_value.n == 2
    assert holds(fit.next_value, 0.2 + 1 / 32)


def test_curves_without_noise_are_refused_where_a_power_is_far_off() -> None:
    turning = [0.1 + 1 / depth + 0.01 * depth for depth in DEEP]
    assert refused(fit_limit_of_curves(DEEP, [turning, turning])).startswith("a + C / L^p misses the values by ")
    fine = [0.1 + 1 / depth + 0.3 / depth**2 for depth in DEEP]
    assert 0 < fitted(fit_limit_of_curves(DEEP, [fine, fine])).residual < 0.01


@pytest.mark.statistics
@pytest.mark.parametrize("name", [".2 + 1/L", ".006 + .6/L^1.5"])
@pytest.mark.parametrize("noise", ["3 %", "digits", "stability"])
def test_the_true_form_is_kept_and_covered(name: str, noise: str) -> None:
    """Of 120 sets, 17 refused where 7 % are, or 102 intervals that hold the truth where 92 % do, have chances of 1 in 200."""
    row = simulate(POWERS[name], NOISE[noise], 3, 120)
    assert row.refused <= 17 / 120
    fits = round(120 * (1 - row.refused))
    for share, count in ((row.limit, row.printed), (row.next_value, fits), (row.next_gain, fits)):
        assert share * count >= binom.ppf(0.005, count, 0.92)


@pytest.mark.statistics
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("noise", ["3 %", "10 %"])
def test_no_wrong_curve_gets_a_limit_that_excludes_the_truth(name: str, noise: str) -> None:
    """Where there is no limit, at most 2 of 60 sets may have one; otherwise 90 % of them hold it, up to chance."""
    row = simulate(WRONG[name], NOISE[noise], 5, 60)
    if WRONG[name].limit is None:
        assert row.printed <= 2
    else:
        assert row.limit * row.printed >= binom.ppf(0.005, row.printed, 0.9)
