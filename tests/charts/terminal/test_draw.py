from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnlbench.charts.model import Axis, Chart, Identity, Series
from dnlbench.charts.terminal.draw import ALL_HIDDEN, NOT_POSITIVE, draw
from dnlbench.charts.terminal.text import Theme, blend
from dnlbench.charts.terminal.view import View

THEME = Theme(foreground="#ffffff", background="#000000")
X = [float(k) for k in range(1, 101)]
Y = [3.0 * math.exp(-0.05 * k) + 0.1 for k in range(100)]


A, B = Identity(label="a"), Identity(label="b", index=1)


def chart(*series: Series, notes: tuple[str, ...] = (), unit: str = "") -> Chart:
    x, y = Axis(label="epoch"), Axis(label="loss", unit=unit)
    return Chart(key="c", title="Some chart", x=x, y=y, series=series, notes=notes, empty="nothing yet")


def curve(**more: object) -> Series:
    return Series(**{"key": "a", "label": "a", "role": "mean", "x": X, "y": Y, "identity": A, **more})  # type: ignore[arg-type]


def text(of: Chart, view: View | None = None, width: int = 60, height: int = 16, theme: Theme = THEME) -> str:
    return "\n".join(draw(of, view or View(), width, height, theme).lines)


def test_title_axes_and_units() -> None:
    lines = text(chart(curve(), unit="s")).splitlines()
    assert lines[0].startswith("Some chart")
    assert lines[0].endswith("loss (s)")
    assert lines[-1].rstrip().endswith("epoch")
    assert "└" in lines[-2]
    assert "┤" in "".join(line[:6] for line in lines)


def test_logarithmic_axes_are_named() -> None:
    lines = text(chart(curve()), View(log_x=True, log_y=True))
    assert "log y" in lines
    assert "epoch (log)" in lines


def test_values_without_a_logarithm_are_counted() -> None:
    assert "2 ≤ 0 not shown" in text(chart(curve(y=[*Y[:98], 0.0, -1.0])), View(log_y=True), width=80)
    assert NOT_POSITIVE in text(chart(curve(y=[-1.0] * 100)), View(log_y=True), width=80)


def test_profiles_differ_by_dashes_and_markers() -> None:
    other = curve(key="b", identity=replace(A, profile=1), points=True, y=[y + 1 for y in Y])
    lines = text(replace(chart(curve(points=True), other), profiles=("A: one", "B: two")))
    assert "Solid: A; dashed: B." in lines
    assert {"●", "◆"} <= set(lines)


def test_points_that_are_not_joined_have_no_line() -> None:
    three = {"points": True, "x": [1.0, 2.0, 3.0], "y": [3.0, 1.0, 2.0]}
    assert count_dots(draw(chart(curve(**three, joined=False)), View(), 60, 16, THEME).lines) == 0
    assert count_dots(draw(chart(curve(**three)), View(), 60, 16, THEME).lines) > 20


def test_reference_lines_are_dashed() -> None:
    solid, dashed = (draw(chart(curve(role=role)), View(), 60, 16, THEME).lines for role in ("mean", "theory"))
    assert count_dots(dashed) < 0.8 * count_dots(solid)
    assert "●" not in "".join(dashed)


def test_note_is_below() -> None:
    assert text(chart(curve(), notes=("limit 0.2",))).splitlines()[-1].startswith("limit 0.2")
    assert "limit" not in text(chart(curve(), notes=("limit 0.2",)), height=8)


def test_empty_charts_show_a_message() -> None:
    assert "nothing yet" in text(chart())
    assert "nothing yet" in text(chart(curve(x=[], y=[])))
    assert ALL_HIDDEN in text(chart(curve()), View(hidden=frozenset("a")))


def test_curves_have_markers() -> None:
    assert text(chart(curve())).count("●") >= 1
    assert text(chart(curve(points=True, x=[1.0, 2.0, 3.0], y=[3.0, 1.0, 2.0]))).count("●") == 3
    assert text(chart(curve(x=[1.0], y=[1.0]))).count("●") == 1


def test_non_finite_values_are_marked() -> None:
    assert text(chart(curve(y=[*Y[:50], *[math.nan] * 50]))).count("✗") == 1
    assert text(chart(curve(y=[math.inf] * 100))).count("✗") == 1
    assert text(chart(curve(failed=True))).count("✗") == 1
    assert text(chart(curve(failed=True, y=[*Y[:99], math.nan]))).count("✗") == 1
    assert "✗" not in text(chart(curve()))


def test_bands_shade_or_have_edges() -> None:
    band = curve(low=[y - 0.4 for y in Y], high=[y + 0.4 for y in Y])
    shaded = draw(chart(band), View(), 60, 16, THEME)
    assert any(span.style.background == blend("#56B4E9", "#000000", 0.22) for row in shaded.rows for span in row)
    for theme in (Theme(), Theme(foreground="#ffffff", background="#000000", colors=False)):
        plain = draw(chart(band), View(), 60, 16, theme)
        assert not any(span.style.background for row in plain.rows for span in row)
        assert count_dots(plain.lines) > count_dots(draw(chart(curve()), View(), 60, 16, theme).lines) + 20


def count_dots(lines: list[str]) -> int:
    return sum((ord(char) - 0x2800).bit_count() for line in lines for char in line if 0x2800 <= ord(char) < 0x2900)


def test_smoothed_curves_are_bold_in_front_of_the_raw_curve() -> None:
    noisy = curve(y=[y + 0.3 * (-1) ** k for k, y in enumerate(Y)])
    drawing = draw(chart(noisy), View(smoothing=0.9), 60, 16, THEME)
    styles = {span.style for row in drawing.rows for span in row}
    assert any(style.bold and style.color == "#56B4E9" for style in styles)
    assert any(style.color == blend("#56B4E9", "#000000", 0.5) for style in styles)


def test_the_selected_series_is_on_top() -> None:
    two = chart(curve(), curve(key="b", identity=B))
    for key, color in (("a", "#56B4E9"), ("b", "#E69F00")):
        drawing = draw(two, View(focus_series=key), 60, 16, THEME)
        colors = {
            span.style.color
            for row in drawing.rows[1:-3]
            for span in row
            if set(span.text) & {chr(0x2800 + k) for k in range(1, 256)}
        }
        assert colors == {color}


def test_the_cursor_is_a_line_behind_the_curves() -> None:
    drawing = draw(chart(curve()), View(cursor=50.0), 60, 16, THEME)
    region = drawing.region
    assert region is not None
    assert drawing.frame is not None
    column = region.column(drawing.frame.x.fraction(50.0))
    assert column is not None
    chars = [drawing.lines[row][column] for row in range(region.top, region.top + region.rows)]
    assert chars.count("│") >= region.rows - 2
    assert any(char != "│" for char in chars)


def test_zooming_shows_a_part() -> None:
    drawing = draw(chart(curve()), View(x=(20.0, 30.0)), 60, 16, THEME)
    assert drawing.frame is not None
    assert (drawing.frame.x.low, drawing.frame.x.high) == (20.0, 30.0)
    assert "24" in "\n".join(drawing.lines)


def test_terminal_colors_stay() -> None:
    drawing = draw(chart(curve(role="run", parent="b")), View(), 60, 16, replace(THEME, ansi=True))
    assert any(span.style.color == "ansi_bright_blue" and span.style.dim for row in drawing.rows for span in row)


@pytest.mark.parametrize("size", [(20, 5), (400, 100), (80, 24), (1, 1), (0, 0), (3, 9), (9, 3)])
def test_it_fills_its_size(size: tuple[int, int]) -> None:
    lines = draw(chart(curve(), notes=("a note",)), View(cursor=3.0), *size, THEME).lines
    assert len(lines) == size[1]
    assert {len(line) for line in lines} <= {size[0]}


WILD = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(WILD, WILD, WILD), max_size=12), max_size=4),
    st.tuples(st.integers(0, 90), st.integers(0, 30)),
    st.builds(
        View,
        log_x=st.booleans(),
        log_y=st.booleans(),
        smoothing=st.sampled_from([0.0, 0.9]),
        x=st.none() | st.tuples(WILD, WILD),
        y=st.none() | st.tuples(WILD, WILD),
        cursor=st.none() | WILD,
    ),
    st.booleans(),
)
def test_it_never_raises(
    data: list[list[tuple[float, float, float]]], size: tuple[int, int], view: View, shaded: bool
) -> None:
    series = [
        Series(
            key=str(k),
            label=str(k),
            x=[float(j) for j in range(len(rows))],
            y=[row[0] for row in rows],
            low=[row[1] for row in rows],
            high=[row[2] for row in rows],
            points=k == 1,
            role="fit" if k == 2 else "limit" if k == 3 else "mean",
            failed=k == 3,
            joined=k != 1,
        )
        for k, rows in enumerate(data)
    ]
    lines = draw(chart(*series), view, *size, THEME if shaded else Theme()).lines
    assert [len(line) for line in lines] == [size[0]] * size[1]
