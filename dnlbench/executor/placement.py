"""Which slot begins which run, or which pack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from dnlbench.events import RunHistory, RunLeased
from dnlbench.forecast import Forecast, Task, first_tasks
from dnlbench.machine import Slot
from dnlbench.plan import Run

MANY = 1000
"""With more runs waiting than that, which takes long to work out, any slot begins the longest: there is time to even out."""


class Placement:
    """Longest expected task first, by what runs have taken so far; but not on a slot where another would end it sooner."""

    def __init__(self, forecast: Forecast, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._forecast = forecast
        self._begun: dict[str, tuple[float, Task]] = {}
        self._expected: dict[str, float] = {}
        """Seconds that what a slot is busy with takes, by the forecast of that revision, where it was asked for."""
        self._revision: int | None = None

    def learn(self, run: Run, lease: RunLeased, history: RunHistory) -> None:
        """Takes in how long a run has taken; see `Forecast.observe`."""
        self._forecast.observe(run, lease.slot, lease.time, history)

    def begin(self, slot: str, time: float, task: Task) -> None:
        """The slot is busy with the task from now on."""
        self._begun[slot] = time, task
        self._expected.pop(slot, None)

    def end(self, slot: str) -> None:
        """The slot is free."""
        self._begun.pop(slot, None)
        self._expected.pop(slot, None)

    def match(self, free: Sequence[Slot], slots: Iterable[Slot], longest: Collection[Task]) -> list[tuple[Slot, Task]]:
        """What begins now.

        Args:
            free: the slots that could begin something.
            slots: all that can be counted on, those among them.
            longest: what waits, by falling expected duration.
        """
        if len(longest) > MANY:
            return list(zip(free, longest, strict=False))
        if self._revision != self._forecast.revision:
            self._revision = self._forecast.revision
            self._expected.clear()
        free_in_s = {slot.name: self._free_in_s(slot.name) for slot in slots}
        first = first_tasks(self._forecast, longest, free_in_s, {slot.name for slot in free})
        return [(slot, first[slot.name]) for slot in free if slot.name in first]

    def _free_in_s(self, slot: str) -> float:
        """Of a task that is overdue nobody knows; it is taken to need as long again, so that no other waits for it."""
        if slot not in self._begun:
            return 0.0
        begun, task = self._begun[slot]
        expected = self._expected.get(slot)
        if expected is None:
            expected = self._expected[slot] = self._forecast.duration_s(task, slot)
        return abs(begun + expected - self._clock()) if self._forecast.known else expected
