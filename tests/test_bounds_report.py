"""Quantities that theory says vanish: what their tables and comparisons say, whatever the study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.profiles import Profile, RunRecord, summarize
from dnlbench.report.bounds import largest, largest_text
from dnlbench.report.profile import profile_grids
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
STUDY = STUDIES["embedding"]
ROUNDING = {
    "deviation": 2e-15,
    "deviation_sgd": 3e-15,
    "kkt_difference": 1e-12,
    "loss_apart": 4e-9,
    "perturbation": 0.25,
}


@pytest.fixture
def planted(make_profile: MakeProfile) -> Callable[..., Profile]:
    """A profile of the study with the values of `ROUNDING` in every run, but for those of single ones."""

    def make(changes: Mapping[tuple[int, int], Mapping[str, Any]] = {}, **everywhere: float) -> Profile:
        base = make_profile({("densenet", depth): [0.5, 0.6] for depth in (1, 2)})
        runs = tuple(
            RunRecord.model_validate(
                run.model_dump()
                | {
                    "epochs": (),
                    "final_train_loss": None,
                    "samples_per_s": None,
                    "measurements": {**ROUNDING, **everywhere, **changes.get((run.depth, run.seed), {})},
                }
            )
            for run in base.runs
        )
        update = {"study": "embedding", "name": "embedding", "runs": runs, "summary": summarize(runs, STUDY)}
        return base.model_copy(update=update)

    return make


def main_rows(profile: Profile) -> list[list[str]]:
    grid = next(iter(profile_grids(profile)))
    assert [column.head for column in grid.columns][-1] == "within bounds"
    return [list(row) for row in grid.rows]


def test_the_largest_value_of_all_seeds_is_shown_and_judged(planted: Callable[..., Profile]) -> None:
    profile = planted({(2, 1): {"deviation": 7e-13}})
    one, two = main_rows(profile)
    assert "2.0e-15" in one
    assert "7.0e-13" in two
    assert (one[-1], two[-1]) == ("yes", "yes")


@pytest.mark.parametrize("value", [2e-10, math.inf, math.nan])
@pytest.mark.parametrize("name", ["deviation_sgd", "gradient_start"])
def test_one_run_beyond_a_bound_is_told(planted: Callable[..., Profile], name: str, value: float) -> None:
    profile = planted({(2, 0): {name: value}})
    one, two = main_rows(profile)
    assert (one[-1], two[-1]) == ("yes", "no")
    label = next(quantity.label for quantity in STUDY.quantities if quantity.name == name)
    note = next(iter(profile_grids(profile))).note
    assert f"bound exceeded at densenet L=2: {label} {'∞' if not math.isfinite(value) else '2.0e-10'}" in note
    assert "1e-10: trajectory difference, SGD difference" in note


def test_a_quantity_without_bound_is_not_judged(planted: Callable[..., Profile]) -> None:
    rows = main_rows(planted(perturbation=1.0, kkt_residual=0.9))
    assert {row[-1] for row in rows} == {"yes"}


def test_what_no_run_holds_has_no_largest_value(planted: Callable[..., Profile]) -> None:
    profile = planted()
    absent = next(quantity for quantity in STUDY.quantities if quantity.name == "margin_apart")
    assert largest(profile, profile.summary.points[0], absent) is None
    assert largest_text(None) == "–"


def test_values_within_the_bound_do_not_differ(planted: Callable[..., Profile]) -> None:
    """One is 1000 times the other, and one is 0: both are rounding."""
    comparison = compare(planted(), planted(deviation=2e-12, deviation_sgd=0.0))
    verdicts = {(cell.quantity.name, cell.depth): cell for cell in comparison.cells}
    for name in ("deviation", "deviation_sgd", "loss_apart"):
        cell = verdicts[name, 1]
        assert cell.verdict == "no difference"
        assert "which is rounding" in cell.reason


def test_a_gate_passes_what_is_rounding(planted: Callable[..., Profile]) -> None:
    comparison = compare(planted(), planted(deviation=2e-12, deviation_sgd=0.0))
    figures = {figure.quantity.name: figure for figure in comparison.overall}
    assert figures["deviation_sgd"].verdict == "no difference"
    assert figures["deviation_sgd"].ratio is not None
    assert figures["deviation_sgd"].ratio.estimate == 1
    rules = [parse_rule(text, STUDIES["embedding"]) for text in ("deviation:worse", "deviation_sgd:1%")]
    assert [finding.outcome for finding in gate([comparison], rules).findings] == ["pass", "pass"]
    changes = {(depth, seed): {"deviation": 1e-4 * (1 + seed / 50)} for depth in (1, 2) for seed in (0, 1)}
    for exact in (2e-15, 0.0):  # a reference without any deviation has no logarithm
        assert gate([compare(planted(deviation=exact), planted(changes))], rules[:1]).outcome == "fail"


def test_values_beyond_the_bound_are_worse(planted: Callable[..., Profile]) -> None:
    changes = {(depth, seed): {"deviation": 1e-4 * (1 + seed / 50)} for depth in (1, 2) for seed in (0, 1)}
    comparison = compare(planted(), planted(changes))
    cells = [cell for cell in comparison.cells if cell.quantity.name == "deviation"]
    assert {cell.verdict for cell in cells} == {"worse"}
    back = compare(planted(changes), planted())
    assert {cell.verdict for cell in back.cells if cell.quantity.name == "deviation"} == {"better"}
