"""Runs in this very process, one after the other: for debugging, and for tests that look inside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dnlbench.errors import ConfigurationError
from dnlbench.events import Prepared, RunEvent
from dnlbench.executor.base import SlotFreed
from dnlbench.executor.local import environment_of
from dnlbench.machine import Slot
from dnlbench.store import RunDir

if TYPE_CHECKING:
    from dnlbench.executor.worker import Worker


class InlineExecutor:
    """An executor of one slot. `wait` goes on with the run by one event each time."""

    def __init__(self, run_dir: RunDir, slots: Sequence[Slot]) -> None:
        if len(slots) != 1:
            raise ConfigurationError(f"the inline executor does one run at a time, not {len(slots)}; use --jobs 1")
        self._run_dir = run_dir
        self._slot = slots[0]
        self._worker: Worker | None = None
        self._running: tuple[str, Iterator[RunEvent]] | None = None

    def prepare(self) -> Prepared:
        """Imports torch, here and now."""
        if self._slot.device.kind == "cuda":
            os.environ.update(environment_of(self._slot))  # in force as long as torch has not been imported
        from dnlbench.executor.worker import Worker

        self._worker = Worker(self._run_dir, self._slot)
        return self._worker.prepare()

    def start(self, slot: Slot, run_id: str, attempt: int) -> None:
        """Nothing moves until `wait`."""
        assert self._worker is not None, "prepare comes first"
        self._running = run_id, self._worker.carry_out(run_id, attempt)

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Goes on until the next event, however long that takes."""
        assert self._running is not None, "start comes first"
        run_id, events = self._running
        if next(events, None) is not None:
            return []
        self._running = None
        return [SlotFreed(slot=self._slot, run_id=run_id)]

    def close(self) -> None:
        """Drops what is running."""
        self._running = None
