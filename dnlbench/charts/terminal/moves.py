"""Zoom, pan and cursor movement of a view, independent of the terminal."""

from __future__ import annotations

from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.cursor import next_x
from dnlbench.charts.terminal.draw import Drawing
from dnlbench.charts.terminal.limits import full_frame
from dnlbench.charts.terminal.view import View

STEP = 0.1
"""Fraction of the visible range by which a key pans."""
FACTOR = 1.5
"""Zoom factor of a key or a mouse wheel step."""


def zoomed(
    chart: Chart, view: View, drawing: Drawing, direction: int, about: float | None = None, *, along_y: bool = False
) -> View:
    """Zoom about a fraction of an axis. Default: the cursor along x, the middle along y."""
    if drawing.frame is None:
        return view
    if about is None:
        about = 0.5 if view.cursor is None or along_y else drawing.frame.x.fraction(view.cursor)
        about = about if 0 <= about <= 1 else 0.5
    zoom = view.zoomed_y if along_y else view.zoomed
    return zoom(FACTOR**direction, about=about, shown=drawing.frame, full_frame=full_frame(chart, view))


def panned(chart: Chart, view: View, drawing: Drawing, dx: float, dy: float) -> View:
    """Pan a zoomed view by fractions of the visible range."""
    if drawing.frame is None or not view.is_zoomed:
        return view
    return view.panned(dx, dy, shown=drawing.frame, full_frame=full_frame(chart, view))


def dragged(chart: Chart, view: View, drawing: Drawing, columns: int, rows: int) -> View:
    """Pan the view from the start of the drag by a number of cells."""
    if drawing.region is None:
        return view
    return panned(chart, view, drawing, -columns / drawing.region.columns, rows / drawing.region.rows)


def with_cursor_moved(chart: Chart, view: View, drawing: Drawing, step: int) -> View:
    """Move the cursor to the next point, or to the middle without a cursor. A zoomed view follows."""
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
