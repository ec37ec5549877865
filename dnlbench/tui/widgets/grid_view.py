"""Report tables on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from dnlbench.report.grid import STYLES, Grid

WRONG = "✗"
WORD_MARKS = {
    "better": "✓",
    "worse": "✗",
    "no difference": "=",
    "inconclusive": "?",
    "not comparable": "–",
    "failed": "✗",
    "oom": "✗",
    "diverged": "✗",
    "too large": "✗",
    "cancelled": "–",
}
"""Marks of verdicts, which stand out without color."""


class GridView(Static):
    """A list of tables, laid out for the width of the widget. The container scrolls."""

    def __init__(self, grids: Iterable[Grid] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.show(grids)

    @property
    def grids(self) -> tuple[Grid, ...]:
        return self._grids

    def show(self, grids: Iterable[Grid]) -> None:
        self._grids = tuple(grids)
        self.update(_Tables(self, self._grids))


class _Tables:
    """Tables, rendered with the width and colors at the time of rendering."""

    def __init__(self, view: GridView, grids: Sequence[Grid]) -> None:
        self._view = view
        self._grids = [marked(grid) for grid in grids]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for index, grid in enumerate(self._grids):
            if index:
                yield ""
            yield _colored(grid.to_rich(options.max_width), plain=self._view.app.no_color)


def marked(grid: Grid) -> Grid:
    """Return the grid with a mark before each verdict."""
    rows = [[f"{WORD_MARKS[cell]} {cell}" if cell in WORD_MARKS else cell for cell in row] for row in grid.rows]
    return replace(grid, rows=rows)


def _colored(group: Group, *, plain: bool) -> Group:
    """Style marked verdicts, which the grid no longer recognizes.

    Without colors, failures are bold, because red as a shade of gray is nearly black.
    """
    for table in group.renderables:
        for column in table.columns if isinstance(table, Table) else ():
            for cell in column.cells:
                if isinstance(cell, Text):
                    mark, _, word = cell.plain.partition(" ")
                    if WORD_MARKS.get(word) == mark:
                        cell.stylize(("bold" if mark == WRONG else "") if plain else STYLES.get(word, ""))
    return group
