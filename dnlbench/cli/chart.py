"""A small chart between the lines of a command, for those who sit at a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from rich.style import Style
from rich.text import Text

from dnlbench.cli.output import console

if TYPE_CHECKING:
    from dnlbench.profiles import Profile
    from dnlbench.tui.plot.figure import Figure
    from dnlbench.tui.plot.ink import Look, Run

ROWS = 12
"""Of the chart without its legend."""
NARROWEST = 30
"""Columns that a chart needs."""
GAP = "   "


def show_chart(profile: Profile, file: TextIO) -> None:
    """The main result over depth, or the loss over epochs where there is one depth only; nothing without a terminal."""
    out = console(file)
    if not file.isatty() or out.is_dumb_terminal or out.width < NARROWEST or "utf" not in (file.encoding or "").lower():
        return
    figure = _figure(profile)
    if figure is None:
        return
    from dnlbench.tui.plot.ink import Look

    look = Look(colours=not os.environ.get("NO_COLOR"))
    out.print()
    for row in _rows(figure, out.width, look):
        out.print(_text(row), no_wrap=True, crop=True)


def _figure(profile: Profile) -> Figure | None:
    """None where there is nothing that a curve could be drawn through."""
    from dnlbench.tui.figures import curve_metrics, depth_figure, depth_quantities, epoch_figure

    quantities, metrics = depth_quantities([profile]), curve_metrics([profile])
    if quantities and len({run.depth for run in profile.runs}) > 1:
        return depth_figure([profile.summary], quantities[0])
    if metrics and max(len(run.epochs) for run in profile.runs) > 1:
        return epoch_figure([profile], metrics[0])
    return None


def _rows(figure: Figure, width: int, look: Look) -> Iterator[Sequence[Run]]:
    from dnlbench.tui.plot.draw import draw
    from dnlbench.tui.plot.view import View

    figure = replace(figure, note="")  # the tables below say it in full
    yield from draw(figure, View(), width, ROWS, look).rows
    yield from _legend(figure, width, look)


def _legend(figure: Figure, width: int, look: Look) -> Iterator[Sequence[Run]]:
    """As many entries in a line as there is room for."""
    from dnlbench.tui.plot.ink import PLAIN, Run
    from dnlbench.tui.plot.legend import entries
    from dnlbench.tui.plot.text import width_of
    from dnlbench.tui.plot.view import View

    line: list[Run] = []
    for entry in entries(figure, View()):
        runs = entry.runs(look)
        if line and width_of(line) + len(GAP) + width_of(runs) > width:
            yield line
            line = []
        line += [*([Run(GAP, PLAIN)] if line else []), *runs]
    if line:
        yield line


def _text(row: Sequence[Run]) -> Text:
    parts = (
        (
            run.text,
            Style(color=run.ink.colour or None, bgcolor=run.ink.background or None, bold=run.ink.bold, dim=run.ink.dim),
        )
        for run in row
    )
    text = Text.assemble(*parts)
    text.rstrip()
    return text
