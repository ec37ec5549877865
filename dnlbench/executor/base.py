"""The interface between the scheduler and an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dnlbench.events import Prepared, RunError
from dnlbench.machine import Slot

HEARTBEAT_TIMEOUT_S = 60.0
"""Workers send a heartbeat every second and are considered lost after this many seconds without one."""

Cause = Literal["process", "killed", "heartbeat", "host-memory", "device", "disk", "pack"]
"""The reason why a run came back before its last event.

- ``process``: its worker process exited.
- ``killed``: somebody killed the worker process.
- ``heartbeat``: the worker sent no heartbeat within the timeout.
- ``host-memory``: the system killed the worker because the machine ran out of memory.
- ``device``: the device failed.
- ``disk``: the disk is full.
- ``pack``: the run cannot train with the other runs of its pack.
"""

Attempts = Mapping[str, int]
"""Attempt numbers by run id: one run, or the runs of a pack in their order."""


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """The reason why a run came back before its last event was written."""

    cause: Cause
    error: RunError
    started: bool = True
    """False if the worker died before it started the run; the run is then not charged with the failure."""


@dataclass(frozen=True, kw_only=True)
class SlotFreed:
    """A slot that returned its runs: they ended, were suspended, or were interrupted by a worker failure."""

    slot: Slot
    run_ids: tuple[str, ...]
    failure: WorkerFailure | None = None


class Executor(Protocol):
    """Execute one run or pack at a time on each slot. Workers write the events of a run into the run directory themselves."""

    def prepare(self) -> Prepared:
        """Start the workers and wait until one has loaded the data and checked the plan.

        Raises:
            ConfigurationError: if the worker rejects the plan, the data or the device.
            EngineError: if the worker exits without a reply.
        """
        ...

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Start a run, or a pack, on a free slot."""
        ...

    def warm_up(self, slot: Slot) -> None:
        """Start a worker on a free slot, so that the next run does not wait for it."""
        return

    def is_open(self, slot: Slot) -> bool:
        """Return True if the slot can take a run now. On a cluster, a slot first waits for free resources on some machine."""
        return True

    def is_warm(self, slot: Slot) -> bool:
        """Return True if a run on the slot would start at once."""
        return True

    def suspend(self, slot: Slot) -> None:
        """Ask the slot's runs to save a checkpoint and stop at the next training step. `wait` returns them."""
        ...

    def end(self, slot: Slot) -> None:
        """Kill the slot's worker, and its runs with it, at once. `wait` does not return these runs."""
        ...

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Wait at most about ``timeout_s`` seconds and return the slots that became free."""
        ...

    def heartbeat_age_s(self, slot: Slot) -> float:
        """Return the seconds since the slot's worker last sent a heartbeat."""
        return 0.0

    def close(self) -> None:
        """Stop all workers, even in the middle of a run."""
        ...
