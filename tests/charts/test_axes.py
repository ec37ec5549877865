"""Ticks of rendered axes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dnlbench.charts.model import Axis, Chart, Scale, Ticks
from dnlbench.charts.mpl.axes import Frame, labeled_depths, number, set_axes


def labels_of(low: float, high: float, scale: Scale, kind: Ticks, height_in: float = 1.7) -> list[tuple[float, str]]:
    """Return the positions and labels of the y ticks."""
    axes = Figure().add_axes((0, 0, 1, 1))
    y = Axis(label="y", scale=scale, ticks=kind)
    chart = Chart(key="", title="", x=Axis(label="x"), y=y, series=())
    set_axes(axes, chart, Frame(x=(0.0, 1.0), y=(low, high)), width_in=2.0, height_in=height_in)
    marks = zip(axes.get_yticks(), (text.get_text() for text in axes.get_yticklabels()), strict=True)
    slack = 1e-9 * (high - low)
    return [(value, label) for value, label in marks if low - slack <= value <= high + slack]


@pytest.mark.parametrize(
    ("low", "high", "scale", "kind", "labels"),
    [
        (0.0, 1.0, "linear", "number", ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0094, 0.0126, "linear", "number", ["0.010", "0.011", "0.012"]),
        (0.01, 2.0, "log", "number", ["0.01", "0.03", "0.1", "0.3", "1"]),
        (3e-7, 2e-2, "log", "number", ["10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01"]),
        (1e-5, 9e-5, "linear", "number", ["2·10⁻⁵", "4·10⁻⁵", "6·10⁻⁵", "8·10⁻⁵"]),
        (1.1e3, 9e4, "log", "count", ["2 k", "5 k", "10 k", "20 k", "50 k"]),
        (0.0, 0.41, "linear", "percent", ["0 %", "10 %", "20 %", "30 %", "40 %"]),
        (1.0, 8.0, "linear", "integer", ["2", "4", "6", "8"]),
        (0.5, 1.5, "linear", "integer", ["1"]),
        (-2.0, 1.0, "linear", "number", ["−2", "−1", "0", "1"]),
    ],
)
def test_labels(low: float, high: float, scale: Scale, kind: Ticks, labels: list[str]) -> None:
    assert [label for _, label in labels_of(low, high, scale, kind)] == labels


@settings(max_examples=40)
@given(
    st.floats(1e-200, 1e200),
    st.floats(1.0001, 1e60),
    st.floats(0.9, 2.6),
    st.sampled_from(["linear", "log"]),
    st.sampled_from(["number", "count"]),
)
def test_ticks_are_few_and_have_labels_of_their_own(
    low: float, ratio: float, height_in: float, scale: Scale, kind: Ticks
) -> None:
    result = labels_of(low, low * ratio, scale, kind, height_in)
    assert 1 <= len(result) <= height_in / 0.27 + 3
    assert len({label for _, label in result}) == len(result)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1, "1"), (-0.25, "−0.25"), (1e-4, "10⁻⁴"), (-3e6, "−3·10⁶"), (1.5e-7, "1.5·10⁻⁷")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_depths_without_room_lose_their_labels() -> None:
    assert labeled_depths([1, 2, 3, 4, 5, 6, 7, 8, 9], lambda a, b: b / a > 1.4) == [1, 2, 4, 6, 9]
