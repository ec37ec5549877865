"""The cost to a target loss, with runs that do not reach it, and slopes at the end of training: planted curves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from dnlbench.profiles import EpochRecord, Profile, RunRecord
from dnlbench.profiles.final_slopes import final_slopes
from dnlbench.profiles.model import MatchRecord
from dnlbench.profiles.targets import Target, epochs_to, target_of, target_points, target_tests
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.fits import fit_grids
from dnlbench.report.outcomes import outcome_grids

MakeProfile = Callable[..., Profile]
EPOCHS, TARGET = 10, Target(loss=0.5, metric="train_loss")


def curve(losses: Sequence[float]) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch=k, train_loss=loss, seconds=2.0, samples_per_s=75.0) for k, loss in enumerate(losses, start=1)
    )


def arriving(epoch: int | None) -> tuple[EpochRecord, ...]:
    """The curve of a run that reaches the target in this epoch, or never."""
    return curve([0.4 if epoch and k >= epoch else 1.0 for k in range(1, EPOCHS + 1)])


def planted(make_profile: MakeProfile, arrivals: Mapping[int, Sequence[int | None]]) -> Profile:
    profile = make_profile({("densenet", depth): [0.5] * len(each) for depth, each in arrivals.items()})
    runs = [
        run.model_copy(update={"epochs": arriving(arrivals[run.depth][run.seed]), "flops_per_sample": 1e6})
        for run in profile.runs
    ]
    return with_runs(profile, runs)


def with_runs(profile: Profile, runs: Sequence[RunRecord]) -> Profile:
    train = {**profile.spec["train"], "epochs": EPOCHS, "target_loss": TARGET.loss}
    return profile.model_copy(update={"runs": tuple(runs), "spec": {**profile.spec, "train": train}})


def test_runs_that_never_arrive_count_with_their_budget(make_profile: MakeProfile) -> None:
    all_arrive, some, none = target_points(
        planted(make_profile, {2: [3, 4, 5], 4: [3, 4, None], 8: [None] * 3}), TARGET
    )
    assert (all_arrive.epochs.estimate, all_arrive.is_censored) == (4, False)
    assert some.epochs.estimate == pytest.approx(17 / 3)
    assert (some.reached, some.n) == (2, 3)
    assert (none.epochs.estimate, none.reached) == (EPOCHS, 0)
    assert none.costs["flops"].estimate == EPOCHS * 150 * 1e6
    assert some.costs["time"].estimate == pytest.approx(2 * 17 / 3)


def test_diverged_runs_never_arrive_and_failed_runs_are_left_out(make_profile: MakeProfile) -> None:
    profile = planted(make_profile, {2: [2, 4, 4]})
    first, second, third = profile.runs
    diverged = second.model_copy(update={"status": "diverged", "epochs": second.epochs[:2]})
    failed = third.model_copy(update={"status": "failed"})
    (point,) = target_points(with_runs(profile, [first, diverged, failed]), TARGET)
    assert (point.reached, point.n, point.left_out) == (1, 2, 1)
    assert point.epochs.estimate == (2 + EPOCHS) / 2
    assert point.costs["time"].estimate == pytest.approx(2 * 6)


def test_the_target_is_of_the_evaluation_loss_if_there_is_one(make_profile: MakeProfile) -> None:
    assert target_of({"train": {"target_loss": 0.3}}) == Target(loss=0.3, metric="train_loss")
    assert target_of({"train": {"target_loss": 0.3, "evaluate": True}}) == Target(loss=0.3, metric="evaluation_loss")
    assert target_of({"train": {}}) is None
    assert target_of({}) is None
    assert epochs_to(planted(make_profile, {2: [3]}).runs[0], Target(loss=0.5, metric="evaluation_loss")) is None


def test_depths_are_tested_with_censored_runs_last(make_profile: MakeProfile) -> None:
    seeds = planted(make_profile, {2: [None] * 5, 4: [7, 8, 9, 9, None], 8: [2, 3, 2, 3, 2]})
    first, second = target_tests(seeds, TARGET)
    assert (first.point.depth, first.verdict) == (4, "sooner")
    assert first.p_adjusted == pytest.approx(12 / 252)
    assert second.point.depth == 8
    assert second.p_adjusted == pytest.approx(2 * 2 / 252)
    few = target_tests(planted(make_profile, {2: [None] * 3, 4: [2, 2, 2]}), TARGET)
    assert [test.verdict for test in few] == ["inconclusive"]


def test_a_shorter_budget_limits_both_depths(make_profile: MakeProfile) -> None:
    profile = planted(make_profile, {2: [None] * 4, 4: [8, 8, 8, 8]})
    matched = MatchRecord(quantity="flops", key="train.epochs", value=5, mismatch=0.0)
    runs = [
        run.model_copy(update={"epochs": run.epochs[:5], "matched": matched}) if run.depth == 2 else run
        for run in profile.runs
    ]
    assert [test.p_adjusted for test in target_tests(with_runs(profile, runs), TARGET)] == [1.0]


def test_the_tables_name_who_arrived(make_profile: MakeProfile) -> None:
    costs, tests, *_ = outcome_grids(planted(make_profile, {2: [3, 4, 5], 4: [None, 4, 5]}))
    assert costs.title == "Cost to reach training loss 0.5"
    assert [row[2:4] for row in costs.rows] == [["3 of 3", "4.0 [2.1, 7.4]"], ["2 of 3", "> 6.333"]]
    assert "counts with its whole budget" in costs.note
    assert "too few seeds for a verdict: no p value can be below 0.100" in tests.note


def falling(make_profile: MakeProfile, slopes: Sequence[float], depths: Sequence[int] = (2, 4)) -> Profile:
    losses = {("densenet", depth): [0.2 + (1 + 0.01 * k) / depth for k in range(len(slopes))] for depth in depths}
    profile = make_profile(losses)
    runs = [
        run.model_copy(update={"epochs": curve([math.exp(slopes[run.seed] * k) for k in range(12)])})
        for run in profile.runs
    ]
    return with_runs(profile, runs)


@pytest.mark.parametrize(
    ("slopes", "verdict"),
    [
        ([-0.04, -0.041, -0.039], "still falling"),
        ([0.04, 0.041, 0.039], "rising"),
        ([-0.001, 0.0, 0.001], "level"),
        ([-0.2, 0.1, -0.04], "undecided"),
        ([-0.04], "undecided"),
    ],
)
def test_final_slopes_of_exponentials_are_their_rates(
    make_profile: MakeProfile, slopes: list[float], verdict: str
) -> None:
    trend, _ = final_slopes(falling(make_profile, slopes).runs, "train_loss")
    assert trend.slope.estimate == pytest.approx(sum(slopes) / len(slopes), abs=1e-12)
    assert (trend.epochs, trend.verdict) == (3, verdict)


def test_a_verdict_on_depth_names_losses_that_still_fall(make_profile: MakeProfile) -> None:
    notes = {}
    for slope in (-0.04, 0.0):
        profile = falling(make_profile, [slope, slope * 1.01, slope * 0.99])
        notes[slope] = next(contrast_grids(profile)).note
        assert [grid.title for grid in outcome_grids(profile)][-1] == "Enough training? final training loss"
    assert "not final: the loss still falls" in notes[-0.04]
    assert "densenet L=2, densenet L=4" in notes[-0.04]
    assert "not final" not in notes[0.0]


def test_a_depth_limit_of_losses_that_still_fall_is_not_final(make_profile: MakeProfile) -> None:
    for slope, is_final in ((-0.04, False), (0.0, True)):
        profile = falling(make_profile, [slope, slope * 1.01, slope * 0.99], depths=(2, 4, 8, 16))
        limits = next(grid for grid in fit_grids(profile) if grid.title.startswith("Depth limit"))
        assert ("not final: the loss still falls" in limits.note) is not is_final


def test_few_epochs_and_losses_without_logarithm_have_no_trend(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.5, 0.5]})
    assert final_slopes(profile.runs, "train_loss") == ()
    zero = [run.model_copy(update={"epochs": curve([1.0, 0.5, 0.0])}) for run in profile.runs]
    assert final_slopes(zero, "train_loss") == ()


@pytest.mark.statistics
def test_the_interval_of_a_trend_covers_the_slope(make_profile: MakeProfile) -> None:
    rng, slope, samples = random.Random(4), -0.02, 1500
    (run, *_) = make_profile({("densenet", 2): [0.5]}).runs
    covered = 0
    for _ in range(samples):
        rates = [rng.gauss(slope, 0.01) for _ in range(3)]
        losses = [[math.exp(rate * k + rng.gauss(0, 0.01)) for k in range(12)] for rate in rates]
        runs = [run.model_copy(update={"seed": seed, "epochs": curve(each)}) for seed, each in enumerate(losses)]
        (trend,) = final_slopes(runs, "train_loss")
        assert trend.slope.low is not None
        assert trend.slope.high is not None
        covered += trend.slope.low <= slope <= trend.slope.high
    assert covered / samples == pytest.approx(0.95, abs=0.02)


@pytest.mark.statistics
def test_the_mean_of_censored_runs_is_below_the_true_mean_and_above_that_of_survivors(
    make_profile: MakeProfile,
) -> None:
    rng, mean = random.Random(5), 8.0
    arrivals = [max(1, math.ceil(rng.expovariate(1 / mean))) for _ in range(600)]
    (point,) = target_points(planted(make_profile, {2: [k if k <= EPOCHS else None for k in arrivals]}), TARGET)
    survivors = [k for k in arrivals if k <= EPOCHS]
    # of the number of epochs, geometric with q = exp(-1 / mean): E min(T, B) = (1 - q^B) / (1 - q)
    q = math.exp(-1 / mean)
    expected = (1 - q**EPOCHS) / (1 - q)
    assert point.epochs.low is not None
    assert point.epochs.high is not None
    assert point.epochs.low < expected < point.epochs.high < 1 / (1 - q)
    assert sum(survivors) / len(survivors) < point.epochs.low
