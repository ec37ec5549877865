"""Output of commands: data on stdout, messages on stderr, and exit codes for errors."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from dnlbench.errors import DnlbenchError
from dnlbench.escape import json_text, terminal
from dnlbench.report.console import render

if TYPE_CHECKING:
    from dnlbench.report.grid import Grid

_WRONG_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
P = ParamSpec("P")
T = TypeVar("T")


class ExitCode(IntEnum):
    """Exit code of a command."""

    OK = 0
    FAILED = 1
    """Some runs failed, or dnlbench crashed."""
    USAGE = 2
    REGRESSION = 3
    """A rule of a gate is violated."""
    INCONCLUSIVE = 4
    """A rule is inconclusive, with ``--inconclusive fail``."""
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


def show(*parts: Grid | str) -> None:
    """Print tables and text to stdout."""
    _put(render(parts, sys.stdout))


def write(text: str) -> None:
    """Write data to stdout: never wrapped, colored or cut, with control characters escaped."""
    _put(terminal(text))


def write_json(content: object) -> None:
    """Write one line of JSON to stdout."""
    _put(json_text(json.dumps(content, ensure_ascii=False, allow_nan=False)))


def _put(text: str) -> None:
    """Write to stdout. A closed pipe, as left by `head`, does not change the exit code of the command."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Write a message to stderr. A closed stream is ignored."""
    with contextlib.suppress(OSError):
        print(terminal(text), file=sys.stderr, flush=True)


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Decorate a command: turn errors meant for the user into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except DnlbenchError as error:
            say(f"dnlbench: error: {str(error).removeprefix('dnlbench: error: ')}")
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            path = f"{error.filename}: " if error.filename else ""
            say(f"dnlbench: error: {path}{error.strerror or error}")
            raise typer.Exit(ExitCode.USAGE if isinstance(error, _WRONG_PATHS) else ExitCode.FAILED) from error
        except KeyboardInterrupt as error:
            say("dnlbench: interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from error

    return run


def prepare_streams() -> None:
    """Make the standard streams usable for every command.

    Replace closed streams by /dev/null, so that no other file takes their numbers. Print a question mark for characters that
    a stream cannot encode: a result must not be lost to an ``×``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
