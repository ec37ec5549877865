"""What waits for a slot."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from dnlbench.executor.losses import Losses
from dnlbench.forecast import Forecast, Task, pack
from dnlbench.plan import Run
from dnlbench.studies import Point


class Waiting:
    """The runs that wait, made up to tasks, the longest first; only when that changes are all of them gone through.

    A task is a run, or a pack of up to ``pack_size`` of them. What was lost goes last, and in packs of one.
    """

    def __init__(self, forecast: Forecast, losses: Losses, pack_size: int) -> None:
        self._forecast, self._losses, self._pack_size = forecast, losses, pack_size
        self._runs: dict[str, Task] = {}
        self._held: frozenset[str] = frozenset()
        self._packs: dict[str, Task] | None = None
        """By the id of the first run, in the order in which those came; None if they have to be made up anew."""
        self._kinds: list[Task] = []
        """One of each kind; all of a kind take as long."""
        self._kind_of: dict[str, int] = {}
        """The place of each task's kind there."""
        self._sorted: dict[str, Task] = {}
        self._revision: int | None = None
        """Of the forecast that they were sorted by; None if they have to be sorted anew."""

    def add(self, run: Run, epochs: int) -> None:
        """A run waits, with so many epochs to go."""
        self._runs[run.run_id] = Task(runs=(run,), epochs=epochs)
        self._packs = None

    def drop(self, run_id: str) -> None:
        """A run waits no more, if it did."""
        if self._runs.pop(run_id, None) is not None:
            self._packs = None

    def take(self, task: Task) -> None:
        """The runs of a task wait no more; the other tasks stay as they are."""
        for run in task.runs:
            del self._runs[run.run_id]
        if self._packs is not None:
            first = task.runs[0].run_id
            del self._packs[first], self._sorted[first]
            if not self._packs:
                self._packs = None  # what was lost has its turn

    def longest_first(self, held: frozenset[str]) -> Collection[Task]:
        """The tasks that may begin, by falling expected duration; equals in the order in which they came.

        Args:
            held: ids of runs that must not begin.
        """
        if self._packs is None or self._held is not held:
            self._held, self._packs, self._revision = held, self._made_up(held), None
            self._tell_apart(self._packs)
        if self._revision != self._forecast.revision:
            self._revision = self._forecast.revision
            self._sorted = self._in_order(self._packs)
        return self._sorted.values()

    def _made_up(self, held: frozenset[str]) -> dict[str, Task]:
        tasks = [task for run_id, task in self._runs.items() if run_id not in held]
        tasks = [task for task in tasks if not self._losses.has(task.runs[0])] or tasks
        return {task.runs[0].run_id: task for task in pack(tasks, self._pack_size, alone=self._losses.alone)}

    def _in_order(self, packs: Mapping[str, Task]) -> dict[str, Task]:
        seconds = [self._forecast.duration_s(task, "") for task in self._kinds]
        order = sorted(packs, key=lambda first: -seconds[self._kind_of[first]])
        return {first: packs[first] for first in order}

    def _tell_apart(self, packs: Mapping[str, Task]) -> None:
        """A sweep has many runs, but few kinds that differ in how long they take."""
        numbers: dict[tuple[Point, float, int], int] = {}
        self._kinds = []
        for first, task in packs.items():
            kind = (task.point, task.epochs, len(task.runs))
            if kind not in numbers:
                numbers[kind] = len(numbers)
                self._kinds.append(task)
            self._kind_of[first] = numbers[kind]

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[str]:
        """Run ids."""
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
