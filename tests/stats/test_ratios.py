"""Log-ratios, their p values and Holm's method, against SciPy and against the definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dnlbench.stats import LogRatio, geometric_mean, holm, paired_log_ratio, welch_log_ratio

RANDOM = np.random.default_rng(17)
SAMPLES = [
    (RANDOM.lognormal(0, 0.5, n).tolist(), RANDOM.lognormal(0.2, 0.1, n).tolist()) for n in (2, 3, 5, 40) for _ in "ab"
]


@pytest.mark.parametrize(("reference", "candidate"), SAMPLES)
def test_paired_p_values_are_scipys(reference: list[float], candidate: list[float]) -> None:
    found, logs = paired_log_ratio(reference, candidate), (np.log(candidate), np.log(reference))
    assert found.p() == pytest.approx(scipy_stats.ttest_rel(*logs).pvalue, rel=1e-9)
    for bound in (-0.1, 0.0, 0.3):
        expected = scipy_stats.ttest_1samp(logs[0] - logs[1], bound, alternative="greater").pvalue
        assert found.p_above(bound) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("reference", "candidate"), SAMPLES)
def test_welchs_p_values_are_scipys(reference: list[float], candidate: list[float]) -> None:
    candidate = [*candidate, 1.5, 1.6]
    found, logs = welch_log_ratio(reference, candidate), (np.log(candidate), np.log(reference))
    expected = scipy_stats.ttest_ind(*logs, equal_var=False)
    assert found.p() == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.freedom == pytest.approx(expected.df)
    above = scipy_stats.ttest_ind(logs[0] - 0.2, logs[1], equal_var=False, alternative="greater").pvalue
    assert found.p_above(0.2) == pytest.approx(above, rel=1e-9)


@pytest.mark.parametrize(("reference", "candidate"), SAMPLES)
def test_p_value_and_interval_never_contradict(reference: list[float], candidate: list[float]) -> None:
    for found in (paired_log_ratio(reference, candidate), welch_log_ratio(reference, candidate)):
        low, high, p = found.ratio.low, found.ratio.high, found.p()
        assert low is not None
        assert high is not None
        assert p is not None
        assert (p < 0.05) == (not low <= 1 <= high)
        at_bound = found.p_above(math.log(low))
        assert at_bound == pytest.approx(0.025)


def test_without_a_spread_a_difference_is_certain() -> None:
    same, other = paired_log_ratio([2.0, 3.0], [2.0, 3.0]), welch_log_ratio([2.0, 2.0], [3.0, 3.0])
    assert (same.p(), same.ratio.low, same.ratio.estimate, same.ratio.high) == (1.0, 1.0, 1.0, 1.0)
    assert (other.p(), other.p_above(math.log(1.4)), other.p_above(math.log(1.6))) == (0.0, 0.0, 1.0)
    assert other.ratio.low == other.ratio.high == pytest.approx(1.5)


def test_one_replicate_has_no_p_value() -> None:
    for found in (paired_log_ratio([1.0], [2.0]), welch_log_ratio([1.0], [2.0, 3.0])):
        assert (found.p(), found.p_above(0.0), found.ratio.low) == (None, None, None)


def test_the_inverse_is_reference_over_candidate() -> None:
    reference, candidate = SAMPLES[4]
    found, expected = paired_log_ratio(reference, candidate).inverse.ratio, paired_log_ratio(candidate, reference).ratio
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_geometric_mean() -> None:
    assert geometric_mean([1.0, 4.0, 16.0]) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="positive finite"):
        geometric_mean([1.0, 0.0])


def closed_test(p_values: list[float], place: int) -> float:
    """Holm by its definition: the largest Bonferroni p of all sets of hypotheses that hold this one."""
    others = [p for at, p in enumerate(p_values) if at != place]
    sets = itertools.chain.from_iterable(itertools.combinations(others, size) for size in range(len(others) + 1))
    return max(min(1.0, (len(chosen) + 1) * min([p_values[place], *chosen])) for chosen in sets)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    expected = [closed_test(p_values, place) for place in range(len(p_values))]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_of_the_textbook_and_of_what_has_no_p() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.04, None]) == [None, 0.04, None]
    assert holm([]) == []


def test_log_ratios_are_values() -> None:
    assert LogRatio(estimate=0.1, error=0.2, freedom=4, n=5) == LogRatio(estimate=0.1, error=0.2, freedom=4, n=5)
