"""Telling somebody how a sweep goes on, without ever waiting for them."""

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

LOOK_S = 0.1
"""Seconds between two looks."""
REST = 9.0
"""How many times as long as a look took the next one is waited for at least: of a large sweep each takes long."""
PATIENCE_S = 2.0
"""How long a sweep that has ended waits for the last news to be told."""


@dataclass(frozen=True, kw_only=True)
class Outset:
    """A sweep when its workers are ready and its work begins."""

    plan: Plan
    prepared: Prepared
    slots: tuple[Slot, ...]
    pack_size: int = 1
    """Runs that train together on a slot, at most."""
    nodes: int = 0
    """Machines of a cluster that there are for it; 0 for this machine alone."""
    run_dir: Path
    done: int
    """Runs that the run directory holds already, done."""
    begun: tuple[tuple[Run, int], ...]
    """Runs that it holds in part, with their epochs, which are gone on with."""
    warnings: tuple[str, ...]

    @property
    def left(self) -> int:
        return len(self.plan.runs) - self.done


class Observer:
    """Somebody who is told how a sweep goes on. This one does not care."""

    def deciding(self, news: str) -> None:
        """Of what takes its time before the work starts, such as a measurement, and of what goes wrong meanwhile."""

    def starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        """Before the workers are started, which takes seconds."""

    def planned(self, outset: Outset) -> None:
        """Before work starts."""

    def looked(self, view: SweepView) -> None:
        """Several times a second."""


class Narrator:
    """Talks to an observer from a thread of its own.

    So an observer that blocks, as a terminal does that was stopped with Ctrl+S or has lost its connection, holds nothing up.
    One that fails, as with a closed pipe, is told nothing more.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._news: queue.SimpleQueue[Callable[[Observer], None] | None] = queue.SimpleQueue()
        self._watcher: Watcher | None = None
        self._pause_s = LOOK_S
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def tell(self, news: Callable[[Observer], None]) -> None:
        self._news.put(news)

    def follow(self, watcher: Watcher) -> None:
        def begin(observer: Observer) -> None:
            self._watcher = watcher

        self._news.put(begin)

    def end(self) -> None:
        """After one more look; an observer that does not listen is left alone."""
        self._news.put(None)
        self._thread.join(PATIENCE_S)

    def _talk(self) -> None:
        try:
            while (news := self._next()) is not None:
                news(self._observer)
            self._look(self._observer)
        except (OSError, UnicodeError, SystemExit):  # Rich answers a broken pipe with SystemExit
            return

    def _next(self) -> Callable[[Observer], None] | None:
        try:
            return self._news.get(timeout=self._pause_s)
        except queue.Empty:
            return self._look

    def _look(self, observer: Observer) -> None:
        if self._watcher is not None:
            begun = time.thread_time()
            try:
                view = self._watcher.look(time.time())
            except RunDirError as error:  # the engine goes on as long as it can, but nothing true can be shown any more
                self._watcher = None
                observer.deciding(str(error))
                return
            observer.looked(view)
            self._pause_s = pause_s(time.thread_time() - begun)


def pause_s(look_s: float) -> float:
    """Seconds between two looks each of which takes so many of a processor, which is left to the engine for the most part."""
    return max(LOOK_S, REST * look_s)
