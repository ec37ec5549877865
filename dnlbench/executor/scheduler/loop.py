"""The main loop of the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from dnlbench.errors import EngineError
from dnlbench.estimates import DurationEstimator
from dnlbench.events import JournalEvent, Prepared, RunError, RunHistory, RunLeased, SlotDisabled
from dnlbench.executor.base import HEARTBEAT_TIMEOUT_S, Executor, SlotFreed, WorkerFailure
from dnlbench.executor.scheduler.assignments import Assignments, ended_under, started_under
from dnlbench.executor.scheduler.control import Control
from dnlbench.executor.scheduler.disk import Records
from dnlbench.executor.scheduler.dispatch import Dispatcher
from dnlbench.executor.scheduler.health import Heartbeats, SlotHealth
from dnlbench.executor.scheduler.queue import Queue, assign
from dnlbench.executor.scheduler.retry import RetryPolicy
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.store import RunDir

POLL_S = 0.1
"""Maximum seconds between two iterations of the loop."""
STOP_TIMEOUT_S = 3.0
"""Time that runs get to suspend when the engine stops."""

NO_FINAL_EVENT = WorkerFailure(
    cause="process", error=RunError(type="WorkerLost", message="the run came back without its last event")
)


class Scheduler:
    """Keep every slot busy with the longest remaining task, until no task is left or no slot is enabled.

    A task is a run, or a pack of up to ``pack_size`` runs. After a failure, the runs of a pack are retried one by one. With
    ``start_paused`` all runs are paused at first; each starts when a command resumes it.
    """

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        executor: Executor,
        slots: Sequence[Slot],
        *,
        pack_size: int = 1,
        start_paused: bool = False,
        heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        earlier = run_dir.read_leases()
        self._plan, self._executor, self._slots, self._start_paused = plan, executor, slots, start_paused
        self._heartbeat_timeout_s, self._clock = heartbeat_timeout_s, clock
        self._estimator = _estimator(run_dir, plan, earlier)
        self._health, self._heartbeats = SlotHealth(clock), Heartbeats(heartbeat_timeout_s, clock)
        self._retries = RetryPolicy(run_dir, plan, self._health)
        self._queue = Queue(self._estimator, self._retries, pack_size)
        self._assignments = Assignments(slots)
        self._records = Records(run_dir, clock)
        self._dispatcher = Dispatcher(
            run_dir, plan, executor, self._assignments, self._queue, self._records, clock, earlier
        )
        self._control = Control(
            run_dir,
            plan,
            [slot.name for slot in slots],
            queue=self._queue,
            assignments=self._assignments,
            dispatcher=self._dispatcher,
            records=self._records,
            retries=self._retries,
            start_paused=start_paused,
        )

    def note(self, *events: JournalEvent) -> None:
        self._records.note(*events)

    def prepare(self) -> Prepared:
        """Start the workers; see `Executor.prepare`. Write no event, because the engine may still reject the result."""
        return self._executor.prepare()

    def run(self, tick: Callable[[], None] = lambda: None) -> bool:
        """Execute all unfinished runs. Call ``tick`` several times a second.

        Returns:
            False if the sweep was cancelled.
        """
        self._dispatcher.enqueue_unfinished()
        self._control.begin()
        while self._has_work():
            self._control.process_commands()
            self._records.check_disk()
            self._fill_slots()
            for freed in self._freed():
                self._process_freed(freed)
            self._suspend_paused()
            tick()
        return not self._control.cancelled

    def _has_work(self) -> bool:
        if self._control.cancelled or not (self._assignments or self._queue):
            return False
        return bool(self._assignments) or any(self._health.is_enabled(slot.name) for slot in self._slots)

    def _fill_slots(self) -> None:
        pause_state = self._records.pause_state
        if pause_state.all_paused or self._control.cancelled:
            return
        free = [
            slot
            for slot in self._assignments.free
            if self._health.ready(slot.name) and not pause_state.of_slot(slot.name)
        ]
        if not free:
            return
        tasks = self._queue.longest_first(pause_state.runs)
        if self._start_paused and not tasks:
            return  # a worker that imports torch would disturb the other environment's runs
        able = sorted(filter(self._executor.is_open, free), key=lambda slot: not self._executor.is_warm(slot))
        if able and tasks:
            busy = [each for each in self._assignments.busy if not pause_state.of_slot(each.slot.name)]
            self._dispatcher.start(assign(self._estimator, self._clock(), able, busy, tasks))
        for slot in free:
            if (
                self._assignments.assignment_of(slot.name) is None
            ):  # a run that fails elsewhere can continue here at once
                self._executor.warm_up(slot)

    def _freed(self) -> Iterator[SlotFreed]:
        """Return the slots that became free, and those whose heartbeat timeout has passed, after killing their workers."""
        yield from self._executor.wait(POLL_S)
        busy = {each.slot.name: each for each in self._assignments.busy}
        for slot in self._heartbeats.expired(self._executor, [each.slot for each in busy.values()]):
            self._executor.end(slot)
            message = f"the worker on {slot.name} sent no heartbeat for {self._heartbeat_timeout_s:.0f} s"
            failure = WorkerFailure(cause="heartbeat", error=RunError(type="HeartbeatTimeout", message=message))
            run_ids = tuple(lease.run_id for lease in busy[slot.name].leases)
            yield SlotFreed(slot=slot, run_ids=run_ids, failure=failure)

    def _process_freed(self, freed: SlotFreed) -> None:
        """Take back a slot's assignment and update estimates, slot health and retries."""
        assignment = self._assignments.take(freed.slot.name)
        if assignment is None or not {lease.run_id for lease in assignment.leases} <= set(freed.run_ids):
            return
        histories = {lease: self._dispatcher.history(lease) for lease in assignment.leases}
        for lease, history in histories.items():
            self._estimator.observe(self._plan.by_id[lease.run_id], lease.slot, lease.time, history)
            if any(event.time >= lease.time for event in history.epoch_events):
                self._health.succeeded(freed.slot.name)
            if started_under(lease, history):
                self._health.run_started(freed.slot.name)
        left = {lease: history for lease, history in histories.items() if not ended_under(lease, history)}
        if left and freed.failure is None and assignment.suspended:
            self._dispatcher.take_back(list(left))
        elif left:
            self._fail(freed.failure or NO_FINAL_EVENT, freed.slot.name, left)

    def _fail(self, failure: WorkerFailure, slot: str, histories: Mapping[RunLeased, RunHistory]) -> None:
        if failure.cause == "disk":
            self._records.disk_is_full(failure.error.message)
        decision = self._retries.decide(failure, slot, histories)
        if decision.disable_slot:
            self.note(SlotDisabled(slot=slot, reason=failure.error.message))
        status = "oom" if failure.cause == "host-memory" else "failed"
        ended = {
            lease.run_id
            for lease in decision.give_up
            if self._records.end_run(lease.run_id, lease.attempt, status, failure.error)
        }
        self._dispatcher.take_back([lease for lease in histories if lease.run_id not in ended], failure.error)

    def _suspend_paused(self) -> None:
        """Suspend paused runs, packs as a whole, and end the workers of released devices."""
        pause_state = self._records.pause_state
        if not pause_state.any_paused:
            return
        for slot in self._slots:
            assignment = self._assignments.assignment_of(slot.name)
            if assignment is None:
                if pause_state.of_slot(slot.name) == "release":
                    self._executor.end(slot)
            elif not assignment.suspended and any(
                pause_state.is_paused(lease.run_id, slot.name) for lease in assignment.leases
            ):
                self._assignments.mark_suspended(slot.name)
                self._executor.suspend(slot)

    def abandon(self) -> None:
        """Kill the workers without writing about their runs: the run directory is lost, or belongs to another engine."""
        for assignment in self._assignments.busy:
            self._executor.end(assignment.slot)
            self._assignments.take(assignment.slot.name)

    def stop(self) -> None:
        """Stop the workers. Active runs end as ``cancelled``; a later engine can resume them."""
        busy = self._assignments.busy
        for assignment in busy:
            self._executor.suspend(assignment.slot)
        left = {assignment.slot.name for assignment in busy}
        deadline = time.monotonic() + STOP_TIMEOUT_S
        try:
            with suppress(EngineError):  # the sweep ends in any case
                while left and time.monotonic() < deadline:
                    left -= {freed.slot.name for freed in self._executor.wait(POLL_S)}
        finally:  # also after a second interrupt: a stopped worker would outlive the engine
            self._executor.close()
        error = RunError(type="Interrupted", message="the sweep was interrupted")
        for assignment in busy:
            for lease in self._dispatcher.unfinished(assignment.leases):
                self._records.end_run(lease.run_id, lease.attempt, "cancelled", error)
            self._assignments.take(assignment.slot.name)

    def close(self) -> None:
        self._control.close()
        self._records.close()


def _estimator(run_dir: RunDir, plan: Plan, earlier: Iterable[RunLeased]) -> DurationEstimator:
    """Return a duration estimator that knows the runs of earlier engines."""
    estimator = DurationEstimator(plan)
    for run_id, lease in {lease.run_id: lease for lease in earlier}.items():  # the last lease of each run
        run = plan.by_id.get(run_id)
        if run is not None:
            estimator.observe(run, lease.slot, lease.time, run_dir.read_history(run, all_epochs=True))
    return estimator
