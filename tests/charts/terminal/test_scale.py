from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.charts.terminal.scale import LARGEST, Scale, extent, joined, scale_over

ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


def test_linear_fractions() -> None:
    scale = Scale(low=2.0, high=6.0)
    assert scale.fractions([2.0, 3.0, 6.0, 8.0]) == [0.0, 0.25, 1.0, 1.5]
    assert scale.value(0.25) == 3.0


def test_logarithmic_fractions() -> None:
    scale = Scale(low=1.0, high=10000.0, log=True)
    assert scale.fractions([10.0, 100.0]) == pytest.approx([0.25, 0.5])
    assert scale.value(0.75) == pytest.approx(1000.0)
    assert all(math.isnan(fraction) for fraction in scale.fractions([0.0, -1.0, math.nan]))


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1.0, 1.0, False), (2.0, 1.0, False), (0.0, 1.0, True), (0.0, math.inf, False)]
)
def test_invalid_axes_are_rejected(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="axis from"):
        Scale(low=low, high=high, log=log)


@given(st.lists(ANYTHING), st.booleans())
def test_extent_of_drawable_values(values: list[float], log: bool) -> None:
    result = extent(values, log=log)
    drawable = [v for v in values if abs(v) <= LARGEST and (v > 0 or not log)]
    assert result.empty == (not drawable)
    assert result.left_out == sum(1 for v in values if log and -LARGEST <= v <= 0)
    if drawable:
        assert (result.low, result.high) == (min(drawable), max(drawable))


@given(ANYTHING, ANYTHING, st.booleans(), st.floats(0, 0.5))
def test_an_axis_exists_for_any_data(a: float, b: float, log: bool, padding: float) -> None:
    scale = scale_over(a, b, log=log, padding=padding)
    assert scale.low < scale.high
    for fraction in (0.0, 0.3, 1.0):
        assert scale.fraction(scale.value(fraction)) == pytest.approx(fraction, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-200, 1e200])
def test_one_value_is_in_the_middle(value: float) -> None:
    assert scale_over(value, value).fraction(value) == pytest.approx(0.5)


def test_padding_is_on_both_sides() -> None:
    assert scale_over(0.0, 10.0, padding=0.1) == Scale(low=-1.0, high=11.0)
    padded = scale_over(1.0, 100.0, log=True, padding=0.5)
    assert (padded.low, padded.high) == pytest.approx((0.1, 1000.0))


def test_extents_join() -> None:
    full_frame = joined([extent([1.0, 2.0]), extent([]), extent([-1.0, 5.0], log=True)])
    assert (full_frame.low, full_frame.high, full_frame.left_out) == (1.0, 5.0, 1)
