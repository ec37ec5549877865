"""An interactive chart, with keys and mouse."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color, ColorParseError
from textual.geometry import Offset
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from dnlbench.charts.model import Axis, Chart
from dnlbench.charts.terminal.curves import as_viewed, legend_series
from dnlbench.charts.terminal.draw import Drawing
from dnlbench.charts.terminal.legend import Line
from dnlbench.charts.terminal.limits import is_log
from dnlbench.charts.terminal.moves import STEP, dragged, panned, with_cursor_moved, zoomed
from dnlbench.charts.terminal.picture import Picture
from dnlbench.charts.terminal.text import TextStyle, Theme
from dnlbench.charts.terminal.view import View

NOTHING = Chart(key="", title="", x=Axis(label=""), y=Axis(label=""), series=())


class ChartView(Widget, can_focus=True):
    """A chart with a legend that fills its widget."""

    HELP = """\
## Chart

| Key | |
|---|---|
| `l` `x` | logarithmic y axis, x axis |
| `s` | smoothing: off, 0.6, 0.9 |
| `+` `-` | zoom along x, at the cursor or the center |
| `>` `<` | zoom along y |
| `←` `→` `↑` `↓` | move the cursor; without a cursor, pan |
| `shift` with arrows | pan |
| `c` | show or hide the cursor with the values of all curves |
| `[` `]` | select a curve |
| `h` | hide or show the selected curve |
| `H` | show the selected curve only, or all |
| `0` | reset the view |

The wheel zooms at the mouse (with `shift` or `ctrl`: along y), dragging pans, and a click in the legend hides or shows a
curve. A bold line is smoothed; the measured values are the faint line. ✗ marks NaN and infinite values, and the end of
a curve with a diverged run. A band is the 95 % confidence interval of the mean over seeds.
"""
    DEFAULT_CSS = """
    ChartView {
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

    chart: reactive[Chart] = reactive(NOTHING)
    view: reactive[View] = reactive(View())

    def __init__(self, chart: Chart = NOTHING, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.took_s = 0.0
        """Duration of the last drawing in seconds."""
        self._hover: float | None = None
        self._drag: tuple[Offset, View, Drawing] | None = None
        self._picture: Picture | None = None
        self._lines: tuple[Picture, float | None, list[Line]] | None = None
        self.set_reactive(ChartView.chart, chart)

    def svg(self) -> str:
        from dnlbench.charts.mpl import chart_bytes

        return chart_bytes([as_viewed(self.chart, self.view)], "svg").decode()

    def render_line(self, y: int) -> Strip:
        lines = self._all_lines()
        base = self.rich_style
        if y >= len(lines):
            return Strip.blank(self.size.width, base)
        segments = [Segment(text, base + _rich_style(style)) for text, style in lines[y].spans]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _theme(self) -> Theme:
        style = self.rich_style
        foreground, background = (
            each.triplet.hex if each is not None and each.type is ColorType.TRUECOLOR and each.triplet else ""
            for each in (style.color, style.bgcolor)
        )
        return Theme(
            foreground=foreground,
            background=background,
            colors=not self.app.no_color,
            focused=self.has_focus,
            ansi=self.app.native_ansi_color,
        )

    def _render_chart(self) -> Picture:
        """Return the curves and axes without the cursor; draw them only if something changed, since drawing is slow."""
        view, theme, picture = self.view.with_cursor(None), self._theme(), self._picture
        if picture is None or not picture.matches(self.chart, view, theme, self.size):
            start = time.monotonic()
            picture = self._picture = Picture.of(self.chart, view, theme, self.size)
            self.took_s = time.monotonic() - start
        return picture

    def _all_lines(self) -> list[Line]:
        picture, at = self._render_chart(), self._hover if self._hover is not None else self.view.cursor
        if self._lines is None or self._lines[0] is not picture or self._lines[1] != at:
            self._lines = (picture, at, picture.lines(at))
        return self._lines[2]

    # Keys

    def action_log_y(self) -> None:
        self.view = replace(self.view, log_y=not is_log(self.chart, self.view)[1])

    def action_log_x(self) -> None:
        self.view = replace(self.view, log_x=not is_log(self.chart, self.view)[0])

    def action_smooth(self) -> None:
        self.view = self.view.smoother()

    def action_zoom(self, direction: int) -> None:
        self.view = zoomed(self.chart, self.view, self._render_chart().drawing, direction)

    def action_zoom_y(self, direction: int) -> None:
        self.view = zoomed(self.chart, self.view, self._render_chart().drawing, direction, along_y=True)

    def action_move(self, dx: int, dy: int) -> None:
        """Move the cursor, or pan a zoomed chart without a cursor. Otherwise show the cursor."""
        if dx and (self.view.cursor is not None or not self.view.is_zoomed):
            self.view = with_cursor_moved(self.chart, self.view, self._render_chart().drawing, dx)
        else:
            self.action_pan(dx, dy)

    def action_pan(self, dx: int, dy: int) -> None:
        self.view = panned(self.chart, self.view, self._render_chart().drawing, STEP * dx, STEP * dy)

    def action_cursor(self) -> None:
        if self.view.cursor is not None:
            self.view = self.view.with_cursor(None)
        else:
            self.view = with_cursor_moved(self.chart, self.view, self._render_chart().drawing, 1)

    def action_choose(self, step: int) -> None:
        self.view = self.view.next_focus(self._keys(), step)

    def action_switch(self) -> None:
        if self.view.focus_series in self._keys():
            self.view = self.view.toggled(self.view.focus_series)
        else:
            self.action_choose(1)

    def action_alone(self) -> None:
        if self.view.focus_series in self._keys():
            self.view = self.view.isolated(self.view.focus_series, self._keys())
        else:
            self.action_choose(1)

    def action_reset(self) -> None:
        self.view = self.view.reset()

    def _keys(self) -> list[str]:
        return [series.key for series in legend_series(self.chart)]

    # Mouse

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        position, drawing = event.get_content_offset(self), self._render_chart().drawing
        if position is not None and drawing.region is not None and drawing.region.has(*position):
            self._drag = (position, self.view, drawing)
            self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._drag is not None:
            self._drag = None
            self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._drag is not None:
            start, view, drawing = self._drag
            moved = event.get_content_offset_capture(self) - start
            self.view = dragged(self.chart, view, drawing, moved.x, moved.y)
            return
        position, drawing = event.get_content_offset(self), self._render_chart().drawing
        if position is None or drawing.region is None or drawing.frame is None or not drawing.region.has(*position):
            self._read_at(None)
        else:
            self._read_at(drawing.frame.x.value(drawing.region.fractions(*position)[0]))

    def on_leave(self, event: events.Leave) -> None:
        self._read_at(None)

    def on_click(self, event: events.Click) -> None:
        position, lines = event.get_content_offset(self), self._all_lines()
        if position is None or position.y >= len(lines):
            return
        key = lines[position.y].key_at(position.x)
        if key is not None:
            self.view = self.view.toggled(key).with_focus(key)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        position, drawing = event.get_content_offset(self), self._render_chart().drawing
        if position is None or drawing.region is None or not drawing.region.has(*position):
            return
        event.stop()
        event.prevent_default()
        along_y = event.shift or event.ctrl
        about = max(0.0, min(1.0, drawing.region.fractions(*position)[along_y]))
        self.view = zoomed(self.chart, self.view, drawing, direction, about, along_y=along_y)

    def _read_at(self, x: float | None) -> None:
        if x != self._hover:
            self._hover = x
            self.refresh()


@lru_cache(maxsize=1024)
def _rich_style(style: TextStyle) -> Style:
    color, background = _rich_color(style.color), _rich_color(style.background)
    return Style(color=color, bgcolor=background, bold=style.bold or None, dim=style.dim or None)


def _rich_color(color: str) -> RichColor | None:
    """Return a Rich color; None if the name is unknown."""
    if not color:
        return None
    try:
        return Color.parse(color).rich_color
    except ColorParseError:
        return None
