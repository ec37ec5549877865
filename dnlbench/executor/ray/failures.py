"""Consequences of the death of a remote worker: for its runs, for its slot, and for runs that wait for resources."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable

from dnlbench.events import RunError
from dnlbench.executor.base import Cause, WorkerFailure
from dnlbench.files import is_disk_full

MAX_DEATHS = 5
"""Maximum number of deaths in a row on a slot without a report, if no other slot has a ready worker."""
BACKOFF_S, MAX_BACKOFF_S = 0.5, 60.0
"""Backoff of a slot after the death of its remote worker, and its maximum. It doubles with each death without a report."""
STARVED_S, MAKE_ROOM_S, ROUND_S = 5.0, 20.0, 60.0
"""If runs have waited ``STARVED_S`` for resources, idle remote workers are killed for ``MAKE_ROOM_S``; this repeats every
``ROUND_S``."""


class Backoff:
    """Exponential backoff of slots whose remote workers died."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        """Deaths by slot since a remote worker was ready."""
        self._until: dict[str, float] = {}

    def add(self, slot: str) -> int:
        """Count a death and return the number of deaths in a row."""
        self._deaths[slot] += 1
        backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(10, self._deaths[slot] - 1))
        self._until[slot] = time.monotonic() + backoff_s
        return self._deaths[slot]

    def reset(self, slot: str) -> None:
        """Reset the count after a remote worker was ready."""
        self._deaths.pop(slot, None)

    def remaining_s(self, slot: str) -> float:
        return max(0.0, self._until.get(slot, 0.0) - time.monotonic())


def is_crowded(starved_s: Iterable[float]) -> bool:
    """Return True if idle remote workers should give up their resources, given how long runs have starved."""
    return any(STARVED_S <= each % ROUND_S < STARVED_S + MAKE_ROOM_S for each in starved_s)


def failure_of(error: Exception, where: str) -> WorkerFailure:
    """Convert an error of Ray to a failure of the runs of a remote worker."""
    import ray

    kind = "RemoteWorkerLost" if isinstance(error, ray.exceptions.RayActorError) else type(error).__name__
    return WorkerFailure(cause=_cause(error), error=RunError(type=kind, message=f"{where}: {_describe(error)}"))


def _cause(error: Exception) -> Cause:
    """Return the cause. A lost machine or actor is not charged to the runs."""
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "host-memory"
    if isinstance(error, ray.exceptions.RayActorError):
        return "device" if error.actor_init_failed else "killed"
    if isinstance(error, ray.exceptions.RayTaskError):  # raised by the remote worker
        return "device" if is_disk_full(error.cause) else "process"
    return "killed"  # the result was lost with its machine


def _describe(error: Exception) -> str:
    """Return the message of an error of Ray without internal names and numbers."""
    import ray

    lines = [line for line in str(error).splitlines() if line.strip()]
    if getattr(error, "actor_init_failed", False) or isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]  # the last line of a traceback
    informative = [
        line for line in lines if not line.startswith("\t") and not line.startswith("The actor died unexpectedly")
    ]
    return re.split(
        r" (?:Worker exit detail|Some common causes|Node Id|There are some potential)", " ".join(informative or lines)
    )[0]
