"""A table of text before it is known where it will be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

STYLES = {
    "better": "green",
    "worse": "red",
    "no difference": "dim",
    "inconclusive": "yellow",
    "not comparable": "dim",
    "ok": "green",
    "failed": "red",
    "oom": "red",
    "diverged": "red",
}
"""Colour of a word, beside which the word itself always stands."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its head, and whether its cells are figures, to be flush right."""

    head: str
    figures: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A titled table; cells are finished text."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def to_rich(self) -> Table:
        """For a terminal."""
        table = Table(
            title=self.title,
            title_justify="left",
            title_style="bold",
            caption=self.note or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
        )
        for column in self.columns:
            table.add_column(column.head, justify="right" if column.figures else "left", no_wrap=column.figures)
        for row in self.rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell.partition(":")[0], "")) for cell in row))
        return table

    def to_markdown(self) -> str:
        """For a pull request."""
        lines = [
            f"**{self.title}**",
            "",
            _markdown_row([column.head for column in self.columns]),
            _markdown_row(["---:" if column.figures else "---" for column in self.columns]),
            *(_markdown_row(row) for row in self.rows),
        ]
        return "\n".join([*lines, "", self.note] if self.note else lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
