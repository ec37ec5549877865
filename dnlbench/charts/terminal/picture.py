"""A rendered chart with its legend and the values at the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench import units
from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.cursor import CursorValues, values_at
from dnlbench.charts.terminal.draw import Drawing, draw
from dnlbench.charts.terminal.legend import Line, column_width, in_column, in_line, legend_entries
from dnlbench.charts.terminal.text import PLAIN, Span, TextStyle, Theme, fitted, width_of
from dnlbench.charts.terminal.view import View

WIDE = 100
"""Minimum columns for a legend beside the curves; narrower charts have it below."""
LEGEND_ROWS = 7
"""Minimum rows for a legend."""
VALUE_WIDTH = 10
"""Columns reserved for the values at the cursor in a legend beside the curves, so that the layout does not shift."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart rendered at a given size, without its cursor. The expensive part of drawing."""

    chart: Chart
    view: View
    theme: Theme
    size: tuple[int, int]
    """Columns and rows."""
    drawing: Drawing
    legend_width: int
    """Columns of the legend beside the curves; 0 if it is below or absent."""
    below: bool
    """True if the legend is below the curves."""

    @classmethod
    def of(cls, chart: Chart, view: View, theme: Theme, size: tuple[int, int]) -> Picture:
        width, height = size
        entries = legend_entries(chart, view, theme)
        has_legend = bool(entries) and height >= LEGEND_ROWS
        is_wide = has_legend and width >= WIDE
        legend_width = column_width(entries, theme, width // 3, value_width=VALUE_WIDTH) if is_wide else 0
        below = has_legend and not is_wide
        drawing = draw(chart, view, width - (legend_width + 2 if legend_width else 0), height - below, theme)
        return cls(
            chart=chart, view=view, theme=theme, size=size, drawing=drawing, legend_width=legend_width, below=below
        )

    def matches(self, chart: Chart, view: View, theme: Theme, size: tuple[int, int]) -> bool:
        return self.chart is chart and (self.view, self.theme, self.size) == (view, theme, size)

    def lines(self, at: float | None) -> list[Line]:
        """Return curves and legend, with the values at ``at`` on the x axis."""
        cursor = None if at is None else values_at(self.chart, self.view, at)
        drawing = self.drawing.with_cursor(cursor.x if cursor else None, self.theme)
        entries = legend_entries(self.chart, self.view, self.theme, _texts(self.chart, cursor) if cursor else {})
        width = self.size[0]
        heading = f"{self.chart.x.label} {units.number(cursor.x)}" if cursor else ""
        if self.below:
            lead = fitted([Span(f"{heading}  ", TextStyle(bold=True))], min(len(heading) + 2, width)) if heading else ()
            legend = in_line(entries, self.theme, width - width_of(lead))
            return [*map(_line, drawing.rows), legend.after(lead)]
        if not self.legend_width:
            return [_line(row) for row in drawing.rows]
        column = [Line(spans=fitted([Span(f" {heading}", TextStyle(bold=True))], self.legend_width))]
        column += in_column(entries, self.theme, self.legend_width, len(drawing.rows) - 1)
        return _beside(drawing.rows, column, self.legend_width)


def _texts(chart: Chart, cursor: CursorValues) -> dict[str, str]:
    format_value = units.percent if chart.y.ticks == "percent" else units.number
    return {
        each.key: f"≈{format_value(each.smoothed)}" if each.smoothed is not None else format_value(each.y)
        for each in cursor.readings
    }


def _line(row: Sequence[Span]) -> Line:
    return Line(spans=tuple(row))


def _beside(rows: Sequence[tuple[Span, ...]], column: Sequence[Line], width: int) -> list[Line]:
    result = []
    for index, row in enumerate(rows):
        line = column[index] if index < len(column) else Line(spans=fitted([], width))
        result.append(line.after((*row, Span("  ", PLAIN))))
    return result
