"""Chart builders: series, means, intervals, axes, units and notes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import Over, epoch_chart, metrics_of
from dnlbench.charts.model import Chart, Series
from dnlbench.charts.source import letter, sources_of
from dnlbench.charts.terminal.curves import color_of, is_dashed, mark_of
from dnlbench.profiles import EpochRecord, Profile, RunRecord, summarize
from dnlbench.studies import STUDIES, TRAIN_LOSS, EpochMetric, Quantity
from dnlbench.studies.training import EPOCH_METRICS

MakeProfile = Callable[..., Profile]
LOSS = TRAIN_LOSS
T2 = 4.302652729911275
"""Student's t at 97.5 % with two degrees of freedom."""


def quantity(name: str = "final_train_loss", study: str = "training") -> Quantity:
    return next(each for each in STUDIES[study].quantities if each.name == name)


def over_training(
    *profiles: Profile, metric: EpochMetric = LOSS, over: Over = "epoch", letters: Sequence[str] = ()
) -> Chart:
    return epoch_chart(sources_of(profiles, letters), metric, over)


def over_depth(*profiles: Profile, of: Quantity | None = None) -> Chart:
    return depth_chart(sources_of(profiles), of or quantity())


def offered(profile: Profile) -> list[str]:
    return [metric.name for metric in metrics_of(sources_of([profile]))]


def with_curves(profile: Profile, curves: dict[int, Sequence[float]], **changes: Any) -> Profile:
    """Return a profile with training losses by seed. An epoch takes (seed + 1) seconds."""
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


def test_letters_continue_after_z() -> None:
    assert [letter(index) for index in (0, 1, 25, 26, 27)] == ["A", "B", "Z", "AA", "BB"]


def test_an_epoch_curve_is_the_mean_over_seeds_with_its_t_band(three: Profile) -> None:
    chart = over_training(three)
    (series,) = chart.series
    half = T2 * 1.0 / math.sqrt(3)  # the seeds are 1 apart; a loss is positive
    assert (series.label, series.n, series.x, series.y) == ("densenet L=2", 3, (1.0, 2.0), (4.0, 3.0))
    assert series.low == pytest.approx((4 * math.exp(-half / 4), 3 * math.exp(-half / 3)))
    assert series.high == pytest.approx((4 * math.exp(half / 4), 3 * math.exp(half / 3)))
    assert (chart.y.label, chart.y.unit, chart.x.label) == ("training loss", "nats", "epoch")
    assert chart.title == "Training loss"
    assert chart.notes == ("Curves: mean over n = 3 seeds; bands: 95 % t interval.",)


def test_steps_are_batches_and_time_is_the_mean_of_the_epochs_seconds(three: Profile) -> None:
    steps = over_training(three, over="step")
    assert steps.series[0].x == (5.0, 10.0)  # 150 samples in batches of 32
    assert steps.x.label == "training step"
    time = over_training(three, over="time")
    assert time.series[0].x == (2.0, 4.0)  # 1, 2 and 3 s an epoch
    assert (time.x.label, time.x.unit) == ("training time", "s")


def test_a_spec_without_batches_has_no_steps(three: Profile) -> None:
    chart = over_training(three.model_copy(update={"spec": {}}), over="step")
    assert chart.series == ()
    assert chart.empty == "no training loss over training step"


def test_long_times_are_in_larger_units(three: Profile) -> None:
    epochs = tuple(EpochRecord(epoch=i, train_loss=1.0, seconds=3600.0, samples_per_s=1.0) for i in range(1, 5))
    long = three.model_copy(update={"runs": (three.runs[0].model_copy(update={"epochs": epochs}),)})
    chart = over_training(long, over="time")
    assert chart.x.unit == "h"
    assert chart.series[0].x == (1.0, 2.0, 3.0, 4.0)


def test_profiles_share_the_identity_of_equal_networks_and_depths(make_profile: MakeProfile) -> None:
    points = {("densenet", 2): [0.3], ("densenet", 4): [0.2]}
    chart = over_training(make_profile(points), make_profile(points))
    assert [(s.label, s.identity.profile) for s in chart.series] == [
        ("A densenet L=2", 0),
        ("A densenet L=4", 0),
        ("B densenet L=2", 1),
        ("B densenet L=4", 1),
    ]
    identities = [(s.identity.index, s.identity.label) for s in chart.series]
    assert identities[0] == identities[2] != identities[1] == identities[3]
    assert [name.partition(":")[0] for name in chart.profiles] == ["A", "B"]
    assert len({s.key for s in chart.series}) == 4
    others = over_training(make_profile(points), make_profile(points), letters=["A", "C"])
    assert others.series[-1].label == "C densenet L=4"


def test_unsuccessful_runs_are_faint_beside_the_mean(three: Profile) -> None:
    bad = with_curves(three, {0: [3.0, 2.0], 1: [4.0, 3.0], 2: [9.0, math.nan]}, **{"2": {"status": "diverged"}})
    mean, alone = over_training(bad).series
    assert (mean.y, mean.n, mean.failed) == ((3.5, 2.5), 2, False)
    assert (alone.role, alone.failed, alone.parent, alone.label) == ("run", True, mean.key, "densenet L=2 seed 2")
    assert alone.y == (9.0,)
    assert alone.low is None


def test_without_successful_runs_each_run_is_shown(make_profile: MakeProfile) -> None:
    series = over_training(make_profile({("densenet", 2): [0.3, 0.5]}, status="failed")).series
    assert [(each.role, each.failed, each.parent, each.y) for each in series] == [
        ("run", True, "", (0.3,)),
        ("run", True, "", (0.5,)),
    ]


def test_only_metrics_with_values_are_offered(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    assert offered(profile) == ["train_loss", "gradient_norm", "samples_per_s"]
    assert all(m.unit or m.name not in ("train_loss", "samples_per_s") for m in EPOCH_METRICS)


def test_every_quantity_with_values_is_offered_and_a_profile_without_runs_has_none(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    names = [q.name for q in depth_quantities(sources_of([profile]))]
    assert names == ["final_train_loss", "samples_per_s", "peak_memory_bytes"]
    assert depth_quantities([]) == ()
    assert depth_quantities(sources_of([make_profile({})])) == ()
    assert over_training(make_profile({})).series == ()


def falling(make_profile: MakeProfile, limit: float = 0.2, c: float = 0.8, p: float = 1.0) -> Profile:
    noise = (0.99, 1.0, 1.01)
    return make_profile({("densenet", L): [f * (limit + c * L**-p) for f in noise] for L in (2, 4, 8, 16)})


def test_a_chart_over_depth_has_points_intervals_fit_and_limit(make_profile: MakeProfile) -> None:
    chart = over_depth(falling(make_profile))
    points, fit, limit = chart.series
    assert points.x == (2.0, 4.0, 8.0, 16.0)
    assert points.y == pytest.approx([0.6, 0.4, 0.3, 0.25])
    assert points.low is not None
    assert points.low[0] == pytest.approx(0.6 * math.exp(-T2 * 0.01 / math.sqrt(3)))
    assert (points.points, points.n, points.joined) == (True, 3, False)
    assert (chart.x.scale, chart.x.ticks, chart.y.unit) == ("log", "depth", "nats")
    assert (fit.role, limit.role) == ("fit", "limit")
    assert (fit.x[0], fit.x[-1]) == pytest.approx((2.0, 32.0))
    assert (fit.y[0], fit.y[-1]) == pytest.approx((0.6, 0.225), rel=1e-3)
    assert limit.y == pytest.approx((0.2, 0.2), rel=1e-2)
    assert limit.x == (2.0, 32.0)
    assert fit.parent == limit.parent == points.key
    assert fit.identity == limit.identity == points.identity
    assert chart.fits[0].startswith("densenet: L → ∞ 0.2")
    assert "next doubling (L=32) gains 0.02" in chart.fits[0]
    assert "nats" in chart.fits[0]


def test_missing_fits_are_reported_once_for_all_networks(make_profile: MakeProfile) -> None:
    chart = over_depth(make_profile({("densenet", 2): [0.3], ("plain", 2): [0.4]}))
    assert [s.label for s in chart.series] == ["densenet", "plain"]
    assert chart.fits == ("no limit of densenet, plain: too few depths: 1, a limit needs at least 4",)


def test_several_profiles_share_the_identity_of_networks(make_profile: MakeProfile) -> None:
    profiles = [make_profile({("densenet", 2): [0.3], ("plain", 2): [0.4]}) for _ in range(2)]
    a, other, b, _ = series = over_depth(*profiles).series
    assert (a.label, b.label) == ("A densenet", "B densenet")
    assert a.identity.index == b.identity.index != other.identity.index
    assert [s.identity.profile for s in series] == [0, 0, 1, 1]
    assert len({mark_of(s) for s in series}) == 4
    assert [is_dashed(s) for s in series] == [False, False, True, True]
    assert color_of(a) == color_of(b) != color_of(other)


def test_bytes_have_the_unit_of_the_largest(make_profile: MakeProfile) -> None:
    chart = over_depth(make_profile({("densenet", 2): [0.3]}), of=quantity("peak_memory_bytes"))
    assert chart.series[0].y == (2.0,)
    assert chart.y.unit == "MiB"


def test_nonpositive_values_have_a_linear_axis(make_profile: MakeProfile) -> None:
    assert over_depth(make_profile({("densenet", 2): [0.0]})).y.scale == "linear"


def measured(make_profile: MakeProfile, study: str, values: Mapping[int, Sequence[float]], name: str) -> Profile:
    """A profile of a study without epochs."""
    base = make_profile({("attention-tanh", depth): list(seeds) for depth, seeds in values.items()})
    runs = tuple(
        RunRecord.model_validate(
            {**run.model_dump(), "epochs": (), "measurements": {name: values[run.depth][run.seed]}}
        )
        for run in base.runs
    )
    summary = summarize(runs, STUDIES[study])
    return base.model_copy(update={"study": study, "runs": runs, "summary": summary})


def test_a_power_law_has_its_curve_and_a_line_of_the_expected_order(make_profile: MakeProfile) -> None:
    values = {L: [3.0 / L, 3.0 / L] for L in (8, 16, 32)}
    profile = measured(make_profile, "forward-limit", values, "error_max")
    assert offered(profile) == []
    assert [q.name for q in depth_quantities(sources_of([profile]))] == ["error_max"]
    chart = over_depth(profile, of=quantity("error_max", "forward-limit"))
    points, *seeds, fit, theory = sorted(chart.series, key=lambda each: each.role != "mean")
    assert [(each.role, each.parent) for each in seeds] == [("run", points.key)] * 2
    assert fit.y == pytest.approx([3.0 / x for x in fit.x])
    assert fit.x[-1] == pytest.approx(64.0)
    assert theory.label == "expected order 1"
    assert theory.x == (8.0, 64.0)
    assert theory.y == pytest.approx((1.6 * 3 / 8, 1.6 * 3 / 64))
    assert theory.key != points.key
    assert chart.fits[0].startswith("attention-tanh: order 1")
    assert chart.fits[0].endswith("theory at least 1")


def test_limits_of_curves_have_the_model_with_their_means(make_profile: MakeProfile) -> None:
    values = {L: [0.5 + 1.0 / L, 0.3 + 2.0 / L] for L in (4, 8, 16, 32)}
    profile = measured(make_profile, "optimum-limit", values, "optimal_value")
    chart = over_depth(profile, of=quantity("optimal_value", "optimum-limit"))
    fit, limit = chart.series[-2:]
    assert (fit.role, limit.role) == ("fit", "limit")
    assert limit.y == pytest.approx((0.4, 0.4), rel=1e-3)
    assert fit.y == pytest.approx([0.4 + 1.5 / x for x in fit.x], rel=1e-3)
