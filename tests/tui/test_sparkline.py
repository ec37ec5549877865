from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dnlbench.tui.sparkline import BARS, braille_sparkline, sparkline

ANY_VALUES = st.lists(st.none() | st.floats(), max_size=60)


@pytest.mark.parametrize(
    ("values", "width", "low", "high", "expected"),
    [
        (range(8), 8, 0, None, BARS),
        (range(8), 3, 0, None, "▆▇█"),
        ([1, 2], 5, 0, 2, "   ▅█"),
        ([0, 0, 0], 3, 0, None, "▁▁▁"),
        ([5, 5, 5], 3, 0, None, "███"),
        ([5, 5], 2, 5, 5, "▁▁"),
        ([-9, 0, 99], 3, 0, 10, "▁▁█"),
        ([1, None, math.nan, 1], 4, 0, 1, "█  █"),
        ([math.inf, -math.inf, 1], 3, 0, None, "█▁█"),
        ([None, math.inf], 2, 0, None, " ▁"),
        ([], 2, 0, None, "  "),
        ([1, 2], 0, 0, None, ""),
        ([1, 2], -3, 0, None, ""),
    ],
)
def test_bars(values: list[float | None], width: int, low: float, high: float | None, expected: str) -> None:
    assert sparkline(values, width, low, high) == expected


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([0, 1, 2, 3], 2, "⡠⠊"),
        ([3, 2, 1, 0], 2, "⠑⢄"),
        ([1, 2], 3, "⡈  "),
        ([7, 7, 7, 7], 2, "⣀⣀"),
        ([0, math.nan, None, math.inf, 3], 4, "⡀ ⠁ "),
        ([0, 0, 3, 3, 6, 6, 9, 9], 2, "⡠⠊"),
        ([0, math.nan, 3, 3, math.nan, math.nan, 9, 9], 2, "⡠⠈"),
        ([], 2, "  "),
        ([1, 2], 0, ""),
    ],
)
def test_braille(values: list[float | None], width: int, expected: str) -> None:
    assert braille_sparkline(values, width) == expected


@example(values=[-1.7e308, 1.7e308, 0.0] * 5, width=2)
@given(values=ANY_VALUES, width=st.integers(0, 40))
def test_both_are_as_wide_as_asked_for(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width, low=-1.7e308)) == width
    assert len(sparkline(values, width)) == width
    assert len(braille_sparkline(values, width)) == width
