"""A thread that polls a run directory, so that reading files never blocks the keyboard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from dnlbench.errors import DnlbenchError, RunDirError
from dnlbench.store import RunDir
from dnlbench.watch import SweepView, Watcher

M = TypeVar("M")
POLL_S = 0.1
"""Minimum pause between two polls, in seconds. A poll that takes longer is followed by an equally long pause."""
IDLE_S = 0.5
"""The same while no engine is running."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The result of the latest poll."""

    view: SweepView | None = None
    """None until the run directory was read once."""
    engine: str | None = None
    """Process id of the running engine; None if there is none."""
    polled_at: float = 0.0
    """Time of the poll, in seconds since the epoch."""
    updated_at: float = 0.0
    """Time of the latest poll that read new events."""
    problem: str = ""
    """Why the latest poll failed. The other fields are then those of the poll before."""


class Poller(Generic[M]):
    """A thread that polls a run directory at most ten times a second and builds a view model from each snapshot.

    `latest` can be read at any time from any thread. ``clock`` returns seconds since the epoch.
    """

    def __init__(self, run_dir: RunDir, build: Callable[[Snapshot], M], clock: Callable[[], float] = time.time) -> None:
        self.run_dir = run_dir
        self.latest: M | None = None
        self.failure = ""
        """The unexpected exception of the latest poll; empty if there was none."""
        self._snapshot = Snapshot()
        self._build = build
        self._clock = clock
        self._watcher: Watcher | None = None
        self._plan_time = 0.0
        self._stopped, self._due = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._due.set()

    def wake(self) -> None:
        self._due.set()

    def poll(self) -> M:
        """Poll once in the calling thread, set `latest` and return it."""
        now = self._clock()
        try:
            self._snapshot = self._read(now)
        except (DnlbenchError, OSError) as error:
            self._snapshot = replace(self._snapshot, problem=str(error), polled_at=now)
        self.latest = self._build(self._snapshot)
        return self.latest

    def _read(self, now: float) -> Snapshot:
        plan_time = self._read_plan_time()
        if self._watcher is None or plan_time != self._plan_time:  # a sweep may be extended while it is watched
            self._watcher = Watcher(self.run_dir, self.run_dir.read_plan())
            self._plan_time = plan_time
        engine = self.run_dir.engine()  # before the events: so the last events of an engine that ends are read
        view = self._watcher.poll(now)
        before = self._snapshot
        changed = before.view is None or _marks(before.view) != _marks(view)
        return Snapshot(view=view, engine=engine, polled_at=now, updated_at=now if changed else before.updated_at)

    def _read_plan_time(self) -> float:
        try:
            return self.run_dir.sweep_path.stat().st_mtime
        except FileNotFoundError as error:
            reason = "no longer exists" if self._watcher else "not a run directory: it has no sweep.json"
            raise RunDirError(f"{self.run_dir.root}: {reason}") from error

    def _run(self) -> None:
        while not self._stopped.is_set():
            start = time.monotonic()
            self._due.clear()
            try:
                self.poll()
                self.failure = ""
            except Exception as error:  # a bug: keep the last view model and try again
                self.failure = f"{type(error).__name__}: {error}"
            pause = POLL_S if self._snapshot.engine else IDLE_S
            self._due.wait(max(pause, time.monotonic() - start))


def _marks(view: SweepView) -> list[int]:
    """Return values that differ whenever a run has new events: histories are replaced, never changed."""
    return list(map(id, view.histories.values()))
