"""Which slots are fit for use."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from dnlbench.plan import Run

REST_S = 1.0
"""Rest of a slot after a loss at once; doubled with each further one, so that a broken device cannot drain the queue."""
LONGEST_REST_S = 60.0


class SlotHealth:
    """Tells a broken device from a broken network.

    A slot is set aside after two different runs in a row that were lost at once on it, if they were of different points, or
    of a point that has come through an epoch elsewhere. Runs of one point that nobody has seen work speak against the
    point, and one run that is lost again and again against the run.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost: dict[str, list[Run]] = {}
        self._rested: dict[str, float] = {}
        self._set_aside: set[str] = set()
        self._deaths_at_start: Counter[str] = Counter()

    def fit(self, slot: str) -> bool:
        """Whether the slot is not set aside."""
        return slot not in self._set_aside

    def ready(self, slot: str) -> bool:
        """Whether the slot may take a run now."""
        return self.fit(slot) and self._clock() >= self._rested.get(slot, 0.0)

    def began(self, slot: str) -> None:
        """A worker has begun a run on the slot."""
        del self._deaths_at_start[slot]

    def died_at_start(self, slot: str) -> int:
        """Counts a worker that ended before it began a run; how many there were in a row."""
        self._deaths_at_start[slot] += 1
        return self._deaths_at_start[slot]

    def set_aside(self, slot: str) -> None:
        """Gives the slot no further run."""
        self._set_aside.add(slot)

    def well(self, slot: str) -> None:
        """A run has come through an epoch on the slot: all is forgiven."""
        self._lost.pop(slot, None)
        self._rested.pop(slot, None)

    def lost_at_once(self, slot: str, run: Run, *, proven: bool) -> bool:
        """Takes note of a run that was lost before its first epoch; ``proven`` if its point has worked elsewhere.

        Returns:
            Whether that sets the slot aside.
        """
        lost = self._lost.setdefault(slot, [])
        lost.append(run)
        self._rested[slot] = self._clock() + min(LONGEST_REST_S, REST_S * 2 ** (len(lost) - 1))
        if len({run.run_id for run in lost}) >= 2 and (proven or len({run.point for run in lost}) >= 2):
            self._set_aside.add(slot)
        return not self.fit(slot)
