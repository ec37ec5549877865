"""The queue of waiting runs, and the assignment of its tasks to free slots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from dnlbench.estimates import DurationEstimator, Task, first_tasks, pack
from dnlbench.events import RunHistory
from dnlbench.executor.scheduler.assignments import Assignment
from dnlbench.executor.scheduler.retry import RetryPolicy
from dnlbench.machine import Slot
from dnlbench.plan import Run

MAX_TASKS_TO_BALANCE = 1000
"""Maximum number of tasks that are balanced over the slots, which takes long. With more tasks any free slot starts the longest
one; there is time to balance later."""


class Queue:
    """The waiting runs, combined into tasks, the longest first. Tasks are recomputed only if the set of runs changes.

    A task is a run, or a pack of up to ``pack_size`` runs. Runs that a worker failure interrupted come last, and train
    alone.
    """

    def __init__(self, estimator: DurationEstimator, retries: RetryPolicy, pack_size: int) -> None:
        self._estimator, self._retries, self._pack_size = estimator, retries, pack_size
        self._runs: dict[str, Task] = {}
        self._paused: frozenset[str] = frozenset()
        self._packs: dict[str, Task] | None = None
        """Tasks by the id of their first run, in insertion order; None if they must be recomputed."""
        self._sorted: dict[str, Task] = {}
        self._revision: int | None = None
        """Revision of the estimator at the last sort; None if tasks must be sorted again."""

    def add(self, run: Run, history: RunHistory) -> None:
        """Add a run. Its history determines how many epochs are left."""
        self._runs[run.run_id] = Task(runs=(run,), epochs=max(1, run.epochs - len(history.epoch_events)))
        self._packs = None

    def drop(self, run_id: str) -> None:
        if self._runs.pop(run_id, None) is not None:
            self._packs = None

    def take(self, task: Task) -> None:
        """Remove the runs of a task. Other tasks stay as they are."""
        for run in task.runs:
            del self._runs[run.run_id]
        if self._packs is not None:
            first = task.runs[0].run_id
            del self._packs[first], self._sorted[first]
            if not self._packs:
                self._packs = None  # now the runs that failed

    def longest_first(self, paused: frozenset[str]) -> Collection[Task]:
        """Return the tasks that may start, by descending estimated duration; ties keep insertion order."""
        if self._packs is None or self._paused is not paused:
            self._paused, self._packs, self._revision = paused, self._make_packs(paused), None
        if self._revision != self._estimator.revision:
            self._revision = self._estimator.revision
            self._sorted = self._sort(self._packs)
        return self._sorted.values()

    def _make_packs(self, paused: frozenset[str]) -> dict[str, Task]:
        tasks = [task for run_id, task in self._runs.items() if run_id not in paused]
        tasks = [task for task in tasks if task.runs[0].run_id not in self._retries.failed] or tasks
        return {task.runs[0].run_id: task for task in pack(tasks, self._pack_size, alone=self._retries.alone)}

    def _sort(self, packs: Mapping[str, Task]) -> dict[str, Task]:
        return dict(sorted(packs.items(), key=lambda item: -self._estimator.duration_s(item[1], "")))

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


def assign(
    estimator: DurationEstimator,
    now: float,
    free: Sequence[Slot],
    busy: Iterable[Assignment],
    longest: Collection[Task],
) -> list[tuple[Slot, Task]]:
    """Assign tasks to free slots: the longest first, but not to a slot where it would end later than on a busy one.

    Args:
        estimator: estimates of durations.
        now: current time.
        free: slots that can start a task.
        busy: assignments of slots that will take another task.
        longest: waiting tasks by descending estimated duration.
    """
    if len(longest) > MAX_TASKS_TO_BALANCE:
        return list(zip(free, longest, strict=False))
    free_in_s = dict.fromkeys((slot.name for slot in free), 0.0)
    for each in busy:
        expected = estimator.duration_s(each.task, each.slot.name)
        # An overdue task is assumed to need as much time again as it is overdue, so that no other task waits for it.
        free_in_s[each.slot.name] = abs(each.start_time + expected - now) if estimator.known else expected
    first = first_tasks(estimator, longest, free_in_s, {slot.name for slot in free})
    return [(slot, first[slot.name]) for slot in free if slot.name in first]
