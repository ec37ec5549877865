"""What profiles say of growing depth: which runs a fit is made of, and what is said where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dnlbench.profiles import FitRecord, Profile, RunRecord, check_profile, read_profile, save_profile, summarize
from dnlbench.profiles.files import METHOD_0_7
from dnlbench.profiles.fits import fit_over_depth
from dnlbench.profiles.fitted_model import next_gain
from dnlbench.studies import STUDIES, DepthFit, FitModel

MakeProfile = Callable[..., Profile]
FORWARD, OPTIMUM, TRAINING = STUDIES["forward-limit"], STUDIES["optimum-limit"], STUDIES["training"]
RELU = STUDIES["relu-limit"]
DEPTHS = (2, 4, 8, 16)


def losses(a: float, b: float, p: float, depths: Sequence[int] = DEPTHS) -> dict[tuple[str, int], list[float]]:
    return {("densenet", L): [(a + b * L**-p) * factor for factor in (0.99, 1.0, 1.01)] for L in depths}


def measured(curves: Mapping[int, Mapping[int, float]], name: str, template: RunRecord) -> list[RunRecord]:
    """Runs with one measurement, by seed and depth."""
    return [
        template.model_copy(
            update={"run_id": f"L{L}-s{seed}", "depth": L, "seed": seed, "measurements": {name: value}, "epochs": ()}
        )
        for seed, by_depth in curves.items()
        for L, value in by_depth.items()
    ]


@pytest.fixture
def template(make_profile: MakeProfile) -> RunRecord:
    return make_profile({("densenet", 2): [1.0]}).runs[0]


def fit_of(profile: Profile) -> FitRecord:
    (fit,) = profile.summary.fits
    return fit


def test_the_loss_at_infinite_depth_is_found_with_its_order(make_profile: MakeProfile) -> None:
    fit = fit_of(make_profile(losses(0.2, 1.0, 1.0)))
    assert (fit.network, fit.quantity, fit.model, fit.depths) == ("densenet", "final_train_loss", "limit", DEPTHS)
    assert fit.limit == pytest.approx(0.2, rel=1e-3)
    assert fit.order == pytest.approx(1.0, rel=1e-3)
    assert fit.next_value == pytest.approx(0.2 + 1 / 32, rel=1e-3)
    assert fit.next_gain == pytest.approx(1 / 32, rel=1e-2)
    assert fit.limit_low is not None
    assert fit.limit_high is not None
    assert fit.limit_low < 0.2 < fit.limit_high
    assert fit.shrinking == ()


def test_results_of_the_evaluation_split_have_limits_and_contrasts(make_profile: MakeProfile) -> None:
    """The accuracy rises to 0.95. Its interval ends at 1, and its gain is an increase."""

    def evaluated(run: RunRecord) -> RunRecord:
        accuracy = 0.95 - 0.4 / run.depth + 0.001 * (run.seed - 1)
        values = {"evaluation_loss": 2 * (run.final_train_loss or 0), "evaluation_accuracy": accuracy}
        (epoch,) = run.epochs
        return run.model_copy(update={"evaluation_accuracy": accuracy, "epochs": (epoch.model_copy(update=values),)})

    profile = make_profile(losses(0.2, 1.0, 1.0))
    spec = {**profile.spec, "train": {**profile.spec["train"], "evaluate": True}}
    runs = [evaluated(run) for run in profile.runs]
    study = TRAINING.of(spec)
    summary = summarize(runs, study, classes=10)
    loss, evaluation, accuracy = summary.fits
    assert [each.quantity for each in summary.fits] == ["final_train_loss", "evaluation_loss", "evaluation_accuracy"]
    assert evaluation.limit == pytest.approx(2 * (loss.limit or 0))
    assert accuracy.limit == pytest.approx(0.95, abs=0.01)
    assert accuracy.limit_high is not None
    assert accuracy.limit_high <= 1
    quantity = next(each for each in study.quantities if each.name == "evaluation_accuracy")
    gain, low, high = next_gain(accuracy, quantity)
    assert gain == pytest.approx(0.4 / 32, rel=0.1)
    assert (low, high) == (-(accuracy.next_gain_high or 0), -(accuracy.next_gain_low or 0))
    assert {each.quantity for each in summary.contrasts} == {"final_train_loss", "evaluation_loss"}
    assert not TRAINING.of(profile.spec).fits[1:]


def test_a_profile_without_fits_of_evaluation_is_valid(make_profile: MakeProfile) -> None:
    """Versions before 0.8 fitted the training loss only."""
    profile = make_profile(losses(0.2, 1.0, 1.0))
    spec = {**profile.spec, "train": {**profile.spec["train"], "evaluate": True}}
    old = profile.model_copy(update={"spec": spec, "summary": profile.summary.model_copy(update={"contrasts": ()})})
    assert check_profile(old) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_three_depths_are_too_few(make_profile: MakeProfile, count: int) -> None:
    fit = fit_of(make_profile(losses(0.2, 1.0, 1.0, DEPTHS[:count])))
    assert fit.problem == f"too few depths: {count}, a limit needs at least 4"
    assert fit.limit is None
    assert fit.order is None


def test_depths_without_a_finished_run_do_not_count(make_profile: MakeProfile) -> None:
    profile = make_profile(losses(0.2, 1.0, 1.0))
    runs = [run.model_copy(update={"status": "failed"}) if run.depth == 8 else run for run in profile.runs]
    (fit,) = summarize(runs, TRAINING).fits
    assert fit.depths == (2, 4, 16)
    assert fit.problem.startswith("too few depths: 3")


def test_time_at_twice_the_depth_follows_from_the_throughput(make_profile: MakeProfile) -> None:
    profile = make_profile(losses(0.2, 1.0, 1.0))
    runs = [run.model_copy(update={"samples_per_s": 1e4 / run.depth**1.5}) for run in profile.runs]
    (fit,) = summarize(runs, TRAINING).fits
    assert fit.next_time_factor == pytest.approx(2**1.5)


def test_a_flat_loss_has_no_order_that_is_sure_of_itself(make_profile: MakeProfile) -> None:
    flat = {("plain", L): [0.5 * (1 + 0.02 * each + 0.005 * math.sin(L)) for each in (-1, 0, 1)] for L in DEPTHS}
    fit = fit_of(make_profile(flat))
    assert fit.is_fitted
    assert fit.limit is None
    assert fit.undetermined
    assert fit.next_gain_low is not None
    assert fit.next_gain_high is not None
    assert fit.next_gain_low <= 0 <= fit.next_gain_high


def test_a_refused_fit_keeps_the_best_depth(make_profile: MakeProfile) -> None:
    turning = {("plain", L): [(0.1 + 1 / L + 0.02 * L) * f for f in (0.99, 1.0, 1.01)] for L in DEPTHS}
    profile = make_profile(turning)
    fit = fit_of(profile)
    assert fit.refused.startswith("it falls from L = 2 to 8 (p < 0.001) and rises from L = 8 to 16")
    assert (fit.limit, fit.order, fit.next_value, fit.next_gain, fit.form) == (None, None, None, None, "")
    best = next(point for point in profile.summary.points if point.depth == 8).quantities["final_train_loss"]
    assert (fit.best_depth, fit.best_value, fit.best_low, fit.best_high) == (8, best.mean, best.low, best.high)


def test_no_limit_of_a_loss_is_above_a_guess(make_profile: MakeProfile) -> None:
    rising = {("plain", L): [(4.0 - 3 / L) * f for f in (0.999, 1.0, 1.001)] for L in DEPTHS}
    runs = make_profile(rising).runs
    (free,) = summarize(runs, TRAINING).fits
    (capped,) = summarize(runs, TRAINING, classes=10).fits
    assert free.limit == pytest.approx(4.0, rel=0.01)
    assert capped.limit is None
    assert capped.undetermined == "the fitted limit is above 2.303, the value of a guess"


def test_limits_of_older_profiles_are_taken_as_they_are(make_profile: MakeProfile) -> None:
    profile = make_profile(losses(0.2, 1.0, 1.0))
    (fit,) = profile.summary.fits
    facts = fit.model_dump(include={"network", "quantity", "model", "depths"})
    old = FitRecord.model_validate({**facts, "limit": 0.3, "order": 2.0})
    assert (
        check_profile(profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": (old,)})})) == []
    )


def test_each_network_has_a_fit_of_its_own(make_profile: MakeProfile) -> None:
    both = losses(0.2, 1.0, 1.0) | {("plain", L): [0.5 + 1 / L**2] * 3 for L in DEPTHS}
    fits = make_profile(both).summary.fits
    assert [fit.network for fit in fits] == ["densenet", "plain"]
    assert [fit.limit for fit in fits] == pytest.approx([0.2, 0.5], rel=1e-3)


def test_an_order_is_the_mean_over_whole_curves(template: RunRecord) -> None:
    curves = {seed: {L: (1 + seed) * L**-p for L in DEPTHS} for seed, p in enumerate((0.9, 1.0, 1.1))}
    curves[3] = {2: 1.0, 4: 1.0}  # would have the order 0; it has no run at depth 8
    runs = measured(curves, "error_max", template)
    fit = fit_over_depth(runs, FORWARD.fits[0], FORWARD)
    assert fit.order == pytest.approx(1.0)
    assert fit.expected_order == 1.0
    assert fit.agrees


@pytest.mark.parametrize(("order", "agrees"), [(0.85, False), (0.91, True), (1.15, True), (2.0, True), (0.0, False)])
def test_an_order_agrees_with_a_bound_from_a_tenth_below_it_on(template: RunRecord, order: float, agrees: bool) -> None:
    runs = measured({0: {L: L**-order for L in DEPTHS}, 1: {L: 2 * L**-order for L in DEPTHS}}, "error_end", template)
    assert fit_over_depth(runs, FORWARD.fits[1], FORWARD).agrees is agrees


def test_the_limit_of_local_orders_decides_and_not_the_slope(template: RunRecord) -> None:
    """Errors ``(1 − 4 / L) / L``: the slope is off by more than a tenth, and in which direction says nothing."""
    curves = {seed: {L: (1 + seed) * (1 - 4 / L) / L for L in (8, 16, 32, 64, 128)} for seed in range(3)}
    fit = fit_over_depth(measured(curves, "error_max", template), FORWARD.fits[0], FORWARD)
    assert fit.order == pytest.approx(0.777, abs=0.001)
    assert fit.local_orders[-1] == pytest.approx(0.9527, abs=1e-3)
    assert fit.order_limit == pytest.approx(1.0, abs=0.06)
    assert (fit.at_least, fit.agrees) == (True, True)


def test_an_order_that_seeds_do_not_tell_from_the_bound_is_unclear(template: RunRecord) -> None:
    curves = {seed: {L: L ** -(0.7 + 0.2 * seed) for L in DEPTHS} for seed in range(2)}
    fit = fit_over_depth(measured(curves, "error_max", template), FORWARD.fits[0], FORWARD)
    assert fit.order_limit == pytest.approx(0.8)
    assert (fit.expected_order, fit.agrees) == (1.0, None)


def test_theory_says_nothing_of_runs_outside_its_assumptions(template: RunRecord) -> None:
    runs = measured({seed: dict.fromkeys(DEPTHS, 1.0) for seed in range(2)}, "error_max", template)
    fit = fit_over_depth([told(run, outside_assumptions=1.0) for run in runs], FORWARD.fits[0], FORWARD)
    assert (fit.expected_order, fit.agrees, fit.at_least) == (None, None, False)
    assert fit.order_limit == pytest.approx(0.0)


def test_a_profile_with_slopes_alone_is_valid(make_profile: MakeProfile, template: RunRecord) -> None:
    runs = measured({s: {L: 1.2 / L for L in DEPTHS} for s in range(2)}, "error_max", template)
    old = summarize(runs, FORWARD, METHOD_0_7)
    assert {(fit.local_orders, fit.order_limit, fit.agrees) for fit in old.fits if not fit.problem} == {
        ((), None, True)
    }
    profile = make_profile(losses(0.2, 1.0, 1.0))
    profile = profile.model_copy(update={"study": "forward-limit", "runs": tuple(runs), "summary": old})
    assert "summary: differs from the one computed from the runs" not in check_profile(profile)


def test_no_seed_with_every_depth_is_a_problem_and_not_an_error(template: RunRecord) -> None:
    runs = measured({0: {2: 1.0, 4: 0.5}, 1: {8: 0.25, 16: 0.125}}, "error_max", template)
    fit = fit_over_depth(runs, FORWARD.fits[0], FORWARD)
    assert fit.problem == "no seed has a finished run at every depth"
    assert fit.agrees is None


def test_deterministic_curves_keep_their_problems_apart(template: RunRecord) -> None:
    curves = {seed: {L: 0.1 * (1 + seed) + 0.3 / L for L in DEPTHS} for seed in range(3)}
    fit = fit_over_depth(measured(curves, "optimal_value", template), OPTIMUM.fits[0], OPTIMUM)
    assert fit.limit == pytest.approx(0.2, rel=1e-4)
    assert fit.order == pytest.approx(1.0, rel=1e-4)
    assert fit.shrinking == pytest.approx((2.0, 2.0))


def test_differences_are_not_told_where_depth_does_not_double(template: RunRecord) -> None:
    curves = {0: {L: 0.1 + 0.3 / L for L in (2, 4, 8, 12)}, 1: {L: 0.2 + 0.3 / L for L in (2, 4, 8, 12)}}
    fit = fit_over_depth(measured(curves, "optimal_value", template), OPTIMUM.fits[0], OPTIMUM)
    assert fit.shrinking == ()


@pytest.mark.parametrize("model", ["power", "limit", "curve-limit"])
def test_values_that_are_not_finite_are_left_out(template: RunRecord, model: FitModel) -> None:
    curves = {seed: {L: 0.1 + 0.3 / L for L in DEPTHS} for seed in range(2)} | {2: dict.fromkeys(DEPTHS, math.nan)}
    depth_fit = DepthFit(quantity="optimal_value", model=model)
    fit = fit_over_depth(measured(curves, "optimal_value", template), depth_fit, OPTIMUM)
    assert not fit.problem
    assert fit.order is not None


def test_fits_survive_saving_and_are_checked(make_profile: MakeProfile, tmp_path: Path) -> None:
    profile = make_profile(losses(0.2, 1.0, 1.0))
    read = read_profile(save_profile(profile, tmp_path / "x.json"))
    assert read.summary == profile.summary
    assert check_profile(read) == []
    fit = fit_of(read)
    wrong = read.model_copy(
        update={
            "summary": read.summary.model_copy(update={"fits": (fit.model_copy(update={"limit": 0.21}),)}),
        }
    )
    assert check_profile(wrong) == ["summary: differs from the one computed from the runs"]
    last_digit = fit.model_copy(update={"limit": (fit.limit or 0) * (1 + 1e-12)})
    close = read.model_copy(update={"summary": read.summary.model_copy(update={"fits": (last_digit,)})})
    assert check_profile(close) == []


def test_a_profile_from_before_there_were_fits_is_valid(make_profile: MakeProfile) -> None:
    profile = make_profile(losses(0.2, 1.0, 1.0))
    old = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": ()})})
    assert check_profile(old) == []


def told(run: RunRecord, **measurements: float) -> RunRecord:
    return run.model_copy(update={"measurements": {**run.measurements, **measurements}})


def verdict_of(template: RunRecord, order: float, spread: float, **measurements: float) -> FitRecord:
    """Of three seeds with these orders: one as given, and one on each side."""
    curves = {seed: {L: 2.0 * L ** -(order + (seed - 1) * spread) for L in DEPTHS} for seed in range(3)}
    runs = [told(run, **measurements) for run in measured(curves, "change", template)]
    (depth_fit,) = RELU.fits
    return fit_over_depth(runs, depth_fit, RELU)


def test_what_theory_says_comes_from_the_runs(template: RunRecord) -> None:
    fit = verdict_of(template, 1.5, 0.01, condition=2.0, expected_order=1.55)
    assert (fit.expected_order, fit.agrees, fit.theory, fit.seen) == (1.55, True, "guaranteed", "converging")
    fit = verdict_of(template, 1.5, 0.01, condition=0.0, expected_order=1.0)
    assert (fit.expected_order, fit.agrees, fit.theory) == (1.0, False, "excluded")
    fit = verdict_of(template, 1.5, 0.01)
    assert (fit.expected_order, fit.agrees, fit.theory, fit.seen) == (None, None, "", "converging")


@pytest.mark.parametrize(
    ("order", "spread", "falls"),
    [(0.5, 0.05, True), (0.09, 0.001, False), (0.11, 0.001, True), (0.5, 0.3, False), (-0.5, 0.01, False)],
)
def test_values_fall_if_their_order_is_clearly_above_0(
    template: RunRecord, order: float, spread: float, falls: bool
) -> None:
    fit = verdict_of(template, order, spread, condition=1.0)
    assert (fit.theory, fit.seen) == ("possible", "converging" if falls else "not seen to converge")


def test_theory_does_not_hang_on_a_run_that_failed(template: RunRecord) -> None:
    curves = {seed: {L: 1.0 / L for L in DEPTHS} for seed in range(2)}
    first, *others = measured(curves, "change", template)
    runs = [
        first.model_copy(update={"status": "failed", "measurements": {"condition": 0.0}}),
        *(told(run, condition=2.0) for run in others),
    ]
    (depth_fit,) = RELU.fits
    assert fit_over_depth(runs, depth_fit, RELU).theory == "guaranteed"


def test_theory_is_told_where_nothing_could_be_fitted(template: RunRecord) -> None:
    runs = [told(run, condition=2.0, expected_order=1.5) for run in measured({0: {4: 1.0, 8: 0.0}}, "change", template)]
    (depth_fit,) = RELU.fits
    fit = fit_over_depth(runs, depth_fit, RELU)
    assert fit.problem == "a fit needs positive finite values, not 0.0"
    assert (fit.theory, fit.seen, fit.expected_order, fit.order) == ("guaranteed", "", 1.5, None)


def test_studies_without_verdicts_have_no_words(template: RunRecord) -> None:
    runs = measured({seed: {L: 1.0 / L for L in DEPTHS} for seed in range(2)}, "error_max", template)
    fit = fit_over_depth(runs, FORWARD.fits[0], FORWARD)
    assert (fit.theory, fit.seen, fit.expected_order, fit.agrees) == ("", "", 1.0, True)
