"""The retry policy: the consequences of a worker failure for its runs and for the slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dnlbench.events import RunHistory, RunLeased
from dnlbench.executor.base import Cause, WorkerFailure
from dnlbench.executor.scheduler.assignments import Leases, started_under
from dnlbench.executor.scheduler.health import SlotHealth
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

RETRIES: Mapping[Cause, int] = {"process": 2, "killed": 2, "heartbeat": 2, "host-memory": 1, "device": 3}
"""Maximum number of retries of a run without progress, by cause of the failure; unlimited after a full disk. A run that failed
by itself is not retried, because it would fail again."""

MAX_DEATHS_AT_START = 20
"""Maximum number of workers in a row that may be killed on a slot before they started their run. After that the slot is
disabled, or the run is charged if it is not known whether the worker had started it."""


def deaths_at_start(cause: Cause) -> int:
    """Return the maximum number of workers in a row that may die on a slot, for that cause, before they started a run."""
    return MAX_DEATHS_AT_START if cause == "killed" else RETRIES[cause]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The consequences of a worker failure. All runs that are not given up are retried."""

    give_up: Leases = ()
    disable_slot: bool = False


class RetryPolicy:
    """Retry runs a limited number of times, counted anew after progress. Some failures are not charged to runs."""

    def __init__(self, run_dir: RunDir, plan: Plan, health: SlotHealth) -> None:
        self._run_dir, self._plan, self._health = run_dir, plan, health
        self._counts: Counter[tuple[str, Cause]] = Counter()
        self.failed: set[str] = set()
        """Ids of runs that were charged with a failure since their last progress."""
        self.alone: set[str] = set()
        """Ids of runs that must train alone."""

    def decide(self, failure: WorkerFailure, slot: str, histories: Mapping[RunLeased, RunHistory]) -> Decision:
        """Decide about a failure of a slot's worker, given the runs that had not ended. None of these is packed again."""
        if failure.cause == "disk":  # everything is paused until there is room
            return Decision()
        if failure.cause == "pack":
            self.alone |= {lease.run_id for lease in histories}
            return Decision()
        suspect = self._plan.by_id[next(iter(histories)).run_id]
        if not (failure.started and any(started_under(lease, history) for lease, history in histories.items())):
            within_bounds = self._health.died_at_start(slot) <= deaths_at_start(failure.cause)
            if not failure.started:
                return Decision(
                    disable_slot=self._check_dead_at_start(failure, slot, suspect, within_bounds=within_bounds)
                )
            if failure.cause == "killed" and within_bounds:
                return Decision()
        progressed = {lease.run_id for lease in histories if self._made_progress(lease)}
        disable_slot = not progressed and self._check_slot(slot, suspect, failure)
        self.forgive(progressed)
        return Decision(
            give_up=tuple(lease for lease in histories if not self._may_retry(lease.run_id, failure.cause)),
            disable_slot=disable_slot,
        )

    def forgive(self, run_ids: Iterable[str]) -> None:
        """Reset the counts of runs that made progress or that a user retries."""
        for run_id in run_ids:
            self.failed.discard(run_id)
            for cause in RETRIES:
                del self._counts[run_id, cause]

    def _may_retry(self, run_id: str, cause: Cause) -> bool:
        """Charge a failure to a run, and return True if the run may be retried."""
        self.alone.add(run_id)
        self.failed.add(run_id)
        self._counts[run_id, cause] += 1
        return self._counts[run_id, cause] <= RETRIES[cause]

    def _made_progress(self, lease: RunLeased) -> bool:
        """Return True if the attempt saved a checkpoint."""
        kept = self._run_dir.checkpoint_time(lease.run_id)
        return kept is not None and kept >= lease.time

    def _check_dead_at_start(self, failure: WorkerFailure, slot: str, suspect: Run, *, within_bounds: bool) -> bool:
        """Return True if the slot is to be disabled after a worker died before it started its run, which is not charged."""
        if within_bounds:
            return self._check_slot(slot, suspect, failure)
        return self._health.disable(slot)

    def _check_slot(self, slot: str, suspect: Run, failure: WorkerFailure) -> bool:
        """Return True if the slot is to be disabled after a run failed at once."""
        if failure.cause in ("host-memory", "killed"):
            return False
        siblings = (other for other in self._plan.runs if other.point == suspect.point)
        proven = any(self._run_dir.read_history(other).epoch_events for other in siblings)
        return self._health.failed_at_once(slot, suspect, proven=proven)
