"""The table of what depth costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from dnlbench.profiles import CostRecord, Profile
from dnlbench.report.costs import cost_grids
from dnlbench.report.profile import profile_grids

MakeProfile = Callable[..., Profile]
TIME = CostRecord(
    network="dense-attention",
    quantity="samples_per_s",
    depths=(16, 32, 64),
    exponent=1.82,
    exponent_low=1.74,
    exponent_high=1.9,
    n=3,
)
MEMORY = TIME.model_copy(
    update={"quantity": "peak_memory_bytes", "exponent": 1.5, "exponent_low": None, "exponent_high": None, "n": 1}
)
NONE = CostRecord(network="plain", quantity="samples_per_s", depths=(16,), problem="too few")


def with_costs(make_profile: MakeProfile, *costs: CostRecord) -> Profile:
    profile = make_profile({("dense-attention", 2): [0.3]})
    return profile.model_copy(update={"summary": profile.summary.model_copy(update={"costs": costs})})


def test_a_row_for_each_network_and_a_column_for_each_cost(make_profile: MakeProfile) -> None:
    (grid,) = cost_grids(with_costs(make_profile, TIME, MEMORY, NONE))
    heads = [column.head for column in grid.columns]
    assert heads == ["network", "q of time ~ L^q [95 % CI]", "q of memory ~ L^q [95 % CI]", "seeds", "fitted L"]
    assert grid.rows == [
        ["dense-attention", "1.82 [1.74, 1.90]", "1.50", "3 / 1", "16, 32, 64"],
        ["plain", "–", "–", "–", "–"],
    ]
    assert grid.note.splitlines()[1:] == ["time of plain: too few"]


def test_runs_that_are_left_out_are_told_once(make_profile: MakeProfile) -> None:
    records = [record.model_copy(update={"left_out": 4}) for record in (TIME, MEMORY)]
    (grid,) = cost_grids(with_costs(make_profile, *records))
    assert grid.note.splitlines()[1:] == ["dense-attention: 4 runs with different execution settings excluded"]


def test_without_any_exponent_there_is_no_table(make_profile: MakeProfile) -> None:
    assert list(cost_grids(with_costs(make_profile, NONE))) == []
    assert list(cost_grids(with_costs(make_profile))) == []


@pytest.mark.parametrize("width", [80, 60])
def test_nothing_is_cut_off_in_a_terminal(make_profile: MakeProfile, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for grid in profile_grids(with_costs(make_profile, TIME, MEMORY)):
            console.print(grid.to_rich(width))
    assert "…" not in capture.get()
    assert "Cost vs. depth" in capture.get()
    assert "1.82 [1.74, 1.90]" in capture.get()


def test_rounding_is_not_told(make_profile: MakeProfile) -> None:
    flat = TIME.model_copy(update={"exponent": -1.8e-15, "exponent_low": -2e-15, "exponent_high": 1e-16})
    (grid,) = cost_grids(with_costs(make_profile, flat))
    assert grid.rows[0][1] == "0.00 [0.00, 0.00]"
