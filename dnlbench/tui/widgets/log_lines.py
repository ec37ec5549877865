"""The lines of a log, with highlighted matches of a search."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dnlbench.tui.log_tail import KEPT_LINES, LogUpdate

CUT = "›"
"""Mark at the right edge of lines that are wider than the window."""


class LogLines(ScrollView, can_focus=True):
    """Scrollable lines of text with highlighted matches."""

    ALLOW_SELECT = False  # the keys of LogView copy
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log-lines--match"}
    DEFAULT_CSS = """
    LogLines {
        height: 1fr;
        background: transparent;
        scrollbar-size: 0 1;  /* marks of long lines replace the horizontal bar */
        & .log-lines--match { text-style: reverse; }
    }
    """
    follow: reactive[bool] = reactive(True)
    """True to scroll to the end as the log grows."""

    def __init__(self) -> None:
        super().__init__()
        self.pattern: re.Pattern[str] | None = None
        self.current: int | None = None
        """Index of the line with the current match."""
        self.placeholder = ""
        """Text if there are no lines."""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The kept lines, and the text after the last line break."""
        return [*self._lines, *([self._rest] if self._rest else [])]

    @property
    def visible_lines(self) -> list[str]:
        top = round(self.scroll_y)
        return self.lines[top : top + self.scrollable_content_region.height]

    @property
    def matches(self) -> list[int]:
        if self.pattern is None:
            return []
        return [index for index, line in enumerate(self.lines) if self.pattern.search(line)]

    def take(self, update: LogUpdate) -> None:
        """Add new lines. Visible lines stay in place, unless `follow` is set."""
        if update.restarted:
            self.clear()
        if not update.lines and update.partial_line == self._rest:
            return
        dropped = max(0, len(self._lines) + len(update.lines) - KEPT_LINES)
        self._lines.extend(update.lines)
        self._rest = update.partial_line
        if self.current is not None:
            self.current = self.current - dropped if self.current >= dropped else None
        top = self.scroll_y - dropped
        self._measure()
        if self.follow:
            self._to_end()
        elif dropped:
            self.scroll_to(y=max(0, top), animate=False, immediate=True)

    def clear(self) -> None:
        self._lines.clear()
        self._rest, self.current = "", None
        self._measure()

    def _measure(self) -> None:
        lines = self.lines
        self.virtual_size = Size(max(map(_cells, lines), default=0) + 2, len(lines))
        self.refresh()

    def _to_end(self) -> None:
        if self.scroll_y < self.max_scroll_y:  # an animation that has just arrived there cannot be stopped
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def show_line(self, index: int) -> None:
        """Scroll a line to the center and stop following the end."""
        self.follow, self.current = False, index
        middle = index - self.scrollable_content_region.height // 2
        self.scroll_to(x=self._column(index), y=max(0, middle), animate=False, immediate=True)
        self.follow = False  # the match may be at the end
        self.refresh()

    def _column(self, index: int) -> int:
        """Return the horizontal scroll offset at which the first match of a line is visible."""
        match = self.pattern.search(self.lines[index]) if self.pattern else None
        width = self.scrollable_content_region.width
        return max(0, 3 + _cells(self.lines[index][: match.end()]) - width) if match else 0

    def watch_follow(self, follow: bool) -> None:
        if follow:
            self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the user scrolls up, and follow again at the end."""
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y
        if at_end != self.follow and (new_value > old_value) == at_end:
            self.follow = at_end

    def on_resize(self, event: events.Resize) -> None:
        if self.follow:
            self._to_end()

    def render_line(self, y: int) -> Strip:
        """Render one line, without markup."""
        index, left, width = round(self.scroll_y) + y, round(self.scroll_x), self.scrollable_content_region.width
        strip = Strip(self._segments(index))
        is_cut = strip.cell_length > left + width
        strip = strip.crop_extend(left, left + width - is_cut, self.rich_style)
        if is_cut:
            strip = Strip([*strip, Segment(CUT)])
        return strip.apply_style(self.rich_style)

    def _segments(self, index: int) -> Iterator[Segment]:
        count = len(self._lines)
        line = self._lines[index] if index < count else self._rest if index == count else ""
        if index == 0 and not line:
            line = self.placeholder
        yield Segment("▸ " if index == self.current else "  ")
        end, style = 0, self.get_component_rich_style("log-lines--match", partial=True)
        for match in self.pattern.finditer(line) if self.pattern else ():
            yield Segment(line[end : match.start()])
            yield Segment(match.group(), style)
            end = match.end()
        yield Segment(line[end:])


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
