from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.charts.terminal.curves import smoothed

SMOOTHING_WEIGHTS = st.floats(0.0, 0.99)
FINITE = st.floats(-1e6, 1e6)


def test_closed_form() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    for k, result in enumerate(smoothed(values, 0.6), 1):
        weights = [0.6 ** (k - j) for j in range(1, k + 1)]
        assert result == pytest.approx(sum(w * y for w, y in zip(weights, values, strict=False)) / sum(weights))


@given(FINITE, st.integers(1, 50), SMOOTHING_WEIGHTS)
def test_constants_stay(value: float, count: int, weight: float) -> None:
    assert smoothed([value] * count, weight) == pytest.approx([value] * count)


@given(st.lists(FINITE))
def test_zero_weight_changes_nothing(values: list[float]) -> None:
    assert smoothed(values, 0.0) == values


@given(
    st.lists(FINITE, min_size=1), st.lists(FINITE), st.sampled_from([math.nan, math.inf, -math.inf]), SMOOTHING_WEIGHTS
)
def test_non_finite_values_stay_and_are_skipped(
    before: list[float], after: list[float], bad: float, weight: float
) -> None:
    result = smoothed([*before, bad, *after], weight)
    assert str(result[len(before)]) == str(bad)
    assert result[: len(before)] + result[len(before) + 1 :] == smoothed(before + after, weight)


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_invalid_weights(weight: float) -> None:
    with pytest.raises(ValueError, match="the weight must"):
        smoothed([1.0], weight)
