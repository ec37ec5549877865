"""The last line of a screen, with the keys that do something now.

It replaces Textual's ``Footer``, which creates a widget per key whenever the focus changes and never frees them. Help and
close are never cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widget import Widget

LAST = ("app.help", "app.leave", "run.back", "new.back", "traceback.close", "help.close", "docs.back")
"""Names of the keys that are always shown, at the end: help and close."""

Key = tuple[str, str, str]
"""Key, its display name and its description."""


def fitting(keys: Sequence[Key], last: Sequence[Key], width: int) -> list[Key]:
    """Return as many of the keys as fit before the last ones, which are always included."""
    room = width - sum(map(_width, last))
    shown = []
    for key in keys:
        room -= _width(key)
        if room < 0:
            break
        shown.append(key)
    return [*shown, *last]


def _width(key: Key) -> int:
    return cell_len(key[1]) + cell_len(key[2]) + 3


class KeyLine(Widget):
    """Keys with descriptions. A click on one presses it."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; padding: 0 0 0 1; }
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Content:
        key = "bold $footer-key-foreground"
        return Content.assemble(
            *(part for _, name, does in self._fitting_keys() for part in ((name, key), f" {does}  "))
        )

    def on_click(self, event: Click) -> None:
        end = self.gutter.left
        for shown in self._fitting_keys():
            end += _width(shown)
            if event.x < end:
                self.app.simulate_key(shown[0])
                return

    def _fitting_keys(self) -> list[Key]:
        keys: dict[str, Key] = {}
        last: dict[str, Key] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                shown = (binding.key, self.app.get_key_display(binding), binding.description)
                (last if binding.id in LAST else keys).setdefault(binding.action, shown)
        return fitting(list(keys.values()), list(last.values()), self.size.width)
