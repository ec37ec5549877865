"""A slot's outpost, as the engine sees it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from dnlbench.executor.base import Attempts
from dnlbench.executor.outposts.reports import Placed, Report
from dnlbench.machine import Slot


@dataclass(eq=False)
class Post:
    """Where it is and how it is, as far as it has said."""

    slot: Slot
    actor: Any
    """Ray's handle."""
    memory_bytes: int
    """What it claims."""
    placed: Placed | None = None
    """None while Ray has no room for it."""
    job: Attempts | None = None
    is_warm: bool = False
    is_ready: bool = False
    """Whether it was found fit for the sweep."""
    ahead_s: float = math.inf
    """How much the engine's clock is ahead of its own: the least that was seen, since reports take their time."""
    _heard: float = field(default_factory=time.monotonic)
    _worker_silent_s: float = 0.0

    @property
    def where(self) -> str:
        """``ray/3 on such-a-machine``."""
        node = self.placed.slot.node if self.placed else None
        return f"{self.slot.name} on {node.name}" if node else self.slot.name

    def heard(self) -> None:
        """It gave a sign of life."""
        self._heard = time.monotonic()

    def hears(self, report: Report) -> None:
        """Takes in how it is."""
        self.ahead_s = min(self.ahead_s, time.time() - report.time)
        self.is_warm, self.is_ready = report.is_warm, self.is_ready or report.is_ready
        self._worker_silent_s = report.silent_s

    @property
    def starved_s(self) -> float:
        """Seconds that its runs have waited for a place; 0 for those that have one, and without any."""
        return time.monotonic() - self._heard if self.job is not None and self.placed is None else 0.0

    def silent_s(self, patience_s: float) -> float:
        """Seconds without a sign of life of it or its worker, beyond what it may take to answer; 0 without a place."""
        if self.placed is None:
            return 0.0
        return max(self._worker_silent_s, time.monotonic() - self._heard - patience_s)
