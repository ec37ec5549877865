"""The last lines of a log, and the lines that are added to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dnlbench import units
from dnlbench.escape import CONTROLS, SEQUENCES

TAIL_BYTES = 256 * 1024
"""Maximum number of bytes to read at once. If more were added, the oldest are skipped."""
KEPT_LINES = 5000
LONGEST_LINE = 2000
"""Maximum number of characters of a line; longer lines are cut."""
TAB = 8


def clean(line: bytes) -> str:
    """Return a line without colors and control characters, and with the last state of a progress bar."""
    text = SEQUENCES.sub("", line.decode("utf-8", errors="replace")).rstrip("\r\n").rpartition("\r")[2]
    text = CONTROLS.sub("", text.expandtabs(TAB))
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


@dataclass(frozen=True, kw_only=True)
class LogUpdate:
    """Text that was added to a log."""

    lines: tuple[str, ...] = ()
    """New complete lines."""
    partial_line: str = ""
    """Text after the last line break."""
    restarted: bool = False
    """True if the file was replaced or truncated: earlier lines are obsolete."""
    problem: str | None = None
    """Why the log cannot be read: ``no log yet``, ``the log was deleted``, or an error of the operating system."""


class LogTail:
    """A reader of the text that is added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._rest = b""

    def read(self) -> LogUpdate:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                restarted = self._begin((status.st_dev, status.st_ino), status.st_size)
                left_out = max(0, status.st_size - self._offset - TAIL_BYTES)
                file.seek(self._offset + left_out)
                content = file.read(TAIL_BYTES)
                self._offset += left_out + len(content)
        except FileNotFoundError:
            return LogUpdate(problem="the log was deleted" if self._identity else "no log yet")
        except OSError as error:
            return LogUpdate(problem=f"the log cannot be read: {error.strerror}")
        return self._update(content, left_out, restarted=restarted)

    def _begin(self, identity: tuple[int, int], size: int) -> bool:
        """Return True, and start at the beginning, if the file was replaced or truncated."""
        before, self._identity = self._identity, identity
        restarted = before is not None and (before != identity or size < self._offset)
        if restarted:
            self._offset, self._rest = 0, b""
        return restarted

    def _update(self, content: bytes, left_out: int, *, restarted: bool) -> LogUpdate:
        lines: list[str] = []
        if left_out:
            lines.append(f"… {units.size(left_out)} skipped …")
            self._rest, content = b"", content.partition(b"\n")[2] or content
        *complete, rest = (self._rest + content).split(b"\n")
        self._rest = rest[-TAIL_BYTES:]
        return LogUpdate(lines=(*lines, *map(clean, complete)), partial_line=clean(rest), restarted=restarted)
