"""How a view moves: what keys and a mouse do to a chart, without a terminal."""

from __future__ import annotations

from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.cursor import next_x
from dnlbench.charts.terminal.draw import Drawing
from dnlbench.charts.terminal.limits import full_frame
from dnlbench.charts.terminal.view import View

STEP = 0.1
"""Part of what is shown that a key moves the view by."""
FACTOR = 1.5
"""By which a key or a turn of the wheel zooms."""


def zoomed(
    chart: Chart, view: View, drawing: Drawing, direction: int, about: float | None = None, *, along_y: bool = False
) -> View:
    """Zoomed about a fraction of an axis; along x by default about the cursor, along y about the middle."""
    if drawing.frame is None:
        return view
    if about is None:
        about = 0.5 if view.cursor is None or along_y else drawing.frame.x.fraction(view.cursor)
        about = about if 0 <= about <= 1 else 0.5
    zoom = view.zoomed_y if along_y else view.zoomed
    return zoom(FACTOR**direction, about=about, shown=drawing.frame, full_frame=full_frame(chart, view))


def panned(chart: Chart, view: View, drawing: Drawing, dx: float, dy: float) -> View:
    """What is zoomed, moved by fractions of what is shown."""
    if drawing.frame is None or not view.is_zoomed:
        return view
    return view.panned(dx, dy, shown=drawing.frame, full_frame=full_frame(chart, view))


def dragged(chart: Chart, view: View, drawing: Drawing, columns: int, rows: int) -> View:
    """As it was when the mouse was pressed, moved with the mouse by that many cells."""
    if drawing.region is None:
        return view
    return panned(chart, view, drawing, -columns / drawing.region.columns, rows / drawing.region.rows)


def with_cursor_moved(chart: Chart, view: View, drawing: Drawing, step: int) -> View:
    """With the cursor at the next point, or in the middle; what is zoomed comes along."""
    if drawing.frame is None or drawing.region is None:
        return view
    scale = drawing.frame.x
    x = next_x(chart, view, view.cursor, step, scale, drawing.region.columns)
    if x is None:
        return view
    moved = view.with_cursor(x)
    if view.x is None or scale.low <= x <= scale.high:
        return moved
    beyond = scale.fraction(x) - (1.0 if x > scale.high else 0.0)
    return moved.panned(beyond, 0, shown=drawing.frame, full_frame=full_frame(chart, moved))
