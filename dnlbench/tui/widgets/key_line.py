"""The last line: which keys do something here and now.

It is one text. Textual's own ``Footer`` makes a widget for each key anew whenever the focus changes, and these stay in memory
for as long as it lives; here, too, help and the way out are never cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.markup import escape
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

LAST = ("app.help", "app.leave", "run.back", "new.back", "traceback.close")
"""Names of the keys that are always there, at the end: help and the way out."""

Shown = tuple[str, str, str]
"""Key to press, key as it is written, what it does."""


def fitting(keys: Sequence[Shown], last: Sequence[Shown], width: int) -> list[Shown]:
    """As many of the keys as fit before the last ones, which always stay."""
    room = width - sum(map(_width, last))
    shown = []
    for key in keys:
        room -= _width(key)
        if room < 0:
            break
        shown.append(key)
    return [*shown, *last]


def _width(key: Shown) -> int:
    return cell_len(key[1]) + cell_len(key[2]) + 3


class KeyLine(Widget):
    """Keys with what they do; a click on one presses it."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; padding: 0 0 0 1; }
    """

    def on_mount(self) -> None:
        """Hears of every change of focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Content:
        """One line."""
        keys: dict[str, Shown] = {}
        last: dict[str, Shown] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show and active.enabled:
                place = last if active.binding.id in LAST else keys
                place.setdefault(active.binding.action, self._shown(active.binding))
        shown = fitting(list(keys.values()), list(last.values()), self.size.width)
        return Content.assemble(*(part for key in shown for part in _parts(key)))

    def _shown(self, binding: Binding) -> Shown:
        return binding.key, self.app.get_key_display(binding), binding.description


def _parts(key: Shown) -> list[Content]:
    pressed = f"@click=app.simulate_key({key[0]!r})"
    return [Content.from_markup(f"[{pressed}][bold $footer-key-foreground]{escape(key[1])}[/] {escape(key[2])}[/]  ")]
