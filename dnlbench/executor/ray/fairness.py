"""Sharing a cluster: slots whose remote workers die rest for a while, and idle ones make room for runs that wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

DEATHS = 5
"""Remote workers of a slot that may die in a row without one that reports anything, where no other slot has one."""
REST_S, LONGEST_REST_S = 0.5, 60.0
"""Rest of a slot after its remote worker has died; doubled with each further one that has not reported anything."""
STARVED_S, MAKE_ROOM_S, ROUND_S = 5.0, 20.0, 60.0
"""Once runs have waited so long for a place, idle remote workers make room for so long, and again each round."""


class Rests:
    """How long slots rest after their remote workers have died."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        """Of each slot since one of its remote workers was found fit."""
        self._until: dict[str, float] = {}

    def add(self, slot: str) -> int:
        """Count a death; how many there were in a row."""
        self._deaths[slot] += 1
        rest_s = min(LONGEST_REST_S, REST_S * 2.0 ** min(10, self._deaths[slot] - 1))
        self._until[slot] = time.monotonic() + rest_s
        return self._deaths[slot]

    def forgive(self, slot: str) -> None:
        """One has reported that it is fit."""
        self._deaths.pop(slot, None)

    def left_s(self, slot: str) -> float:
        """Seconds that a slot still rests."""
        return max(0.0, self._until.get(slot, 0.0) - time.monotonic())


def is_crowded(starved_s: Iterable[float]) -> bool:
    """Whether idle remote workers are to make room, by how long runs have waited for a place."""
    return any(STARVED_S <= each % ROUND_S < STARVED_S + MAKE_ROOM_S for each in starved_s)
