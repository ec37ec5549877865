"""A chart as characters: what `draw` makes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.cells import cell_len

from dnlbench.tui.plot.ink import PLAIN, Ink, Look, Run
from dnlbench.tui.plot.scale import Frame


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where in a drawing the curves are."""

    left: int
    top: int
    columns: int
    rows: int

    def has(self, column: int, row: int) -> bool:
        """Whether a cell of the drawing is in it."""
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

    rows: tuple[tuple[Run, ...], ...]
    region: Region | None = None
    """None, as ``frame``, where there is nothing but text."""
    frame: Frame | None = None

    @property
    def lines(self) -> list[str]:
        """As plain text."""
        return ["".join(run.text for run in row) for row in self.rows]

    def cell(self, column: int, row: int) -> tuple[str, Ink]:
        """The character in a cell, if all before it are one column wide."""
        for text, ink in self.rows[row]:
            if column < len(text):
                return text[column], ink
            column -= len(text)
        return " ", PLAIN

    def with_cursor(self, x: float | None, look: Look) -> Drawing:
        """With a line down at x, behind the curves."""
        if x is None or self.region is None or self.frame is None:
            return self
        column = self.region.column(self.frame.x.fraction(x))
        if column is None:
            return self
        first, last = self.region.top, self.region.top + self.region.rows
        rows = (_crossed(row, column, look) if first <= y < last else row for y, row in enumerate(self.rows))
        return replace(self, rows=tuple(rows))


def _crossed(row: tuple[Run, ...], column: int, look: Look) -> tuple[Run, ...]:
    """With a line where nothing was."""
    result: list[Run] = []
    start = 0
    for text, ink in row:
        end = start + cell_len(text)
        if start <= column < end and text[column - start : column - start + 1] == " ":
            parts = (
                Run(text[: column - start], ink),
                Run("│", look.quiet()._replace(background=ink.background)),
                Run(text[column - start + 1 :], ink),
            )
            result += [part for part in parts if part.text]
        else:
            result.append(Run(text, ink))
        start = end
    return tuple(result)
