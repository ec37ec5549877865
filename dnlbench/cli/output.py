"""What the commands print and how they end: data on stdout, narration on stderr, errors with their exit codes."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dnlbench.errors import DnlbenchError
from dnlbench.escape import json_text, terminal

if TYPE_CHECKING:
    from dnlbench.report.grid import Grid

_WRONG_PLACES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
P = ParamSpec("P")
T = TypeVar("T")

PIPE_WIDTH = 160
"""Columns where output goes to a file or a pipe, which have none of their own."""


class ExitCode(IntEnum):
    """How a command ends."""

    OK = 0
    FAILED = 1
    """Some runs failed, or dnlbench did."""
    USAGE = 2
    REGRESSION = 3
    """A gate failed."""
    INCONCLUSIVE = 4
    """A gate could not tell, and was asked to fail then."""
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


class _Console(Console):
    """Shows control characters in what it renders instead of obeying them; colours and movements of its own are no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal(segment.text), segment.style)


def console(file: IO[str]) -> Console:
    """A console on a stream: as wide as its terminal, plain and wide where there is none."""
    # Both sizes have to be given: without the second Rich takes TERM=dumb for a terminal of 80 columns.
    width, height = (None, None) if file.isatty() else (PIPE_WIDTH, 50)
    return _Console(file=file, width=width, height=height, highlight=False, markup=False)


def show(*parts: Grid | str) -> None:
    """Print tables and text to stdout."""
    _put(drawn(parts, sys.stdout))


def drawn(parts: Iterable[Grid | str], file: IO[str] | None = None) -> str:
    """Tables and text as a stream would show them, by default a file, with an empty line between them."""
    return "\n".join(_drawn(part, console(file or io.StringIO())) for part in parts)


def _drawn(part: Grid | str, out: Console) -> str:
    """Without the blanks at the ends of lines."""
    if isinstance(part, str):
        return f"{terminal(part)}\n"
    with out.capture() as capture:
        out.print(part.to_rich(out.width))
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


def write(text: str) -> None:
    """Write data to stdout, never wrapped, coloured or cut, with control characters shown."""
    _put(terminal(text))


def write_json(content: object) -> None:
    """Write one line of JSON to stdout."""
    _put(json_text(json.dumps(content, ensure_ascii=False, allow_nan=False)))


def _put(text: str) -> None:
    """Write to stdout. A reader that has left, as `head` does, gets nothing more; the command ends with its own exit code."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Write a message to stderr. Nobody has to listen: a closed stream ends no command."""
    with contextlib.suppress(OSError):
        print(terminal(text), file=sys.stderr, flush=True)


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Turns the errors that are meant for the user into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except DnlbenchError as error:
            say(f"dnlbench: error: {str(error).removeprefix('dnlbench: error: ')}")
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            say(f"dnlbench: error: {place}{error.strerror or error}")
            raise typer.Exit(ExitCode.USAGE if isinstance(error, _WRONG_PLACES) else ExitCode.FAILED) from error
        except KeyboardInterrupt as error:
            say("dnlbench: interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from error

    return run


def prepare_streams() -> None:
    """Let commands print whatever the streams are.

    A closed one becomes /dev/null, so that no file of ours takes its number. One that cannot show a character shows a
    question mark; a result must not be lost to an ``×``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
