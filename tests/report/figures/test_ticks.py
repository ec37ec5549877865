from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.report.figures.panel import Ticks
from dnlbench.report.figures.ticks import depth_ticks, minor_log_ticks, value_ticks


@pytest.mark.parametrize(
    ("low", "high", "log", "kind", "labels"),
    [
        (0.0, 1.0, False, "number", ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0094, 0.0126, False, "number", ["0.010", "0.011", "0.012"]),
        (0.01, 2.0, True, "number", ["0.01", "0.03", "0.1", "0.3", "1"]),
        (3e-7, 2e-2, True, "number", ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²"]),
        (1e-5, 9e-5, False, "number", ["2·10⁻⁵", "4·10⁻⁵", "6·10⁻⁵", "8·10⁻⁵"]),
        (1e-30, 1.0, True, "number", ["10⁻³⁰", "10⁻²⁴", "10⁻¹⁸", "10⁻¹²", "10⁻⁶", "10⁰"]),
        (1.1e3, 9e4, True, "count", ["2 k", "5 k", "10 k", "20 k", "50 k"]),
        (0.0, 0.41, False, "share", ["0 %", "10 %", "20 %", "30 %", "40 %"]),
        (1.0, 8.0, False, "whole", ["2", "4", "6", "8"]),
        (0.5, 1.5, False, "whole", ["1"]),
        (-2.0, 1.0, False, "number", ["−2", "−1", "0", "1"]),
    ],
)
def test_labels(low: float, high: float, log: bool, kind: Ticks, labels: list[str]) -> None:
    assert [label for _, label in value_ticks(low, high, 6, log=log, kind=kind)] == labels


@given(
    st.floats(1e-200, 1e200),
    st.floats(1.0001, 1e60),
    st.integers(3, 9),
    st.booleans(),
    st.sampled_from(["number", "count"]),
)
def test_ticks_are_few_within_and_have_labels_of_their_own(
    low: float, ratio: float, most: int, log: bool, kind: Ticks
) -> None:
    found = value_ticks(low, low * ratio, most, log=log, kind=kind)
    slack = 1e-6 * low * ratio
    assert 1 <= len(found) <= most + 2  # where fewer would be one alone
    assert all(low - slack <= value <= low * ratio + slack for value, _ in found)
    assert len({label for _, label in found}) == len(found)


def test_depths_without_room_lose_their_labels_but_not_their_ticks() -> None:
    def apart(a: float, b: float) -> bool:
        return b / a > 1.4

    labelled, others = depth_ticks([1, 2, 3, 4, 5, 6, 7, 8, 9], apart)
    assert [label for _, label in labelled] == ["1", "2", "4", "6", "9"]
    assert others == [3, 5, 7, 8]


def test_minor_ticks_are_left_out_over_many_decades() -> None:
    assert minor_log_ticks(0.9, 21) == [0.9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20]
    assert minor_log_ticks(1e-20, 1) == []
