"""Tables of budgets: marks of the Pareto front, best depths with intervals, and what was not compared."""

from __future__ import annotations

from collections.abc import Callable

from dnlbench.profiles import Profile
from dnlbench.report.budgets import budget_grids
from dnlbench.report.grid import Grid

MakeSweep = Callable[..., Profile]


def grids(profile: Profile) -> dict[str, Grid]:
    return {grid.title: grid for grid in budget_grids(profile)}


def with_flops(profile: Profile) -> Profile:
    runs = [run.model_copy(update={"flops_per_sample": 1e6 * run.depth}) for run in profile.runs]
    return profile.model_copy(update={"runs": tuple(runs)})


def test_the_front_is_marked_for_each_budget(make_sweep: MakeSweep) -> None:
    grid = grids(with_flops(make_sweep(networks=("densenet",))))["Final training loss against budgets"]
    assert [column.head for column in grid.columns[3:]] == [
        "parameters",
        "training FLOPs",
        "training time",
        "peak memory",
    ]
    assert [row[3] for row in grid.rows] == ["200 *", "400 *", "800 *", "1.60 k *"]
    assert grid.rows[0][4] == "1.80 GFLOP *"


def test_best_depths_name_what_was_not_compared(make_sweep: MakeSweep) -> None:
    grid = grids(with_flops(make_sweep(networks=("densenet",))))["Best depth at equal budgets: final training loss"]
    budgets = [row[1] for row in grid.rows if row[1].endswith("FLOP")]
    assert budgets == ["1.80 GFLOP", "3.60 GFLOP", "7.20 GFLOP"]
    first = grid.rows[0]
    assert first[2].startswith("2 [2, ")
    assert first[4] == "16: first epoch costs more"
    assert grid.rows[1][4] == "2: trained for less"


def test_schedules_are_pointed_out(make_sweep: MakeSweep) -> None:
    profile = with_flops(make_sweep())
    cosine = profile.model_copy(
        update={"spec": {**profile.spec, "train": {**profile.spec["train"], "schedule": "cosine"}}}
    )
    notes = [grids(each)["Best depth at equal budgets: final training loss"].note for each in (profile, cosine)]
    assert ["middle of its schedule" in note for note in notes] == [False, True]


def test_a_single_point_has_no_tables(make_sweep: MakeSweep) -> None:
    assert list(budget_grids(make_sweep(networks=("densenet",), depths=(2,)))) == []
