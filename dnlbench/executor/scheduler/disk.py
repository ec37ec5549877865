"""The scheduler's writers: the journal, and last events of runs whose workers have exited. Both tolerate a full disk."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

from dnlbench.events import DiskFree, DiskFull, JournalEvent, PauseState, RunEnded, RunError, RunEvent
from dnlbench.files import is_disk_full
from dnlbench.store import RunDir

RESERVE_BYTES = 64 * 1024
"""Size of the reserve file, which is deleted when the disk is full, so that the journal can record that."""
CHECK_S = 5.0
"""Seconds between two checks of a full disk."""


class Journal:
    """Append events in order. Events that do not fit on a full disk are kept until there is room."""

    def __init__(self, run_dir: RunDir) -> None:
        self._writer = run_dir.journal_writer()
        self._reserve = run_dir.reserve_path
        self._waiting: deque[str] = deque()
        self.restore_reserve()

    def note(self, *events: JournalEvent) -> None:
        """Append events. They are on the disk when this returns, if there is room."""
        lines = [event.model_dump_json() for event in events]
        if len(lines) > 1 and not self._waiting and self._try_write("\n".join(lines)):
            return  # one write instead of several
        self._waiting.extend(lines)
        self.catch_up()

    def catch_up(self) -> None:
        """Write as many of the pending events as possible."""
        while self._waiting:
            if self._try_write(self._waiting[0]):
                self._waiting.popleft()
            elif self._reserve.exists():
                self._reserve.unlink()
            else:
                return

    def _try_write(self, content: str) -> bool:
        """Write ``content`` and return True, or return False if the disk is full."""
        try:
            self._writer.write(content, durable=True)
        except OSError as error:
            if not is_disk_full(error):
                raise
            return False
        return True

    @property
    def is_behind(self) -> bool:
        return bool(self._waiting)

    def restore_reserve(self) -> None:
        """Create the reserve file again if it is missing and there is room."""
        with contextlib.suppress(OSError):
            if not self._reserve.exists():
                try:
                    self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
                except OSError:
                    self._reserve.unlink()  # a partial file would pass for a complete one

    def close(self) -> None:
        self.catch_up()
        self._writer.close()
        self._reserve.unlink(missing_ok=True)


class Records:
    """Write the scheduler's events and track the pause state that results. A full disk pauses everything."""

    def __init__(self, run_dir: RunDir, clock: Callable[[], float]) -> None:
        self._run_dir, self._clock = run_dir, clock
        self._journal = Journal(run_dir)
        self._next_check = 0.0
        self.pause_state = PauseState()

    def note(self, *events: JournalEvent) -> None:
        self._journal.note(*events)
        for event in events:
            self.pause_state = self.pause_state.after(event)

    def append(self, event: RunEvent) -> bool:
        """Append an event to its run's file. Return False if the disk is full."""
        try:
            with contextlib.closing(self._run_dir.events_writer(event.run_id)) as writer:
                writer.write(event.model_dump_json(), durable=True)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self.disk_is_full(str(error))
            return False
        return True

    def end_run(self, run_id: str, attempt: int, status: str, error: RunError, *, requested: bool = False) -> bool:
        """Write the last event of a run whose worker has exited. Return False if the disk is full."""
        with_log = error.model_copy(update={"log": self._run_dir.log_tail(run_id, attempt)})
        fields = {"run_id": run_id, "status": status, "error": with_log, "requested": requested, "time": self._clock()}
        return self.append(RunEnded.model_validate(fields))

    def disk_is_full(self, message: str) -> None:
        """Pause everything until there is room."""
        if self.pause_state.disk is None:
            self.note(DiskFull(message=f"{message}; the sweep is paused until there is room in {self._run_dir.root}"))
        self._next_check = self._clock() + CHECK_S

    def check_disk(self) -> None:
        self._journal.catch_up()
        if self._journal.is_behind and self.pause_state.disk is None:
            self.disk_is_full("the journal cannot be written")
        if self.pause_state.disk is not None and self._clock() >= self._next_check:
            self._next_check = self._clock() + CHECK_S
            if self._run_dir.has_room():
                self._journal.restore_reserve()
                self.note(DiskFree())

    def close(self) -> None:
        self._journal.close()
