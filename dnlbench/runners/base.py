"""What every runner offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dnlbench.events import DataInfo, Prepared, RunEvent
from dnlbench.machine import Sources
from dnlbench.plan import Run

CHECKPOINT_S = 30.0
"""At most that many seconds of training are lost with a worker, and one training step."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run, and where it stands."""

    run: Run
    attempt: int
    folder: Path
    epochs_known: int
    """Epochs whose results are in the run's events. A checkpoint that is further on has lost some and is of no use."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a slot is given to do: a run, or a pack: runs of one point that train together."""

    members: tuple[Member, ...]
    """As many epochs are left to each. Their checkpoints may be of different training steps of an epoch."""
    should_suspend: Callable[[], bool]
    """Whether the job is to be put aside at the next training step."""


class Runner(Protocol):
    """Carries out the runs of one plan on one slot, one job after the other."""

    def prepare(self) -> Prepared:
        """Loads what all runs need and checks that each can be built.

        Raises:
            ConfigurationError: if the plan cannot be carried out as asked.
        """
        ...

    @property
    def data_info(self) -> DataInfo:
        """The data that this runner has loaded."""
        ...

    def code_changes(self, recorded: Sources) -> Sequence[str]:
        """Names the parts of the custom networks' code that this runner would execute in another state than recorded."""
        ...

    def run(self, job: Job) -> Iterator[RunEvent]:
        """Does the job, telling what happens as it happens.

        Of each member ``RunStarted`` comes first, and ``RunEnded`` or ``RunPaused`` last. One may end while others go on.
        A runner goes on only after an event was written, so what it does next may count on it. It keeps checkpoints and takes
        up a run from there; ``RunStarted.from_epoch`` and ``from_step`` say how much it keeps.

        An exception stands for the end of a run; `dnlbench.runners.failures` says of what kind. For a pack it says only that
        the members that have not ended cannot go on together.
        """
        ...
