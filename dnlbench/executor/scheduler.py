"""The scheduler: which run goes to which slot and when. It alone writes the journal."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from dnlbench.events import JournalEvent, Prepared, RunEnded, RunError, RunLeased, SlotSetAside
from dnlbench.executor.base import Executor, SlotFreed
from dnlbench.executor.health import SlotHealth
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

LOOK_S = 0.1
"""Seconds between two looks at a sweep that goes on by itself."""
RETRIES = 2
"""How often a run is begun again after its worker was lost. A run that failed by itself would fail again."""


class Scheduler:
    """Keeps every slot busy with the longest run that is left, until none is, or until no slot is fit for use."""

    def __init__(self, run_dir: RunDir, plan: Plan, executor: Executor, slots: Sequence[Slot]) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._executor = executor
        self._slots = slots
        self._journal = run_dir.journal_writer()
        self._waiting: deque[Run] = deque()
        self._leases: dict[str, RunLeased] = {}
        self._attempts = Counter(event.run_id for event in run_dir.read_journal() if isinstance(event, RunLeased))
        self._losses: Counter[str] = Counter()
        self._health = SlotHealth()

    def note(self, event: JournalEvent) -> None:
        """Adds an event to the journal."""
        self._journal.write(event.model_dump_json(), durable=True)

    def prepare(self) -> Prepared:
        """Makes the workers ready; see `Executor.prepare`. Nothing is noted yet: the answer may have to be refused."""
        return self._executor.prepare()

    def carry_out(self, tick: Callable[[], None]) -> None:
        """Does every run that is not done yet. ``tick`` is called several times a second."""
        runs = self._plan.longest_first
        self._waiting = deque(run for run in runs if not self._run_dir.read_history(run.run_id).done)
        while self._leases or (self._waiting and any(self._health.fit(slot.name) for slot in self._slots)):
            for slot in self._slots:
                if self._waiting and slot.name not in self._leases and self._health.ready(slot.name):
                    self._lease(slot, self._waiting.popleft())
            for freed in self._executor.wait(LOOK_S):
                self._settle(freed)
            tick()

    def _lease(self, slot: Slot, run: Run) -> None:
        self._attempts[run.run_id] += 1
        lease = RunLeased(run_id=run.run_id, attempt=self._attempts[run.run_id], slot=slot.name)
        self.note(lease)
        self._leases[slot.name] = lease
        self._executor.start(slot, run.run_id, lease.attempt)

    def _settle(self, freed: SlotFreed) -> None:
        """Takes a slot back. A run whose worker was lost is tried again, after the runs that have not been tried yet."""
        lease = self._leases.pop(freed.slot.name)
        if freed.lost is None or self._has_ended(lease):
            self._health.well(freed.slot.name)
            return
        run = self._plan.by_id[freed.run_id]
        self._judge_slot(freed, lease, run)
        self._losses[run.run_id] += 1
        if self._losses[run.run_id] <= RETRIES:
            self._waiting.append(run)
        else:
            self._write_end(lease, "failed", freed.lost)

    def _has_ended(self, lease: RunLeased) -> bool:
        """Whether the run's last event was written under this lease."""
        ended = self._run_dir.read_history(lease.run_id).ended
        return ended is not None and ended.time >= lease.time

    def _judge_slot(self, freed: SlotFreed, lease: RunLeased, run: Run) -> None:
        """Finds out whether a loss speaks against the slot: only if it came before the first epoch."""
        assert freed.lost is not None, "only losses are judged"
        if any(epoch.time >= lease.time for epoch in self._run_dir.read_history(run.run_id).epochs):
            self._health.well(freed.slot.name)
            return
        siblings = (other for other in self._plan.runs if other.point == run.point)
        proven = any(self._run_dir.read_history(other.run_id).epochs for other in siblings)
        if self._health.lost_at_once(freed.slot.name, run, proven=proven):
            self.note(SlotSetAside(slot=freed.slot.name, reason=freed.lost.message))

    def stop(self) -> None:
        """Ends the workers; a run that was under way becomes ``cancelled``, to be done again by a later engine."""
        self._executor.close()
        for lease in self._leases.values():
            if not self._has_ended(lease):
                error = RunError(type="Interrupted", message="the sweep was interrupted")
                self._write_end(lease, "cancelled", error)
        self._leases.clear()

    def _write_end(self, lease: RunLeased, status: str, error: RunError) -> None:
        """The last event of a run whose worker is gone."""
        with_log = error.model_copy(update={"log": self._run_dir.log_tail(lease.run_id, lease.attempt)})
        ended = RunEnded.model_validate({"run_id": lease.run_id, "status": status, "error": with_log})
        writer = self._run_dir.events_writer(lease.run_id)
        writer.write(ended.model_dump_json(), durable=True)
        writer.close()

    def close(self) -> None:
        """Ends the journal."""
        self._journal.close()
