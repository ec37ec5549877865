"""What the death of a remote worker means: for its runs, for its slot, and for those that wait for room."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable

from dnlbench.events import RunError
from dnlbench.executor.base import Cause, WorkerFailure
from dnlbench.files import is_disk_full

MAX_DEATHS = 5
"""Remote workers of a slot that may die in a row without one that reports anything, where no other slot has one."""
BACKOFF_S, MAX_BACKOFF_S = 0.5, 60.0
"""Rest of a slot after its remote worker has died; doubled with each further one that has not reported anything."""
STARVED_S, MAKE_ROOM_S, ROUND_S = 5.0, 20.0, 60.0
"""Once runs have waited so long for a place, idle remote workers make room for so long, and again each round."""


class Backoff:
    """How long slots rest after their remote workers have died."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        """Of each slot since one of its remote workers was found fit."""
        self._until: dict[str, float] = {}

    def add(self, slot: str) -> int:
        """Count a death; how many there were in a row."""
        self._deaths[slot] += 1
        backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(10, self._deaths[slot] - 1))
        self._until[slot] = time.monotonic() + backoff_s
        return self._deaths[slot]

    def reset(self, slot: str) -> None:
        """One has reported that it is fit."""
        self._deaths.pop(slot, None)

    def remaining_s(self, slot: str) -> float:
        return max(0.0, self._until.get(slot, 0.0) - time.monotonic())


def is_crowded(starved_s: Iterable[float]) -> bool:
    """Whether idle remote workers are to make room, by how long runs have waited for a place."""
    return any(STARVED_S <= each % ROUND_S < STARVED_S + MAKE_ROOM_S for each in starved_s)


def failure_of(error: Exception, where: str) -> WorkerFailure:
    """What an error of Ray's means for the runs of a remote worker that was there."""
    import ray

    kind = "RemoteWorkerLost" if isinstance(error, ray.exceptions.RayActorError) else type(error).__name__
    return WorkerFailure(cause=_cause(error), error=RunError(type=kind, message=f"{where}: {_describe(error)}"))


def _cause(error: Exception) -> Cause:
    """Why the runs were lost. A machine or an actor that is gone is not their fault."""
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "host-memory"
    if isinstance(error, ray.exceptions.RayActorError):
        return "device" if error.actor_init_failed else "killed"
    if isinstance(error, ray.exceptions.RayTaskError):  # the remote worker's own
        return "device" if is_disk_full(error.cause) else "process"
    return "killed"  # what it had to say was lost with its machine


def _describe(error: Exception) -> str:
    """What an error of Ray's says, without names and numbers that mean something to Ray alone."""
    import ray

    lines = [line for line in str(error).splitlines() if line.strip()]
    if getattr(error, "actor_init_failed", False) or isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]  # of a traceback
    informative = [
        line for line in lines if not line.startswith("\t") and not line.startswith("The actor died unexpectedly")
    ]
    return re.split(
        r" (?:Worker exit detail|Some common causes|Node Id|There are some potential)", " ".join(informative or lines)
    )[0]
