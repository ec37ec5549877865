"""HTML tables with scoped heads, each in a box that scrolls if the table is too wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench.report.grid import STYLES, Column, Grid
from dnlbench.report.html.markup import Markup, lines, tag

ROW_HEADS = ("network", "property", "run", "curve", "candidate", "rule")
"""Columns whose cells are row heads."""
VERDICT_HEADS = ("verdict", "outcome", "status")
"""Columns with colored words."""


def table(grid: Grid) -> Markup:
    """Return a table with its title as caption and its note below."""
    head = tag("thead", tag("tr", *(_head(column) for column in grid.columns)))
    body = tag("tbody", *(_row(grid.columns, row) for row in grid.rows))
    html_table = tag("table", tag("caption", grid.title), head, body)
    box = tag("div", html_table, class_="scroll", tabindex=0, role="region", aria_label=grid.title)
    return tag("div", box, *([tag("p", lines(grid.note), class_="note")] if grid.note else []))


def side_by_side(grids: Iterable[Grid]) -> Markup:
    """Return tables in as many columns as fit."""
    return tag("div", *map(table, grids), class_="tables")


def property_table(title: str, rows: Sequence[tuple[str, str]]) -> Markup:
    """Return a table of names and values without heads."""
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows]
    html_table = tag("table", tag("caption", title), tag("tbody", *body), class_="properties")
    return tag("div", html_table, class_="scroll", tabindex=0, role="region", aria_label=title)


def verdict_class(word: str) -> str:
    """Return the CSS class of a verdict or a run status; empty for any other word."""
    return f"is-{word.replace(' ', '-')}" if word in STYLES else ""


def _head(column: Column) -> Markup:
    return tag("th", column.head, scope="col", class_="numeric" if column.numeric else None)


def _width_class(column: Column) -> str:
    """Return the CSS class for the wrapping of a column."""
    return "numeric" if column.numeric else "no-wrap" if column.no_wrap else "wrap"


def _row(columns: Sequence[Column], row: Sequence[str]) -> Markup:
    cells = []
    for index, (column, value) in enumerate(zip(columns, row, strict=True)):
        classes = " ".join(
            filter(None, (_width_class(column), verdict_class(value) if column.head in VERDICT_HEADS else ""))
        )
        if index == 0 and column.head in ROW_HEADS:
            cells.append(tag("th", value, scope="row", class_=classes or None))
        else:
            cells.append(tag("td", value, class_=classes or None))
    return tag("tr", *cells)
