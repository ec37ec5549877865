"""Against SciPy's own tests, which use other code paths than ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dnlbench.stats import LEVEL, mean_interval, paired_ratio, welch_ratio

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
    found = paired_ratio(values, other)
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-10)


@pytest.mark.parametrize("values", SAMPLES)
def test_welch_ratio_is_scipys_on_logs(values: list[float]) -> None:
    other = RANDOM.lognormal(0.3, 0.5, 4).tolist()
    expected = scipy_stats.ttest_ind(np.log(other), np.log(values), equal_var=False).confidence_interval(LEVEL)
    found = welch_ratio(values, other)
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-9)


def test_pairing_removes_what_the_pairs_share() -> None:
    reference = [0.1, 1.0, 10.0]
    candidate = [0.11, 1.1, 11.0]
    paired, welch = paired_ratio(reference, candidate), welch_ratio(reference, candidate)
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
    assert welch_ratio([1.0], [2.0, 3.0]).low is None


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ([1.0, 0.0], [1.0, 1.0], "positive finite values, not 0.0"),
        ([1.0], [math.nan], "positive finite values, not nan"),
        ([], [], "no values"),
    ],
)
def test_ratios_refuse_what_has_no_logarithm(reference: list[float], candidate: list[float], message: str) -> None:
    for ratio in (paired_ratio, welch_ratio):
        with pytest.raises(ValueError, match=message):
            ratio(reference, candidate)


def test_bounds_beyond_the_range_of_floats_are_infinite_and_zero() -> None:
    far = [1e-300, 1e300]
    for found in (paired_ratio([1.0, 1.0], far), welch_ratio([1.0, 1.0], far)):
        assert (found.low, found.high) == (0.0, math.inf)
        assert found.estimate == pytest.approx(1.0)
    for ratio in (paired_ratio, welch_ratio):
        assert ratio([5e-324], [1e308]).estimate == math.inf
        assert ratio([1e308], [5e-324]).estimate == 0.0


def test_spreads_beyond_the_range_of_floats_are_infinite() -> None:
    assert mean_interval([1e200, 3e200]).half_width == math.inf
    assert mean_interval([1.5e308, 1.5e308]).estimate == math.inf


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="one length, not 2 and 1"):
        paired_ratio([1.0, 2.0], [1.0])
