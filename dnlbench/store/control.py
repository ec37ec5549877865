"""``control.jsonl``: where people leave commands for a run directory's engine.

A file, and not a socket, since it needs no path shorter than 108 characters and works on a file system that two machines
share. Whoever may write to it steers the sweep, so nobody but its owner may. The answers are events in
the journal.
"""

from __future__ import annotations

import os
from pathlib import Path

from dnlbench.events import Command, read_command


class ControlFile:
    """The engine's side: made anew by each engine, so that no command for an earlier one is obeyed.

    It is read through the descriptor with which it was made, so that nobody can put another file in its place.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "rb", buffering=0)
        self._torn = b""

    def read(self) -> list[Command]:
        """The commands that came in since the last look; a line that is none is passed over."""
        *lines, self._torn = (self._torn + (self._file.read() or b"")).split(b"\n")
        commands = (read_command(line) for line in lines)
        return [command for command in commands if command is not None]

    def close(self) -> None:
        self._file.close()


def send_command(path: Path, command: Command) -> None:
    """The other side: adds a command with one write, so that two at once do not mix.

    Raises:
        FileNotFoundError: if no engine has opened the file.
        PermissionError: if it belongs to somebody else.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    try:
        os.write(descriptor, command.model_dump_json().encode() + b"\n")
    finally:
        os.close(descriptor)
