"""Which slots are fit for use, and which workers are alive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dnlbench.executor.base import Executor
from dnlbench.machine import Slot
from dnlbench.plan import Run

BACKOFF_S = 1.0
"""Rest of a slot after a failure at once; doubled with each further one, so that a broken device cannot drain the queue."""
MAX_BACKOFF_S = 60.0
STALL_S = 5.0
"""An engine that does not come round for longer than that was stopped."""


class SlotHealth:
    """Tells a broken device from a broken network.

    A slot is set aside after two different runs in a row that failed at once on it, if they were of different points, or
    of a point that has come through an epoch elsewhere. Runs of one point that nobody has seen work speak against the
    point, and one run that fails again and again against the run.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, list[Run]] = {}
        self._backoff_until: dict[str, float] = {}
        self._disabled: set[str] = set()
        self._deaths_at_start: Counter[str] = Counter()

    def is_enabled(self, slot: str) -> bool:
        return slot not in self._disabled

    def ready(self, slot: str) -> bool:
        return self.is_enabled(slot) and self._clock() >= self._backoff_until.get(slot, 0.0)

    def run_started(self, slot: str) -> None:
        del self._deaths_at_start[slot]

    def died_at_start(self, slot: str) -> int:
        """Count a worker that ended before it began a run; how many there were in a row."""
        self._deaths_at_start[slot] += 1
        return self._deaths_at_start[slot]

    def disable(self, slot: str) -> bool:
        """Give the slot no further run; whether that is new."""
        is_new = self.is_enabled(slot)
        self._disabled.add(slot)
        return is_new

    def succeeded(self, slot: str) -> None:
        """A run has come through an epoch on the slot: all is forgiven."""
        self._failed.pop(slot, None)
        self._backoff_until.pop(slot, None)

    def failed_at_once(self, slot: str, run: Run, *, proven: bool) -> bool:
        """Count a run that failed before its first epoch; ``proven`` if its point has worked elsewhere.

        Returns:
            Whether the slot is set aside.
        """
        failed = self._failed.setdefault(slot, [])
        failed.append(run)
        self._backoff_until[slot] = self._clock() + min(MAX_BACKOFF_S, BACKOFF_S * 2 ** (len(failed) - 1))
        if len({run.run_id for run in failed}) >= 2 and (proven or len({run.point for run in failed}) >= 2):
            self._disabled.add(slot)
        return not self.is_enabled(slot)


class Heartbeats:
    """Finds workers whose heartbeat timeout has passed.

    An engine that was stopped itself, with Ctrl+Z for one, has heard nobody and listens for a while first.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._called = self._awake = clock()

    def expired(self, executor: Executor, slots: Iterable[Slot]) -> Iterator[Slot]:
        """The slots whose workers have sent no heartbeat in time; to be called often."""
        now = self._clock()
        if not 0 <= now - self._called <= STALL_S:
            self._awake = now
        self._called = now
        for slot in slots:
            if min(executor.heartbeat_age_s(slot), now - self._awake) > self._timeout_s:
                yield slot
