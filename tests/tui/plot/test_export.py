from __future__ import annotations

import csv
import io
import math
from xml.dom import minidom

from hypothesis import given, settings
from hypothesis import strategies as st

from dnlbench.tui.plot.export import to_csv, to_svg
from dnlbench.tui.plot.figure import Axis, Figure, Series
from dnlbench.tui.plot.svg import on_white
from dnlbench.tui.plot.view import View

CURVE = Series(
    key="a", label="L < 2 & more", x=[1.0, 2.0, 3.0], y=[3.0, 2.0, math.nan], low=[2.0, 1.0, math.nan],
    high=[4.0, 3.0, math.nan], n=5, colour="#F0E442", mark="●",
)  # fmt: skip
FIT = Series(key="fit", label="limit", x=[1.0, 3.0], y=[1.0, 1.0], dashed=True, colour="ansi_blue")
FIGURE = Figure(
    title='Loss "so far" <x>', x=Axis(label="epoch"), y=Axis(label="time", unit="s"), series=(CURVE, FIT), note="a note"
)


def test_csv_is_long() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(FIGURE))))
    assert rows[0] == ["series", "label", "n", "x", "y", "low", "high"]
    assert rows[1] == ["a", "L < 2 & more", "5", "1.0", "3.0", "2.0", "4.0"]
    assert rows[3][4] == "nan"
    assert rows[4] == ["fit", "limit", "", "1.0", "1.0", "", ""]
    assert len(rows) == 6


def test_svg_holds_everything() -> None:
    document = minidom.parseString(to_svg(FIGURE, View()))
    texts = [
        "".join(node.data for node in text.childNodes if node.nodeType == node.TEXT_NODE)
        for text in document.getElementsByTagName("text")
    ]
    assert {'Loss "so far" <x>', "epoch", "time (s)", "L < 2 & more  n=5", "limit", "a note", "✗", "●"} <= set(texts)
    assert len(document.getElementsByTagName("polygon")) == 1
    lines = document.getElementsByTagName("polyline")
    assert [bool(line.getAttribute("stroke-dasharray")) for line in lines] == [True, False]


def test_svg_is_of_the_view() -> None:
    document = minidom.parseString(to_svg(FIGURE, View(hidden=frozenset({"a"}), log_y=True), 600, 400))
    assert len(document.getElementsByTagName("polygon")) == 0
    assert "time (s, log)" in document.toxml()
    assert document.getElementsByTagName("svg")[0].getAttribute("width") == "600"


def test_colours_can_be_read_on_white() -> None:
    assert on_white(CURVE, 0) != "#F0E442"
    assert on_white(FIT, 1).startswith("#")


def test_an_empty_chart_says_so() -> None:
    assert "nothing yet" in to_svg(Figure(title="t", x=Axis(label="x"), y=Axis(label="y"), series=()), View())


WILD = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(WILD, WILD, WILD), max_size=12), st.booleans(), st.sampled_from([0.0, 0.9]), st.integers(0, 900)
)
def test_svg_is_well_formed_for_whatever_data(
    rows: list[tuple[float, float, float]], log: bool, smoothing: float, width: int
) -> None:
    y, low, high = ([row[k] for row in rows] for k in range(3))
    x = [float(k) for k in range(len(rows))]
    series = Series(key="a", label="a", x=x, y=y, low=low, high=high, mark="●", diverged=True)
    figure = Figure(title="t", x=Axis(label="x"), y=Axis(label="y"), series=(series,))
    text = to_svg(figure, View(log_y=log, smoothing=smoothing), width, width)
    minidom.parseString(text)
    assert "nan" not in text.replace("nothing", "")
    assert "inf" not in text
