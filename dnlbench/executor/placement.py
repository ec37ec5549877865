"""Which slot begins which run, or which pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dnlbench.events import RunHistory, RunLeased
from dnlbench.forecast import Forecast, Task, schedule
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run

MANY = 1000
"""With more runs waiting than that, which takes long to work out, any slot begins the longest: there is time to even out."""


class Placement:
    """Longest expected task first, by what runs have taken so far; but not on a slot where another would end it sooner."""

    def __init__(self, plan: Plan, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._forecast = Forecast(plan)
        self._begun: dict[str, tuple[float, Task]] = {}

    def learn(self, run: Run, lease: RunLeased, history: RunHistory) -> None:
        """Takes in how long a run has taken; see `Forecast.observe`."""
        self._forecast.observe(run, lease.slot, lease.time, history)

    def begin(self, slot: str, time: float, task: Task) -> None:
        """The slot is busy with the task from now on."""
        self._begun[slot] = time, task

    def end(self, slot: str) -> None:
        """The slot is free."""
        self._begun.pop(slot, None)

    def match(self, free: Sequence[Slot], slots: Sequence[Slot], tasks: Sequence[Task]) -> Iterator[tuple[Slot, Task]]:
        """What begins now.

        Args:
            free: the slots that could begin something.
            slots: all that can be counted on, those among them.
            tasks: what waits.
        """
        if len(tasks) > MANY:
            longest = sorted(tasks, key=lambda task: -self._forecast.duration_s(task, ""))
            yield from zip(free, longest, strict=False)
            return
        first = schedule(self._forecast, tasks, {slot.name: self._free_in_s(slot.name) for slot in slots}).first
        for slot in free:
            if slot.name in first:
                yield slot, first[slot.name]

    def _free_in_s(self, slot: str) -> float:
        """Of a task that is overdue nobody knows; it is taken to need as long again, so that no other waits for it."""
        if slot not in self._begun:
            return 0.0
        begun, task = self._begun[slot]
        expected = self._forecast.duration_s(task, slot)
        return abs(begun + expected - self._clock()) if self._forecast.known else expected
