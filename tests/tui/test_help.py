from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Markdown

from dnlbench.docs import topics
from dnlbench.tui.app import DnlbenchApp, start_screen
from dnlbench.tui.screens.help import DocsScreen, HelpScreen, PageViewer
from dnlbench.tui.screens.start import StartScreen
from tests.tui.conftest import WIDE, Drive, Notices, ScreenText, until


def test_help_lists_keys_and_opens_the_documentation(
    drive: Drive, screen_text: ScreenText, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"tutorial": "# Tutorial\n\nRead [Statistics](statistics.md#tests), or [a paper](https://example.org/1).\n"}
    pages["statistics"] = "# Statistics\n\nIntervals.\n\n## Tests\n\nHolm.\n"
    monkeypatch.setattr("dnlbench.tui.screens.help.read_topic", pages.__getitem__)
    copied: list[str] = []
    monkeypatch.setattr(DnlbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))

    async def keys_and_topics(pilot: Pilot[Any]) -> None:
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        text = screen_text(pilot.app)
        assert "compare" in text
        assert "Statistics" in text

    async def a_topic_opens(pilot: Pilot[Any]) -> None:
        await pilot.press("home", "enter")
        await until(pilot, lambda: "Read Statistics" in screen_text(pilot.app))
        assert isinstance(pilot.app.screen, DocsScreen)

    async def click(pilot: Pilot[Any], text: str) -> None:
        lines = screen_text(pilot.app).splitlines()
        y = next(number for number, line in enumerate(lines) if text in line)
        await pilot.click(offset=(lines[y].index(text) + 1, y))

    async def an_external_link_is_copied(pilot: Pilot[Any]) -> None:
        await click(pilot, "a paper")
        await until(pilot, lambda: notices)
        assert copied == ["https://example.org/1"]

    async def a_link_opens_the_page_here(pilot: Pilot[Any]) -> None:
        await click(pilot, "Statistics")
        await until(pilot, lambda: "Holm." in screen_text(pilot.app))
        assert pilot.app.screen.query_one(Markdown).source.startswith("# Statistics")

    async def contents_need_a_wide_terminal(pilot: Pilot[Any]) -> None:
        viewer = pilot.app.screen.query_one(PageViewer)
        assert not viewer.show_table_of_contents
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: viewer.show_table_of_contents)

    async def escape_returns(pilot: Pilot[Any]) -> None:
        await pilot.press("escape")
        await until(pilot, lambda: "Read Statistics" in screen_text(pilot.app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartScreen))

    drive(
        DnlbenchApp(lambda: start_screen(Path())),
        keys_and_topics,
        a_topic_opens,
        an_external_link_is_copied,
        a_link_opens_the_page_here,
        contents_need_a_wide_terminal,
        escape_returns,
    )


def test_the_command_palette_opens_topics(drive: Drive, screen_text: ScreenText) -> None:
    async def run_command(pilot: Pilot[Any]) -> None:
        commands = {command.title: command for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert sum(title.startswith("Documentation: ") for title in commands) == len(topics())
        commands["Documentation: Statistics"].callback()
        await until(pilot, lambda: "Statistics" in screen_text(pilot.app))
        assert pilot.app.screen.query_one(Markdown).source.startswith("# Statistics")

    drive(DnlbenchApp(lambda: start_screen(Path())), run_command)
