"""What every executor offers to the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dnlbench.events import Prepared, RunError
from dnlbench.machine import Slot


@dataclass(frozen=True, kw_only=True)
class SlotFreed:
    """A slot has finished with its run."""

    slot: Slot
    run_id: str
    lost: RunError | None = None
    """Why the worker is gone, if it ended before it could write the run's last event."""


class Executor(Protocol):
    """Carries out one run on each slot at a time. Workers write the runs' events into the run directory themselves."""

    def prepare(self) -> Prepared:
        """Starts the workers and waits until one has loaded the data and checked the plan.

        Raises:
            ConfigurationError: what the worker found wrong with the plan, the data or the device.
            EngineError: if the worker ended without a word.
        """
        ...

    def start(self, slot: Slot, run_id: str, attempt: int) -> None:
        """Begins a run on a free slot."""
        ...

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """The slots that became free, after at most about ``timeout_s`` seconds."""
        ...

    def close(self) -> None:
        """Ends all workers, in the middle of a run too."""
        ...
