from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from dnlbench import units
from dnlbench.tui.log_tail import KEPT_LINES, LONGEST_LINE, TAIL_BYTES, LogTail, LogUpdate, clean
from dnlbench.tui.widgets.log_lines import LogLines
from dnlbench.tui.widgets.log_view import LogView

ScreenText = Callable[[App[Any]], str]
Drive = Callable[..., None]
SIZES = [(80, 24), (160, 48), (20, 5)]


class LogApp(App[None]):
    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.view = LogView(path)

    def compose(self) -> ComposeResult:
        yield self.view

    @property
    def lines(self) -> LogLines:
        return self.view.query_one(LogLines)


def numbered(first: int, last: int) -> str:
    return "".join(f"epoch {number}\n" for number in range(first, last + 1))


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log-1.txt"
    path.write_text(numbered(1, 100))
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"plain [b]text[/b]\n", "plain [b]text[/b]"),
        (
            b"\x1b[31;1mred\x1b[0m, \x1b]0;title\x07titled, \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
            "red, titled, link",
        ),
        (b"\x1b[2J\x1b[H\x1b(B\x1b7cleared\x1b", "cleared"),
        (b"10 %\r50 %\r100 %\r\n", "100 %"),
        (b"a\tb\x00\x08\x0c\x7fc", "a       bc"),
        ("é ‮ 漢\u2028字\ufeff".encode(), "é  漢字"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 3000, "x" * (LONGEST_LINE - 1) + "…"),
    ],
)
def test_lines_are_cleaned(line: bytes, expected: str) -> None:
    assert clean(line) == expected


def test_the_tail_reads_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert tail.read() == LogUpdate(problem="no log yet")
    add(path, "one\ntw")
    assert tail.read() == LogUpdate(lines=("one",), partial_line="tw")
    assert tail.read() == LogUpdate(partial_line="tw")
    add(path, "o\nthree\n")
    assert tail.read() == LogUpdate(lines=("two", "three"))
    path.write_text("anew\n")
    assert tail.read() == LogUpdate(lines=("anew",), restarted=True)
    path.unlink()
    assert tail.read() == LogUpdate(problem="the log was deleted")
    assert LogTail(tmp_path).read().problem == "the log cannot be read: Is a directory"


def test_another_file_of_that_name_begins_anew_even_if_it_is_longer(tmp_path: Path) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    path.write_text("a\n")
    other.write_text("a longer one\n")
    tail = LogTail(path)
    tail.read()
    other.replace(path)
    assert tail.read() == LogUpdate(lines=("a longer one",), restarted=True)


def test_characters_may_arrive_in_parts(tmp_path: Path) -> None:
    path, complete = tmp_path / "log", "漢\n".encode()
    path.write_bytes(complete[:1])
    tail = LogTail(path)
    tail.read()
    path.write_bytes(complete)
    assert tail.read().lines == ("漢",)


def test_of_a_huge_file_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # takes no room
    add(path, "\nthe end\n")
    left_out = path.stat().st_size - TAIL_BYTES
    tail = LogTail(path)
    assert tail.read().lines == (f"… {units.size(left_out)} skipped …", "the end")
    add(path, "x" * (2 * TAIL_BYTES) + "\nmore\n")
    assert tail.read().lines == (f"… {units.size(TAIL_BYTES + 6)} skipped …", "more")


@pytest.mark.parametrize("size", SIZES)
def test_it_follows_the_end(drive: Drive, screen_text: ScreenText, log: Path, size: tuple[int, int]) -> None:
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        assert "  epoch 100\n" in screen_text(app)
        add(log, numbered(101, 150) + "half a li")
        app.view.poll()
        await pilot.pause()
        assert "  half a li\n" in screen_text(app)
        add(log, "ne\n")
        app.view.poll()
        await pilot.pause()
        assert "  half a line\n" in screen_text(app)
        assert app.view.status == "151 lines  following  log-1.txt"

    drive(app, act, size=size)


def test_what_is_read_stays_in_sight_until_the_end_is_asked_for(
    drive: Drive, screen_text: ScreenText, log: Path
) -> None:
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("f")
        add(log, numbered(101, 110))
        app.view.poll()
        await pilot.pause()
        assert "epoch 100\n" in screen_text(app)
        assert "epoch 101\n" not in screen_text(app)
        assert "not following" in screen_text(app)
        await pilot.press("f")
        await pilot.pause()
        assert "epoch 110\n" in screen_text(app)
        await pilot.press("g")
        await pilot.pause()
        assert (app.view.follow, app.lines.scroll_y) == (False, 0)
        await pilot.press("G")
        assert app.view.follow
        await pilot.press("pageup")
        await pilot.pause()
        assert not app.view.follow
        await pilot.press("pagedown")
        await pilot.pause()
        assert app.view.follow

    drive(app, act)


def test_a_small_window_keeps_following(drive: Drive, screen_text: ScreenText, log: Path) -> None:
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        for width, height in ((20, 5), (160, 48), (80, 24), (20, 2), (40, 10)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert app.view.follow
            if height > 2:
                assert "epoch 100\n" in screen_text(app)

    drive(app, act)


def test_only_the_last_lines_are_kept_and_what_is_in_sight_stays(
    drive: Drive, screen_text: ScreenText, log: Path
) -> None:
    log.write_text(numbered(1, KEPT_LINES))
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        app.lines.scroll_to(y=2000, animate=False)
        await pilot.pause()
        assert screen_text(app).startswith("  epoch 2001\n")
        add(log, numbered(KEPT_LINES + 1, KEPT_LINES + 1500))
        app.view.poll()
        await pilot.pause()
        assert screen_text(app).startswith("  epoch 2001\n")
        assert (len(app.view.lines), app.view.lines[0]) == (KEPT_LINES, "epoch 1501")
        assert app.view.status.startswith(f"last {KEPT_LINES} lines  not following")

    drive(app, act)


def test_search(drive: Drive, screen_text: ScreenText, log: Path) -> None:
    log.write_text(numbered(1, 100) + "RuntimeError: [red]out of memory[/red]\n" + numbered(101, 200))
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"error")
        await pilot.pause()
        assert "▸ RuntimeError: [red]out of memory[/red]" in screen_text(app)
        assert app.view.status.startswith("1 of 1 line with “error”  201 lines  not following")
        await pilot.press("enter")
        assert app.focused is app.lines
        await pilot.press("slash", *"epoch 20", "enter")
        await pilot.pause()
        assert "▸ epoch 200" in screen_text(app)  # from where the last match was
        assert app.view.status.startswith("2 of 2 lines with “epoch 20”")
        assert not app.view.follow
        for key, line in (("n", 19), ("n", 200), ("N", 19), ("N", 200)):
            await pilot.press(key)
            await pilot.pause()
            assert app.lines.current == line
            assert f"▸ {app.view.lines[line]}" in screen_text(app)
        add(log, "epoch 20 again\n")
        app.view.poll()
        await pilot.pause()
        assert app.view.status.startswith("2 of 3 lines")
        await pilot.press("escape")
        await pilot.pause()
        assert app.view.status == "202 lines  not following  log-1.txt"

    drive(app, act)


def test_a_search_without_matches_and_with_capitals(drive: Drive, log: Path) -> None:
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("n", "slash", *"Epoch", "enter")
        assert app.view.status.startswith("no line with “Epoch”  100 lines  following")
        await pilot.press("n", "slash", *"epoch", "escape")
        assert app.view.status.startswith("100 lines")
        assert app.focused is app.lines

    drive(app, act)


def test_lines_that_go_on_to_the_right_are_marked(drive: Drive, screen_text: ScreenText, log: Path) -> None:
    log.write_text("x" * 17 + "\n" + "y" * 18 + "\n" + "z" * 19 + "\n")
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        assert screen_text(app).splitlines()[:3] == ["  " + "x" * 17, "  " + "y" * 18, "  " + "z" * 17 + "›"]
        await pilot.press("right")
        await pilot.pause()
        assert screen_text(app).splitlines()[:3] == [" " + "x" * 17, " " + "y" * 18, " " + "z" * 19]
        add(log, "漢" * 12 + "\n")
        app.view.poll()
        await pilot.pause()
        assert screen_text(app).splitlines()[3].endswith("漢›")

    drive(app, act, size=(20, 8))


def test_a_match_far_to_the_right_is_brought_into_sight(drive: Drive, screen_text: ScreenText, log: Path) -> None:
    log.write_text("first\n" + "x" * 300 + "needle\n" + numbered(1, 50))
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"needle", "enter")
        await pilot.pause()
        assert "xneedle" in screen_text(app)

    drive(app, act, size=(40, 10))


def test_logs_that_come_late_go_and_come_again(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    path = tmp_path / "log-1.txt"
    app = LogApp(None)

    async def act(pilot: Pilot[None]) -> None:
        async def poll() -> str:
            app.view.poll()
            await pilot.pause()
            return screen_text(app)

        assert "no log yet" in await poll()
        app.view.path = path
        assert "no log yet" in await poll()
        path.touch()
        assert "the log is empty" in await poll()
        path.write_text("one\ntwo\n")
        assert "one" in await poll()
        path.unlink()
        text = await poll()
        assert "one" in text
        assert "the log was deleted" in text
        path.write_text("three\n")
        text = await poll()
        assert "three" in text
        assert "one" not in text
        assert "gone" not in text
        app.view.path = tmp_path / "log-2.txt"
        text = await poll()
        assert "three" not in text
        assert "no log yet" in text

    drive(app, act, size=(20, 5))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden here")
def test_a_log_of_somebody_else(log: Path) -> None:
    log.chmod(0)
    assert LogTail(log).read().problem == "the log cannot be read: Permission denied"


def test_copies(drive: Drive, log: Path) -> None:
    app = LogApp(log)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("y")
        assert app.clipboard == numbered(78, 100)
        await pilot.press("Y")
        assert app.clipboard == numbered(1, 100)

    drive(app, act)


def test_every_key_has_a_name_by_which_it_can_be_changed() -> None:
    ids = [binding.id for binding in LogView.BINDINGS]  # type: ignore[union-attr]
    assert all(name and name.startswith("log.") for name in ids)
