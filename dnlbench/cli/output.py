"""What the commands print and how they end: data on stdout, narration on stderr, errors with their exit codes."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console

from dnlbench.errors import ConfigurationError, DnlbenchError, EngineError, NotComparableError

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


def console(file: IO[str]) -> Console:
    """A console on a stream: as wide as its terminal, plain and wide where there is none."""
    # Both sizes have to be given: without the second Rich takes TERM=dumb for a terminal of 80 columns.
    width, height = (None, None) if file.isatty() else (PIPE_WIDTH, 50)
    return Console(file=file, width=width, height=height, highlight=False, markup=False)


def show(grid: Grid) -> None:
    """A table, to stdout."""
    write(drawn(grid, sys.stdout))


def drawn(grid: Grid, file: IO[str]) -> str:
    """A table as a stream would show it, without the blanks at the ends of lines."""
    out = console(file)
    with out.capture() as capture:
        out.print(grid.to_rich(out.width))
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


def write(text: str) -> None:
    """Data as it is, to stdout: never wrapped, coloured or cut."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Turns the errors that are meant for the user into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except DnlbenchError as error:
            print(f"dnlbench: error: {str(error).removeprefix('dnlbench: error: ')}", file=sys.stderr)
            raise typer.Exit(_code_of(error)) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # the reader of our output has left, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(ExitCode.OK) from error
            place = f"{error.filename}: " if error.filename else ""
            print(f"dnlbench: error: {place}{error.strerror or error}", file=sys.stderr)
            raise typer.Exit(ExitCode.USAGE if isinstance(error, _WRONG_PLACES) else ExitCode.FAILED) from error
        except KeyboardInterrupt as error:
            print("dnlbench: interrupted", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERRUPTED) from error

    return run


def tolerate_narrow_encodings() -> None:
    """Lets streams that cannot show a character show a question mark; a result must not be lost to an ``×``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _code_of(error: DnlbenchError) -> int:
    if isinstance(error, EngineError):
        return error.exit_code
    if isinstance(error, ConfigurationError):
        return ExitCode.USAGE
    return ExitCode.NOT_COMPARABLE if isinstance(error, NotComparableError) else ExitCode.FAILED
