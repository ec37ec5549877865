"""Help: keys of the focused part of a screen, and the pages of the documentation."""

from __future__ import annotations

from pathlib import Path, PurePath
from textwrap import dedent
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Markdown, MarkdownViewer, OptionList, Static
from textual.widgets.option_list import Option

from dnlbench.docs import read_topic, topics
from dnlbench.tui.widgets.key_line import KeyLine

CONTENTS_WIDTH = 100
"""Minimum terminal width for a table of contents beside a page."""


class HelpScreen(Screen[None]):
    """Help and keys of what is focused on another screen, and the topics of the documentation."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "app.pop_screen", "close", id="help.close")]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        nodes = screen.focused.ancestors_with_self if screen.focused is not None else [screen]
        texts = (node.HELP for node in nodes if isinstance(node, Widget) and node.HELP)
        self._text = dedent(next(texts, "")).strip()
        self._keys = [active.binding for active in screen.active_bindings.values() if active.binding.id]

    def compose(self) -> ComposeResult:
        with Horizontal():
            with VerticalScroll(id="help-keys"):
                yield Markdown(self._text, open_links=False)
                yield Static(self._key_table())
            yield OptionList(
                *(Option(title, id=name) for name, title in short_titles().items()),
                id="help-topics",
                markup=False,
                compact=True,
            )
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#help-keys").border_title = "Keys"
        self.query_one("#help-topics").border_title = "Documentation"
        self.query_one("#help-topics").focus()

    def _key_table(self) -> Table:
        keys: dict[str, list[str]] = {}
        for binding in self._keys:
            if binding.description:
                keys.setdefault(binding.description, []).append(self.app.get_key_display(binding))
        table = Table.grid(padding=(0, 2))
        for description, names in keys.items():
            table.add_row(Text(" ".join(dict.fromkeys(names)), style="bold"), description)
        return table

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            self.app.push_screen(DocsScreen(event.option_id))


class PageViewer(MarkdownViewer):
    """A page of the documentation. Links to other pages open in this widget."""

    def __init__(self, topic: str) -> None:
        super().__init__(read_topic(topic), open_links=False, show_table_of_contents=False)
        self._history = [topic]

    async def go(self, location: str | PurePath) -> None:
        """Open a page, or show the address of a link that leads elsewhere."""
        path, anchor = self.document.sanitize_location(str(location))
        if path.suffix == ".md" and path.stem in topics():
            self._history.append(path.stem)
            await self._show_page(anchor)
        elif path == Path() and anchor:
            self.document.goto_anchor(anchor)
        else:
            # over SSH, a browser would open on the wrong machine, or in text mode on top of this screen
            self.app.copy_to_clipboard(str(location))
            self.notify(f"{location}\nCopied to the clipboard.", title="External link", markup=False)

    async def back(self) -> None:
        """Return to the previous page; close the screen on the first one."""
        if len(self._history) > 1:
            self._history.pop()
            await self._show_page()
        else:
            self.app.pop_screen()

    async def _show_page(self, anchor: str = "") -> None:
        await self.document.update(read_topic(self._history[-1]))
        self.scroll_home(animate=False)
        if anchor:
            self.document.goto_anchor(anchor)


class DocsScreen(Screen[None]):
    """The documentation, opened at a topic."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="docs.back"),
        Binding("q", "app.pop_screen", "close", id="docs.close"),
    ]

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def compose(self) -> ComposeResult:
        yield PageViewer(self._topic)
        yield KeyLine()

    def on_mount(self) -> None:
        self.call_after_refresh(lambda: self.query(Markdown).focus())  # its viewer creates it after this screen

    def on_resize(self) -> None:
        """Show the table of contents in wide terminals only."""
        self.query_one(PageViewer).show_table_of_contents = self.size.width >= CONTENTS_WIDTH

    async def action_back(self) -> None:
        await self.query_one(PageViewer).back()


def short_titles() -> dict[str, str]:
    """Return the titles of the topics up to the colon, by topic."""
    return {name: title.partition(":")[0] for name, title in topics().items()}
