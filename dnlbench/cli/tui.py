"""``dnlbench`` without a command, and ``dnlbench tui``: the terminal UI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded
from dnlbench.errors import ConfigurationError


def has_terminal() -> bool:
    """Return True if there is a terminal to draw in, or a browser through `textual serve`.

    Standard error may go to a file. Standard output may not: a user who redirects it wants data.
    """
    if os.environ.get("TEXTUAL_DRIVER"):  # set by the program that Textual's driver talks to
        return True
    # A stream that was closed before the start is None.
    streams = [stream for stream in (sys.stdin, sys.stdout) if stream is not None]
    return len(streams) == 2 and all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


@guarded
def tui(
    profiles: Annotated[
        list[Path] | None,
        options.Argument(
            metavar="PROFILE",
            help="Profiles to show; several are compared with the first one. Default: open the start screen.",
            autocompletion=complete.profiles,
        ),
    ] = None,
) -> None:
    """Open the terminal UI, or profiles in it."""
    if not has_terminal():
        raise ConfigurationError(
            "the terminal UI needs a terminal. Without one, use dnlbench run, dnlbench compare and dnlbench profiles show"
        )
    for path in profiles or ():
        if not path.exists():
            raise ConfigurationError(f"{path}: no such profile")
    start(tuple(profiles or ()))


def start(profiles: tuple[Path, ...] = ()) -> None:
    """Open the start screen, or the screen for profiles."""
    from dnlbench.tui.app import DnlbenchApp, profiles_screen, start_screen

    DnlbenchApp((lambda: profiles_screen(profiles)) if profiles else start_screen).run()


def follow(run_dir: Path) -> None:
    """Open the screen of a sweep."""
    from dnlbench.tui.app import DnlbenchApp, sweep_screen

    DnlbenchApp(lambda: sweep_screen(run_dir)).run()
