"""What every runner offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dnlbench.events import Prepared, RunEvent
from dnlbench.plan import Run


class Runner(Protocol):
    """Carries out the runs of one plan on one slot, one after the other."""

    def prepare(self) -> Prepared:
        """Loads what all runs need and checks that each can be built.

        Raises:
            ConfigurationError: if the plan cannot be carried out as asked.
        """
        ...

    @property
    def data_sha256(self) -> str:
        """Hash of the data that this runner has loaded."""
        ...

    def carry_out(self, run: Run, attempt: int, folder: Path) -> Iterator[RunEvent]:
        """Does the run, telling what happens as it happens: ``RunStarted`` first, ``RunEnded`` last.

        A runner goes on only after an event was written, so what it does next may count on it. It keeps checkpoints in
        ``folder`` and takes up a run from there; ``RunStarted.from_epoch`` says how many epochs it keeps.

        An exception stands for the end; `dnlbench.runners.failures.classify` names its status.
        """
        ...
