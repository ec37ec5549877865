"""The table of runs, with sorting, filtering and marks for actions on several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from dnlbench.escape import csv_text
from dnlbench.tui.filter import Test
from dnlbench.tui.rows import BY_NAME, FIELDS, STATES, Field, RunRow, State, default_columns

MARKED = "▐"
KEPT_LINES = 100
URGENCY: tuple[frozenset[State], ...] = (
    frozenset({"running"}),
    frozenset({"failed", "oom", "diverged"}),
    frozenset({"paused"}),
    frozenset({"waiting"}),
)
"""States in the default order; all other states come last."""
ORDER = ("", "plan", "status", "network", "depth", "seed", "loss", "rate", "left", "time")
"""Columns that ``o`` sorts by in turn; the first is the order of `URGENCY`."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The columns, order and filter of the table."""

    columns: tuple[str, ...] = default_columns(wide=False, has_epochs=True)
    order: str = ""
    descending: bool = False
    filter: str = ""

    def arrange(self, rows: Mapping[str, RunRow], test: Test) -> list[RunRow]:
        """Return the matching rows in order. Rows without a value come last in either direction."""
        shown = [row for row in rows.values() if test(row)]
        if not self.order:
            shown.sort(key=_urgency)
        if self.order in ("", "plan"):
            return shown[::-1] if self.descending else shown
        value = BY_NAME[self.order].value
        known = [row for row in shown if _sortable(value(row)) is not None]
        unknown = [row for row in shown if _sortable(value(row)) is None]
        return sorted(known, key=lambda row: _sortable(value(row)) or ("", 0.0), reverse=self.descending) + unknown


def _urgency(row: RunRow) -> int:
    return next((index for index, states in enumerate(URGENCY) if row.state in states), len(URGENCY))


def _sortable(value: str | float | None) -> tuple[str, float] | None:
    """Return a sort key: text alphabetically, numbers by size; None for NaN."""
    if value is None or value != value:
        return None
    return (value, 0.0) if isinstance(value, str) else ("", float(value))


class RunsTable(DataTable[Text]):
    """A row for each run. Only changed cells are updated."""

    HELP = """
## Runs

**/** filters the runs: `network=dense* depth>=8 status=failed or seed=0`. **o** sorts by the next column, **O** reverses the
order, **C** selects columns. **x** marks runs; **space**, **k** and **r** then apply to all marked runs.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="runs.open"),
        Binding("o", "next_order", "sort", show=False, id="runs.sort"),
        Binding("O", "reverse_order", "reverse order", show=False, id="runs.turn_order"),
        Binding("x", "mark", "mark", show=False, id="runs.mark"),
        Binding("X", "mark_all", "mark all shown", show=False, id="runs.mark_all"),
    ]

    class Opened(Message):
        """A run was opened."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    class Rearranged(Message):
        """The runs or their order changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=0)
        # Textual caches a thousand rendered lines, which a running sweep never reuses. They are so many small objects that
        # garbage collection takes 0.2 s.
        self._line_cache.maxsize = self._row_render_cache.maxsize = KEPT_LINES
        self._cell_render_cache.maxsize = self._row_renderable_cache.maxsize = KEPT_LINES
        self.selection = Selection()
        self.marked: frozenset[str] = frozenset()
        self._rows: Mapping[str, RunRow] = {}
        self._test: Test = lambda row: True
        self._shown_rows: dict[str, tuple[RunRow, bool]] = {}

    @property
    def fields(self) -> list[Field]:
        return [BY_NAME[name] for name in self.selection.columns]

    @property
    def current(self) -> RunRow | None:
        shown = list(self._shown_rows)
        return self._rows[shown[self.cursor_row]] if 0 <= self.cursor_row < len(shown) else None

    @property
    def shown(self) -> int:
        return len(self._shown_rows)

    @property
    def chosen(self) -> list[RunRow]:
        """The marked runs, or the run under the cursor if none is marked."""
        marked = [row for run_id, row in self._rows.items() if run_id in self.marked]
        return marked or ([self.current] if self.current else [])

    def show(self, rows: Mapping[str, RunRow]) -> None:
        first, self._rows = not self._rows, rows
        wanted = self.selection.arrange(rows, self._test)
        if [row.run.run_id for row in wanted] != list(self._shown_rows) or not self.columns:
            self._rebuild(wanted, columns=first)  # column widths depend on the runs
            return
        for row in wanted:
            self._redraw(row)

    def csv(self) -> str:
        """Return the visible runs in their order, with unformatted values."""
        fields = [field for field in FIELDS if field.name != "curve"]
        rows = ([run_id, *(field.value(self._rows[run_id]) for field in fields)] for run_id in self._shown_rows)
        return csv_text([["run_id", *(field.name for field in fields)], *rows])

    def rearrange(self, selection: Selection, test: Test) -> None:
        heads = (selection.columns, selection.order, selection.descending)
        self.selection, self._test, before = selection, test, self.selection
        changed = heads != (before.columns, before.order, before.descending)
        self._rebuild(selection.arrange(self._rows, test), columns=changed)
        self.post_message(self.Rearranged())

    def _rebuild(self, rows: Sequence[RunRow], *, columns: bool = False) -> None:
        """Rebuild all rows, and optionally the columns. The cursor stays on its run if that is still visible."""
        under = self.current.run.run_id if self.current else None
        offset = self.scroll_offset
        self._shown_rows = {}
        self.clear(columns=columns)
        self._set_columns()
        for row in rows:
            self.add_row(*self._cells(row), key=row.run.run_id)
            self._shown_rows[row.run.run_id] = (row, row.run.run_id in self.marked)
        run_ids = list(self._shown_rows)
        if under in run_ids:
            self.move_cursor(row=run_ids.index(under), animate=False, scroll=False)
        self.scroll_to(*offset, animate=False)

    def on_resize(self) -> None:
        """Rebuild the table if the widths of flexible columns change."""
        if self.columns and self._widths() != {str(key.value): each.width for key, each in self.columns.items()}:
            self._rebuild([row for row, _ in self._shown_rows.values()], columns=True)

    def _set_columns(self) -> None:
        if not self.columns:
            widths = self._widths()
            for field in self.fields:
                self.add_column(self._head(field), width=widths[field.name], key=field.name)

    def _widths(self) -> dict[str, int]:
        widths = {field.name: max(self._least(field) + 1, self._head(field).cell_len) for field in self.fields}
        room = self.size.width - self.scrollbar_size_vertical - sum(widths.values())
        for field in self.fields:
            if field.flexible and room > 0:
                widths[field.name] = max(widths[field.name], min(self._longest(field) + 1, widths[field.name] + room))
        return widths

    def _least(self, field: Field) -> int:
        return max(field.width, min(self._longest(field), field.max_width))

    def _longest(self, field: Field) -> int:
        return max((len(field.text(row)) for row in self._rows.values()), default=0)

    def _head(self, field: Field) -> Text:
        return _cell(field, field.header + self._arrow(field))

    def _arrow(self, field: Field) -> str:
        if self.selection.order != field.name:
            return ""
        return " ▾" if self.selection.descending else " ▴"

    def _redraw(self, row: RunRow) -> None:
        run_id, marked = row.run.run_id, row.run.run_id in self.marked
        shown_row, was_marked = self._shown_rows[run_id]
        if (shown_row, was_marked) == (row, marked):
            return
        self._shown_rows[run_id] = (row, marked)
        old = self.get_row(run_id)
        for field, cell, before in zip(self.fields, self._cells(row), old, strict=True):
            if cell != before:
                self.update_cell(run_id, field.name, cell)

    def _cells(self, row: RunRow) -> list[Text]:
        styles = {} if self.app.no_color else {"status": STATES[row.state][1]}  # red as a shade of gray is hard to read
        cells = [_cell(field, field.text(row), styles.get(field.name, "")) for field in self.fields]
        if row.run.run_id in self.marked:
            cells[0] = Text.assemble((MARKED, "bold"), cells[0][1:])
        return cells

    def action_select_cursor(self) -> None:
        if self.current is not None:
            self.post_message(self.Opened(self.current.run.run_id))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        name = str(event.column_key.value)
        self._order_by(name, descending=self.selection.order == name and not self.selection.descending)

    def action_next_order(self) -> None:
        index = ORDER.index(self.selection.order) if self.selection.order in ORDER else 0
        self._order_by(ORDER[(index + 1) % len(ORDER)], descending=False)

    def action_reverse_order(self) -> None:
        self._order_by(self.selection.order, descending=not self.selection.descending)

    def _order_by(self, name: str, *, descending: bool) -> None:
        self.rearrange(replace(self.selection, order=name, descending=descending), self._test)

    def action_mark(self) -> None:
        if self.current is None:
            return
        self.marked ^= {self.current.run.run_id}
        self.show(self._rows)
        self.action_cursor_down()

    def action_mark_all(self) -> None:
        """Mark all visible runs, or none if all are marked."""
        shown = frozenset(self._shown_rows)
        self.marked = self.marked - shown if shown <= self.marked else self.marked | shown
        self.show(self._rows)


def _cell(field: Field, text: str, style: str = "") -> Text:
    """Return a cell with one blank at the left."""
    return Text(
        f" {text}", style=style, justify="right" if field.numeric else "left", no_wrap=True, overflow="ellipsis"
    )
