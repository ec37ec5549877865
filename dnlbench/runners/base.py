"""The interface of runners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from dnlbench.events import DataInfo, Prepared, RunEvent
from dnlbench.machine import Sources
from dnlbench.plan import Run

CHECKPOINT_S = 30.0
"""Maximum seconds of training between checkpoints. A worker failure loses at most this much and one training step."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run of a job, with its progress."""

    run: Run
    attempt: int
    folder: Path
    epochs_known: int
    """Number of epochs in the run's events. A checkpoint of a later epoch is not used, since events before it are missing."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work for a slot: a run, or a pack of runs of one point that train together."""

    members: tuple[Member, ...]
    """Runs with equally many remaining epochs. Their checkpoints may be from different training steps of an epoch."""
    should_suspend: Callable[[], bool]
    """Returns true if the job should be suspended at the next training step."""


class Runner(Protocol):
    """Executes runs of one plan on one slot, one job after another."""

    def prepare(self) -> Prepared:
        """Load the data and check that the network of each run can be built.

        Raises:
            ConfigurationError: if the plan cannot be executed.
        """
        ...

    @property
    def data_info(self) -> DataInfo:
        """The loaded data."""
        ...

    def take_over(self, other: Self) -> None:
        """Take over what a runner of the same slot with other settings has loaded and measured, as far as it is equal here."""
        ...

    def code_changes(self, recorded: Sources) -> Sequence[str]:
        """Return the names of files and packages of custom networks that differ from the recorded ones."""
        ...

    def run(self, job: Job) -> Iterator[RunEvent]:
        """Execute the job and yield its events.

        The first event of each member is ``RunStarted``, the last ``RunEnded`` or ``RunPaused``. Members may end at different
        times. The caller writes each event to disk before it requests the next one, so the runner can rely on it. The runner
        saves checkpoints and resumes from them; ``RunStarted.from_epoch`` and ``from_step`` contain the resumed position.

        An exception ends the run; `dnlbench.runners.failures` classifies it. In a pack, an exception only means that the
        members that have not ended cannot train together.
        """
        ...
