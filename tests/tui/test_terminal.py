"""Terminals that can show the terminal UI, and the data exchanged with them."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from struct import pack

import pytest
from textual import constants
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.web_driver import WebDriver
from textual.events import MouseDown
from textual.message import Message
from textual.screen import Screen

from dnlbench.cli.tui import has_terminal
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.driver import TerminalDriver
from tests.tui.conftest import PATIENCE_S

NO_ANSWER, SUPPORTED, ENABLED = "\x1b[I", "\x1b[?2048;2$y", "\x1b[?2048;1$y"
"""Replies of terminals when asked for in-band resize reports; the first one is unrelated input."""
SIZE = "\x1b[48;24;80;480;800t"
"""A resize report: cells of 20×10 pixels."""
CLICK = "\x1b[<0;40;12M"


class Stream:
    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


YES, NO = Stream(True), Stream(False)


@pytest.mark.parametrize(
    ("streams", "environment", "expected"),
    [
        ((YES, YES, YES), {}, True),
        ((YES, YES, NO), {}, True),
        ((YES, YES, None), {}, True),
        ((YES, NO, YES), {}, False),
        ((NO, YES, YES), {}, False),
        ((None, YES, YES), {}, False),
        ((YES, None, YES), {}, False),
        ((YES, YES, YES), {"TERM": "dumb"}, False),
        ((NO, NO, NO), {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver", "TERM": "dumb"}, True),
    ],
)
def test_a_terminal_is_on_stdin_and_stdout(
    monkeypatch: pytest.MonkeyPatch, streams: tuple[object, ...], environment: dict[str, str], expected: bool
) -> None:
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_terminal() is expected


def test_the_driver_is_ours_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DRIVER", None)
    assert DnlbenchApp(Screen).driver_class is TerminalDriver
    monkeypatch.setattr(constants, "DRIVER", "textual.drivers.web_driver:WebDriver")
    assert DnlbenchApp(Screen).driver_class is WebDriver


def positions(*sent: str) -> tuple[list[tuple[int, int]], str]:
    """Return the positions of clicks and the output, for input from a terminal that reports its size once asked."""
    arrived: list[Message] = []
    written: list[str] = []

    class Driver(TerminalDriver):
        def write(self, data: str) -> None:
            written.append(data)

        def send_message(self, message: Message) -> None:
            arrived.append(message)

    async def pump_output() -> None:
        driver, parser = Driver(App()), XTermParser()
        for text in sent:
            for message in parser.feed(text):
                driver.process_message(message)
            if "\x1b[?2048h" in written:
                for message in parser.feed(SIZE):
                    driver.process_message(message)

    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nobody:
        patch.setattr(sys, "__stdin__", nobody)
        patch.setattr(signal, "signal", lambda *_: None)  # the driver's handlers are for a program of its own
        asyncio.run(pump_output())
    return [(int(event.x), int(event.y)) for event in arrived if isinstance(event, MouseDown)], "".join(written)


@pytest.mark.parametrize("answer", [NO_ANSWER, SUPPORTED, ENABLED], ids=["none", "supported", "enabled"])
def test_clicks_arrive_in_the_clicked_cell(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.delenv("TEXTUAL_SMOOTH_SCROLL", raising=False)
    where, written = positions(answer, CLICK)
    assert where == [(39, 11)]
    assert written == ("\x1b[?2048l" if answer == ENABLED else "")


def test_reports_in_pixels_are_there_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """With this variable Textual misplaces clicks that a terminal reports in cells, as it always does without our driver."""
    monkeypatch.setenv("TEXTUAL_SMOOTH_SCROLL", "1")
    where, written = positions(SUPPORTED, CLICK)
    assert where == [(3, 0)]
    assert "\x1b[?2048h" in written


def read_until(terminal: int, mark: bytes) -> bytes:
    output, deadline = b"", time.monotonic() + PATIENCE_S
    while mark not in output:
        assert time.monotonic() < deadline, output
        if select.select([terminal], [], [], 0.5)[0]:
            output += os.read(terminal, 2**16)
    return output


def test_stderr_may_go_to_a_file(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    errors = tmp_path / "err.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TEXTUAL")}
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dnlbench"],
            cwd=tmp_path,
            stdin=theirs,
            stdout=theirs,
            stderr=file,
            env={**environment, "TERM": "xterm-256color"},
        )
    os.close(theirs)
    read_until(ours, b"digits-quick")
    os.write(ours, b"q")
    read_until(ours, b"\x1b[?1049l")  # the screen from before
    assert process.wait(PATIENCE_S) == 0
    os.close(ours)
    assert errors.read_bytes() == b""


def test_it_can_be_served_to_a_browser(tmp_path: Path) -> None:
    """`textual serve` starts it with pipes and packets of a kind, a length and a payload."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dnlbench"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver", "COLUMNS": "80", "ROWS": "24"},
    )
    assert process.stdout is not None
    read_until(process.stdout.fileno(), b"digits-quick")
    quit_ = b'{"type": "quit"}'
    _, errors = process.communicate(b"M" + len(quit_).to_bytes(4, "big") + quit_, PATIENCE_S)
    assert (process.returncode, errors) == (0, b"")
