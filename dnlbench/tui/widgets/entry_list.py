"""The lists of the start screen, with rows for specs, sweeps and profiles."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from dnlbench.tui.workspace_index import ProfileEntry, SpecEntry

if TYPE_CHECKING:
    from dnlbench.store.workspace import SweepEntry

BAR_CELLS = 10
MARKS = {
    "running": "▶",
    "paused": "‖",
    "disk full": "‖",
    "done": "✓",
    "interrupted": "■",
    "error": "✗",
    "killed": "✗",
    "waiting": "·",
    "unreadable": "!",
}
COLORS = {
    "running": "$text-success",
    "paused": "$text-warning",
    "disk full": "$text-error",
    "done": "$text-success",
    "interrupted": "$text-warning",
    "error": "$text-error",
    "killed": "$text-error",
    "waiting": "",
    "unreadable": "$text-error",
}
NO_SUMMARY = "add a comment as the first line of the file to describe it here"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The text of one entry."""

    key: str
    mark: str
    name: str
    status: str
    """Text at the right end of the first line."""
    below: str
    """Text below the first line."""
    short_status: str = ""
    """Shorter status, if the name needs the room; empty: none."""
    color: str = ""
    """Color of mark and status."""
    problem: bool = False
    """True if ``below`` is an error message."""
    lines: int = 1
    """Maximum number of lines of ``below``."""

    def has(self, words: Sequence[str]) -> bool:
        text = f"{self.name} {self.status} {self.below} {self.mark}".lower()
        return all(word in text for word in words)

    def content(self, width: int) -> Content:
        indent = cell_len(self.mark) + 1
        tight = self.short_status and indent + cell_len(self.name) + 1 + cell_len(self.status) > width
        status = self.short_status if tight else self.status
        room = max(1, width - indent - cell_len(status) - 1)
        first = Content.assemble(
            (f"{self.mark} ", self.color), (_cut(self.name, room), "bold"), " ", (status, self.color)
        )
        wrapped = textwrap.wrap(self.below, max(8, width - indent)) or [""]
        if len(wrapped) > self.lines:
            wrapped = [*wrapped[: self.lines - 1], " ".join(wrapped[self.lines - 1 :])]
        style = "$text-error" if self.problem else "dim"
        below = [Content.styled(f"\n{' ' * indent}{_cut(line, max(1, width - indent))}", style) for line in wrapped]
        return Content("").join([first, *below])


def _cut(text: str, width: int) -> str:
    """Return the text in exactly ``width`` cells, with an ellipsis if it is cut."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def spec_row(entry: SpecEntry) -> Row:
    """Return the row of a preset or a spec file."""
    runs = "" if entry.runs is None else f"{entry.runs:,} run{'s' if entry.runs != 1 else ''}"
    return Row(
        key=entry.spec,
        mark="!" if entry.problem else " ",
        name=entry.name if entry.preset else f"sweeps/{Path(entry.spec).name}",
        status="invalid" if entry.problem else runs,
        below=entry.problem or entry.summary or NO_SUMMARY,
        color="$text-error" if entry.problem else "",
        problem=bool(entry.problem),
        lines=3,
    )


def sweep_row(entry: SweepEntry, now: float) -> Row:
    """Return the row of a run directory."""
    counts = f"{entry.ended:,} of {entry.runs:,} run{'s' if entry.runs != 1 else ''}"
    failed = f"{entry.failed:,} failed" if entry.failed else ""
    status = entry.state if entry.fraction is None else f"{entry.state} {_bar(entry.fraction)}"
    lost = entry.state == "done" and entry.failed > 0
    return Row(
        key=str(entry.run_dir),
        mark="✗" if lost else MARKS[entry.state],
        name=entry.name,
        status=status,
        short_status="" if entry.fraction is None else f"{entry.state} {_percent(entry.fraction)}",
        below=entry.problem or _parts(entry.differing, counts, failed, f"{age(now - entry.active)} ago"),
        color="$text-warning" if lost else COLORS[entry.state],
        problem=bool(entry.problem),
        lines=2 if entry.problem else 1,
    )


def profile_row(entry: ProfileEntry, marked: Sequence[Path]) -> Row:
    """Return the row of a profile, with its position among the marked ones."""
    position = f"[{marked.index(entry.path) + 1}]" if entry.path in marked else "   "
    created = f"{entry.created.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if entry.created else ""
    return Row(
        key=str(entry.path),
        mark=position if not entry.problem else " ! ",
        name=entry.name,
        status="unreadable" if entry.problem else entry.state,
        below=entry.problem or _parts(entry.differing, created, entry.machine, entry.study),
        color="$text-error" if entry.problem else "$text-warning" if entry.state == "partial" else "",
        problem=bool(entry.problem),
        lines=2 if entry.problem else 1,
    )


def _parts(*texts: str) -> str:
    return " · ".join(filter(None, texts))


def _bar(fraction: float) -> str:
    done = int(fraction * BAR_CELLS)
    return f"{'━' * done}{'─' * (BAR_CELLS - done)} {_percent(fraction)}"


def _percent(fraction: float) -> str:
    """Return a percentage, rounded down, so that 100 % means finished."""
    return f"{int(fraction * 100):3d} %"


def age(seconds: float) -> str:
    """Return a duration in one unit, so that the text changes seldom: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for limit, per_unit, unit in ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / per_unit))} {unit}"
    return f"{int(seconds / 86400):,} d"


class EntryList(OptionList):
    """A list of rows that fit its width. The highlighted row stays highlighted if other rows are added or removed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "open", id="start.open")]

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id, classes="panel", compact=True, markup=False)
        self.title = title
        self.count = ""
        self._rows: tuple[Row, ...] = ()
        self._empty = "loading …"

    def on_mount(self) -> None:
        self._fill()

    def on_resize(self) -> None:
        """Rebuild the rows for the new width."""
        self._prompts(self._rows)

    @property
    def chosen(self) -> str | None:
        option = self.highlighted_option
        return option.id if option is not None and not option.disabled else None

    def show_rows(self, rows: Sequence[Row], empty: str) -> None:
        before, self._rows, same_empty = self._rows, tuple(rows), empty == self._empty
        self._empty = empty
        if [row.key for row in before] == [row.key for row in rows] and (rows or same_empty):
            known = set(before)
            self._prompts([row for row in rows if row not in known])
        else:
            self._fill()

    def _prompts(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.replace_option_prompt(row.key, row.content(self._width))

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width or 40

    def _fill(self) -> None:
        chosen, at, scrolled = self.chosen, self.highlighted or 0, self.scroll_y
        options = [Option(row.content(self._width), id=row.key) for row in self._rows]
        if not options:
            self.set_options([Option(self._empty, disabled=True)])
            return
        self.set_options(options)
        keys = [row.key for row in self._rows]
        self.scroll_to(y=scrolled, animate=False)
        self.highlighted = keys.index(chosen) if chosen in keys else min(at, len(keys) - 1)
