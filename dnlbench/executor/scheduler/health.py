"""Health of slots and workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dnlbench.executor.base import Executor
from dnlbench.machine import Slot
from dnlbench.plan import Run

BACKOFF_S = 1.0
"""Backoff of a slot after an immediate failure. It doubles with each further failure, so that a broken device cannot drain the
queue."""
MAX_BACKOFF_S = 60.0
STALL_S = 5.0
"""An engine whose loop takes longer than this must have been stopped."""


class SlotHealth:
    """Distinguish a broken device from a broken network.

    A slot is disabled after two different runs in a row failed on it before their first epoch, if the runs are of different
    points, or of a point that has completed an epoch elsewhere. Failures of runs of a single unproven point count against
    the point, and repeated failures of one run against the run.
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
        """Count a worker that died before it started a run, and return the number of such deaths in a row."""
        self._deaths_at_start[slot] += 1
        return self._deaths_at_start[slot]

    def disable(self, slot: str) -> bool:
        """Disable the slot. Return False if it was disabled before."""
        is_new = self.is_enabled(slot)
        self._disabled.add(slot)
        return is_new

    def succeeded(self, slot: str) -> None:
        """Reset all counts after a run has completed an epoch on the slot."""
        self._failed.pop(slot, None)
        self._backoff_until.pop(slot, None)

    def failed_at_once(self, slot: str, run: Run, *, proven: bool) -> bool:
        """Count a run that failed before its first epoch; ``proven`` if its point has worked elsewhere.

        Returns:
            True if the slot is disabled.
        """
        failed = self._failed.setdefault(slot, [])
        failed.append(run)
        self._backoff_until[slot] = self._clock() + min(MAX_BACKOFF_S, BACKOFF_S * 2 ** (len(failed) - 1))
        if len({run.run_id for run in failed}) >= 2 and (proven or len({run.point for run in failed}) >= 2):
            self._disabled.add(slot)
        return not self.is_enabled(slot)


class Heartbeats:
    """Find workers whose heartbeat timeout has passed.

    After the engine itself was stopped, for example with Ctrl+Z, it first waits for new heartbeats.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._called = self._awake = clock()

    def expired(self, executor: Executor, slots: Iterable[Slot]) -> Iterator[Slot]:
        """Return the slots whose workers sent no heartbeat in time. Call this several times a second."""
        now = self._clock()
        if not 0 <= now - self._called <= STALL_S:
            self._awake = now
        self._called = now
        for slot in slots:
            if min(executor.heartbeat_age_s(slot), now - self._awake) > self._timeout_s:
                yield slot
