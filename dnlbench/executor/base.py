"""What every executor offers to the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dnlbench.events import Prepared, RunError
from dnlbench.machine import Slot

SILENCE_S = 60.0
"""How long a worker may give no sign of life, which it does every second, before it counts as lost."""

Cause = Literal["process", "killed", "silent", "host-memory", "device", "disk", "pack"]
"""Why a run was lost before its last event: its process ended; somebody ended its process; it gave no sign of life; the system
ended it because the machine's memory ran out; its device failed; the disk is full; it could not go on with those that it was
to train with."""

Attempts = Mapping[str, int]
"""By run id which attempt at it this is: of a single run, or of those of a pack, in their order."""


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """A run that came back before its last event was written."""

    cause: Cause
    error: RunError
    begun: bool = True
    """False if the worker ended before it began the run, which then cannot be to blame."""


@dataclass(frozen=True, kw_only=True)
class SlotFreed:
    """A slot has let go of its runs: they ended or were put aside; or those of them were lost that had not ended."""

    slot: Slot
    run_ids: tuple[str, ...]
    failure: WorkerFailure | None = None


class Executor(Protocol):
    """Carries out one run or pack on each slot at a time. Workers write the runs' events into the run directory themselves."""

    def prepare(self) -> Prepared:
        """Starts the workers and waits until one has loaded the data and checked the plan.

        Raises:
            ConfigurationError: what the worker found wrong with the plan, the data or the device.
            EngineError: if the worker ended without a word.
        """
        ...

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Begins a run, or a pack, on a free slot."""
        ...

    def warm_up(self, slot: Slot) -> None:
        """Sees to it that a free slot has a worker that a run need not wait for."""
        return

    def is_open(self, slot: Slot) -> bool:
        """Whether the slot can take a run now. On a cluster it waits for room on some machine, again if it is lost."""
        return True

    def is_warm(self, slot: Slot) -> bool:
        """Whether a run on the slot would begin at once."""
        return True

    def suspend(self, slot: Slot) -> None:
        """Asks what the slot has to stop at its next training step, with a checkpoint. It comes back through `wait`."""
        ...

    def end(self, slot: Slot) -> None:
        """Ends the slot's worker at once, and with it the runs that it may have, of which nothing more will be heard."""
        ...

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """The slots that became free, after at most about ``timeout_s`` seconds."""
        ...

    def silent_s(self, slot: Slot) -> float:
        """Seconds since the slot's worker last gave a sign of life."""
        return 0.0

    def close(self) -> None:
        """Ends all workers, in the middle of a run too."""
        ...
