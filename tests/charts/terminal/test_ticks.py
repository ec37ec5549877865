from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dnlbench.charts.model import Ticks
from dnlbench.charts.terminal.scale import Scale, scale_over
from dnlbench.charts.terminal.ticks import column_ticks, linear_labels, row_ticks

BOUNDS = st.floats(-1e12, 1e12)
POSITIVE = st.floats(1e-12, 1e12)


def tick_labels(scale: Scale, columns: int, *, kind: Ticks = "number") -> list[str]:
    return [tick.label for tick in row_ticks(scale, columns, kind=kind)]


def test_round_values_at_equal_steps() -> None:
    assert tick_labels(Scale(low=0.0, high=1.0), 40) == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert tick_labels(Scale(low=1.0, high=150.0), 70, kind="integer") == ["20", "40", "60", "80", "100", "120", "140"]


def test_epoch_ticks_are_integers() -> None:
    assert tick_labels(Scale(low=1.0, high=3.0), 60, kind="integer") == ["1", "2", "3"]


def test_depths_are_powers_of_two() -> None:
    assert tick_labels(Scale(low=1.9, high=33.0, log=True), 60, kind="depth") == ["2", "4", "8", "16", "32"]
    assert tick_labels(Scale(low=1.0, high=1024.0, log=True), 24, kind="depth") == ["1", "8", "64", "512"]


def test_fractions_are_percentages() -> None:
    assert tick_labels(Scale(low=0.0, high=1.0), 40, kind="percent") == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert tick_labels(Scale(low=0.1, high=1.0, log=True), 40, kind="percent") == ["10 %", "20 %", "50 %", "100 %"]


def test_few_decades_are_subdivided() -> None:
    assert tick_labels(Scale(low=0.1, high=10.0, log=True), 60) == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
    assert tick_labels(Scale(low=1e-8, high=1.0, log=True), 40) == ["10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"]
    assert tick_labels(Scale(low=2.0, high=4.0, log=True), 40) == ["2.0", "2.5", "3.0", "3.5", "4.0"]


@pytest.mark.parametrize(
    ("values", "step", "expected"),
    [
        ([0.0, 5000.0, 10000.0], 5000.0, ["0", "5 k", "10 k"]),
        ([11000.0, 11500.0], 500.0, ["11.0 k", "11.5 k"]),
        ([0.0, 2.5e-4], 0.5e-4, ["0", "2.5·10⁻⁴"]),
        ([-1.0, 0.0, 1.0], 1.0, ["−1", "0", "1"]),
        ([0.25], 0.05, ["0.25"]),
        ([2e6, 4e6], 2e6, ["2 M", "4 M"]),
        ([1e20, 2e20], 1e20, ["10²⁰", "2·10²⁰"]),
    ],
)
def test_labels(values: list[float], step: float, expected: list[str]) -> None:
    assert linear_labels(values, step) == expected


@given(BOUNDS, BOUNDS, st.integers(1, 300), st.sampled_from(["number", "integer", "percent"]))
@example(0.0, 2.225073858507e-311, 125, "percent")
@example(0.0, 2.225073858507e-311, 64, "percent")
def test_linear_labels_neither_overlap_nor_repeat(a: float, b: float, columns: int, kind: Ticks) -> None:
    check(scale_over(a, b), columns, kind)


@given(POSITIVE, POSITIVE, st.integers(1, 300), st.sampled_from(["number", "depth", "percent"]))
def test_logarithmic_labels_neither_overlap_nor_repeat(a: float, b: float, columns: int, kind: Ticks) -> None:
    check(scale_over(a, b, log=True), columns, kind)


def check(scale: Scale, columns: int, kind: Ticks) -> None:
    ticks = row_ticks(scale, columns, kind=kind)
    labels = [tick.label for tick in ticks if tick.label]
    assert len(set(labels)) == len(labels)
    for tick in ticks:
        assert 0 <= tick.column < columns
        assert tick.start + len(tick.label) <= columns
    for left, right in pairwise(tick for tick in ticks if tick.label):
        assert right.start - left.start - len(left.label) >= 2
    rows = column_ticks(scale, max(1, columns // 4), kind=kind)
    assert len(set(rows.values())) == len(rows)
    assert all(0 <= row < max(1, columns // 4) for row in rows)
