"""Draw a chart as characters, in any size: title, axes and curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from dnlbench.charts.model import Axis, Chart
from dnlbench.charts.terminal.canvas import Canvas, draw_curves
from dnlbench.charts.terminal.curves import Curve, curves
from dnlbench.charts.terminal.limits import Limits, limits_of_curves
from dnlbench.charts.terminal.scale import Frame
from dnlbench.charts.terminal.text import PLAIN, Span, TextStyle, Theme, fitted, justified, shortened
from dnlbench.charts.terminal.ticks import PositionedTick, column_ticks, row_ticks
from dnlbench.charts.terminal.view import View


@dataclass(frozen=True, kw_only=True)
class Region:
    """The area of a drawing that contains the curves."""

    left: int
    top: int
    columns: int
    rows: int

    def has(self, column: int, row: int) -> bool:
        return 0 <= column - self.left < self.columns and 0 <= row - self.top < self.rows

    def fractions(self, column: int, row: int) -> tuple[float, float]:
        """Return the position of the center of a cell, as fractions of the axes."""
        right, bottom = 2 * self.columns - 1, 4 * self.rows - 1
        return (2 * (column - self.left) + 0.5) / right, 1 - (4 * (row - self.top) + 1.5) / bottom

    def column(self, fraction: float) -> int | None:
        """Return the column at a fraction of the x axis; None outside."""
        dot = fraction * (2 * self.columns - 1)
        return self.left + round(dot) // 2 if -0.5 <= dot <= 2 * self.columns - 0.5 else None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Rows of characters of equal width."""

    rows: tuple[tuple[Span, ...], ...]
    region: Region | None = None
    """None, like ``frame``, if the drawing is text only."""
    frame: Frame | None = None

    @property
    def lines(self) -> list[str]:
        return ["".join(span.text for span in row) for row in self.rows]

    def with_cursor(self, x: float | None, theme: Theme) -> Drawing:
        if x is None or self.region is None or self.frame is None:
            return self
        column = self.region.column(self.frame.x.fraction(x))
        if column is None:
            return self
        first, last = self.region.top, self.region.top + self.region.rows
        rows = (_crossed(row, column, theme) if first <= y < last else row for y, row in enumerate(self.rows))
        return replace(self, rows=tuple(rows))


def _crossed(row: tuple[Span, ...], column: int, theme: Theme) -> tuple[Span, ...]:
    result: list[Span] = []
    start = 0
    for text, style in row:
        end = start + cell_len(text)
        if start <= column < end and text[column - start : column - start + 1] == " ":
            parts = (
                Span(text[: column - start], style),
                Span("│", theme.quiet()._replace(background=style.background)),
                Span(text[column - start + 1 :], style),
            )
            result += [part for part in parts if part.text]
        else:
            result.append(Span(text, style))
        start = end
    return tuple(result)


NOTE_LINES, NOTE_LINES_TALL, TALL = 2, 3, 16
"""Maximum lines of the notes, the same for tall charts, and the minimum height of these."""
ALL_HIDDEN = "all series are hidden"
NOT_POSITIVE = "no positive values for the logarithmic axis"


def draw(chart: Chart, view: View, width: int, height: int, theme: Theme | None = None) -> Drawing:
    """Draw a chart of a given size. If space is short, omit the notes, the axis and the title, in this order."""
    theme = theme or Theme()
    width, height = max(0, width), max(0, height)
    visible_curves = curves(chart, view)
    limits = limits_of_curves(chart, view, visible_curves)
    plan = _plan(chart, width, height)
    title = [_title(chart, view, limits, width, theme)] if plan.title else []
    note = [fitted([Span(line, theme.quiet())], width) for line in _note(chart, width, height)[: plan.note]]
    message = _empty_message(chart, limits)
    if message or plan.rows < 1 or width < 1:
        body = _centered(message, width, height - len(title) - len(note))
        return Drawing(rows=(*title, *body, *note))
    body, region = _body(chart, visible_curves, limits, plan, width, theme)
    return Drawing(rows=(*title, *body, *note), region=region, frame=limits.frame).with_cursor(view.cursor, theme)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    title: bool
    axis: bool
    labels: bool
    name: bool
    """True if the name of the x axis is below its ticks, False if it is beside them."""
    note: int
    rows: int
    """Rows for the curves."""


def _plan(chart: Chart, width: int, height: int) -> _Plan:
    title, labels, axis = height >= 4, height >= 3, height >= 8
    note = len(_note(chart, width, height)) if height >= 12 else 0
    name = height >= 20 or (height >= 10 and any(series.points for series in chart.series))
    rows = height - title - labels - axis - name - note
    return _Plan(title=title, axis=axis, labels=labels, name=name, note=note, rows=rows)


def _note(chart: Chart, width: int, height: int) -> list[str]:
    """Return the lines of the notes; the last one is shortened if there are more."""
    others = [profile.partition(":")[0] for profile in chart.profiles]
    notes = [f"Solid: {others[0]}; dashed: {', '.join(others[1:])}."] if others else []
    notes += [*(f"{line}." for line in chart.fits), *chart.notes]
    lines = [part for line in notes for part in textwrap.wrap(line, max(10, width))]
    limit = NOTE_LINES_TALL if height >= TALL else NOTE_LINES
    return lines if len(lines) <= limit else [*lines[: limit - 1], shortened(" ".join(lines[limit - 1 :]), width)]


def _empty_message(chart: Chart, limits: Limits) -> str:
    """Return the text shown instead of curves; empty if there are curves."""
    if limits.empty:
        return ALL_HIDDEN if any(len(series.x) and len(series.y) for series in chart.series) else chart.empty
    return NOT_POSITIVE if limits.none_drawable else ""


def _centered(text: str, width: int, height: int) -> list[tuple[Span, ...]]:
    lines = textwrap.wrap(text, max(1, width))[: max(0, height)]
    above = (height - len(lines)) // 2
    rows = [fitted([Span(line.center(width), PLAIN)], width) for line in lines]
    blank = fitted([], width)
    return ([blank] * max(0, above) + rows + [blank] * max(0, height))[: max(0, height)]


def _title(chart: Chart, view: View, limits: Limits, width: int, theme: Theme) -> tuple[Span, ...]:
    title, text = _title_with_unit(chart), chart.y.text
    named = "" if text.casefold() in title.casefold() else text
    log = "log y" if limits.frame.y.log else ""
    smoothing = f"smoothed {view.smoothing:g}" if view.smoothing else ""
    missing = f"{limits.left_out} ≤ 0 not shown" if limits.left_out else ""
    choices = ((missing, named, smoothing, log), (named, log), (log,))
    texts = (" · ".join(part for part in choice if part) for choice in choices)
    right = next((text for text in texts if text and len(text) + 2 <= width // 2), "")
    right_spans = [Span(f"  {right}", theme.quiet())] if right else []
    return justified(
        [Span(shortened(title, width - len(right) - 2 * bool(right)), TextStyle(bold=True))], right_spans, width
    )


def _title_with_unit(chart: Chart) -> str:
    """Insert the unit after the label of the y axis if the title begins with it."""
    label, text, title = chart.y.label, chart.y.text, chart.title
    if not label or not title.casefold().startswith(label.casefold()):
        return title
    return f"{text[0].upper()}{text[1:]}{title[len(label) :]}"


def axis_text(axis: Axis, *, log: bool) -> str:
    """Return the axis label: ``time (s, log)``."""
    details = ", ".join(part for part in (axis.unit, "log" if log else "") if part)
    return f"{axis.label} ({details})" if details else axis.label


def _body(
    chart: Chart, visible_curves: Sequence[Curve], limits: Limits, plan: _Plan, width: int, theme: Theme
) -> tuple[list[tuple[Span, ...]], Region]:
    labels = column_ticks(limits.frame.y, plan.rows, kind=chart.y.ticks)
    margin = max(map(len, labels.values()), default=0)
    left = margin + 2 if width - margin - 2 >= 8 else 0
    columns = width - left
    canvas = draw_curves(visible_curves, limits.frame, columns, plan.rows, theme)
    rows = [(*_y_axis(labels.get(row), left, theme), *_cells(canvas, row)) for row in range(plan.rows)]
    name = shortened(axis_text(chart.x, log=limits.frame.x.log), columns // 2)
    room = columns if plan.name or not name else columns - len(name) - 2
    ticks = row_ticks(limits.frame.x, columns, room=room, kind=chart.x.ticks)
    if plan.axis:
        rows.append(_x_axis(ticks, left, columns, theme))
    if plan.labels:
        rows.append(_x_labels(ticks, "" if plan.name else name, left, columns, theme))
    if plan.name:
        rows.append(fitted([Span(f"{name:>{width}}", theme.axis())], width))
    return rows, Region(left=left, top=int(plan.title), columns=columns, rows=plan.rows)


def _y_axis(label: str | None, left: int, theme: Theme) -> tuple[Span, ...]:
    if not left:
        return ()
    return (Span(f"{label or '':>{left - 2}} {'│' if label is None else '┤'}", theme.axis()),)


def _x_axis(ticks: Sequence[PositionedTick], left: int, columns: int, theme: Theme) -> tuple[Span, ...]:
    line = ["─"] * columns
    for tick in ticks:
        line[tick.column] = "┬"
    return (Span(" " * (left - 1) + "└" * bool(left) + "".join(line), theme.axis()),)


def _x_labels(ticks: Sequence[PositionedTick], name: str, left: int, columns: int, theme: Theme) -> tuple[Span, ...]:
    line = ""
    for tick in ticks:
        if tick.label:
            line = f"{line:<{tick.start}}{tick.label}"
    text = f"{line:<{columns - len(name)}}{name}" if name else line
    return fitted([Span(" " * left + text, theme.axis())], left + columns)


def _cells(canvas: Canvas, row: int) -> list[Span]:
    """Return the spans of a row; neighboring characters of one style are merged."""
    raster = canvas.raster
    first = row * raster.columns
    keys = list(
        zip(raster.pens[first : first + raster.columns], raster.shades[first : first + raster.columns], strict=True)
    )
    texts = [raster.text(cell) for cell in range(first, first + raster.columns)]
    result, start = [], 0
    for column in range(1, raster.columns + 1):
        if column == raster.columns or keys[column] != keys[start]:
            result.append(Span("".join(texts[start:column]), canvas.style(first + start)))
            start = column
    return result
