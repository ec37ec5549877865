"""What the commands print and how they end: data on stdout, narration on stderr, errors with their exit codes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console

from dnlbench.errors import ConfigurationError, DnlbenchError, NotComparableError

if TYPE_CHECKING:
    from dnlbench.report.grid import Grid

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
    INCONCLUSIVE = 4
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


def console(file: IO[str]) -> Console:
    """A console on a stream: as wide as its terminal, plain and wide where there is none."""
    width = None if file.isatty() else PIPE_WIDTH
    return Console(file=file, width=width, highlight=False, soft_wrap=False)


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
            print(f"dnlbench: error: {error}", file=sys.stderr)
            raise typer.Exit(_code_of(error)) from error
        except KeyboardInterrupt as error:
            print("dnlbench: interrupted", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERRUPTED) from error
        except BrokenPipeError as error:  # the reader of our output has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.OK) from error

    return run


def _code_of(error: DnlbenchError) -> ExitCode:
    if isinstance(error, ConfigurationError):
        return ExitCode.USAGE
    return ExitCode.NOT_COMPARABLE if isinstance(error, NotComparableError) else ExitCode.FAILED
