"""Equal budgets: the chosen settings against a search over all, the networks that torch builds, and the runs of the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from dnlbench.architecture import ARCHITECTURES
from dnlbench.errors import SpecError
from dnlbench.events import DataInfo
from dnlbench.plan import Plan
from dnlbench.report.plan import plan_preview
from dnlbench.runners.training.build import build_network
from dnlbench.spec import read_spec
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.size import Size, network_size

DEPTHS = (2, 3, 4, 6, 8, 12, 16)
DIGITS = DataInfo(name="digits", sha256="ab" * 32, samples=1500, input_shape=(1, 8, 8), classes=10)


def spec_of(*settings: str) -> TrainingSpec:
    depths = f"sweep.depths={list(DEPTHS)}"
    spec = read_spec("digits-quick", ["sweep.networks=densenet", depths, "match.at=8", *settings])
    assert isinstance(spec, TrainingSpec)
    return spec


def size_of(spec: TrainingSpec, point: Point) -> Size:
    return network_size(ARCHITECTURES[point.network], point.depth, DIGITS.input_shape, 10, spec.at(point).network)


@pytest.mark.parametrize("network", ["densenet", "dense-attention", "resnet", "plain"])
def test_no_other_width_has_more_equal_parameters(network: str) -> None:
    spec = spec_of("match.quantity=parameters", f"sweep.networks={network}")
    key = "growth_rate" if ARCHITECTURES[network].dense else "width"
    target = size_of(spec, Point(network=network, depth=8)).parameters
    for point in spec.points:
        sizes = {
            width: size_of(plain, point).parameters
            for width in range(1, 40)
            for plain in [spec.model_copy(update={"match": type(spec.match)()})]
            for plain in [plain.model_copy(update={"network": plain.network.model_copy(update={key: width})})]
        }
        best = min(sizes, key=lambda width: abs(math.log(sizes[width] / target)))
        match = spec.matched(point)
        assert match is not None
        assert (match.key, match.value) == (f"network.{key}", best)
        assert match.mismatch == pytest.approx(sizes[best] / target - 1, abs=1e-12)


def test_networks_of_torch_have_the_parameters_that_the_mismatch_says() -> None:
    spec = spec_of("match.quantity=parameters", "network.growth_rate=12")
    counts = {
        point.depth: sum(each.numel() for each in build_network(spec, point, DIGITS).parameters())
        for point in spec.points
    }
    for point in spec.points:
        match = spec.matched(point)
        assert match is not None
        assert counts[point.depth] / counts[8] - 1 == pytest.approx(match.mismatch, abs=1e-12)
        assert abs(match.mismatch) < 0.04


@pytest.mark.parametrize("quantity", ["flops", "time"])
def test_epochs_share_the_budget_of_the_reference(quantity: str) -> None:
    spec = spec_of(f"match.quantity={quantity}", "match.vary=epochs", "train.epochs=40")
    cost = {p: size_of(spec, p).flops if quantity == "flops" else size_of(spec, p).work for p in spec.points}
    reference = 40 * next(each for point, each in cost.items() if point.depth == 8)
    for point in spec.points:
        match, epochs = spec.matched(point), spec.at(point).epochs
        assert match is not None
        assert abs(epochs * cost[point] - reference) <= 0.5 * cost[point] + 1e-6
        assert match.mismatch == pytest.approx(epochs * cost[point] / reference - 1)
        assert spec.at(point).network == spec.network
    assert spec.at(Point(network="densenet", depth=8)).epochs == 40


def test_a_run_is_that_of_the_spec_with_the_chosen_setting() -> None:
    matched = Plan(spec_of("match.quantity=parameters"))
    for run in matched.runs:
        assert run.matched is not None
        settings = [f"{run.matched.key}={run.matched.value}", f"sweep.depths={run.point.depth}"]
        plain = Plan(read_spec("digits-quick", ["sweep.networks=densenet", *settings]))
        assert run.run_id in plain.by_id
    assert matched.settings_hash != Plan(read_spec("digits-quick")).settings_hash
    spec, point = matched.spec, matched.spec.points[0]
    assert spec.at(point).at(point) == spec.at(point)


def test_each_series_of_a_grid_is_matched() -> None:
    grid = "sweep.grid={'train.lr' = [0.01, 0.03], 'network.blocks' = [2, 3]}"
    plan = Plan(spec_of("match.quantity=parameters", grid))
    assert {run.point.series for run in plan.runs} == {
        f"densenet blocks={blocks} lr={lr}" for blocks in (2, 3) for lr in ("0.01", "0.03")
    }
    for run in plan.runs:
        settings = dict(run.point.settings)
        alone = spec_of("match.quantity=parameters", *(f"{key}={value}" for key, value in settings.items()))
        assert run.matched == alone.matched(Point(network="densenet", depth=run.point.depth))
        ours, theirs = plan.spec_at(run.point), alone.at(Point(network="densenet", depth=run.point.depth))
        assert isinstance(ours, TrainingSpec)
        assert ours.network == theirs.network


def test_without_match_nothing_changes() -> None:
    spec = read_spec("digits-quick")
    assert all(spec.at(point) == spec and spec.matched(point) is None for point in spec.points)


def test_the_plan_shows_the_choice_and_the_mismatch() -> None:
    grid = plan_preview(Plan(spec_of("match.quantity=parameters")), "plan")
    column = [column.head for column in grid.columns].index("matched budget")
    assert [row[column] for row in grid.rows][::2] == [
        "growth_rate 21 (−2.6 %)",
        "growth_rate 12 (+7.89 %)",
        "growth_rate 6 (+0 %)",
        "growth_rate 3 (−2 %)",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "match.at = 8: has an effect only with match.quantity"),
        (["match.quantity=flops", "match.at=none"], "match.quantity = 'flops': requires match.at, the reference depth"),
        (["match.quantity=parameters", "match.vary=epochs"], "match.vary = 'epochs': does not change parameters"),
        (
            ["match.quantity=flops", "sweep.grid={'network.growth_rate' = [6, 12]}"],
            "[match] chooses network.growth_rate for each depth; remove one of them",
        ),
        (["match.quantity=time", "sweep.networks=a.b:c"], "budget of a.b:c is unknown before it trains; only built-in"),
        (
            ["match.quantity=time", "data.dataset=image-folder"],
            "requires data of known shape and classes, and those of im",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(settings: Sequence[str], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec_of(*settings)
    assert message in str(refused.value)
