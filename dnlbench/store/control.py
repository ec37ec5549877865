"""``control.jsonl``, the file through which users send commands to a run directory's engine.

A file works where a socket does not: with paths longer than 107 characters, and on file systems shared by two machines.
Write permission is restricted to the owner, because anyone who can write to the file controls the sweep. The journal
records the results of commands.
"""

from __future__ import annotations

import os
from pathlib import Path

from dnlbench.events import Command, read_command


class ControlFile:
    """The engine's end. Each engine creates a new file, so that it executes no command for an earlier engine.

    The engine reads through the descriptor that created the file, so that nobody can replace it.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "rb", buffering=0)
        self._torn = b""

    def read(self) -> list[Command]:
        """Return the commands that have arrived since the last call. Invalid lines are skipped."""
        *lines, self._torn = (self._torn + (self._file.read() or b"")).split(b"\n")
        commands = (read_command(line) for line in lines)
        return [command for command in commands if command is not None]

    def close(self) -> None:
        self._file.close()


def send_command(path: Path, command: Command) -> None:
    """Append a command in a single write, so that concurrent commands do not mix.

    Raises:
        FileNotFoundError: if no engine has opened the file.
        PermissionError: if it belongs to another user.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    try:
        os.write(descriptor, command.model_dump_json().encode() + b"\n")
    finally:
        os.close(descriptor)
