"""On curves that are known, against SciPy's fit, and by how often the intervals hold what the data were drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import curve_fit

from dnlbench.stats import (
    Interval,
    LimitFit,
    TooFewDepthsError,
    fit_exponent,
    fit_limit,
    fit_limit_of_curves,
    fit_order,
)

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


def intervals(fit: LimitFit) -> tuple[Interval, ...]:
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
    seeds = fit_limit(depths, [[value] * 3 for value in values])
    curves = fit_limit_of_curves(depths, [values, values])
    last, following = power_law(truth, (depths[-1], 2 * depths[-1]))
    for fit in (seeds, curves):
        expected = [each for value in (truth[0], truth[2], following, last - following) for each in [value] * 3]
        assert what_it_says(fit) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert fit.amplitude == pytest.approx(truth[1], rel=1e-5)
        assert fit.residual == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("truth", [*FALLING, (1.0, -0.5, 1.0)])
def test_estimates_are_scipys(truth: tuple[float, float, float]) -> None:
    random = np.random.default_rng(5)
    for _ in range(5):
        samples = drawn(truth, 3, 0.03, random, (2, 4, 8, 16, 32))
        means = np.mean(samples, axis=1)
        (limit, amplitude, order), _ = curve_fit(
            lambda depth, a, b, p: a + b * depth**-p,
            np.array([2.0, 4, 8, 16, 32]),
            means,
            p0=(max(truth[0], 0.01), *truth[1:]),
            sigma=means,
            bounds=([0, -np.inf, 0.1], [np.inf, np.inf, 6]),
            xtol=1e-12,
            ftol=1e-12,
        )
        fit = fit_limit((2, 4, 8, 16, 32), samples)
        found = (fit.limit.estimate, fit.amplitude, fit.order.estimate)
        assert found == pytest.approx((limit, amplitude, order), rel=1e-3, abs=1e-5)


def test_the_order_of_depths_does_not_matter() -> None:
    samples = drawn(FALLING[0], 3, 0.05, np.random.default_rng(1))
    there, back = fit_limit(DEPTHS, samples), fit_limit(DEPTHS[::-1], samples[::-1])
    assert what_it_says(back) == pytest.approx(what_it_says(there), rel=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e200])
def test_the_unit_of_the_values_does_not_matter(factor: float) -> None:
    samples = drawn(FALLING[0], 3, 0.05, np.random.default_rng(1))
    one, other = fit_limit(DEPTHS, samples), fit_limit(DEPTHS, [[factor * v for v in sample] for sample in samples])
    assert other.order.estimate == pytest.approx(one.order.estimate, rel=1e-6)
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


def test_a_flat_curve_has_no_order() -> None:
    exact = fit_limit(DEPTHS, [[0.3, 0.3]] * 4)
    curves = fit_limit_of_curves(DEPTHS, [[0.3] * 4, [0.5] * 4])
    noisy = fit_limit(DEPTHS, drawn((0.3, 0, 1), 3, 0.03, np.random.default_rng(2)))
    for fit in (exact, curves, noisy):
        assert (fit.order.low, fit.order.high) == (None, None)
    assert (exact.limit.low, exact.limit.high) == pytest.approx((0.3, 0.3))
    assert exact.next_gain.half_width == pytest.approx(0, abs=1e-10)
    assert holds(noisy.limit, 0.3)
    assert holds(noisy.next_gain, 0.0)
    assert curves.limit.estimate == pytest.approx(0.4)


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_values_that_rise_without_end_have_no_upper_limit(spread: float) -> None:
    values = [math.log(8 * depth) for depth in DEPTHS]
    fit = fit_limit(DEPTHS, [[value * (1 + spread), value, value * (1 - spread)] for value in values])
    curves = fit_limit_of_curves(DEPTHS, [values, values])
    assert fit.amplitude < 0
    assert fit.limit.high is None
    assert fit.order.low is None
    assert fit.next_gain.high is not None
    assert fit.next_gain.high < 0
    assert (curves.limit.low, curves.limit.high, curves.order.low) == (None, None, None)


def test_values_that_fall_without_end_may_have_the_limit_0() -> None:
    fit = fit_limit(DEPTHS, [[8 - math.log(depth) / 2] * 2 for depth in DEPTHS])
    assert fit.limit.estimate > 1
    assert fit.limit.low == 0.0
    assert fit.limit.high is not None
    assert fit.order.low is None
    assert fit.next_gain.estimate > 0


def test_no_values_are_too_odd_for_a_fit() -> None:
    random = np.random.default_rng(8)
    for _ in range(200):
        values = 10.0 ** random.uniform(-6, 3, (int(random.integers(4, 7)), int(random.integers(1, 4))))
        fit = fit_limit([2**j for j in range(len(values))], values.tolist())
        assert all(holds(each, each.estimate) and math.isfinite(each.estimate) for each in intervals(fit))
        assert fit.limit.estimate >= 0
        assert fit.limit.low is None or fit.limit.low >= 0
        fit_limit_of_curves([2**j for j in range(len(values))], values.T.tolist())


def test_misfit_widens_the_intervals_where_the_seeds_agree() -> None:
    crooked = [
        [value * (1 + sign * 0.05)] * 3 for value, sign in zip(power_law(FALLING[0]), (1, -1, 1, -1), strict=True)
    ]
    fit = fit_limit(DEPTHS, crooked)
    assert fit.residual > 0.01
    assert fit.next_value.half_width is not None
    assert fit.next_value.half_width > 0.01 * fit.next_value.estimate


def test_single_seeds_give_estimates_without_intervals() -> None:
    values = power_law(FALLING[0])
    for fit in (fit_limit(DEPTHS, [[value] for value in values]), fit_limit_of_curves(DEPTHS, [values])):
        assert fit.limit.estimate == pytest.approx(0.2, rel=1e-6)
        assert all((each.low, each.high, each.n) == (None, None, 1) for each in intervals(fit))


def test_numbers_of_seeds_may_differ() -> None:
    samples = drawn(FALLING[0], 5, 0.02, np.random.default_rng(4))
    fit = fit_limit(DEPTHS, [sample[: 5 - j] for j, sample in enumerate(samples)])
    assert fit.limit.n == 2
    assert holds(fit.limit, 0.2)


def test_a_limit_that_may_be_0_has_the_lower_bound_0() -> None:
    fit = fit_limit(DEPTHS, drawn((0, 1, 1), 3, 0.1, np.random.default_rng(6)))
    assert fit.limit.low == 0
    assert fit.limit.high is not None
    assert fit.limit.high < 0.0625


def test_limits_of_curves_have_t_intervals() -> None:
    truths = [(0.1, 1.0, 1.0), (0.2, 2.0, 1.5), (0.3, 1.0, 2.0)]
    fit = fit_limit_of_curves(DEPTHS, [power_law(truth) for truth in truths])
    assert fit.limit.estimate == pytest.approx(0.2, rel=1e-5)
    assert fit.limit.high == pytest.approx(0.2 + 4.30265273 * 0.1 / math.sqrt(3), rel=1e-4)
    assert fit.order.estimate == pytest.approx(1.5, rel=1e-5)
    assert fit.limit.low == 0.0, "the t interval goes below"
    close = fit_limit_of_curves(DEPTHS, [power_law((limit, 1, 1)) for limit in (0.19, 0.2, 0.21)]).limit
    assert close.low == pytest.approx(0.2 - 4.30265273 * 0.01 / math.sqrt(3), rel=1e-4)


@pytest.mark.statistics
@pytest.mark.parametrize("truth", FALLING)
@pytest.mark.parametrize(("seeds", "depths"), [(3, DEPTHS), (5, (2, 4, 8, 16, 32))])
def test_intervals_cover_the_truth(truth: tuple[float, float, float], seeds: int, depths: tuple[int, ...]) -> None:
    """Of 300 intervals that cover 95 % each, fewer than 273 hold the truth in less than 1 case of 300 (binomial)."""
    random = np.random.default_rng(13)
    last, following = power_law(truth, (depths[-1], 2 * depths[-1]))
    expected = (truth[0], truth[2], following, last - following)
    fits = [fit_limit(depths, drawn(truth, seeds, 0.08, random, depths)) for _ in range(300)]
    for index, value in enumerate(expected):
        assert sum(holds(intervals(fit)[index], value) for fit in fits) >= 273
