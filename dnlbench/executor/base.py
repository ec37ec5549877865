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
"""Why a run came back before its last event: its process ended; somebody killed its process; the heartbeat timeout passed; the
system killed it because the machine's memory ran out; its device failed; the disk is full; it cannot train with its pack."""

Attempts = Mapping[str, int]
"""The number of the attempt by run id: of a single run, or of those of a pack, in their order."""


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """Why a run came back before its last event was written."""

    cause: Cause
    error: RunError
    started: bool = True
    """False if the worker ended before it began the run, which then cannot be to blame."""


@dataclass(frozen=True, kw_only=True)
class SlotFreed:
    """A slot returned its runs: they ended or were suspended, or a failure hit those that had not ended."""

    slot: Slot
    run_ids: tuple[str, ...]
    failure: WorkerFailure | None = None


class Executor(Protocol):
    """Executes one run or pack on each slot at a time. Workers write the runs' events into the run directory themselves."""

    def prepare(self) -> Prepared:
        """Start the workers and wait until one has loaded the data and checked the plan.

        Raises:
            ConfigurationError: what the worker found wrong with the plan, the data or the device.
            EngineError: if the worker ended before it answered.
        """
        ...

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Start a run, or a pack, on a free slot."""
        ...

    def warm_up(self, slot: Slot) -> None:
        """Start a worker on a free slot, so that a run need not wait for it."""
        return

    def is_open(self, slot: Slot) -> bool:
        """Whether the slot can take a run now. On a cluster it first waits for room on some machine."""
        return True

    def is_warm(self, slot: Slot) -> bool:
        """Whether a run on the slot would begin at once."""
        return True

    def suspend(self, slot: Slot) -> None:
        """Ask the slot's runs to stop at the next training step, with a checkpoint. They come back through `wait`."""
        ...

    def end(self, slot: Slot) -> None:
        """Kill the slot's worker at once, and with it its runs, which do not come back through `wait`."""
        ...

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """The slots that became free, after at most about ``timeout_s`` seconds."""
        ...

    def heartbeat_age_s(self, slot: Slot) -> float:
        """Seconds since the slot's worker last sent a heartbeat."""
        return 0.0

    def close(self) -> None:
        """End all workers, in the middle of a run too."""
        ...
