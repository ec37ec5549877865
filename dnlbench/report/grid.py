"""A table of text for terminals, Markdown, LaTeX and HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dnlbench.escape import latex, latex_number, markdown, markdown_line

HEAD_WIDTH = 3
"""Minimum width of a column."""
GAP = 2
"""Space between two columns."""
STYLES = {
    "better": "green",
    "worse": "red",
    "no difference": "dim",
    "inconclusive": "yellow",
    "not comparable": "dim",
    "pass": "green",
    "fail": "red",
    "ok": "green",
    "failed": "red",
    "oom": "red",
    "diverged": "red",
    "too large": "red",
}
"""Colors of words, which are always shown together with the word."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head and the layout rules of a column."""

    head: str
    numeric: bool = False
    """Right-aligned and never wrapped."""
    no_wrap: bool = False
    """Never wrapped; other text continues on the next line."""
    drop_order: int = 0
    """Order in which columns are dropped from a table that is too wide: small numbers first, equal ones from left to right. 0:
    never dropped."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A titled table; cells are finished text."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def titled(self, title: str) -> Grid:
        return replace(self, title=title)

    def to_rich(self, width: int) -> Group:
        shown = self._columns_within(width)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
        for index in shown:
            column = self.columns[index]
            head = textwrap.fill(column.head, self._width(index), break_long_words=False)
            rigid = column.numeric or column.no_wrap
            table.add_column(
                head,
                justify="right" if column.numeric else "left",
                no_wrap=rigid,
                overflow="ellipsis" if rigid else "fold",
            )
        for row in self.rows:
            table.add_row(*(Text(row[i], style=STYLES.get(row[i], "")) for i in shown))
        note = [Text(self.note, style="italic dim")] if self.note else []
        return Group(Text(self.title, style="bold"), table, *note)

    def _width(self, index: int) -> int:
        """Return the width of the widest cell in a column or of the longest word in its head."""
        words = self.columns[index].head.split()
        return max([HEAD_WIDTH, *map(len, words), *(len(row[index]) for row in self.rows)])

    def _columns_within(self, width: int) -> list[int]:
        """Return the columns to show after dropping as many as necessary to fit."""
        shown = list(range(len(self.columns)))
        droppable = [index for index in shown if self.columns[index].drop_order]
        for index in sorted(droppable, key=lambda index: self.columns[index].drop_order):
            if sum(self._width(i) + GAP for i in shown) - GAP > width:
                shown.remove(index)
        return shown

    def to_markdown(self) -> str:
        lines = [
            f"**{markdown(self.title)}**",
            "",
            _markdown_row([markdown(column.head) for column in self.columns]),
            _markdown_row(["---:" if column.numeric else "---" for column in self.columns]),
            *(_markdown_row([markdown(cell) for cell in row]) for row in self.rows),
        ]
        return "\n".join([*lines, *(f"\n{markdown_line(line)}" for line in self.note.splitlines())])

    def to_latex(self) -> str:
        """Return a table for a paper, with booktabs. Title and note form the caption; rows are grouped by the first cell."""
        heads = [latex(column.head).replace(" \\%", "\\,\\%") for column in self.columns]
        caption = latex(": ".join(filter(None, (self.title, "; ".join(self.note.splitlines())))))
        body = []
        for index, row in enumerate(self.rows):
            if index and row[0] != self.rows[index - 1][0]:
                body.append("    \\addlinespace")
            cells = (
                latex_number(cell) if c.numeric else latex(cell) for c, cell in zip(self.columns, row, strict=True)
            )
            body.append(f"    {' & '.join(cells)} \\\\")
        return "\n".join(
            [
                "\\begin{table}",
                "  \\centering",
                f"  \\caption{{{caption}.}}",
                f"  \\begin{{tabular}}{{@{{}}{''.join('r' if c.numeric else 'l' for c in self.columns)}@{{}}}}",
                "    \\toprule",
                f"    {' & '.join('$L$' if head == 'L' else head for head in heads)} \\\\",
                "    \\midrule",
                *body,
                "    \\bottomrule",
                "  \\end{tabular}",
                "\\end{table}",
            ]
        )


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
