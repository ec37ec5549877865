"""The engine's replica of events from remote workers: reports become files in the run directory, each event exactly once.

Events are numbered within an attempt, and only those of the current attempt count. Duplicates, late events and events from
abandoned remote workers are dropped. Every epoch is stored once for each attempt that completed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from dnlbench.events import RunEnded, RunEvent, RunPaused, read_run_event
from dnlbench.executor.base import Attempts
from dnlbench.executor.ray.messages import Checkpoint, ResumeState, ResumeStates, RunUpdate
from dnlbench.files import read_lines
from dnlbench.store import CheckpointFiles, RunDir


@dataclass
class _Attempt:
    """A running attempt."""

    number: int
    started_at: float
    """Start time by the engine's clock."""
    event_count: int = 0
    """Number of its events received so far."""
    logged: int = 0
    """Bytes of its output received so far."""


class EventReplica:
    """Write reports about runs into a run directory."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._attempts: dict[str, _Attempt] = {}

    def resume_states(self, attempts: Attempts, *, shared: bool) -> ResumeStates:
        """Return the resume states of runs. ``shared`` is True if the remote worker has access to the checkpoints."""
        return {run_id: self._resume_state(run_id, shared=shared) for run_id in attempts}

    def _resume_state(self, run_id: str, *, shared: bool) -> ResumeState:
        lines = tuple(read_lines(self._run_dir.events_path(run_id)))
        content = None if shared or not lines else CheckpointFiles(self._run_dir.run_path(run_id)).last()
        return ResumeState(lines=lines, checkpoint=content)

    def begin(self, attempts: Attempts, now: float) -> None:
        """Accept only these attempts of their runs from now on."""
        self._attempts |= {run_id: _Attempt(number=number, started_at=now) for run_id, number in attempts.items()}
        self._run_dir.open_log(attempts)

    def end(self, attempts: Attempts) -> None:
        for run_id, number in attempts.items():
            if run_id in self._attempts and self._attempts[run_id].number == number:
                del self._attempts[run_id]

    def take(self, update: RunUpdate, *, ahead_s: float) -> None:
        """Store an update of an attempt whose worker's clock is ``ahead_s`` behind the engine's.

        Events are on the disk before a checkpoint that relies on them, and a run's last event is written after its last
        checkpoint. A run that has ended therefore has everything that is needed to resume it.

        Raises:
            OSError: if writing fails, for example on a full disk.
        """
        attempt = self._attempts.get(update.run_id)
        if attempt is None or attempt.number != update.attempt:
            return
        if update.first > attempt.event_count:  # events in between were lost, and the checkpoint may rely on them
            self._log(update, attempt)
            return
        new = update.lines[max(0, attempt.event_count - update.first) :]
        events = [_to_engine_clock(read_run_event(line), attempt.started_at, ahead_s) for line in new]
        before = [event for event in events if not isinstance(event, RunEnded | RunPaused)]
        last = [event for event in events if isinstance(event, RunEnded | RunPaused)]
        self._write(update.run_id, before, durable=update.checkpoint is not None)
        if update.checkpoint is not None:
            self._keep(update.run_id, update.checkpoint)
        if last:
            self._write(update.run_id, last, durable=True)
        attempt.event_count += len(new)
        self._log(update, attempt)
        if last:
            self._clear_up(update.run_id, last[-1])

    def _write(self, run_id: str, events: Sequence[RunEvent], *, durable: bool) -> None:
        if not events and not durable:  # events of earlier updates may not be on the disk yet
            return
        with closing(self._run_dir.events_writer(run_id)) as writer:
            writer.write_all([event.model_dump_json(exclude_none=True) for event in events], durable=durable)

    def _keep(self, run_id: str, checkpoint: Checkpoint) -> None:
        files = CheckpointFiles(self._run_dir.run_path(run_id))
        if isinstance(checkpoint, bytes):
            files.save(checkpoint)
        else:
            files.adopt(self._run_dir.run_path(run_id) / checkpoint.path.name, checkpoint.sha256)

    def _log(self, update: RunUpdate, attempt: _Attempt) -> None:
        new = update.log[max(0, attempt.logged - update.log_from) :] if update.log_from <= attempt.logged else b""
        if new:
            with self._run_dir.log_path(update.run_id, update.attempt).open("ab") as file:
                file.write(new)
            attempt.logged += len(new)

    def _clear_up(self, run_id: str, last: RunEvent) -> None:
        """Remove checkpoints of a run that has ended, like a runner does."""
        files = CheckpointFiles(self._run_dir.run_path(run_id))
        if isinstance(last, RunEnded) and last.status == "ok":
            files.keep_last()
        elif isinstance(last, RunEnded) and last.status == "diverged":
            files.clear()

    def log(self, slot: str, content: bytes) -> None:
        if content:
            path = self._run_dir.slot_log_path(slot)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content)


def _to_engine_clock(event: RunEvent, started_at: float, ahead_s: float) -> RunEvent:
    """Convert an event's time to the engine's clock. No event is earlier than the start of its attempt."""
    return event.model_copy(update={"time": max(started_at, event.time + ahead_s)})
