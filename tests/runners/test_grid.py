"""A run of a grid, compared with the same run of a sweep without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dnlbench.events import EpochDone, Measured, RunEnded, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners import create_runner
from dnlbench.runners.base import Job, Member
from dnlbench.spec import parse_spec
from tests.conftest import TINY

SMALL = ("sweep.networks=densenet", "sweep.depths=1", "train.epochs=1")
FORWARD = ("study=forward-limit", "name=f", "sweep.kernels=local", "sweep.activations=tanh", "sweep.depths=8")


def results(plan: Plan, slot: Slot, folder: Path) -> list[Any]:
    """The values of all runs, in the order of the plan."""
    runner = create_runner(plan, slot)
    assert runner.prepare().data == runner.data_info
    found: list[Any] = []
    for run in plan.runs:
        path = folder / run.run_id
        path.mkdir(parents=True)
        member = Member(run=run, attempt=1, folder=path, epochs_known=0)
        events = list(runner.run(Job(members=(member,), should_suspend=lambda: False)))
        assert {event.run_id for event in events} == {run.run_id}
        assert isinstance(events[-1], RunEnded)
        found += [event.train_loss for event in events if isinstance(event, EpochDone)]
        found += [event.measurements for event in events if isinstance(event, Measured)]
    return found


def plan_of(text: str, overrides: Sequence[str]) -> Plan:
    return Plan(parse_spec(text, "x.toml", overrides))


def test_the_data_of_a_grid_of_limits_are_all_data(slot: Slot, tmp_path: Path) -> None:
    """So that a larger grid, or one in another order, has the data of the first one."""
    whole = create_runner(plan_of(TINY, (*SMALL, "data.limit=none")), slot).prepare().data
    plan = plan_of(TINY, (*SMALL, "sweep.grid.data.limit=40,24", "sweep.grid.train.lr=0.01,0.1"))
    runner = create_runner(plan, slot)
    assert runner.prepare().data == runner.data_info == whole
    path = tmp_path / "run"
    path.mkdir()
    for run in plan.runs[:3]:
        job = Job(members=(Member(run=run, attempt=1, folder=path, epochs_known=0),), should_suspend=lambda: False)
        started = next(iter(runner.run(job)))
        assert isinstance(started, RunStarted)
        assert started.samples == dict(run.point.settings)["data.limit"]


@pytest.mark.parametrize(
    ("text", "common", "key", "values"),
    [
        (TINY, SMALL, "train.lr", ("0.01", "0.1")),
        (TINY, SMALL, "network.growth_rate", ("3", "4")),
        (TINY, SMALL, "train.optimizer", ("sgd", "adam")),
        (TINY, SMALL, "data.limit", ("40", "24")),
        ("", FORWARD, "curves.modes", ("2", "3")),
    ],
)
def test_a_grid_has_the_bits_of_sweeps_without_one(
    text: str, common: tuple[str, ...], key: str, values: tuple[str, ...], slot: Slot, tmp_path: Path
) -> None:
    grid = results(plan_of(text, (*common, f"sweep.grid.{key}={','.join(values)}")), slot, tmp_path / "grid")
    alone = [results(plan_of(text, (*common, f"{key}={value}")), slot, tmp_path / value) for value in values]
    assert grid == [value for each in alone for value in each]
    assert alone[0] != alone[1]
