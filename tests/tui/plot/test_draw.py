from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnlbench.tui.plot.draw import ALL_OFF, NOT_POSITIVE, draw
from dnlbench.tui.plot.figure import Axis, Figure, Series
from dnlbench.tui.plot.ink import Look, blend
from dnlbench.tui.plot.view import View

LOOK = Look(foreground="#ffffff", background="#000000")
X = [float(k) for k in range(1, 101)]
Y = [3.0 * math.exp(-0.05 * k) + 0.1 for k in range(100)]


def figure(*series: Series, note: str = "", unit: str = "") -> Figure:
    return Figure(title="Some chart", x=Axis(label="epoch"), y=Axis(label="loss", unit=unit), series=series, note=note)


def curve(**more: object) -> Series:
    return Series(**{"key": "a", "label": "a", "x": X, "y": Y, "colour": "#56B4E9", "mark": "●", **more})  # type: ignore[arg-type]


def text(of: Figure, view: View | None = None, width: int = 60, height: int = 16, look: Look = LOOK) -> str:
    return "\n".join(draw(of, view or View(), width, height, look).lines)


def test_title_axes_and_units() -> None:
    lines = text(figure(curve(), unit="s")).splitlines()
    assert lines[0].startswith("Some chart")
    assert lines[0].endswith("loss (s)")
    assert lines[-1].rstrip().endswith("epoch")
    assert "└" in lines[-2]
    assert "┤" in "".join(line[:6] for line in lines)


def test_logarithmic_axes_are_named() -> None:
    said = text(figure(curve()), View(log_x=True, log_y=True))
    assert "log y" in said
    assert "epoch (log)" in said


def test_values_without_a_logarithm_are_counted() -> None:
    assert "2 ≤ 0 left out" in text(figure(curve(y=[*Y[:98], 0.0, -1.0])), View(log_y=True), width=80)
    assert NOT_POSITIVE in text(figure(curve(y=[-1.0] * 100)), View(log_y=True), width=80)


def test_note_is_below() -> None:
    assert text(figure(curve(), note="limit 0.2")).splitlines()[-1].startswith("limit 0.2")
    assert "limit" not in text(figure(curve(), note="limit 0.2"), height=8)


def test_nothing_to_show_is_said() -> None:
    assert "nothing yet" in text(figure())
    assert "nothing yet" in text(figure(curve(x=[], y=[])))
    assert ALL_OFF in text(figure(curve()), View(hidden=frozenset("a")))


def test_curves_carry_their_marks() -> None:
    assert text(figure(curve())).count("●") >= 1
    assert text(figure(curve(points=True, x=[1.0, 2.0, 3.0], y=[3.0, 1.0, 2.0]))).count("●") == 3
    assert text(figure(curve(x=[1.0], y=[1.0]))).count("●") == 1


def test_what_is_not_finite_is_marked() -> None:
    assert text(figure(curve(y=[*Y[:50], *[math.nan] * 50]))).count("✗") == 1
    assert text(figure(curve(y=[math.inf] * 100))).count("✗") == 1
    assert text(figure(curve(diverged=True))).count("✗") == 1
    assert text(figure(curve(diverged=True, y=[*Y[:99], math.nan]))).count("✗") == 1
    assert "✗" not in text(figure(curve()))


def test_bands_shade_or_have_edges() -> None:
    band = curve(low=[y - 0.4 for y in Y], high=[y + 0.4 for y in Y])
    shaded = draw(figure(band), View(), 60, 16, LOOK)
    assert any(run.ink.background == blend("#56B4E9", "#000000", 0.22) for row in shaded.rows for run in row)
    for look in (Look(), Look(foreground="#ffffff", background="#000000", colours=False)):
        plain = draw(figure(band), View(), 60, 16, look)
        assert not any(run.ink.background for row in plain.rows for run in row)
        assert count_dots(plain.lines) > count_dots(draw(figure(curve()), View(), 60, 16, look).lines) + 20


def count_dots(lines: list[str]) -> int:
    return sum((ord(char) - 0x2800).bit_count() for line in lines for char in line if 0x2800 <= ord(char) < 0x2900)


def test_smoothed_curves_are_bold_and_the_raw_stays() -> None:
    noisy = curve(y=[y + 0.3 * (-1) ** k for k, y in enumerate(Y)])
    drawing = draw(figure(noisy), View(smoothing=0.9), 60, 16, LOOK)
    inks = {run.ink for row in drawing.rows for run in row}
    assert any(ink.bold and ink.colour == "#56B4E9" for ink in inks)
    assert any(ink.colour == blend("#56B4E9", "#000000", 0.5) for ink in inks)


def test_the_chosen_series_is_on_top() -> None:
    two = figure(curve(), curve(key="b", colour="#E69F00", mark=""))
    for key, colour in (("a", "#56B4E9"), ("b", "#E69F00")):
        drawing = draw(two, View(focus_series=key), 60, 16, LOOK)
        colours = {
            run.ink.colour
            for row in drawing.rows[1:-3]
            for run in row
            if set(run.text) & {chr(0x2800 + k) for k in range(1, 256)}
        }
        assert colours == {colour}


def test_the_cursor_is_a_line_behind_the_curves() -> None:
    drawing = draw(figure(curve()), View(cursor=50.0), 60, 16, LOOK)
    region = drawing.region
    assert region is not None
    assert drawing.frame is not None
    column = region.column(drawing.frame.x.fraction(50.0))
    assert column is not None
    chars = [drawing.cell(column, row)[0] for row in range(region.top, region.top + region.rows)]
    assert chars.count("│") >= region.rows - 2
    assert any(char != "│" for char in chars)


def test_zooming_shows_a_part() -> None:
    drawing = draw(figure(curve()), View(x=(20.0, 30.0)), 60, 16, LOOK)
    assert drawing.frame is not None
    assert (drawing.frame.x.low, drawing.frame.x.high) == (20.0, 30.0)
    assert "24" in "\n".join(drawing.lines)


def test_terminal_colours_stay() -> None:
    drawing = draw(figure(curve(colour="ansi_blue", faint=True)), View(), 60, 16, LOOK)
    assert any(run.ink.colour == "ansi_blue" and run.ink.dim for row in drawing.rows for run in row)


@pytest.mark.parametrize("size", [(20, 5), (400, 100), (80, 24), (1, 1), (0, 0), (3, 9), (9, 3)])
def test_it_fills_its_size(size: tuple[int, int]) -> None:
    lines = draw(figure(curve(), note="a note"), View(cursor=3.0), *size, LOOK).lines
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
            dashed=k == 2,
            diverged=k == 3,
            mark="■",
        )
        for k, rows in enumerate(data)
    ]
    lines = draw(figure(*series), view, *size, LOOK if shaded else Look()).lines
    assert [len(line) for line in lines] == [size[0]] * size[1]
