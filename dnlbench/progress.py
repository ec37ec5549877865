"""Report the progress of a sweep to an observer without ever blocking the sweep."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnlbench.errors import RunDirError
from dnlbench.events import Prepared
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.watch import SweepView, Watcher

POLL_S = 0.1
"""Minimum time between two updates, in seconds."""
REST = 9.0
"""Minimum time between two updates relative to the CPU time of the last one: updates of a large sweep are slow."""
CLOSE_TIMEOUT_S = 2.0
"""Maximum time that a finished sweep waits for its observer, in seconds."""


@dataclass(frozen=True, kw_only=True)
class SweepStarted:
    """A sweep whose workers are ready and whose runs start next."""

    plan: Plan
    prepared: Prepared
    slots: tuple[Slot, ...]
    pack_size: int = 1
    """Maximum number of runs that a slot trains together."""
    nodes: int = 0
    """Number of cluster machines that the sweep uses; 0 without a cluster."""
    run_dir: Path
    done: int
    """Number of finished runs in the run directory."""
    resumed: tuple[tuple[Run, int], ...]
    """Runs with a checkpoint, and the number of epochs that each has completed."""
    warnings: tuple[str, ...]

    @property
    def left(self) -> int:
        return len(self.plan.runs) - self.done


class Observer:
    """A receiver of progress. The methods of this base class do nothing."""

    def on_message(self, text: str) -> None:
        """Handle a message about slow preparations or about a problem."""

    def on_starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        """Handle the start of the workers, which takes seconds."""

    def on_started(self, started: SweepStarted) -> None:
        """Handle the start of the first run."""

    def on_update(self, view: SweepView) -> None:
        """Handle a new state of the sweep, several times a second."""


class ProgressReporter:
    """Calls an observer from a separate thread.

    An observer that blocks (a terminal stopped with Ctrl+S, a lost connection) does not delay the sweep. After an observer
    fails (a closed pipe), it is not called again.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._calls: queue.SimpleQueue[Callable[[Observer], None] | None] = queue.SimpleQueue()
        self._watcher: Watcher | None = None
        self._pause_s = POLL_S
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def call(self, method: Callable[[Observer], None]) -> None:
        self._calls.put(method)

    def follow(self, watcher: Watcher) -> None:
        def begin(observer: Observer) -> None:
            self._watcher = watcher

        self._calls.put(begin)

    def close(self) -> None:
        """Send a last update and stop, after at most ``CLOSE_TIMEOUT_S``."""
        self._calls.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            while (call := self._next()) is not None:
                call(self._observer)
            self._update(self._observer)
        except (OSError, UnicodeError, SystemExit):  # Rich raises SystemExit for a broken pipe
            return

    def _next(self) -> Callable[[Observer], None] | None:
        try:
            return self._calls.get(timeout=self._pause_s)
        except queue.Empty:
            return self._update

    def _update(self, observer: Observer) -> None:
        if self._watcher is not None:
            started_s = time.thread_time()
            try:
                view = self._watcher.poll(time.time())
            except RunDirError as error:  # the engine continues, but the view would be wrong from now on
                self._watcher = None
                observer.on_message(str(error))
                return
            observer.on_update(view)
            self._pause_s = pause_s(time.thread_time() - started_s)


def pause_s(update_s: float) -> float:
    """Return the seconds to wait before the next update, given the CPU seconds that one takes."""
    return max(POLL_S, REST * update_s)
