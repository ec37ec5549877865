"""A small chart in the output of a command, shown only in terminals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from rich.style import Style
from rich.text import Text

from dnlbench.report.console import console

if TYPE_CHECKING:
    from dnlbench.charts.model import Chart
    from dnlbench.charts.terminal.text import Span, Theme
    from dnlbench.profiles import Profile

ROWS = 12
"""Height of the chart without its legend."""
NARROWEST = 30
"""Minimum width of a chart, in columns."""
GAP = "   "


def show_chart(profile: Profile, file: TextIO) -> None:
    """Print the main result over depth, the loss over the tuned setting, or for a single depth the loss over epochs.

    Print nothing without a terminal.
    """
    out = console(file)
    if not file.isatty() or out.is_dumb_terminal or out.width < NARROWEST or "utf" not in (file.encoding or "").lower():
        return
    from dnlbench.charts.terminal.text import Theme

    theme = Theme(colors=not os.environ.get("NO_COLOR"))
    for chart in _charts(profile):
        out.print()
        if chart.subject:
            out.print(chart.subject)
        for row in _rows(chart, out.width, theme):
            out.print(_text(row), no_wrap=True, crop=True)


def _charts(profile: Profile) -> Sequence[Chart]:
    """Return the charts to show; none if there are too few points for a curve."""
    from dnlbench.charts.depth import depth_chart, depth_quantities
    from dnlbench.charts.epochs import epoch_chart, metrics_of
    from dnlbench.charts.source import sources_of
    from dnlbench.charts.transfer import transfer_charts

    sources = sources_of([profile])
    if charts := transfer_charts(sources):
        return charts
    quantities, metrics = depth_quantities(sources), metrics_of(sources)
    if quantities and len({run.depth for run in profile.runs}) > 1:
        return [depth_chart(sources, quantities[0])]
    if metrics and max(len(run.epochs) for run in profile.runs) > 1:
        return [epoch_chart(sources, metrics[0])]
    return []


def _rows(chart: Chart, width: int, theme: Theme) -> Iterator[Sequence[Span]]:
    from dnlbench.charts.terminal.draw import draw
    from dnlbench.charts.terminal.view import View

    chart = replace(chart, fits=(), notes=())  # the tables below contain them
    yield from draw(chart, View(), width, ROWS, theme).rows
    yield from _legend(chart, width, theme)


def _legend(chart: Chart, width: int, theme: Theme) -> Iterator[Sequence[Span]]:
    from dnlbench.charts.terminal.legend import legend_entries
    from dnlbench.charts.terminal.text import PLAIN, Span, width_of
    from dnlbench.charts.terminal.view import View

    line: list[Span] = []
    for entry in legend_entries(chart, View(), theme):
        spans = entry.spans(theme)
        if line and width_of(line) + len(GAP) + width_of(spans) > width:
            yield line
            line = []
        line += [*([Span(GAP, PLAIN)] if line else []), *spans]
    if line:
        yield line


def _text(row: Sequence[Span]) -> Text:
    parts = (
        (
            span.text,
            Style(
                color=span.style.color or None,
                bgcolor=span.style.background or None,
                bold=span.style.bold,
                dim=span.style.dim,
            ),
        )
        for span in row
    )
    text = Text.assemble(*parts)
    text.rstrip()
    return text
