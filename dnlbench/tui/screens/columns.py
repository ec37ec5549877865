"""Which columns the run table has."""

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
    """A list to tick; closes with the names of those that are ticked, in the table's own order."""

    DEFAULT_CSS = """
    Columns { align: center middle; }
    Columns > Vertical { width: 40; max-width: 100%; height: auto; max-height: 100%; padding: 1; background: $surface; }
    Columns OptionList, Columns OptionList:focus {
        height: auto; max-height: 16; border: none; background: $surface; padding: 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "tick", id="columns.tick"),
        Binding("escape,C,q", "close", "done", id="columns.close"),
    ]

    def __init__(self, fields: Sequence[Field], shown: Sequence[str]) -> None:
        super().__init__()
        self._fields, self._shown = fields, set(shown)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Columns: space ticks, esc is done")
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
        """At least one column stays."""
        ticked = tuple(field.name for field in self._fields if field.name in self._shown)
        self.dismiss(ticked or (self._fields[0].name,))
