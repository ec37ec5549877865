"""Results against budgets: closed forms, planted power laws and the definition of the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest

from dnlbench.profiles import EpochRecord, Profile, RunRecord
from dnlbench.profiles.budgets import BUDGETS, BestDepth, Budget, best_depths, budget_points, spent
from dnlbench.stats import log_mean_interval
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
LOSS = STUDIES["training"].quantities[0]
SAMPLES, EPOCHS = 150, 8
PARAMETERS, FLOPS, TIME, MEMORY = BUDGETS
COST = {2: 1e6, 4: 2e6, 8: 4e6}
"""Operations per sample by depth."""
SCALE = {2: 3e3, 4: 2e3, 8: 4e3, 16: 5e3}
"""Losses are ``SCALE · spent ** -0.4``."""
NOISE = (0.99, 1.0, 1.01)


def planted(make_profile: MakeProfile, cost: Mapping[int, float] = COST, epochs: int = EPOCHS) -> list[RunRecord]:
    """Return runs whose losses are powers of the operations spent, in seconds of 1e9 operations each."""
    profile = make_profile({("densenet", depth): [0.5] * len(NOISE) for depth in cost})
    return [
        run.model_copy(update={"flops_per_sample": cost[run.depth], "epochs": curve(run, cost[run.depth], epochs)})
        for run in profile.runs
    ]


def curve(run: RunRecord, cost: float, epochs: int) -> tuple[EpochRecord, ...]:
    each = SAMPLES * cost
    return tuple(
        EpochRecord(
            epoch=k, train_loss=loss_at(run.depth, run.seed, k * each), seconds=each / 1e9, samples_per_s=1e9 / cost
        )
        for k in range(1, epochs + 1)
    )


def loss_at(depth: int, seed: int, operations: float) -> float:
    return SCALE[depth] * NOISE[seed] * math.exp(-0.4 * math.log(operations))


def best(runs: Sequence[RunRecord], budget: Budget = FLOPS) -> list[BestDepth]:
    return list(best_depths(runs, "train_loss", budget, SAMPLES))


def test_the_budget_of_a_run_is_that_of_its_epochs(make_profile: MakeProfile) -> None:
    (run, *_) = planted(make_profile)
    run = run.model_copy(update={"pack_size": 2, "parameters": 70, "peak_memory_bytes": 5000})
    found = [spent(run, budget, SAMPLES) for budget in BUDGETS]
    assert found == pytest.approx([70, EPOCHS * SAMPLES * 1e6, EPOCHS * SAMPLES * 1e6 / 1e9 / 2, 5000])
    assert spent(run.model_copy(update={"flops_per_sample": None}), FLOPS, SAMPLES) is None
    assert spent(run, FLOPS, None) is None


def test_losses_at_equal_budgets_are_exact_for_powers(make_profile: MakeProfile) -> None:
    found = best(planted(make_profile))
    ends = [EPOCHS * SAMPLES * cost for cost in COST.values()]
    assert [each.at for each in found] == pytest.approx(ends[:2])
    for each, depths in zip(found, [(2, 4, 8), (4, 8)], strict=True):
        assert tuple(each.losses) == depths
        for depth, interval in each.losses.items():
            expected = log_mean_interval([loss_at(depth, seed, each.at) for seed in range(3)])
            assert interval.estimate == pytest.approx(expected.estimate)
            assert interval.high == pytest.approx(expected.high)
        assert each.best == 4
        assert each.members == (4,)


def test_depths_are_compared_at_equal_time_too(make_profile: MakeProfile) -> None:
    found, by_time = best(planted(make_profile)), best(planted(make_profile), TIME)
    assert [each.at for each in by_time] == pytest.approx([each.at / 1e9 for each in found])
    assert [each.members for each in by_time] == [each.members for each in found]


def test_depths_that_cannot_be_compared_are_listed(make_profile: MakeProfile) -> None:
    found = best(planted(make_profile, {2: 1e6, 4: 2e6, 8: 9e6}))
    assert [(each.ended, tuple(each.losses), each.not_started) for each in found] == [
        ((), (2, 4), (8,)),
        ((2,), (4, 8), ()),
    ]


def test_nearly_equal_budgets_are_compared_once(make_profile: MakeProfile) -> None:
    (found,) = best(planted(make_profile, {2: 1e6, 4: 1.04e6, 8: 1.08e6}))
    assert found.at == pytest.approx(EPOCHS * SAMPLES * 1e6)
    assert tuple(found.losses) == (2, 4, 8)


@pytest.mark.parametrize("changes", [{"status": "failed"}, {"flops_per_sample": None}])
def test_a_depth_without_curves_is_not_compared(make_profile: MakeProfile, changes: Mapping[str, object]) -> None:
    runs = [run.model_copy(update=changes) if run.depth == 4 else run for run in planted(make_profile)]
    assert [tuple(each.losses) for each in best(runs)] == [(2, 8)]


def test_one_seed_has_a_best_depth_without_an_interval(make_profile: MakeProfile) -> None:
    found = best([run for run in planted(make_profile) if run.seed == 0])
    assert [each.text for each in found] == ["L = 4", "L = 4"]
    assert best(planted(make_profile))[0].text == "L = 4 [4, 4]"


def test_one_epoch_gives_no_curve(make_profile: MakeProfile) -> None:
    assert best(planted(make_profile, epochs=1)) == []


def test_the_front_consists_of_the_points_that_no_other_one_beats(make_profile: MakeProfile) -> None:
    losses = {("densenet", d): [v] for d, v in zip((2, 4, 8, 16), (0.5, 0.6, 0.2, 0.2), strict=True)}
    losses |= {("resnet", d): [v] for d, v in zip((2, 4, 8, 16), (0.7, 0.4, 0.3, 0.1), strict=True)}
    runs = make_profile(losses).runs
    points = budget_points(runs, LOSS, PARAMETERS, SAMPLES)
    assert len(points) == 8
    for each in points:
        beaten = any(
            other.spent <= each.spent
            and other.value.estimate <= each.value.estimate
            and (other.spent, other.value.estimate) != (each.spent, each.value.estimate)
            for other in points
        )
        assert each.on_front == (not beaten)
    assert 0 < sum(each.on_front for each in points) < 8


@pytest.mark.parametrize(
    ("budget", "value", "text"),
    [
        (FLOPS, 1.234e12, "1.23 TFLOP"),
        (FLOPS, 12.0, "12 FLOP"),
        (PARAMETERS, 12_400, "12.4 k"),
        (TIME, 35.21, "35.2 s"),
        (MEMORY, 2**20, "1.0 MiB"),
    ],
)
def test_budgets_have_units(budget: Budget, value: float, text: str) -> None:
    assert budget.text(value) == text


def test_the_optimal_parameters_are_those_of_a_planted_parabola(make_profile: MakeProfile) -> None:
    """At any budget, log losses are a parabola in the log of parameters with its minimum at 3000."""
    cost = {2: 1e6, 4: 1.01e6, 8: 1.02e6, 16: 1.03e6}
    runs = [
        run.model_copy(update={"parameters": 1000 * run.depth // 2, "epochs": around(run, 1000 * run.depth // 2, cost)})
        for run in planted(make_profile, dict.fromkeys(cost, 1e6))
    ]
    runs = [run.model_copy(update={"flops_per_sample": cost[run.depth]}) for run in runs]
    (found,) = best(runs)
    assert found.optimal_parameters is not None
    assert found.optimal_parameters.estimate == pytest.approx(3000, rel=1e-6)
    equal = [run.model_copy(update={"parameters": 1000}) for run in runs]
    assert best(equal)[0].optimal_parameters is None
    assert best(equal)[0].no_optimum == "the depths have nearly equal parameters"


def around(run: RunRecord, parameters: int, cost: Mapping[int, float]) -> tuple[EpochRecord, ...]:
    factor = NOISE[run.seed] * math.exp(0.2 * math.log(parameters / 3000) ** 2)
    return tuple(
        epoch.model_copy(update={"train_loss": factor * (epoch.epoch * cost[run.depth]) ** -0.4})
        for epoch in run.epochs
    )
