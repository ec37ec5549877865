"""The scheduler: which run goes to which slot and when. It alone writes the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dnlbench.events import JournalEvent, Prepared, RunEnded, RunError, RunLeased
from dnlbench.executor.base import Executor
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

LOOK_S = 0.1
"""Seconds between two looks at a sweep that goes on by itself."""


class Scheduler:
    """Keeps every slot busy with the longest run that is left, until none is."""

    def __init__(self, run_dir: RunDir, plan: Plan, executor: Executor, slots: Sequence[Slot]) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._executor = executor
        self._slots = slots
        self._journal = run_dir.journal_writer()
        self._busy: dict[str, Run] = {}

    def note(self, event: JournalEvent) -> None:
        """Adds an event to the journal."""
        self._journal.write(event.model_dump_json(), durable=True)

    def prepare(self) -> Prepared:
        """Makes the workers ready; see `Executor.prepare`."""
        prepared = self._executor.prepare()
        self.note(prepared)
        return prepared

    def carry_out(self, tick: Callable[[], None]) -> None:
        """Does every run that is not done yet. ``tick`` is called several times a second."""
        waiting = deque(run for run in self._plan.longest_first if not self._run_dir.read_history(run.run_id).done)
        while waiting or self._busy:
            for slot in self._slots:
                if waiting and slot.name not in self._busy:
                    self._lease(slot, waiting.popleft())
            for freed in self._executor.wait(LOOK_S):
                del self._busy[freed.slot.name]
                if freed.lost:
                    self._write_end(freed.run_id, "failed", freed.lost)
            tick()

    def _lease(self, slot: Slot, run: Run) -> None:
        attempt = len(self._run_dir.read_history(run.run_id).attempts) + 1
        self.note(RunLeased(run_id=run.run_id, attempt=attempt, slot=slot.name))
        self._busy[slot.name] = run
        self._executor.start(slot, run.run_id, attempt)

    def stop(self) -> None:
        """Ends the workers; a run that was under way becomes ``cancelled``, to be done again by a later engine."""
        self._executor.close()
        for run in self._busy.values():
            if self._run_dir.read_history(run.run_id).ended is None:
                error = RunError(type="Interrupted", message="the sweep was interrupted")
                self._write_end(run.run_id, "cancelled", error)
        self._busy.clear()

    def _write_end(self, run_id: str, status: str, error: RunError) -> None:
        """The last event of a run whose worker is gone."""
        with_log = error.model_copy(update={"log": self._run_dir.log_tail(run_id)})
        ended = RunEnded.model_validate({"run_id": run_id, "status": status, "error": with_log})
        writer = self._run_dir.events_writer(run_id)
        writer.write(ended.model_dump_json(), durable=True)
        writer.close()

    def close(self) -> None:
        """Ends the journal."""
        self._journal.close()
