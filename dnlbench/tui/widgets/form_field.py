"""The fields of the spec form."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Label, Select, Static, Switch

if TYPE_CHECKING:
    from dnlbench.spec.lines import Key
    from dnlbench.tui.form import FormField


class Choice(Select[str], inherit_bindings=False):
    """A select whose arrow keys move to the fields above and below, as in the rest of the form."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "show_overlay", "choose", show=False)]


class FieldRow(Vertical):
    """A key of the spec: name, control, description and error."""

    class Edited(Message):
        """The value was edited."""

        def __init__(self, key: Key, text: str) -> None:
            super().__init__()
            self.key = key
            self.text = text

    def __init__(self, field: FormField, text: str) -> None:
        super().__init__(classes="field")
        self.field = field
        self._typed = text

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(self._title(changed=False), classes="name", markup=False)
            yield from self._control()
        yield Static(" · ".join(filter(None, (self.field.about, self.field.hint))), classes="about", markup=False)
        yield Static(classes="error", markup=False)

    def _control(self) -> ComposeResult:
        if self.field.key == ("study",):
            yield Label(self._typed, markup=False)
        elif self.field.kind == "switch":
            yield Switch(self._typed == "true", animate=False)
            yield Label(self._switch_word, classes="word")
        elif self.field.kind == "choice":
            words = [(word, word) for word in self.field.type.choices]
            no_value = [] if self.field.text(self.field.default) else [(self.field.placeholder, "")]
            yield Choice([*no_value, *words], value=self._typed, allow_blank=False, compact=True)
        else:
            yield Input(self._typed, placeholder=self.field.placeholder, select_on_focus=False, compact=True)

    @property
    def _switch_word(self) -> str:
        return "on" if self._typed == "true" else "off"

    def _title(self, *, changed: bool) -> str:
        return f"{'•' if changed else ' '} {self.field.name}"

    @property
    def help(self) -> str:
        return f"{'.'.join(self.field.key)}: {self.field.hint}\n{self.field.about}"

    def show_state(self, *, changed: bool, error: str) -> None:
        self.set_class(changed, "-changed")
        self.set_class(bool(error), "-wrong")
        self.query_one(".name", Label).update(self._title(changed=changed))
        self.query_one(".error", Static).update(f"✗ {error}")

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Switch.Changed)
    def _take(self, event: Input.Changed | Select.Changed | Switch.Changed) -> None:
        event.stop()
        if isinstance(event, Switch.Changed):
            self._typed = "true" if event.value else "false"
            self.query_one(".word", Label).update(self._switch_word)
        else:
            self._typed = str(event.value)
        self.post_message(self.Edited(self.field.key, self._typed))


class Fields(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields of the form. The arrow keys move between them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "field above", show=False, id="new.above"),
        Binding("down,enter", "app.focus_next", "field below", show=False, id="new.below"),
        Binding("pageup", "page_up", "page up", show=False, id="new.page-up"),
        Binding("pagedown", "page_down", "page down", show=False, id="new.page-down"),
    ]
