"""``control.jsonl``: where people leave commands for a run directory's engine.

A file, and not a socket, since it needs no path shorter than 108 characters, works on a file system that two machines share,
and can be read afterwards. Whoever may write to it steers the sweep, so nobody but its owner may. The answers are events in
the journal.
"""

from __future__ import annotations

import os
from pathlib import Path

from dnlbench.events import Command, read_command
from dnlbench.files import LineFollower


class ControlFile:
    """The engine's side: opened anew by each engine, so that no command for an earlier one is obeyed."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._follower = LineFollower(path)

    def read(self) -> list[Command]:
        """The commands that came in since the last look; a line that is none is passed over."""
        commands = (read_command(line) for line in self._follower.read())
        return [command for command in commands if command is not None]


def leave_command(path: Path, command: Command) -> None:
    """The other side: adds a command with one write, so that two at once do not mix.

    Raises:
        FileNotFoundError: if no engine has opened the file.
        PermissionError: if it belongs to somebody else.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, command.model_dump_json().encode() + b"\n")
    finally:
        os.close(descriptor)
