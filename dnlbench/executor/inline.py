"""An executor that runs everything in this process, one task after the other, for debugging and for tests."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dnlbench.errors import ConfigurationError
from dnlbench.events import Prepared, RunError, RunEvent
from dnlbench.executor.base import Attempts, Executor, SlotFreed, WorkerFailure
from dnlbench.executor.processes import environment_of
from dnlbench.machine import Slot
from dnlbench.store import RunDir

if TYPE_CHECKING:
    from dnlbench.executor.worker import Worker


class InlineExecutor(Executor):
    """An executor with a single slot. Each call of `wait` advances its run by one event."""

    def __init__(self, run_dir: RunDir, slots: Sequence[Slot], *, checkpoint_s: float) -> None:
        if len(slots) != 1:
            raise ConfigurationError(f"the inline executor runs one job at a time, not {len(slots)}; use --jobs 1")
        self._run_dir = RunDir(run_dir.root.absolute())
        self._slot = slots[0]
        self._checkpoint_s = checkpoint_s
        self._worker: Worker | None = None
        self._running: tuple[Attempts, Iterator[RunEvent]] | None = None

    def prepare(self) -> Prepared:
        """Import torch in this process and prepare the worker."""
        if self._slot.device.kind == "cuda":
            os.environ.update(environment_of(self._slot))  # effective only before torch is imported
        from dnlbench.executor.worker import Worker

        with _current_folder_restored():
            self._worker = Worker(self._run_dir, self._slot, self._checkpoint_s)
            return self._worker.prepare()

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Create the run. Nothing is computed before `wait`."""
        assert self._worker is not None, "prepare comes first"
        self._running = attempts, self._worker.run(attempts)

    def suspend(self, slot: Slot) -> None:
        """Ask the run to stop at the first training step after its next event."""
        if self._running is not None and self._worker is not None:
            self._worker.suspend(self._running[0])

    def end(self, slot: Slot) -> None:
        """Drop the current run."""
        self._running = None

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Continue until the next event, ignoring ``timeout_s``."""
        if self._running is None:
            time.sleep(timeout_s)
            return []
        attempts, events = self._running
        failure = None
        try:
            with _current_folder_restored():
                if next(events, None) is not None:
                    return []
        except Exception as error:
            failure = self._failure(error)
        self._running = None
        return [SlotFreed(slot=self._slot, run_ids=tuple(attempts), failure=failure)]

    def _failure(self, error: Exception) -> WorkerFailure:
        assert self._worker is not None, "prepare comes first"
        cause = self._worker.blame(error)
        if cause is None:
            raise error
        return WorkerFailure(cause=cause, error=RunError(type=type(error).__name__, message=str(error)))

    def close(self) -> None:
        self._running = None


@contextlib.contextmanager
def _current_folder_restored() -> Iterator[None]:
    """Restore the engine's current folder afterward, which a network may change."""
    with contextlib.chdir(Path.cwd()):
        yield
