"""The end of a log, and what is added to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dnlbench import units
from dnlbench.escape import CONTROLS, SEQUENCES

TAIL_BYTES = 256 * 1024
"""Most that one look reads: of what was added more than that, the beginning is left out."""
KEPT_LINES = 5000
LONGEST_LINE = 2000
"""Characters that are kept of a line."""
TAB = 8


def clean(line: bytes) -> str:
    """A line as it would stand on a terminal in the end, a progress bar's last state, without colors and controls."""
    text = SEQUENCES.sub("", line.decode("utf-8", errors="replace")).rstrip("\r\n").rpartition("\r")[2]
    text = CONTROLS.sub("", text.expandtabs(TAB))
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


@dataclass(frozen=True, kw_only=True)
class LogUpdate:
    """What a look at a file found."""

    lines: tuple[str, ...] = ()
    """New whole lines."""
    partial_line: str = ""
    """What stands after the last line break: all that is left of somebody who was killed in the middle of a line."""
    restarted: bool = False
    """Whether it is another file than at the last look, or was emptied: what was read before is of the past."""
    problem: str | None = None
    """Why there is nothing to read: ``no log yet``, ``the log is gone``, or what the system says."""


class LogTail:
    """Reads what was added to a file since the last look."""

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
            return LogUpdate(problem="the log is gone" if self._identity else "no log yet")
        except OSError as error:
            return LogUpdate(problem=f"the log cannot be read: {error.strerror}")
        return self._update(content, left_out, restarted=restarted)

    def _begin(self, identity: tuple[int, int], size: int) -> bool:
        """Goes to the beginning of another file, and of one that was emptied."""
        before, self._identity = self._identity, identity
        restarted = before is not None and (before != identity or size < self._offset)
        if restarted:
            self._offset, self._rest = 0, b""
        return restarted

    def _update(self, content: bytes, left_out: int, *, restarted: bool) -> LogUpdate:
        lines: list[str] = []
        if left_out:
            lines.append(f"… {units.size(left_out)} left out …")
            self._rest, content = b"", content.partition(b"\n")[2] or content
        *complete, rest = (self._rest + content).split(b"\n")
        self._rest = rest[-TAIL_BYTES:]
        return LogUpdate(lines=(*lines, *map(clean, complete)), partial_line=clean(rest), restarted=restarted)
