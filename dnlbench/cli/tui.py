"""``dnlbench`` alone and ``dnlbench tui``: the terminal UI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dnlbench.cli.output import guarded
from dnlbench.errors import ConfigurationError


def has_terminal() -> bool:
    """Whether there is a terminal to draw in, or a browser through `textual serve`.

    stderr may go to a file. stdout may not: whoever redirects it wants data, and the terminal UI has none.
    """
    if os.environ.get("TEXTUAL_DRIVER"):  # Textual's driver then talks to the program that has set it
        return True
    # None is a stream that was closed before the start.
    streams = [stream for stream in (sys.stdin, sys.stdout) if stream is not None]
    return len(streams) == 2 and all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


@guarded
def tui(
    profiles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PROFILE", help="Profiles to show; several are held against the first.", show_default=False
        ),
    ] = None,
) -> None:
    """Open the terminal UI: where one begins, or with profiles to look at and to compare."""
    if not has_terminal():
        raise ConfigurationError(
            "the terminal UI needs a terminal; without one use dnlbench run, dnlbench compare and dnlbench profiles show"
        )
    for path in profiles or ():
        if not path.exists():
            raise ConfigurationError(f"{path}: no such profile")
    start(tuple(profiles or ()))


def start(profiles: tuple[Path, ...] = ()) -> None:
    """The screen where one begins, or the one for profiles."""
    from dnlbench.tui.app import DnlbenchApp, profiles_screen, start_screen

    DnlbenchApp((lambda: profiles_screen(profiles)) if profiles else start_screen).run()


def follow(run_dir: Path) -> None:
    """The screen of a sweep."""
    from dnlbench.tui.app import DnlbenchApp, sweep_screen

    DnlbenchApp(lambda: sweep_screen(run_dir)).run()
