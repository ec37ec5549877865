"""How often runs were lost, and how often they may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from dnlbench.executor.base import Cause
from dnlbench.plan import Run

RETRIES: Mapping[Cause, int] = {"process": 2, "killed": 2, "silent": 2, "host-memory": 1, "device": 3}
"""How often a run is begun again after it was lost without getting any further, by the cause of the loss; after a full disk
as often as it takes. A run that failed by itself would fail again."""

MOST_DEATHS_AT_START = 20
"""Workers of a slot that may be killed one after the other before they began their run. After that the slot is set aside, or,
where nobody knows whether the worker had begun it, the run is charged."""


def deaths_at_start(cause: Cause) -> int:
    """Workers of a slot that may end for that cause, one after the other, before they began a run."""
    return MOST_DEATHS_AT_START if cause == "killed" else RETRIES[cause]


class Losses:
    """The losses of each run, since it last got further."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Cause]] = Counter()
        self._lost: set[str] = set()
        self._alone: set[str] = set()

    @property
    def alone(self) -> Set[str]:
        """Ids of runs that go with no other any more: those that were ever lost, and those of packs that could not go on."""
        return self._alone

    def part(self, runs: Iterable[Run]) -> None:
        """Each of the runs goes alone from now on."""
        self._alone |= {run.run_id for run in runs}

    def add(self, run: Run, cause: Cause) -> bool:
        """Counts a loss; whether the run may be begun again after it."""
        self.part([run])
        self._lost.add(run.run_id)
        self._counts[run.run_id, cause] += 1
        return self._counts[run.run_id, cause] <= RETRIES[cause]

    def forgive(self, run: Run) -> None:
        """The run got further, or somebody wants it to be tried again."""
        self._lost.discard(run.run_id)
        for cause in RETRIES:
            del self._counts[run.run_id, cause]

    def has(self, run: Run) -> bool:
        """Whether the run was lost."""
        return run.run_id in self._lost
