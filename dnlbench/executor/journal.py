"""The scheduler's journal, which outlasts a full disk."""

from __future__ import annotations

import contextlib
from collections import deque

from dnlbench.events import JournalEvent
from dnlbench.files import is_disk_full
from dnlbench.store import RunDir

RESERVE_BYTES = 64 * 1024
"""Kept on the disk to be given up when it is full, so that there is room to say so."""


class Journal:
    """Appends events in order. Those that a full disk does not take wait until it does."""

    def __init__(self, run_dir: RunDir) -> None:
        self._writer = run_dir.journal_writer()
        self._reserve = run_dir.reserve_path
        self._waiting: deque[str] = deque()
        self.restore_reserve()

    def note(self, *events: JournalEvent) -> None:
        """Adds events; they are on the disk when this returns, if there is room."""
        lines = [event.model_dump_json() for event in events]
        if len(lines) > 1 and not self._waiting and self._takes("\n".join(lines)):
            return  # together they wait for the disk only once
        self._waiting.extend(lines)
        self.catch_up()

    def catch_up(self) -> None:
        """Writes what waits, as far as it goes."""
        while self._waiting:
            if self._takes(self._waiting[0]):
                self._waiting.popleft()
            elif self._reserve.exists():
                self._reserve.unlink()
            else:
                return

    def _takes(self, content: str) -> bool:
        """Writes it if there is room, and says whether there was."""
        try:
            self._writer.write(content, durable=True)
        except OSError as error:
            if not is_disk_full(error):
                raise
            return False
        return True

    @property
    def is_behind(self) -> bool:
        """Whether something waits for room."""
        return bool(self._waiting)

    def restore_reserve(self) -> None:
        """Takes the room back that was given up, if it is there."""
        with contextlib.suppress(OSError):
            if not self._reserve.exists():
                try:
                    self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
                except OSError:
                    self._reserve.unlink()  # a part of it would be taken for the whole

    def close(self) -> None:
        """Ends the writing."""
        self.catch_up()
        self._writer.close()
        self._reserve.unlink(missing_ok=True)
