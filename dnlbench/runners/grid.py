"""The runner of a sweep with a grid: a runner for each combination of the grid's values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dnlbench.events import DataInfo, PointMemory, Prepared, RunEvent
from dnlbench.machine import Sources
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Runner
from dnlbench.studies.base import Settings


class GridRunner:
    """Executes each run with the runner of its settings, as in a sweep with these settings and without a grid.

    Runners with equal settings of the data share the data and measurements of the first one among them. If the grid varies how
    much of the data is used, the data of the sweep are all of them.
    """

    def __init__(self, plan: Plan, create: Callable[[Plan], Runner]) -> None:
        self._runners = {settings: create(Plan(spec)) for settings, spec in plan.specs.items()}
        self._first = next(iter(self._runners.values()))
        owners: dict[Settings, Runner] = {}
        for settings, runner in self._runners.items():
            owner = owners.setdefault(tuple(each for each in settings if each[0].startswith("data.")), runner)
            if owner is not runner:
                runner.take_over(owner)
        self._data = self._first if len(owners) == 1 else create(Plan(plan.spec.with_all_data()))

    def prepare(self) -> Prepared:
        prepared = {settings: runner.prepare() for settings, runner in self._runners.items()}
        first, *_ = prepared.values()
        memory = (_memory_at(settings, each) for settings, p in prepared.items() for each in p.memory)
        warnings = dict.fromkeys(warning for each in prepared.values() for warning in each.warnings)
        return first.model_copy(update={"data": self.data_info, "memory": tuple(memory), "warnings": tuple(warnings)})

    @property
    def data_info(self) -> DataInfo:
        return self._data.data_info

    def code_changes(self, recorded: Sources) -> Sequence[str]:
        return self._first.code_changes(recorded)

    def take_over(self, other: Runner) -> None:
        """A grid has no grid around it."""
        raise NotImplementedError

    def run(self, job: Job) -> Iterator[RunEvent]:
        runner = self._runners[job.members[0].run.point.settings]
        members = (
            replace(each, run=replace(each.run, point=replace(each.run.point, settings=()))) for each in job.members
        )
        return runner.run(replace(job, members=tuple(members)))


def _memory_at(settings: Settings, memory: PointMemory) -> PointMemory:
    return memory.model_copy(update={"settings": dict(settings)})
