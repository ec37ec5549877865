from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dnlbench.profiles import EpochRecord, FitRecord, Profile, RunRecord, summarise
from dnlbench.profiles.law import Law
from dnlbench.studies import STUDIES, Quantity
from dnlbench.tui.figures import (
    CURVE_METRICS,
    curve_metrics,
    depth_figure,
    depth_quantities,
    epoch_figure,
    fit_words,
    law_of,
    letter,
)
from dnlbench.tui.plot.figure import Series

MakeProfile = Callable[..., Profile]
LOSS = CURVE_METRICS[0]
T2 = 4.302652729911275
"""Student's t at 97.5 % with two degrees of freedom."""


def quantity(name: str = "final_train_loss", study: str = "training") -> Quantity:
    return next(each for each in STUDIES[study].quantities if each.name == name)


def with_curves(profile: Profile, curves: dict[int, Sequence[float]], **changes: Any) -> Profile:
    """With these training losses, by seed; an epoch takes as many seconds as the seed's number plus one."""
    runs = []
    for run in profile.runs:
        losses = curves[run.seed]
        epochs = tuple(
            EpochRecord(epoch=i + 1, train_loss=loss, seconds=run.seed + 1.0, samples_per_s=100.0)
            for i, loss in enumerate(losses)
        )
        runs.append(run.model_copy(update={"epochs": epochs, **changes.get(str(run.seed), {})}))
    return profile.model_copy(update={"runs": tuple(runs)})


def by_key(series: Sequence[Series], key: str) -> Series:
    return next(each for each in series if each.key == key)


@pytest.fixture
def three(make_profile: MakeProfile) -> Profile:
    """One point, three seeds with curves 3, 2 and 1 above 0, 1 and 2."""
    profile = make_profile({("densenet", 2): [1.0, 2.0, 3.0]})
    return with_curves(profile, {seed: [3.0 + seed, 2.0 + seed] for seed in range(3)})


def test_letters_go_on_after_z() -> None:
    assert [letter(place) for place in (0, 1, 25, 26, 27)] == ["A", "B", "Z", "AA", "BB"]


def test_an_epoch_curve_is_the_mean_over_seeds_with_its_t_band(three: Profile) -> None:
    figure = epoch_figure([three], LOSS)
    (series,) = figure.series
    half = T2 * 1.0 / math.sqrt(3)  # the seeds are 1 apart; a loss is positive
    assert (series.label, series.n, series.x, series.y) == ("densenet L=2", 3, (1.0, 2.0), (4.0, 3.0))
    assert series.low == pytest.approx((4 * math.exp(-half / 4), 3 * math.exp(-half / 3)))
    assert series.high == pytest.approx((4 * math.exp(half / 4), 3 * math.exp(half / 3)))
    assert (figure.y.label, figure.y.unit, figure.x.label) == ("training loss", "nats", "epoch")
    assert not series.dashed
    assert figure.title == "Training loss (nats)"
    assert figure.note == "mean over seeds, 95 % band"


def test_steps_are_batches_and_time_is_the_mean_of_the_epochs_seconds(three: Profile) -> None:
    steps = epoch_figure([three], LOSS, "step")
    assert steps.series[0].x == (5.0, 10.0)  # 150 samples in batches of 32
    assert steps.x.label == "training step"
    time = epoch_figure([three], LOSS, "time")
    assert time.series[0].x == (2.0, 4.0)  # 1, 2 and 3 s an epoch
    assert (time.x.label, time.x.unit) == ("training time", "s")


def test_a_spec_without_batches_has_no_steps(three: Profile) -> None:
    figure = epoch_figure([three.model_copy(update={"spec": {}})], LOSS, "step")
    assert figure.series == ()
    assert figure.empty == "no training loss over training step"


def test_long_times_are_in_larger_units(three: Profile) -> None:
    epochs = tuple(EpochRecord(epoch=i, train_loss=1.0, seconds=3600.0, samples_per_s=1.0) for i in range(1, 5))
    long = three.model_copy(update={"runs": (three.runs[0].model_copy(update={"epochs": epochs}),)})
    figure = epoch_figure([long], LOSS, "time")
    assert figure.x.unit == "h"
    assert figure.series[0].x == (1.0, 2.0, 3.0, 4.0)


def test_candidates_are_dashed_and_share_colour_and_mark_with_the_reference(make_profile: MakeProfile) -> None:
    points = {("densenet", 2): [0.3], ("densenet", 4): [0.2]}
    figure = epoch_figure([make_profile(points), make_profile(points)], LOSS)
    assert [(s.label, s.dashed) for s in figure.series] == [
        ("A densenet L=2", False),
        ("A densenet L=4", False),
        ("B densenet L=2", True),
        ("B densenet L=4", True),
    ]
    looks = [(s.colour, s.mark) for s in figure.series]
    assert looks[0] == looks[2] != looks[1] == looks[3]
    assert figure.note == "mean over seeds, 95 % band; solid: A, dashed: B"
    assert len({s.key for s in figure.series}) == 4
    others = epoch_figure([make_profile(points), make_profile(points)], LOSS, letters=["A", "C"])
    assert others.series[-1].label == "C densenet L=4"


def test_runs_that_did_not_end_well_are_faint_beside_the_mean(three: Profile) -> None:
    bad = with_curves(three, {0: [3.0, 2.0], 1: [4.0, 3.0], 2: [9.0, math.nan]}, **{"2": {"status": "diverged"}})
    mean, alone = epoch_figure([bad], LOSS).series
    assert (mean.y, mean.n, mean.diverged) == ((3.5, 2.5), 2, False)
    assert (alone.faint, alone.diverged, alone.behind, alone.label) == (True, True, mean.key, "densenet L=2 seed 2")
    assert alone.y[0] == 9.0
    assert alone.low is None


def test_where_no_run_ended_well_the_mean_is_over_all(make_profile: MakeProfile) -> None:
    (series,) = epoch_figure([make_profile({("densenet", 2): [0.3, 0.5]}, status="failed")], LOSS).series
    assert series.diverged
    assert series.y == (0.4,)


def test_only_metrics_with_values_are_offered(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    assert [m.name for m in curve_metrics([profile])] == ["train_loss", "gradient_norm", "samples_per_s"]
    assert all(m.unit or m.name not in ("train_loss", "samples_per_s") for m in CURVE_METRICS)
    assert set(CURVE_METRICS) >= set(curve_metrics([profile]))
    assert {m.name for m in CURVE_METRICS} <= set(EpochRecord.model_fields)


def test_every_quantity_with_values_is_offered_and_a_profile_without_runs_has_none(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    names = [q.name for q in depth_quantities([profile])]
    assert names == ["final_train_loss", "samples_per_s", "peak_memory_bytes"]
    assert depth_quantities([]) == ()
    assert depth_quantities([make_profile({})]) == ()
    assert epoch_figure([make_profile({})], LOSS).series == ()


def falling(make_profile: MakeProfile, limit: float = 0.2, c: float = 0.8, p: float = 1.0) -> Profile:
    noise = (0.99, 1.0, 1.01)
    return make_profile({("densenet", L): [f * (limit + c * L**-p) for f in noise] for L in (2, 4, 8, 16)})


def test_a_depth_figure_has_points_intervals_fit_and_limit(make_profile: MakeProfile) -> None:
    figure = depth_figure([falling(make_profile).summary], quantity())
    points, fit, limit = figure.series
    assert points.x == (2.0, 4.0, 8.0, 16.0)
    assert points.y == pytest.approx([0.6, 0.4, 0.3, 0.25])
    assert points.low is not None
    assert points.low[0] == pytest.approx(0.6 * math.exp(-T2 * 0.01 / math.sqrt(3)))
    assert (points.points, points.n, points.dashed) == (True, 3, False)
    assert (figure.x.log, figure.x.base, figure.y.log, figure.y.unit) == (True, 2, True, "nats")
    assert fit.dashed
    assert (fit.x[0], fit.x[-1]) == pytest.approx((2.0, 32.0))
    assert (fit.y[0], fit.y[-1]) == pytest.approx((0.6, 0.225), rel=1e-3)
    assert limit.y == pytest.approx((0.2, 0.2), rel=1e-2)
    assert limit.x == (2.0, 32.0)
    assert fit.behind == limit.behind == points.key
    assert fit.colour == limit.colour == points.colour
    assert figure.note.startswith("densenet: L → ∞ 0.2")
    assert "next doubling (L=32) gains 0.02" in figure.note
    assert "nats" in figure.note


def test_what_cannot_be_fitted_is_said_once_for_all_networks(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3], ("plain", 2): [0.4]})
    figure = depth_figure([profile.summary], quantity())
    assert [s.label for s in figure.series] == ["densenet", "plain"]
    assert figure.note == "no limit of densenet, plain: too few depths: 1, a limit needs at least 4"


def test_several_profiles_share_colours_by_network_and_have_marks_of_their_own(make_profile: MakeProfile) -> None:
    profiles = [make_profile({("densenet", 2): [0.3], ("plain", 2): [0.4]}) for _ in range(2)]
    figure = depth_figure([profile.summary for profile in profiles], quantity())
    a, other, b, _ = figure.series
    assert (a.label, b.label) == ("A densenet", "B densenet")
    assert a.colour == b.colour != other.colour
    assert len({s.mark for s in figure.series}) == 4
    assert [s.dashed for s in figure.series] == [False, False, True, True]


def test_bytes_are_drawn_as_mebibytes(make_profile: MakeProfile) -> None:
    figure = depth_figure([make_profile({("densenet", 2): [0.3]}).summary], quantity("peak_memory_bytes"))
    assert figure.series[0].y == (2.0,)
    assert figure.y.unit == "MiB"
    assert figure.note == "mean over seeds, 95 % interval"


def test_values_that_are_not_positive_take_the_logarithm_away(make_profile: MakeProfile) -> None:
    assert not depth_figure([make_profile({("densenet", 2): [0.0]}).summary], quantity()).y.log


def measured(make_profile: MakeProfile, study: str, values: Mapping[int, Sequence[float]], name: str) -> Profile:
    """A profile of a study without epochs."""
    base = make_profile({("attention-tanh", depth): list(seeds) for depth, seeds in values.items()})
    runs = tuple(
        RunRecord.model_validate(
            {**run.model_dump(), "epochs": (), "measurements": {name: values[run.depth][run.seed]}}
        )
        for run in base.runs
    )
    summary = summarise(runs, STUDIES[study])
    return base.model_copy(update={"study": study, "runs": runs, "summary": summary})


def test_a_power_law_has_its_curve_and_a_line_of_the_expected_order(make_profile: MakeProfile) -> None:
    values = {L: [3.0 / L, 3.0 / L] for L in (8, 16, 32)}
    profile = measured(make_profile, "forward-limit", values, "error_max")
    assert curve_metrics([profile]) == ()
    assert [q.name for q in depth_quantities([profile])] == ["error_max"]
    figure = depth_figure([profile.summary], quantity("error_max", "forward-limit"))
    points, fit, theory = figure.series
    assert fit.y == pytest.approx([3.0 / x for x in fit.x])
    assert fit.x[-1] == pytest.approx(64.0)
    assert theory.label == "order 1"
    assert theory.x == (8.0, 64.0)
    assert theory.y == pytest.approx((1.5 * 3 / 8, 1.5 * 3 / 64))
    assert theory.key != points.key
    assert figure.note.startswith("attention-tanh: order 1")
    assert figure.note.splitlines()[0].endswith("theory at least 1")


def test_limits_of_curves_have_the_law_that_has_their_means(make_profile: MakeProfile) -> None:
    values = {L: [0.5 + 1.0 / L, 0.3 + 2.0 / L] for L in (4, 8, 16, 32)}
    profile = measured(make_profile, "optimum-limit", values, "optimal_value")
    figure = depth_figure([profile.summary], quantity("optimal_value", "optimum-limit"))
    _, fit, limit = figure.series
    assert limit.y == pytest.approx((0.4, 0.4), rel=1e-3)
    assert fit.y == pytest.approx([0.4 + 1.5 / x for x in fit.x], rel=1e-3)


LIMIT: dict[str, Any] = {
    "network": "plain",
    "quantity": "final_train_loss",
    "model": "limit",
    "depths": (2, 4, 8, 16),
    "limit": 0.2,
    "next_value": 0.2 + 0.8 / 32,
    "next_gain": 0.8 / 16 - 0.8 / 32,
}


def test_a_law_without_an_order_is_found_from_the_values_it_foresees() -> None:
    law = law_of(FitRecord(**LIMIT))
    assert isinstance(law, Law)
    assert (law.limit, law.constant, law.order) == pytest.approx((0.2, 0.8, 1.0))
    assert law.at(2) == pytest.approx(0.6)
    assert law_of(FitRecord(**{**LIMIT, "next_gain": 0.0, "next_value": 0.2})) is None
    assert law_of(FitRecord(**{**LIMIT, "limit": None})) is None
    assert law_of(FitRecord(**{**LIMIT, "model": "power"})) is None
    stated = law_of(FitRecord(**LIMIT, constant=0.7, order=1.5))
    assert isinstance(stated, Law)
    assert (stated.constant, stated.order) == (0.7, 1.5)


def test_an_undetermined_order_is_said_to_be_so() -> None:
    assert "order undetermined; next doubling (L=32) gains 0.025 nats" in fit_words(FitRecord(**LIMIT), quantity())


def test_many_fits_are_left_to_the_tables(make_profile: MakeProfile) -> None:
    base = falling(make_profile)
    fits = tuple(base.summary.fits[0].model_copy(update={"network": f"n{i}"}) for i in range(5))
    figure = depth_figure(
        [base.model_copy(update={"summary": base.summary.model_copy(update={"fits": fits})}).summary], quantity()
    )
    assert len(figure.note.splitlines()) == 4
    assert "and 2 more in the tables" in figure.note


def test_a_verdict_is_told_with_its_order() -> None:
    fit = FitRecord(network="n", quantity="change", model="power", depths=(2, 4), order=1.5, expected_order=1.5)
    assert fit_words(fit, quantity()) == "order 1.5, theory 1.5"
    judged = fit.model_copy(update={"theory": "possible", "seen": "converging"})
    assert fit_words(judged, quantity()) == "order 1.5, theory 1.5; possible by theory, converging"
