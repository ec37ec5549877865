"""Dispatching runs to slots and back. Each change is written to the journal before it takes effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from dnlbench.estimates import Task
from dnlbench.events import RunError, RunHistory, RunLeased, RunRequeued, RunReturned
from dnlbench.executor.base import Executor
from dnlbench.executor.scheduler.assignments import Assignment, Assignments, Leases, ended_under
from dnlbench.executor.scheduler.disk import Records
from dnlbench.executor.scheduler.queue import Queue
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir


class Dispatcher:
    """Move runs between the queue and the slots."""

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        executor: Executor,
        assignments: Assignments,
        queue: Queue,
        records: Records,
        clock: Callable[[], float],
        earlier: Iterable[RunLeased],
    ) -> None:
        self._run_dir, self._plan, self._clock = run_dir, plan, clock
        self._executor, self._assignments, self._queue, self._records = executor, assignments, queue, records
        self._attempts = Counter(lease.run_id for lease in earlier)

    def enqueue_unfinished(self) -> None:
        for run in self._plan.runs:
            history = self._run_dir.read_history(run)
            if not history.done:
                self._queue.add(run, history)

    def history(self, lease: RunLeased) -> RunHistory:
        return self._run_dir.read_history(self._plan.by_id[lease.run_id])

    def unfinished(self, leases: Iterable[RunLeased]) -> Leases:
        return tuple(lease for lease in leases if not ended_under(lease, self.history(lease)))

    def start(self, matches: Iterable[tuple[Slot, Task]]) -> None:
        """Start tasks on free slots. All leases are on the disk before the first run starts."""
        started = [self._assign(slot, task) for slot, task in matches]
        self._records.note(*chain.from_iterable(each.leases for each in started))
        for each in started:
            self._assignments.give(each)
            self._executor.start(each.slot, {lease.run_id: lease.attempt for lease in each.leases})

    def _assign(self, slot: Slot, task: Task) -> Assignment:
        now = self._clock()
        self._queue.take(task)
        self._attempts.update(run.run_id for run in task.runs)
        leases = tuple(
            RunLeased(run_id=run.run_id, attempt=self._attempts[run.run_id], slot=slot.name, time=now)
            for run in task.runs
        )
        return Assignment(slot=slot, task=task, start_time=now, leases=leases)

    def take_back(self, leases: Sequence[RunLeased], error: RunError | None = None) -> None:
        """Queue runs again. Those of a pack are written to the journal at once, so that a reader sees all or none."""
        now = self._clock()
        self._records.note(
            *(
                RunReturned(run_id=lease.run_id, attempt=lease.attempt, slot=lease.slot, error=error, time=now)
                for lease in leases
            )
        )
        for lease in leases:
            self._queue.add(self._plan.by_id[lease.run_id], self.history(lease))

    def cancel(self, run: Run) -> bool:
        """Cancel a run and queue the rest of its pack again. Return False if the disk is full."""
        lease = self._assignments.lease_of(run.run_id)
        left = self.unfinished(self._end_worker(lease)) if lease else ()
        self.take_back([other for other in left if other is not lease])
        if lease and lease not in left:
            return True
        error = RunError(type="Cancelled", message="cancelled on request")
        attempt = self._attempts[run.run_id]
        if self._records.end_run(run.run_id, attempt, "cancelled", error, requested=True):
            self._queue.drop(run.run_id)
            return True
        self.take_back([lease] if lease else [])
        return False

    def _end_worker(self, lease: RunLeased) -> Leases:
        """Kill the worker that executes the run, and return the leases of all its runs."""
        assignment = self._assignments.take(lease.slot)
        assert assignment is not None
        self._executor.end(assignment.slot)
        return assignment.leases

    def retry(self, run: Run) -> bool:
        """Queue a run that ended unsuccessfully. Return False if the disk is full."""
        if not self._records.append(RunRequeued(run_id=run.run_id)):
            return False
        lease = self._assignments.lease_of(run.run_id)
        if lease is None:
            self._queue.add(run, self._run_dir.read_history(run))
        else:  # the rest of its pack is still running
            self._assignments.remove_run(lease)
            self.take_back([lease])
        return True
