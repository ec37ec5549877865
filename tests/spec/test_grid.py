"""Settings as axes: points, run ids, validation and names."""

from __future__ import annotations

import pytest

from dnlbench.errors import SpecError
from dnlbench.plan import Plan
from dnlbench.spec import parse_spec
from dnlbench.studies import Point
from dnlbench.studies.base import series_name

TEXT = """
name = "grid"
[sweep]
networks = ["densenet", "resnet"]
depths = [1, 2]
seeds = 2
[train]
batch_size = 32
"""


def plan_of(*overrides: str, grid: str = "") -> Plan:
    return Plan(parse_spec(TEXT + f"[sweep.grid]\n{grid}" if grid else TEXT, "grid.toml", overrides))


def test_every_combination_is_a_point() -> None:
    plan = plan_of(grid='"train.lr" = [0.1, 0.3]\n"network.growth_rate" = [3, 4]')
    assert len(plan.spec.points) == 2 * 2 * 2 * 2
    assert len(plan.runs) == 2 * len(plan.spec.points)
    assert len({run.run_id for run in plan.runs}) == len(plan.runs)
    first = plan.runs[0]
    assert first.title == "densenet growth_rate=3 lr=0.1 L=1 seed 0"
    assert first.run_id.startswith("densenet-L1-growth_rate3-lr0.1-s0-")
    for point in plan.spec.points:
        spec = plan.spec_at(point)
        assert spec.model_dump()["train"]["lr"] == dict(point.settings)["train.lr"]
        assert not spec.sweep.grid


@pytest.mark.parametrize("grid", ['"train.lr" = [0.1, 0.3]', "train.lr = [0.1, 0.3]"])
def test_keys_may_be_written_with_and_without_quotes(grid: str) -> None:
    plan = plan_of(grid=grid)
    assert plan.runs == plan_of("sweep.grid.train.lr=.1,.3").runs
    assert plan.spec_hash == plan_of("sweep.grid.train.lr=.1,.3").spec_hash


def test_a_larger_grid_shares_its_runs() -> None:
    few, more = plan_of("sweep.grid.train.lr=.1,.3"), plan_of("sweep.grid.train.lr=.1,.3,1")
    assert few.settings_hash == more.settings_hash
    assert {run.run_id for run in few.runs} < {run.run_id for run in more.runs}
    assert few.spec_hash != more.spec_hash
    other = plan_of("sweep.grid.train.lr=.1,.3", "train.momentum=0.8")
    assert not {run.run_id for run in few.runs} & {run.run_id for run in other.runs}
    assert other.settings_hash != few.settings_hash


def test_numbers_of_epochs_are_different_runs_of_a_grid() -> None:
    """Without a grid, runs that differ only in their epochs continue each other."""
    assert plan_of("train.epochs=1").runs[0].run_id == plan_of("train.epochs=2").runs[0].run_id
    plan = plan_of("sweep.grid.train.epochs=1,2")
    assert {run.epochs for run in plan.runs} == {1, 2}
    assert len({run.run_id for run in plan.runs}) == len(plan.runs)


def test_estimates_are_those_of_the_settings() -> None:
    plan = plan_of("sweep.grid.network.growth_rate=3,9", "sweep.networks=densenet", "sweep.depths=2")
    sizes = [plan.estimate(point).parameters for point in plan.spec.points]
    alone = [plan_of(f"network.growth_rate={rate}", "sweep.networks=densenet", "sweep.depths=2") for rate in (3, 9)]
    assert sizes == [each.estimate(Point(network="densenet", depth=2)).parameters for each in alone]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.grid.train.lr=0.1,-1", r"sweep.grid.train.lr = -1: .*greater than 0"),
        ("sweep.grid.train.lr=0.1,x", r"sweep.grid.train.lr = 'x'"),
        ("sweep.grid.train.lrr=1,2", r"sweep.grid.train.lrr = 1"),
        ("sweep.grid.train.lrr=1", r"sweep.grid.train.lrr = 1"),
        ("sweep.grid.train.lr=0.1,0.1", r"sweep.grid.train.lr repeats 0.1: list each value once"),
        ("sweep.grid.train.lr=[]", r"sweep.grid.train.lr is empty"),
        ("sweep.grid.sweep.depths=1,2", r"sweep.grid.sweep.depths.*is no setting of a run"),
        ("sweep.grid.data.normalize=true,false", r"sweep.grid.data.normalize.*must have one value in a sweep"),
        ("sweep.grid.train.objective=mse", r"sweep.grid.train.objective.*must have one value in a sweep"),
        ("sweep.grid.train.nesterov=true,false", None),
    ],
)
def test_values_are_checked_when_the_spec_is_read(override: str, message: str | None) -> None:
    if message is None:
        assert len(plan_of(override).runs) == 16
        return
    with pytest.raises(SpecError, match=message):
        plan_of(override)


def test_a_key_of_the_grid_meets_the_requirements_of_others() -> None:
    plan = plan_of("train.schedule=milestones", "sweep.grid.train.milestones=[1],[2,3]")
    assert [dict(settings)["train.milestones"] for settings in plan.specs] == [(1,), (2, 3)]
    with pytest.raises(SpecError, match=r"requires train.milestones"):
        plan_of("train.schedule=milestones")


def test_values_are_checked_together() -> None:
    with pytest.raises(SpecError, match=r"sweep.grid.train.nesterov = True: has an effect only with train.optimizer"):
        plan_of("sweep.grid.train.nesterov=true", "sweep.grid.train.optimizer=sgd,adam")


def test_names_are_short_and_distinct() -> None:
    assert series_name("densenet", {}) == "densenet"
    assert (
        series_name("densenet", {"train.lr": 0.01, "data.augment": ("crop", "flip")})
        == "densenet augment=crop+flip lr=0.01"
    )
    assert series_name("own", {"network.options.lr": 1, "train.lr": 2}) == "own network.options.lr=1 train.lr=2"
    assert (
        series_name("densenet", {"train.nesterov": True, "train.optimizer": "sgd"})
        == "densenet nesterov=true optimizer=sgd"
    )
