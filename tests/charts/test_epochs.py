"""Loss over epochs: panels, curves, bands and failed runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from dnlbench.charts.epochs import epoch_charts
from dnlbench.charts.model import Chart
from dnlbench.charts.source import failed_note, sources_of
from dnlbench.profiles import Profile
from dnlbench.stats import mean_interval
from tests.charts.read_svg import LOSS, plot_svg, points, read, style_of
from tests.charts.synthetic import MODELS, curve, run_of

Draw = Callable[..., Profile]
ERROR = {"type": "Made", "message": "made up"}


def charts_of(*profiles: Profile) -> tuple[Chart, ...]:
    return epoch_charts(sources_of(profiles), LOSS)


def test_a_panel_for_each_network_and_a_curve_for_each_depth(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(depths=(2, 4, 8))], "epochs"))
    for network in MODELS:
        assert network in svg.texts
        assert list(svg.named("series", network)) == [f"L-{depth}" for depth in (2, 4, 8)]
        assert len(svg.named("band", network)) == 3
    assert [text for text in svg.texts if text.startswith("L=")] == ["L=2", "L=4", "L=8"]
    assert svg.texts.count("training loss (nats)") == 1
    assert svg.texts.count("epoch") == 3


@pytest.mark.parametrize("log", [True, False])
def test_a_curve_is_the_mean_over_seeds(sweep: Draw, log: bool) -> None:
    profile = sweep(networks=("densenet",), depths=(4,), seeds=3, epochs=9)
    svg = read(plot_svg([profile], "epochs", log=log))
    (line,) = svg.named("series").values()
    losses = [[epoch.train_loss for epoch in run.epochs] for run in profile.runs]
    for (x, y), values, epoch in zip(points(line), zip(*losses, strict=True), range(1, 10), strict=True):
        assert svg.value(0, y, log=log) == pytest.approx(sum(values) / 3, rel=1e-3)
        ticks = svg.ticks(0, "x")
        per_epoch = (ticks["8"] - ticks["2"]) / 6
        assert x == pytest.approx(ticks["2"] + per_epoch * (epoch - 2), abs=0.01)


def test_the_band_is_the_t_interval_of_the_mean(sweep: Draw) -> None:
    profile = sweep(networks=("densenet",), depths=(4,), seeds=5)
    (series,) = charts_of(profile)[0].series
    assert series.low is not None
    assert series.high is not None
    for index in (0, 11):
        interval = mean_interval([run.epochs[index].train_loss for run in profile.runs], "positive")
        assert (series.low[index], series.high[index]) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("seeds", "note"),
    [(1, "Curves: one seed each."), (4, "Curves: mean over n = 4 seeds; bands: 95 % t interval.")],
)
def test_a_note_explains_the_band(sweep: Draw, seeds: int, note: str) -> None:
    assert note in read(plot_svg([sweep(seeds=seeds)], "epochs")).texts


def test_failed_runs_are_faint_crossed_and_listed(sweep: Draw) -> None:
    others = {
        ("densenet", 4, 0): run_of("densenet", 4, 0, [2.0, 1.5, math.nan], status="diverged", error=ERROR),
        ("densenet", 4, 1): run_of("densenet", 4, 1, [math.inf], status="diverged", error=ERROR),
        ("densenet", 8, 0): run_of("densenet", 8, 0, curve("densenet", 8, 0, 12)[:5], status="failed", error=ERROR),
        ("densenet", 8, 1): run_of("densenet", 8, 1, [2.0], status="cancelled"),
        ("densenet", 8, 2): run_of("densenet", 8, 2, [], status="oom", error=ERROR),
    }
    profile = sweep(networks=("densenet",), others=others, state="partial")
    (chart,) = charts_of(profile)
    runs = {each.key: each for each in chart.series if each.role == "run"}
    assert list(runs) == ["L=4 seed 0", "L=4 seed 1", "L=8 seed 0", "L=8 seed 1"]
    mean = next(each for each in chart.series if each.key == "L=4")
    assert list(mean.y) == curve("densenet", 4, 2, 12)  # of the one that ended well
    assert [run.parent for run in runs.values()] == ["L=4", "L=4", "", ""]  # no run of 8 layers ended well
    assert {(run.x[-1], run.y[-1]) for run in runs.values() if run.failed} == {
        (2.0, 1.5),
        (1.0, math.inf),
        (5.0, curve("densenet", 8, 0, 12)[4]),
    }
    notes = " ".join(failed_note(sources_of([profile])))
    assert notes == (
        "×: 4 failed runs, excluded from means: densenet L=4 seed 0 diverged in epoch 3; "
        "densenet L=4 seed 1 diverged in epoch 1; "
        "densenet L=8 seed 0 failed in epoch 5; densenet L=8 seed 2 ran out of memory. "
        "1 run canceled or never started, excluded from means."
    )
    svg = read(plot_svg([profile], "epochs"))
    assert len(svg.named("cross")) == 3
    assert "failed" in svg.texts
    assert "×: 4 failed runs" in " ".join(svg.texts)


def test_many_failed_runs_are_partly_listed(sweep: Draw) -> None:
    others = {("densenet", 2, s): run_of("densenet", 2, s, [], status="failed", error=ERROR) for s in range(7)}
    (note,) = failed_note(sources_of([sweep(networks=("densenet",), seeds=7, others=others)]))
    assert note.endswith("densenet L=2 seed 3 failed; and 3 more.")


def test_non_finite_losses_are_in_no_mean(sweep: Draw) -> None:
    others = {("densenet", 2, 0): run_of("densenet", 2, 0, [1.0, math.nan, 0.5])}
    (chart,) = charts_of(sweep(networks=("densenet",), depths=(2,), others=others))
    mean, run = chart.series
    assert (mean.key, mean.n, run.key, run.failed) == ("L=2", 2, "L=2 seed 0", True)
    assert (run.x[-1], run.y[-1]) == (3.0, 0.5)


def test_profiles_share_panels_and_differ_by_dashes(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(), sweep(name="other")], "epochs"))
    assert len(svg.named("series", "densenet")) == 8
    texts = [text for text in svg.texts if "UTC" in text]
    assert texts == ["A: made-up, 2026-11-20 12:00 UTC", "B: other, 2026-11-20 12:00 UTC"]
    dashed = {key for key, group in svg.named("series", "densenet").items() if "stroke-dasharray" in style_of(group)}
    assert dashed == {f"B-L-{depth}" for depth in (2, 4, 8, 16)}


def test_profiles_of_one_sweep_are_named_with_the_settings_that_differ(sweep: Draw) -> None:
    first = sweep()
    spec = {**first.spec, "train": {**first.spec["train"], "lr": 0.5}}
    svg = read(plot_svg([first, first.model_copy(update={"spec": spec})], "epochs"))
    rate = first.spec["train"]["lr"]
    assert [text for text in svg.texts if "UTC" in text] == [
        f"A: made-up, 2026-11-20 12:00 UTC, train.lr={rate}",
        "B: made-up, 2026-11-20 12:00 UTC, train.lr=0.5",
    ]


def test_other_data_have_separate_panels(sweep: Draw) -> None:
    """The figure of the paper has one panel for each data set."""
    first = sweep(networks=("densenet",))
    second = first.model_copy(update={"data": first.data.model_copy(update={"name": "svhn"})})
    svg = read(plot_svg([first, second], "epochs"))
    assert {"densenet, digits", "densenet, svhn"} <= set(svg.texts)
    assert svg.texts.count("training loss (nats)") == 2


def test_one_epoch_is_a_point_with_its_interval(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(networks=("densenet",), depths=(2,), epochs=1)], "epochs"))
    assert list(svg.ticks(0, "x")) == ["1"]
    assert len(svg.named("bars")) == 1


def test_nonpositive_losses_have_a_linear_axis(sweep: Draw) -> None:
    others = {("densenet", 2, s): run_of("densenet", 2, s, [1.0, 0.0]) for s in range(3)}
    profile = sweep(networks=("densenet",), depths=(2,), others=others)
    assert charts_of(profile)[0].y.scale == "linear"
