from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot

from dnlbench.tui.widgets.key_line import KeyLine, fitting

KEYS = [("a", "a", "first"), ("b", "b", "second")]
LAST = [("q", "q", "leave")]


def test_the_last_keys_are_never_cut_off() -> None:
    assert fitting(KEYS, LAST, 100) == [*KEYS, *LAST]
    assert fitting(KEYS, LAST, 28) == [*KEYS, *LAST]
    assert fitting(KEYS, LAST, 27) == [KEYS[0], *LAST]
    assert fitting(KEYS, LAST, 5) == LAST


class Keys(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "press('a')", "first", id="some.first"),
        Binding("q", "press('q')", "leave", id="app.leave"),
        Binding("b", "press('b')", "second", id="some.second"),
        Binding("z", "press('z')", "hidden", show=False, id="some.hidden"),
    ]
    pressed = ""

    def compose(self) -> ComposeResult:
        yield KeyLine()

    def action_press(self, key: str) -> None:
        self.pressed += key


def test_a_click_presses_the_key_that_is_there(
    drive: Callable[..., None], screen_text: Callable[[App[Any]], str]
) -> None:
    app = Keys()

    async def act(pilot: Pilot[Any]) -> None:
        line = screen_text(app).splitlines()[-1]
        assert line == " a first  b second  q leave"
        for word in ("leave", "first", "second"):
            await pilot.click(KeyLine, offset=(line.index(word), 0))
        await pilot.click(KeyLine, offset=(60, 0))

    drive(app, act)
    assert app.pressed == "qab"
