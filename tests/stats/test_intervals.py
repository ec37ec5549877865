"""Against SciPy's own tests, which use other code paths than ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dnlbench.stats import (
    LEVEL,
    Range,
    axis_within,
    log_mean_interval,
    mean_interval,
    paired_log_ratio,
    welch_log_ratio,
)

RANDOM = np.random.default_rng(7)
SAMPLES = [RANDOM.lognormal(size=n).tolist() for n in (2, 3, 5, 40)]


@pytest.mark.parametrize("values", SAMPLES)
def test_mean_interval_is_scipys(values: list[float]) -> None:
    found = mean_interval(values)
    expected = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-10)
    assert found.estimate == pytest.approx(np.mean(values))
    assert found.n == len(values)


@pytest.mark.parametrize("values", SAMPLES)
def test_paired_ratio_is_scipys_on_logs(values: list[float]) -> None:
    other = [v * f for v, f in zip(values, RANDOM.lognormal(0.1, 0.2, len(values)), strict=True)]
    expected = scipy_stats.ttest_rel(np.log(other), np.log(values)).confidence_interval(LEVEL)
    found = paired_log_ratio(values, other).ratio
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-10)


@pytest.mark.parametrize("values", SAMPLES)
def test_welch_ratio_is_scipys_on_logs(values: list[float]) -> None:
    other = RANDOM.lognormal(0.3, 0.5, 4).tolist()
    expected = scipy_stats.ttest_ind(np.log(other), np.log(values), equal_var=False).confidence_interval(LEVEL)
    found = welch_log_ratio(values, other).ratio
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-9)


def test_pairing_removes_what_the_pairs_share() -> None:
    reference = [0.1, 1.0, 10.0]
    candidate = [0.11, 1.1, 11.0]
    paired, welch = paired_log_ratio(reference, candidate).ratio, welch_log_ratio(reference, candidate).ratio
    assert paired.estimate == pytest.approx(welch.estimate) == pytest.approx(1.1)
    assert paired.half_width == pytest.approx(0, abs=1e-12)
    assert welch.half_width is not None
    assert welch.half_width > 1


def test_intervals_cover_the_truth_at_five_seeds() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(4000):
        interval = mean_interval(random.normal(3.0, 2.0, 5).tolist())
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 3.0 <= interval.high
    assert 0.94 < covered / 4000 < 0.96


def test_one_value_gives_no_interval() -> None:
    assert mean_interval([2.0]).half_width is None
    assert welch_log_ratio([1.0], [2.0, 3.0]).ratio.low is None


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ([1.0, 0.0], [1.0, 1.0], "positive finite values, not 0.0"),
        ([1.0], [math.nan], "positive finite values, not nan"),
        ([], [], "no values"),
    ],
)
def test_ratios_refuse_what_has_no_logarithm(reference: list[float], candidate: list[float], message: str) -> None:
    for ratio in (paired_log_ratio, welch_log_ratio):
        with pytest.raises(ValueError, match=message):
            ratio(reference, candidate)


def test_bounds_beyond_the_range_of_floats_are_infinite_and_zero() -> None:
    far = [1e-300, 1e300]
    for found in (paired_log_ratio([1.0, 1.0], far).ratio, welch_log_ratio([1.0, 1.0], far).ratio):
        assert (found.low, found.high) == (0.0, math.inf)
        assert found.estimate == pytest.approx(1.0)
    for ratio in (paired_log_ratio, welch_log_ratio):
        assert ratio([5e-324], [1e308]).ratio.estimate == math.inf
        assert ratio([1e308], [5e-324]).ratio.estimate == 0.0


def test_spreads_beyond_the_range_of_floats_are_infinite() -> None:
    assert mean_interval([1e200, 3e200]).half_width == math.inf
    assert mean_interval([1.5e308, 1.5e308]).estimate == math.inf


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="one length, not 2 and 1"):
        paired_log_ratio([1.0, 2.0], [1.0])


T1 = 12.706204736174694
"""Student's t at 97.5 % with one degree of freedom."""


def test_a_positive_quantity_has_an_interval_above_zero() -> None:
    """Of 5 and 9 thousand samples/s the symmetric interval is 7 ± 25 thousand."""
    found, plain = mean_interval([5e3, 9e3], "positive"), mean_interval([5e3, 9e3])
    assert plain.low is not None
    assert plain.low < -18e3
    factor = math.exp(T1 * 2e3 / 7e3)  # s / √2 is 2 thousand
    assert (found.estimate, found.low, found.high) == pytest.approx((7e3, 7e3 / factor, 7e3 * factor))


def test_a_share_has_an_interval_within_it() -> None:
    """Of the accuracies 0.38 and 0.62 the symmetric interval is 0.5 ± 1.5."""
    found = mean_interval([0.38, 0.62], "fraction")
    odds = math.exp(T1 * 0.12 / 0.25)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 1 / (1 + odds), odds / (1 + odds)))


@pytest.mark.parametrize("range_", ["positive", "fraction"])
def test_a_short_interval_is_the_symmetric_one(range_: Range) -> None:
    values = [0.7, 0.7001, 0.7002]
    found, plain = mean_interval(values, range_), mean_interval(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=1e-6)


def test_values_at_an_end_of_the_range_have_no_interval() -> None:
    cases: list[tuple[list[float], Range]] = [
        ([0.0, 0.0], "positive"),
        ([0.0, 0.0], "fraction"),
        ([1.0, 1.0, 1.0], "fraction"),
    ]
    for values, range_ in cases:
        found = mean_interval(values, range_)
        assert (found.estimate, found.low, found.high) == (values[0], None, None)
    some = mean_interval([0.0, 0.0, 0.3], "positive")
    assert some.low is not None
    assert 0 < some.low < 0.1
    equal = mean_interval([0.5, 0.5], "fraction")
    assert (equal.low, equal.high) == (0.5, 0.5)


def test_values_outside_the_range_widen_it() -> None:
    """A utilization may exceed 1 where the measured peak is too low."""
    values = [1.02, 0.9, 0.7]
    assert mean_interval(values, "fraction") == mean_interval(values, "positive")
    assert mean_interval([-1.0, 0.5], "fraction") == mean_interval([-1.0, 0.5])


@pytest.mark.parametrize("values", SAMPLES)
def test_the_geometric_mean_has_the_interval_of_the_mean_logarithm(values: list[float]) -> None:
    expected = scipy_stats.ttest_1samp(np.log(values), 0.0).confidence_interval(LEVEL)
    found = log_mean_interval(values)
    assert found.estimate == pytest.approx(scipy_stats.gmean(values))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-10)


def test_an_axis_ends_where_its_range_does() -> None:
    assert axis_within("fraction", [0.2, 1.0], -0.1, 1.1) == (0.0, 1.0)
    assert axis_within("fraction", [0.2, 1.04], -0.1, 1.1) == (0.0, 1.1)
    assert axis_within("positive", [], -0.1, 1.1) == (0.0, 1.1)
    assert axis_within("any", [0.2], -0.1, 1.1) == (-0.1, 1.1)


@pytest.mark.statistics
@pytest.mark.parametrize("n", [2, 3, 5])
def test_intervals_within_a_range_cover_the_truth_as_often_as_they_say(n: int) -> None:
    random = np.random.default_rng(13)
    cases: list[tuple[np.ndarray, float, Range]] = [
        (random.lognormal(0, 0.2, (8000, n)), math.exp(0.02), "positive"),
        (random.normal(1, 0.1, (8000, n)), 1.0, "positive"),
        (random.beta(8, 2, (8000, n)), 0.8, "fraction"),
        (random.beta(40, 2, (8000, n)), 40 / 42, "fraction"),
    ]
    for samples, truth, range_ in cases:
        found = [mean_interval(values, range_) for values in samples.tolist()]
        covered = sum(
            each.low is not None and each.high is not None and each.low <= truth <= each.high for each in found
        )
        assert 0.935 < covered / len(found) < 0.965
