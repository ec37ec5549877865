"""A chart that can be looked into: with keys, and with a mouse if there is one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color, ColorParseError
from textual.geometry import Offset, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from dnlbench import units
from dnlbench.tui.plot.curves import in_legend
from dnlbench.tui.plot.draw import draw
from dnlbench.tui.plot.drawing import Drawing
from dnlbench.tui.plot.export import to_csv, to_svg
from dnlbench.tui.plot.figure import Axis, Figure
from dnlbench.tui.plot.framing import is_log, whole
from dnlbench.tui.plot.ink import PLAIN, Ink, Look, Run
from dnlbench.tui.plot.legend import Line, column_width, entries, in_column, in_line
from dnlbench.tui.plot.readout import Readout, next_x, readout
from dnlbench.tui.plot.scale import Frame
from dnlbench.tui.plot.text import fitted, width_of
from dnlbench.tui.plot.view import View

NOTHING = Figure(title="", x=Axis(label=""), y=Axis(label=""), series=())
WIDE = 100
"""Columns from which the legend is beside the curves, and not below them."""
LEGEND_ROWS = 7
"""Rows from which there is a legend."""
VALUE_WIDTH = 10
"""Columns for the values at the cursor in a legend at the side; they are kept free, so that nothing moves."""
STEP = 0.1
"""Part of what is shown that a key moves the view by."""
FACTOR = 1.5
"""By which a key or a turn of the wheel zooms."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the widget shows, where the legend is, and what it was made from."""

    figure: Figure
    view: View
    look: Look
    size: Size
    drawing: Drawing
    side: int
    """Columns of the legend beside the curves; 0 if it is below them."""
    below: bool
    """Whether it is below them."""


class Chart(Widget, can_focus=True):
    """A figure with a legend, in the size that it is given."""

    HELP = """\
## Chart

| Key | |
|---|---|
| `l` `x` | logarithmic y axis, x axis |
| `s` | smooth: not at all, 0.6, 0.9 |
| `+` `-` | zoom along x, about the cursor or the middle |
| `>` `<` | zoom along y |
| `←` `→` `↑` `↓` | move the cursor; without it, move what is zoomed |
| `shift` with arrows | move what is zoomed |
| `c` | cursor on and off: values of all curves at its place |
| `[` `]` | choose a curve |
| `h` | switch the chosen curve off and on |
| `H` | the chosen curve alone, or all |
| `0` | everything as it was |

The wheel zooms where the mouse is (with `shift` or `ctrl` along y), dragging moves, and a click in the legend switches
a curve. A bold line is smoothed, with the measured values faint behind it. ✗ is where a value is NaN or infinite, and
the end of a curve in which a run diverged. A band is the 95 % interval of the mean over seeds.
"""
    DEFAULT_CSS = """
    Chart {
        width: 1fr;
        height: 1fr;
        min-height: 3;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "log_y", "log y", id="chart.log_y"),
        Binding("x", "log_x", "log x", id="chart.log_x"),
        Binding("s", "smooth", "smooth", id="chart.smooth"),
        Binding("plus,equals_sign", "zoom(1)", "zoom in", id="chart.zoom_in", show=False),
        Binding("minus", "zoom(-1)", "zoom out", id="chart.zoom_out", show=False),
        Binding("greater_than_sign", "zoom_y(1)", "zoom y in", id="chart.zoom_y_in", show=False),
        Binding("less_than_sign", "zoom_y(-1)", "zoom y out", id="chart.zoom_y_out", show=False),
        Binding("left", "move(-1, 0)", "left", id="chart.left", show=False),
        Binding("right", "move(1, 0)", "right", id="chart.right", show=False),
        Binding("up", "move(0, 1)", "up", id="chart.up", show=False),
        Binding("down", "move(0, -1)", "down", id="chart.down", show=False),
        Binding("shift+left", "pan(-1, 0)", "pan left", id="chart.pan_left", show=False),
        Binding("shift+right", "pan(1, 0)", "pan right", id="chart.pan_right", show=False),
        Binding("shift+up", "pan(0, 1)", "pan up", id="chart.pan_up", show=False),
        Binding("shift+down", "pan(0, -1)", "pan down", id="chart.pan_down", show=False),
        Binding("c", "cursor", "cursor", id="chart.cursor"),
        Binding("left_square_bracket", "choose(-1)", "previous curve", id="chart.previous", show=False),
        Binding("right_square_bracket", "choose(1)", "next curve", id="chart.next", show=False),
        Binding("h", "switch", "hide curve", id="chart.hide", show=False),
        Binding("H", "alone", "curve alone", id="chart.alone", show=False),
        Binding("0", "reset", "reset view", id="chart.reset", show=False),
    ]

    figure: reactive[Figure] = reactive(NOTHING)
    """What is shown."""
    view: reactive[View] = reactive(View())
    """How it is looked at."""

    def __init__(
        self, figure: Figure = NOTHING, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.took_s = 0.0
        """Seconds that the last drawing took."""
        self._hover: float | None = None
        self._drag: tuple[Offset, View, Drawing] | None = None
        self._parts: _Parts | None = None
        self._lines: tuple[_Parts, float | None, list[Line]] | None = None
        self.set_reactive(Chart.figure, figure)

    def svg(self, width: int = 900, height: int = 520) -> str:
        """The chart as it is viewed, as a drawing."""
        return to_svg(self.figure, self.view, width, height)

    def csv(self) -> str:
        """The numbers of all series."""
        return to_csv(self.figure)

    def render_line(self, y: int) -> Strip:
        """One line, from what was drawn last if nothing has changed."""
        lines = self._all_lines()
        base = self.rich_style
        if y >= len(lines):
            return Strip.blank(self.size.width, base)
        segments = [Segment(text, base + _style(ink)) for text, ink in lines[y].runs]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    # What is drawn

    def _look(self) -> Look:
        style = self.rich_style
        foreground, background = (
            each.triplet.hex if each is not None and each.type is ColorType.TRUECOLOR and each.triplet else ""
            for each in (style.color, style.bgcolor)
        )
        no_color = self.app.no_color
        return Look(foreground=foreground, background=background, colours=not no_color, focused=self.has_focus)

    def _drawn(self) -> _Parts:
        """Curves and axes, without the cursor: this is what takes time."""
        view, look, size, parts = self.view.with_cursor(None), self._look(), self.size, self._parts
        if (
            parts is None
            or parts.figure is not self.figure
            or (parts.view, parts.look, parts.size) != (view, look, size)
        ):
            parts = self._parts = self._newly_drawn(view, look, size)
        return parts

    def _newly_drawn(self, view: View, look: Look, size: Size) -> _Parts:
        begun = time.monotonic()
        found = entries(self.figure, view)
        has_legend = bool(found) and size.height >= LEGEND_ROWS
        is_wide = has_legend and size.width >= WIDE
        side = column_width(found, look, size.width // 3, value_width=VALUE_WIDTH) if is_wide else 0
        below = has_legend and not is_wide
        drawing = draw(self.figure, view, size.width - (side + 2 if side else 0), size.height - below, look)
        self.took_s = time.monotonic() - begun
        return _Parts(figure=self.figure, view=view, look=look, size=size, drawing=drawing, side=side, below=below)

    def _all_lines(self) -> list[Line]:
        parts, at = self._drawn(), self._reads_at()
        if self._lines is None or self._lines[0] is not parts or self._lines[1] != at:
            self._lines = (parts, at, self._composed(parts, at))
        return self._lines[2]

    def _reads_at(self) -> float | None:
        return self._hover if self._hover is not None else self.view.cursor

    def _composed(self, parts: _Parts, at: float | None) -> list[Line]:
        """Curves, cursor and legend."""
        read = None if at is None else readout(self.figure, self.view, at)
        drawing = parts.drawing.with_cursor(read.x if read else None, parts.look)
        found = entries(self.figure, self.view, _values(read))
        heading = f"{self.figure.x.label} {units.number(read.x)}" if read else ""
        if parts.below:
            lead = (
                fitted([Run(f"{heading}  ", Ink(bold=True))], min(len(heading) + 2, self.size.width)) if heading else ()
            )
            used = width_of(lead)
            legend = in_line(found, parts.look, self.size.width - used)
            moved = tuple((start + used, end + used, key) for start, end, key in legend.keys)
            return [*map(_line, drawing.rows), Line(runs=(*lead, *legend.runs), keys=moved)]
        if not parts.side:
            return [_line(row) for row in drawing.rows]
        column = [Line(runs=fitted([Run(f" {heading}", Ink(bold=True))], parts.side))]
        column += in_column(found, parts.look, parts.side, len(drawing.rows) - 1)
        return _beside(drawing.rows, column, parts.side)

    # What keys do

    def action_log_y(self) -> None:
        """Switches the y axis between linear and logarithmic."""
        self.view = self.view.with_log_y(not is_log(self.figure, self.view)[1])

    def action_log_x(self) -> None:
        """Switches the x axis between linear and logarithmic."""
        self.view = self.view.with_log_x(not is_log(self.figure, self.view)[0])

    def action_smooth(self) -> None:
        """Smooths more, and after the most not at all."""
        self.view = self.view.smoother()

    def action_zoom(self, direction: int) -> None:
        """Zooms along x about the cursor, or about the middle."""
        frame = self._frame()
        if frame is None:
            return
        about = 0.5 if self.view.cursor is None else frame.x.fraction(self.view.cursor)
        self._zoom(direction, about if 0 <= about <= 1 else 0.5)

    def action_zoom_y(self, direction: int) -> None:
        """Zooms along y about the middle."""
        self._zoom(direction, 0.5, along_y=True)

    def action_move(self, dx: int, dy: int) -> None:
        """Moves the cursor if there is one, else what is zoomed; with nothing to move, there will be a cursor."""
        if dx and (self.view.cursor is not None or not self.view.is_zoomed):
            self._move_cursor(dx)
        else:
            self.action_pan(dx, dy)

    def action_pan(self, dx: int, dy: int) -> None:
        """Moves what is zoomed."""
        frame = self._frame()
        if frame is not None and self.view.is_zoomed:
            self.view = self.view.panned(STEP * dx, STEP * dy, shown=frame, whole=whole(self.figure, self.view))

    def action_cursor(self) -> None:
        """Switches the cursor on, in the middle, or off."""
        if self.view.cursor is not None:
            self.view = self.view.with_cursor(None)
        else:
            self._move_cursor(1)

    def action_choose(self, step: int) -> None:
        """Chooses the next series in the legend."""
        self.view = self.view.next_focus(self._keys(), step)

    def action_switch(self) -> None:
        """Switches the chosen series off or on."""
        if self.view.focus_series in self._keys():
            self.view = self.view.toggled(self.view.focus_series)
        else:
            self.action_choose(1)

    def action_alone(self) -> None:
        """Shows the chosen series alone, or all."""
        if self.view.focus_series in self._keys():
            self.view = self.view.alone(self.view.focus_series, self._keys())
        else:
            self.action_choose(1)

    def action_reset(self) -> None:
        """Shows everything as the figure says."""
        self.view = self.view.reset()

    def _keys(self) -> list[str]:
        return [series.key for series in in_legend(self.figure)]

    def _frame(self) -> Frame | None:
        return self._drawn().drawing.frame

    def _move_cursor(self, step: int) -> None:
        drawing = self._drawn().drawing
        if drawing.frame is None or drawing.region is None:
            return
        scale, at = drawing.frame.x, self.view.cursor
        x = next_x(self.figure, self.view, at, step, scale, drawing.region.columns)
        if x is None:
            return
        view = self.view.with_cursor(x)
        if self.view.x is not None and not scale.low <= x <= scale.high:  # the view comes along
            beyond = scale.fraction(x) - (1.0 if x > scale.high else 0.0)
            view = view.panned(beyond, 0, shown=drawing.frame, whole=whole(self.figure, view))
        self.view = view

    def _zoom(self, direction: int, about: float, *, along_y: bool = False) -> None:
        frame = self._frame()
        if frame is None:
            return
        factor, everything = FACTOR**direction, whole(self.figure, self.view)
        zoomed = self.view.zoomed_y if along_y else self.view.zoomed
        self.view = zoomed(factor, about=about, shown=frame, whole=everything)

    # What a mouse does

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zooms in where the mouse is."""
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zooms out where the mouse is."""
        self._wheel(event, -1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begins to drag."""
        place, drawing = event.get_content_offset(self), self._drawn().drawing
        if place is not None and drawing.region is not None and drawing.region.has(*place):
            self._drag = (place, self.view, drawing)
            self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Ends dragging."""
        if self._drag is not None:
            self._drag = None
            self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drags, or reads the values where the mouse is."""
        if self._drag is not None:
            self._drag_to(event.get_content_offset_capture(self))
            return
        place, drawing = event.get_content_offset(self), self._drawn().drawing
        if place is None or drawing.region is None or drawing.frame is None or not drawing.region.has(*place):
            self._read_at(None)
        else:
            self._read_at(drawing.frame.x.value(drawing.region.fractions(*place)[0]))

    def on_leave(self, event: events.Leave) -> None:
        """Reads no more."""
        self._read_at(None)

    def on_click(self, event: events.Click) -> None:
        """Switches the series whose entry in the legend it is."""
        place, lines = event.get_content_offset(self), self._all_lines()
        if place is None or place.y >= len(lines):
            return
        key = lines[place.y].key_at(place.x)
        if key is not None:
            self.view = self.view.toggled(key).with_focus(key)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        place, drawing = event.get_content_offset(self), self._drawn().drawing
        if place is None or drawing.region is None or not drawing.region.has(*place):
            return
        event.stop()
        event.prevent_default()
        x, y = (max(0.0, min(1.0, fraction)) for fraction in drawing.region.fractions(*place))
        along_y = event.shift or event.ctrl
        self._zoom(direction, y if along_y else x, along_y=along_y)

    def _drag_to(self, place: Offset) -> None:
        if self._drag is None:
            return
        start, view, drawing = self._drag
        if drawing.frame is None or drawing.region is None or not view.is_zoomed:
            return
        moved, region = place - start, drawing.region
        everything = whole(self.figure, view)
        self.view = view.panned(-moved.x / region.columns, moved.y / region.rows, shown=drawing.frame, whole=everything)

    def _read_at(self, x: float | None) -> None:
        if x != self._hover:
            self._hover = x
            self.refresh()


def _values(read: Readout | None) -> dict[str, str]:
    """Values by key, the smoothed ones where there are."""
    if read is None:
        return {}
    return {
        each.key: f"≈{units.number(each.smoothed)}" if each.smoothed is not None else units.number(each.y)
        for each in read.readings
    }


def _line(row: Sequence[Run]) -> Line:
    return Line(runs=tuple(row))


def _beside(rows: Sequence[tuple[Run, ...]], column: Sequence[Line], width: int) -> list[Line]:
    """Rows with lines of the legend at their right."""
    result = []
    for place, row in enumerate(rows):
        used = width_of(row) + 2
        line = column[place] if place < len(column) else Line(runs=fitted([], width))
        keys = tuple((start + used, end + used, key) for start, end, key in line.keys)
        result.append(replace(line, runs=(*row, Run("  ", PLAIN), *line.runs), keys=keys))
    return result


@lru_cache(maxsize=1024)
def _style(ink: Ink) -> Style:
    return Style(color=_rich(ink.colour), bgcolor=_rich(ink.background), bold=ink.bold or None, dim=ink.dim or None)


def _rich(colour: str) -> RichColor | None:
    """A colour as Rich takes it; None for one that is not known."""
    if not colour:
        return None
    try:
        return Color.parse(colour).rich_color
    except ColorParseError:
        return None
