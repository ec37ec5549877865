"""A dialog that selects the columns of the run table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from dnlbench.tui.rows import Field


class Columns(ModalScreen[tuple[str, ...]]):
    """A list of columns to check. It returns the names of the checked columns, in the table's order."""

    DEFAULT_CSS = """
    Columns { align: center middle; }
    Columns > Vertical { width: 40; max-width: 100%; height: auto; max-height: 100%; padding: 1; background: $surface; }
    Columns OptionList, Columns OptionList:focus {
        height: auto; max-height: 16; border: none; background: $surface; padding: 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "check", id="columns.tick"),
        Binding("escape,C,q", "close", "done", id="columns.close"),
    ]

    def __init__(self, fields: Sequence[Field], shown: Sequence[str]) -> None:
        super().__init__()
        self._fields, self._shown = fields, set(shown)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Columns: space to check, esc to close")
            yield OptionList(*map(self._line, self._fields))

    def _line(self, field: Field) -> Text:
        return Text(f"{'✓' if field.name in self._shown else ' '} {field.header}")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._tick(event.option_index)

    def action_tick(self) -> None:
        index = self.query_one(OptionList).highlighted
        if index is not None:
            self._tick(index)

    def _tick(self, index: int) -> None:
        field = self._fields[index]
        self._shown ^= {field.name}
        self.query_one(OptionList).replace_option_prompt_at_index(index, self._line(field))

    def action_close(self) -> None:
        """Close with at least one column."""
        ticked = tuple(field.name for field in self._fields if field.name in self._shown)
        self.dismiss(ticked or (self._fields[0].name,))
