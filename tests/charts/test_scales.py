"""The rule for logarithmic axes, and values that axes cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from dnlbench.charts.model import Axis, Chart, Series
from dnlbench.charts.scales import cannot_show, drawable, with_scale
from dnlbench.stats import Range


def chart_of(y: Sequence[float], range_: Range = "positive", low: Sequence[float] | None = None) -> Chart:
    x = tuple(map(float, range(len(y))))
    series = Series(key="a", label="a", role="mean", x=x, y=y, low=low, high=low and y)
    axis = Axis(label="y", range=range_)
    return Chart(key="c", title="c", x=Axis(label="x"), y=axis, series=(series,) if y else ())


@pytest.mark.parametrize(
    ("y", "range_", "preferred", "scale"),
    [
        ([1.0, 2.0], "positive", False, "linear"),
        ([1.0, 8.0], "positive", False, "log"),  # a wide span
        ([1.0, 2.0], "positive", True, "log"),
        ([0.0, 8.0], "positive", True, "linear"),  # no place for 0
        ([-1.0, 8.0], "any", True, "linear"),
        ([0.1, 0.9], "fraction", False, "linear"),
        ([1.0, math.inf, math.nan], "positive", True, "log"),  # of the finite values
        ([], "positive", True, "log"),
    ],
)
def test_an_axis_is_logarithmic_if_all_means_are_above_zero(
    y: list[float], range_: Range, preferred: bool, scale: str
) -> None:
    chart = chart_of(y, range_)
    assert with_scale(chart, prefer_log=preferred).y.scale == scale
    assert with_scale(chart, prefer_log=preferred, log=True).y.scale == "log"
    assert with_scale(chart, prefer_log=preferred, log=False).y.scale == "linear"


def test_notes_count_values_that_an_axis_cannot_show() -> None:
    chart = chart_of([0.0, -1.0, 2.0], "any")
    assert list(cannot_show(chart, "linear")) == []
    assert list(cannot_show(chart, "log")) == ["2 values ≤ 0 are not shown on the logarithmic axis."]
    old = chart_of([1.0, 2.0, 3.0], "positive", low=[-1.0, 1.0, -2.0])
    note = "2 interval bounds below 0 cut at the axis: no value can lie there."
    assert list(cannot_show(old, "log")) == list(cannot_show(old, "linear")) == [note]
    assert with_scale(old, prefer_log=True).notes == (note,)


@pytest.mark.parametrize(
    ("value", "result"), [(2.0, 2.0), (1e-300, 0.0), (-1e300, None), (math.inf, None), (math.nan, None)]
)
def test_the_range_of_drawable_numbers(value: float, result: float | None) -> None:
    assert drawable(value) == result
