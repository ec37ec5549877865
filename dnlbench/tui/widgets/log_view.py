"""A view of a log that follows the file, with a search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from dnlbench import units
from dnlbench.tui.log_tail import KEPT_LINES, LogTail, LogUpdate
from dnlbench.tui.widgets.log_lines import LogLines

POLL_S = 0.5
"""Seconds between polls of the file."""


class LogView(Widget):
    """A view of a log that follows the file, with a search."""

    HELP = """
## Log

The output of the run, live, including an incomplete last line.

A search finds plain text; it is case-sensitive if it contains capital letters. The current match is marked ▸.
Lines that end in › are cut; the arrow keys scroll to the right.
The view keeps the last 5000 lines and skips output that is too fast. The file has all of it.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", id="log.search"),
        Binding("n", "go(1)", "next match", id="log.next"),
        Binding("N", "go(-1)", "previous match", show=False, id="log.previous"),
        Binding("f", "follow", "follow", id="log.follow"),
        Binding("g", "top", "top", show=False, id="log.top"),
        Binding("G", "end", "end", show=False, id="log.end"),
        Binding("y", "copy", "copy visible lines", show=False, id="log.copy"),
        Binding("Y", "copy_all", "copy all", show=False, id="log.copy_all"),
        Binding("escape", "end_search", "end the search", show=False, id="log.end_search"),
    ]
    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        layout: vertical;
        & > Input { display: none; padding: 0 2; }
        & > Input.-open { display: block; }
        & > Static { height: 1; color: $foreground-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._path = path
        self._tail = LogTail(path) if path else None
        self._problem: str | None = None
        self._log, self._status = LogLines(), Static(markup=False)
        self._box = Input(placeholder="search", compact=True)

    @property
    def path(self) -> Path | None:
        """The log file; None if there is none yet."""
        return self._path

    @path.setter
    def path(self, path: Path | None) -> None:
        if path == self._path:
            return
        self._path, self._tail = path, LogTail(path) if path else None
        if self.is_mounted:
            self._log.clear()
            self._log.follow = True
            self.poll()

    @property
    def follow(self) -> bool:
        return self._log.follow

    @property
    def lines(self) -> list[str]:
        """The kept lines, without control characters."""
        return self._log.lines

    @property
    def status(self) -> str:
        count = len(self.lines)
        parts = [
            self._match_text(),
            self._problem if count else None,
            f"last {count} lines" if count >= KEPT_LINES else units.counted(count, "line") if count else None,
            ("following" if self.follow else "not following") if count else None,
            self._path.name if self._path else None,
        ]
        return "  ".join(part for part in parts if part)

    def compose(self) -> ComposeResult:
        yield from (self._log, self._status, self._box)

    def on_mount(self) -> None:
        self.watch(self._log, "follow", self._update_status, init=False)
        self.poll()
        self.set_interval(POLL_S, self.poll)

    def poll(self) -> None:
        update = self._tail.read() if self._tail else LogUpdate(problem="no log yet")
        self._problem = update.problem
        self._log.placeholder = update.problem or "the log is empty"
        if update.problem is None:
            self._log.take(update)
        self._update_status()

    def _update_status(self) -> None:
        if self._status.content != self.status:
            self._status.update(self.status)
        if not self.lines:
            self._log.refresh()

    def _match_text(self) -> str | None:
        """Return ``3 of 17 lines with “error”``."""
        pattern = self._log.pattern
        if pattern is None:
            return None
        matches, current = self._log.matches, self._log.current
        what = f"with “{self._box.value}”"
        if not matches:
            return f"no line {what}"
        position = f"{matches.index(current) + 1} of " if current in matches else ""
        return f"{position}{len(matches)} line{'s' if len(matches) > 1 else ''} {what}"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in ("go", "end_search") or self._log.pattern is not None or self._box.has_class("-open")

    def action_search(self) -> None:
        self._box.add_class("-open")
        self._box.focus()

    def action_end_search(self) -> None:
        self._box.value = ""
        self._search("")
        self._close_search()

    def _close_search(self) -> None:
        self._box.remove_class("-open")
        self._log.focus()

    @on(Input.Changed)
    def _on_typed(self, event: Input.Changed) -> None:
        event.stop()
        self._search(event.value)

    @on(Input.Submitted)
    def _on_entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_search()

    def _search(self, text: str) -> None:
        log = self._log
        flags = re.IGNORECASE if text == text.lower() else re.NOFLAG
        log.pattern = re.compile(re.escape(text), flags) if text else None
        start = log.current if log.current is not None else round(log.scroll_y)
        log.current = None
        matches = log.matches
        if matches:
            log.show_line(next((line for line in matches if line >= start), matches[0]))
        log.refresh()
        self.refresh_bindings()
        self._update_status()

    def action_go(self, by: int) -> None:
        """Go to the next or the previous match, and wrap around."""
        log = self._log
        matches = log.matches
        here = log.current if log.current is not None else round(log.scroll_y)
        if matches:
            after = [line for line in matches if line > here]
            before = [line for line in matches if line < here]
            log.show_line((after or matches)[0] if by > 0 else (before or matches)[-1])
        self._update_status()

    def action_follow(self) -> None:
        self._log.follow = not self._log.follow

    def action_top(self) -> None:
        self._log.follow = False
        self._log.scroll_to(x=0, y=0, animate=False)

    def action_end(self) -> None:
        self._log.follow = True

    def action_copy(self) -> None:
        self._copy(self._log.visible_lines)

    def action_copy_all(self) -> None:
        self._copy(self.lines)

    def _copy(self, lines: list[str]) -> None:
        if lines:
            self.app.copy_to_clipboard("\n".join(lines) + "\n")
            self.notify(f"Copied {units.counted(len(lines), 'line')}")
