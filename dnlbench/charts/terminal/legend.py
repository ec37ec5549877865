"""What the curves are called, beside a chart or in a line below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.curves import is_dashed, legend_series, mark_of
from dnlbench.charts.terminal.text import PLAIN, Span, TextStyle, Theme, fitted, justified, width_of
from dnlbench.charts.terminal.view import View

OFF = "○"
"""In place of the mark of a series that is switched off."""
GAP = "   "


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A series in the legend."""

    key: str
    label: str
    mark: str
    style: TextStyle
    """Of the mark."""
    n: int | None = None
    failed: bool = False
    hidden: bool = False
    chosen: bool = False
    value: str = ""
    """At the cursor."""

    def spans(self, theme: Theme) -> tuple[Span, ...]:
        """As text, without its value: ``● densenet L=2 n=5``."""
        quiet = theme.quiet()
        text = quiet if self.hidden else TextStyle(bold=True) if self.chosen else PLAIN
        mark = quiet if self.hidden else self.style._replace(bold=self.chosen)
        seeds = (Span(f" n={self.n}", quiet),) if self.n is not None else ()
        failed = (Span(" ✗", mark),) if self.failed else ()
        chosen = "▸" if self.chosen else ""
        return (
            Span(chosen, text),
            Span(OFF if self.hidden else self.mark, mark),
            Span(f" {self.label}", text),
            *seeds,
            *failed,
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the legend, and which columns of it belong to which series."""

    spans: tuple[Span, ...]
    keys: tuple[tuple[int, int, str], ...] = ()
    """First column, the one after the last, and key."""

    def after(self, spans: Sequence[Span]) -> Line:
        used = width_of(spans)
        keys = tuple((start + used, end + used, key) for start, end, key in self.keys)
        return Line(spans=(*spans, *self.spans), keys=keys)

    def key_at(self, column: int) -> str | None:
        return next((key for start, end, key in self.keys if start <= column < end), None)


def entries(chart: Chart, view: View, theme: Theme, values: Mapping[str, str] | None = None) -> tuple[Entry, ...]:
    """The series that can be switched, with values by key."""
    return tuple(
        Entry(
            key=series.key,
            label=series.label,
            mark=mark_of(series) or ("╌" if is_dashed(series) else "─"),
            style=TextStyle(color=theme.color(series)),
            n=series.n,
            failed=series.failed,
            hidden=series.key in view.hidden,
            chosen=series.key == view.focus_series,
            value=(values or {}).get(series.key, ""),
        )
        for series in legend_series(chart)
    )


def column_width(found: Sequence[Entry], theme: Theme, most: int, *, value_width: int = 0) -> int:
    """Columns that a legend at the side takes: as many as its longest entry, a place for ``▸``, and values."""
    longest = max((width_of(entry.spans(theme)) + (not entry.chosen) for entry in found), default=0)
    return min(most, longest + value_width) if found else 0


def in_column(found: Sequence[Entry], theme: Theme, width: int, rows: int) -> tuple[Line, ...]:
    """One below the other, around the chosen one if there is no room for all."""
    start, end = _window(found, [1] * len(found), rows if len(found) <= rows else rows - 1)
    lines = [_column_line(entry, theme, width) for entry in found[start:end]]
    if end - start < len(found) and rows > 0:
        lines.append(Line(spans=fitted([Span(f" +{len(found) - (end - start)} more", theme.quiet())], width)))
    return tuple(lines[:rows])


def in_line(found: Sequence[Entry], theme: Theme, width: int) -> Line:
    """One beside the other, around the chosen one, with the number of those for which there is no room."""
    texts = [_with_value(entry, theme) for entry in found]
    widths = [width_of(text) + len(GAP) for text in texts]
    rest = 0 if sum(widths) - len(GAP) <= width else len(f"+{len(found)} more")
    start, end = _window(found, widths, width + len(GAP) if not rest else width - rest)
    spans: list[Span] = []
    keys = []
    for entry, text in zip(found[start:end], texts[start:end], strict=True):
        column = width_of(spans)
        spans += [*text, Span(GAP, PLAIN)]
        keys.append((column, min(column + width_of(text), width), entry.key))
    more = len(found) - (end - start)
    said = [Span(f"+{more} more", theme.quiet())] if more else []
    return Line(spans=justified(fitted(spans, width - rest), said, width), keys=tuple(keys))


def _with_value(entry: Entry, theme: Theme) -> tuple[Span, ...]:
    return (*entry.spans(theme), *((Span(f" {entry.value}", TextStyle(bold=True)),) if entry.value else ()))


def _column_line(entry: Entry, theme: Theme, width: int) -> Line:
    text = entry.spans(theme)
    if not entry.chosen:
        text = (Span(" ", PLAIN), *text)
    value = [Span(f" {entry.value}", TextStyle(bold=True))] if entry.value else []
    return Line(spans=justified(text, value, width), keys=((0, width, entry.key),))


def _window(found: Sequence[Entry], sizes: Sequence[int], room: int) -> tuple[int, int]:
    """The entries from the first that leaves room for the chosen one. At least one, unless there is none or no room."""
    chosen = next((place for place, entry in enumerate(found) if entry.chosen), 0)
    start = 0
    while start < chosen and sum(sizes[start : chosen + 1]) > room:
        start += 1
    end = start
    while end < len(found) and sum(sizes[start : end + 1]) <= room:
        end += 1
    return start, max(end, min(start + 1, len(found))) if room > 0 else start
