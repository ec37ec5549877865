"""A chart as characters, in any size: title, axes and curves."""

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
    """Where in a drawing the curves are."""

    left: int
    top: int
    columns: int
    rows: int

    def has(self, column: int, row: int) -> bool:
        return 0 <= column - self.left < self.columns and 0 <= row - self.top < self.rows

    def fractions(self, column: int, row: int) -> tuple[float, float]:
        """Where on the axes the middle of a cell is."""
        right, bottom = 2 * self.columns - 1, 4 * self.rows - 1
        return (2 * (column - self.left) + 0.5) / right, 1 - (4 * (row - self.top) + 1.5) / bottom

    def column(self, fraction: float) -> int | None:
        """The column of the drawing in which a place on the x axis is; None outside."""
        dot = fraction * (2 * self.columns - 1)
        return self.left + round(dot) // 2 if -0.5 <= dot <= 2 * self.columns - 0.5 else None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Rows of characters, all of one width."""

    rows: tuple[tuple[Span, ...], ...]
    region: Region | None = None
    """None, as ``frame``, where there is nothing but text."""
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


NOTE_LINES = 2
"""At most."""
ALL_HIDDEN = "every series is switched off"
NOT_POSITIVE = "no value above 0: none has a place on a logarithmic axis"


def draw(chart: Chart, view: View, width: int, height: int, theme: Theme | None = None) -> Drawing:
    """The chart in as many columns and rows. It leaves out what there is no room for: note, axis, title, in this order."""
    theme = theme or Theme()
    width, height = max(0, width), max(0, height)
    drawn = curves(chart, view)
    found = limits_of_curves(chart, view, drawn)
    plan = _plan(chart, width, height)
    title = [_title(chart, view, found, width, theme)] if plan.title else []
    note = [fitted([Span(line, theme.quiet())], width) for line in _note(chart, width)[: plan.note]]
    said = _said(chart, found)
    if said or plan.rows < 1 or width < 1:
        body = _centered(said or "", width, height - len(title) - len(note))
        return Drawing(rows=(*title, *body, *note))
    body, region = _body(chart, drawn, found, plan, width, theme)
    return Drawing(rows=(*title, *body, *note), region=region, frame=found.frame).with_cursor(view.cursor, theme)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    title: bool
    axis: bool
    labels: bool
    name: bool
    """Whether the x axis has its name below its ticks, and not beside them."""
    note: int
    rows: int
    """For the curves."""


def _plan(chart: Chart, width: int, height: int) -> _Plan:
    title, labels, axis = height >= 4, height >= 3, height >= 8
    note = min(NOTE_LINES, len(_note(chart, width))) if height >= 12 else 0
    name = height >= 20 or (height >= 10 and any(series.points for series in chart.series))
    rows = height - title - labels - axis - name - note
    return _Plan(title=title, axis=axis, labels=labels, name=name, note=note, rows=rows)


def _note(chart: Chart, width: int) -> list[str]:
    """Its lines, the last one shortened where there is more."""
    others = [profile.partition(":")[0] for profile in chart.profiles]
    said = [f"Solid: {others[0]}; dashed: {', '.join(others[1:])}."] if others else []
    said += [*(f"{line}." for line in chart.fits), *chart.notes]
    lines = [part for line in said for part in textwrap.wrap(line, max(10, width))]
    return [*lines[: NOTE_LINES - 1], shortened(" ".join(lines[NOTE_LINES - 1 :]), width)] if lines[1:] else lines


def _said(chart: Chart, found: Limits) -> str:
    """What stands in place of the curves; empty if there are any."""
    if found.empty:
        return ALL_HIDDEN if any(len(series.x) and len(series.y) for series in chart.series) else chart.empty
    return NOT_POSITIVE if found.none_drawable else ""


def _centered(text: str, width: int, height: int) -> list[tuple[Span, ...]]:
    lines = textwrap.wrap(text, max(1, width))[: max(0, height)]
    above = (height - len(lines)) // 2
    rows = [fitted([Span(line.center(width), PLAIN)], width) for line in lines]
    blank = fitted([], width)
    return ([blank] * max(0, above) + rows + [blank] * max(0, height))[: max(0, height)]


def _title(chart: Chart, view: View, found: Limits, width: int, theme: Theme) -> tuple[Span, ...]:
    title, text = _title_with_unit(chart), chart.y.text
    named = "" if text.casefold() in title.casefold() else text
    log = "log y" if found.frame.y.log else ""
    smoothing = f"smoothed {view.smoothing:g}" if view.smoothing else ""
    missing = f"{found.left_out} ≤ 0 left out" if found.left_out else ""
    choices = ((missing, named, smoothing, log), (named, log), (log,))
    texts = (" · ".join(part for part in choice if part) for choice in choices)
    right = next((text for text in texts if text and len(text) + 2 <= width // 2), "")
    said = [Span(f"  {right}", theme.quiet())] if right else []
    return justified([Span(shortened(title, width - len(right) - 2 * bool(right)), TextStyle(bold=True))], said, width)


def _title_with_unit(chart: Chart) -> str:
    """A title that begins with the label of the y axis has the unit behind it, where it is not cut."""
    label, text, title = chart.y.label, chart.y.text, chart.title
    if not label or not title.casefold().startswith(label.casefold()):
        return title
    return f"{text[0].upper()}{text[1:]}{title[len(label) :]}"


def axis_text(axis: Axis, *, log: bool) -> str:
    """``time (s, log)``."""
    details = ", ".join(part for part in (axis.unit, "log" if log else "") if part)
    return f"{axis.label} ({details})" if details else axis.label


def _body(
    chart: Chart, drawn: Sequence[Curve], found: Limits, plan: _Plan, width: int, theme: Theme
) -> tuple[list[tuple[Span, ...]], Region]:
    labels = column_ticks(found.frame.y, plan.rows, kind=chart.y.ticks)
    margin = max(map(len, labels.values()), default=0)
    left = margin + 2 if width - margin - 2 >= 8 else 0
    columns = width - left
    canvas = draw_curves(drawn, found.frame, columns, plan.rows, theme)
    rows = [(*_y_axis(labels.get(row), left, theme), *_cells(canvas, row)) for row in range(plan.rows)]
    name = shortened(axis_text(chart.x, log=found.frame.x.log), columns // 2)
    room = columns if plan.name or not name else columns - len(name) - 2
    ticks = row_ticks(found.frame.x, columns, room=room, kind=chart.x.ticks)
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
    """Characters of a row, those that look alike together."""
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
