"""The legend of a chart, in a column beside it or in a line below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.curves import is_dashed, legend_series, mark_of
from dnlbench.charts.terminal.text import PLAIN, Span, TextStyle, Theme, fitted, justified, width_of
from dnlbench.charts.terminal.view import View

HIDDEN_MARK = "○"
"""The marker of a hidden series."""
GAP = "   "


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A legend entry of a series."""

    key: str
    label: str
    mark: str
    style: TextStyle
    """Style of the marker."""
    n: int | None = None
    failed: bool = False
    hidden: bool = False
    chosen: bool = False
    value: str = ""
    """Value at the cursor."""

    def spans(self, theme: Theme) -> tuple[Span, ...]:
        """Return the entry as styled text without its value: ``● densenet L=2 n=5``."""
        quiet = theme.quiet()
        text = quiet if self.hidden else TextStyle(bold=True) if self.chosen else PLAIN
        mark = quiet if self.hidden else self.style._replace(bold=self.chosen)
        seeds = (Span(f" n={self.n}", quiet),) if self.n is not None else ()
        failed = (Span(" ✗", mark),) if self.failed else ()
        chosen = "▸" if self.chosen else ""
        return (
            Span(chosen, text),
            Span(HIDDEN_MARK if self.hidden else self.mark, mark),
            Span(f" {self.label}", text),
            *seeds,
            *failed,
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the legend, with the columns of each series."""

    spans: tuple[Span, ...]
    keys: tuple[tuple[int, int, str], ...] = ()
    """First column, column after the last, and key of each series."""

    def after(self, spans: Sequence[Span]) -> Line:
        used = width_of(spans)
        keys = tuple((start + used, end + used, key) for start, end, key in self.keys)
        return Line(spans=(*spans, *self.spans), keys=keys)

    def key_at(self, column: int) -> str | None:
        return next((key for start, end, key in self.keys if start <= column < end), None)


def legend_entries(
    chart: Chart, view: View, theme: Theme, values: Mapping[str, str] | None = None
) -> tuple[Entry, ...]:
    """Return the legend entries of a chart, with values by key."""
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


def column_width(entries: Sequence[Entry], theme: Theme, most: int, *, value_width: int = 0) -> int:
    """Return the width of a legend column: its longest entry, the marker ``▸``, and values."""
    longest = max((width_of(entry.spans(theme)) + (not entry.chosen) for entry in entries), default=0)
    return min(most, longest + value_width) if entries else 0


def in_column(entries: Sequence[Entry], theme: Theme, width: int, rows: int) -> tuple[Line, ...]:
    """Arrange entries in a column, around the selected one if not all fit."""
    start, end = _window(entries, [1] * len(entries), rows if len(entries) <= rows else rows - 1)
    lines = [_column_line(entry, theme, width) for entry in entries[start:end]]
    if end - start < len(entries) and rows > 0:
        lines.append(Line(spans=fitted([Span(f" +{len(entries) - (end - start)} more", theme.quiet())], width)))
    return tuple(lines[:rows])


def in_line(entries: Sequence[Entry], theme: Theme, width: int) -> Line:
    """Arrange entries in a line, around the selected one, with the number of entries that do not fit."""
    texts = [_with_value(entry, theme) for entry in entries]
    widths = [width_of(text) + len(GAP) for text in texts]
    rest = 0 if sum(widths) - len(GAP) <= width else len(f"+{len(entries)} more")
    start, end = _window(entries, widths, width + len(GAP) if not rest else width - rest)
    spans: list[Span] = []
    keys = []
    for entry, text in zip(entries[start:end], texts[start:end], strict=True):
        column = width_of(spans)
        spans += [*text, Span(GAP, PLAIN)]
        keys.append((column, min(column + width_of(text), width), entry.key))
    more = len(entries) - (end - start)
    suffix = [Span(f"+{more} more", theme.quiet())] if more else []
    return Line(spans=justified(fitted(spans, width - rest), suffix, width), keys=tuple(keys))


def _with_value(entry: Entry, theme: Theme) -> tuple[Span, ...]:
    return (*entry.spans(theme), *((Span(f" {entry.value}", TextStyle(bold=True)),) if entry.value else ()))


def _column_line(entry: Entry, theme: Theme, width: int) -> Line:
    text = entry.spans(theme)
    if not entry.chosen:
        text = (Span(" ", PLAIN), *text)
    value = [Span(f" {entry.value}", TextStyle(bold=True))] if entry.value else []
    return Line(spans=justified(text, value, width), keys=((0, width, entry.key),))


def _window(entries: Sequence[Entry], sizes: Sequence[int], room: int) -> tuple[int, int]:
    """Return the range of entries that fit and include the selected one. At least one, unless there is none or no space."""
    chosen = next((index for index, entry in enumerate(entries) if entry.chosen), 0)
    start = 0
    while start < chosen and sum(sizes[start : chosen + 1]) > room:
        start += 1
    end = start
    while end < len(entries) and sum(sizes[start : end + 1]) <= room:
        end += 1
    return start, max(end, min(start + 1, len(entries))) if room > 0 else start
