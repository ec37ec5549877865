from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.charts.model import Axis, Chart, Series
from dnlbench.charts.terminal.cursor import nearest, next_x, values_at
from dnlbench.charts.terminal.limits import full_frame, limits_of
from dnlbench.charts.terminal.scale import Frame, Scale
from dnlbench.charts.terminal.view import View

FULL = Frame(x=Scale(low=0.0, high=100.0), y=Scale(low=0.1, high=10.0, log=True))


def curve(key: str, ys: list[float], *, parent: str = "") -> Series:
    x = [float(k) for k in range(1, len(ys) + 1)]
    return Series(key=key, label=key.upper(), role="run" if parent else "mean", x=x, y=ys, parent=parent)


CHART = Chart(
    key="c",
    title="t",
    x=Axis(label="epoch"),
    y=Axis(label="loss"),
    series=(
        curve("a0", [9.0] * 6, parent="a"),
        curve("a", [4.0, 3.0, 2.0, 1.0]),
        curve("b", [2.0, 1.0, 0.0]),
    ),
)


def test_zooming_keeps_what_is_under_the_pointer() -> None:
    view = View().zoomed(2.0, about=0.2, shown=FULL, full_frame=FULL)
    assert view.x == pytest.approx((10.0, 60.0))
    assert View().zoomed_y(2.0, about=0.5, shown=FULL, full_frame=FULL).y == pytest.approx((10**-0.5, 10**0.5))


def test_zooming_out_ends_with_everything() -> None:
    view = View().zoomed(2.0, about=0.5, shown=FULL, full_frame=FULL)
    shown = Frame(x=Scale(low=25.0, high=75.0), y=FULL.y)
    assert view.zoomed(0.5, about=0.5, shown=shown, full_frame=FULL).x is None


@given(st.lists(st.tuples(st.sampled_from([1.5, 1 / 1.5, 40.0]), st.floats(0, 1), st.floats(-2, 2)), max_size=12))
def test_panning_stays_within_the_data(moves: list[tuple[float, float, float]]) -> None:
    view = View()
    for factor, about, step in moves:
        shown = Frame(x=FULL.x if view.x is None else Scale(low=view.x[0], high=view.x[1]), y=FULL.y)
        view = view.zoomed(factor, about=about, shown=shown, full_frame=FULL)
        if view.x is not None:
            shown = Frame(x=Scale(low=view.x[0], high=view.x[1]), y=FULL.y)
            view = view.panned(step, 0.0, shown=shown, full_frame=FULL)
        if view.x is not None:
            assert -1e-9 <= view.x[0] < view.x[1] <= 100 + 1e-9


def test_series_are_hidden_and_shown() -> None:
    assert View().toggled("a").hidden == {"a"}
    assert View().toggled("a").toggled("a").hidden == frozenset()
    isolated = View().isolated("a", ["a", "b", "c"])
    assert isolated.hidden == {"b", "c"}
    assert isolated.isolated("a", ["a", "b", "c"]).hidden == frozenset()
    assert isolated.isolated("b", ["a", "b", "c"]).hidden == {"a", "c"}


def test_selection_is_cyclic() -> None:
    view = View().next_focus(["a", "b"], 1)
    assert view.focus_series == "a"
    assert view.next_focus(["a", "b"], -1).focus_series == "b"
    assert view.next_focus([], 1).focus_series is None


def test_smoothing_is_cyclic() -> None:
    weights = [View().smoothing, View().smoother().smoothing, View().smoother().smoother().smoothing]
    assert weights == [0.0, 0.6, 0.9]
    assert View(smoothing=0.9).smoother().smoothing == 0.0


def test_reset_keeps_the_selection() -> None:
    view = View(log_y=True, x=(1.0, 2.0), hidden=frozenset("a"), cursor=1.0, focus_series="b", smoothing=0.6)
    assert view.reset() == View(focus_series="b")


def test_axes_fit_the_visible_series() -> None:
    assert limits_of(CHART, View()).frame.y.high > 9
    assert limits_of(CHART, View(hidden=frozenset("a"))).frame.y.high < 3
    assert limits_of(CHART, View(log_y=True)).left_out == 1
    assert limits_of(CHART, View(hidden=frozenset("ab"))).empty


def test_y_fits_the_zoomed_range_of_x() -> None:
    result = limits_of(CHART, View(x=(3.0, 4.0), hidden=frozenset("b"))).frame
    assert (result.x.low, result.x.high) == (3.0, 4.0)
    assert full_frame(CHART, View(x=(3.0, 4.0))).x.high == 6.0


def test_cursor_values_are_those_of_the_nearest_points() -> None:
    result = values_at(CHART, View(), 2.2)
    assert result.x == 2.0
    assert [(r.key, r.x, r.y) for r in result.readings] == [("a", 2.0, 3.0), ("b", 2.0, 1.0)]
    assert [r.key for r in values_at(CHART, View(hidden=frozenset("a")), 2.2).readings] == ["b"]


def test_no_cursor_value_beyond_the_end_of_a_series() -> None:
    assert [r.y for r in values_at(CHART, View(), 4.2).readings] == [1.0, None]


def test_cursor_values_are_smoothed_up_to_the_point() -> None:
    reading = values_at(CHART, View(smoothing=0.6), 2.0).readings[0]
    assert reading.y == 3.0
    assert reading.smoothed == pytest.approx((0.6 * 4 + 3) / 1.6)


def test_nearest() -> None:
    assert [nearest([1.0, 2.0, 4.0], at) for at in (-1.0, 1.4, 3.0, 3.1, 99.0)] == [0, 0, 1, 2, 2]
    assert nearest([], 1.0) is None


def test_the_cursor_goes_from_point_to_point() -> None:
    scale = Scale(low=1.0, high=6.0)
    assert next_x(CHART, View(), None, 1, scale, 60) == 3.0
    assert next_x(CHART, View(), 3.0, 1, scale, 60) == 4.0
    assert next_x(CHART, View(), 3.0, -1, scale, 60) == 2.0
    assert next_x(CHART, View(), 6.0, 1, scale, 60) == 6.0
    assert next_x(CHART, View(), 1.0, 1, scale, 2) == 4.0
    assert next_x(CHART, View(), 1.0, 1, scale, 5) == 2.0
