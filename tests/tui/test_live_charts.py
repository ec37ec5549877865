"""Series of the charts of a running sweep."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from dnlbench.charts.live import LiveCharts, live_metrics
from dnlbench.events import EpochDone, RunHistory, fold
from dnlbench.store import RunDir
from dnlbench.studies.training import EPOCH_METRICS
from dnlbench.tui.depth import live_source
from dnlbench.watch import SweepView, Watcher

Record = Callable[..., RunDir]
LOSS = EPOCH_METRICS[0]
NOW = 1_800_000_000.0
RATE = next(metric for metric in EPOCH_METRICS if metric.name == "samples_per_s")


def view_of(run_dir: RunDir) -> SweepView:
    return Watcher(run_dir, run_dir.read_plan()).poll(NOW)


def test_a_curve_is_the_mean_over_its_seeds(record: Record) -> None:
    run_dir = record("train.epochs=6", states=["done", "done", "half", "half", "done", "diverged"])
    view = view_of(run_dir)
    chart = LiveCharts().chart(view, LOSS)
    first, _, alone, failed = chart.series
    assert [series.label for series in chart.series] == [
        "densenet L=1",
        "densenet L=2",
        "dense-gaussian L=1",
        "dense-gaussian L=1 seed 1",
    ]
    a, b = (view.histories[run.run_id].epochs.column("train_loss") for run in view.plan.runs[:2])
    assert list(first.x) == [1, 2, 3, 4, 5, 6]
    assert first.n == 2
    assert list(first.y) == pytest.approx([(p + q) / 2 for p, q in zip(a, b, strict=True)])
    assert first.low is not None
    half_width = first.y[0] * math.log(first.y[0] / first.low[0])
    assert half_width == pytest.approx(12.7062 * abs(a[0] - b[0]) / 2, rel=1e-4)  # t of one degree of freedom, s / √2
    assert [series.failed for series in chart.series] == [False, False, False, True]
    assert (failed.parent, alone.n) == (alone.key, 1)
    assert (chart.y.label, chart.y.unit, chart.y.scale) == ("training loss", "nats", "log")


def test_x_is_epochs_training_steps_or_training_seconds(record: Record) -> None:
    view = view_of(record("train.epochs=6", states=["done", "done"]))
    steps = LiveCharts().chart(view, LOSS, "step").series[0]
    assert list(steps.x) == [math.ceil(150 / 32) * n for n in range(1, 7)]
    time = LiveCharts().chart(view, LOSS, "time")
    assert list(time.series[0].x) == pytest.approx([1.8 * n for n in range(1, 7)])
    assert (time.x.label, time.x.unit) == ("training time", "s")


def test_other_metrics_are_offered_where_there_are_values(record: Record) -> None:
    view = view_of(record(states=["done"]))
    assert [metric.name for metric in live_metrics(view)] == [
        "train_loss",
        "gradient_norm",
        "samples_per_s",
    ]
    chart = LiveCharts().chart(view, RATE)
    assert (chart.y.unit, chart.y.scale) == ("samples/s", "linear")
    assert [metric.name for metric in live_metrics(view_of(record(name="empty")))] == ["train_loss"]


def test_what_has_not_changed_is_not_worked_out_again(record: Record) -> None:
    view = view_of(record(states=["done", "done", "done"]))
    charts = LiveCharts()
    before, after = charts.chart(view, LOSS), charts.chart(view, LOSS)
    assert all(a is b for a, b in zip(before.series, after.series, strict=True))


def test_very_long_runs_become_few_points(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(record(states=["done", "done"]))
    long = {run.run_id: long_history(run.run_id, 5000) for run in view.plan.runs[:2]}
    view = SweepView(**{**vars(view), "histories": {**view.histories, **long}})
    chart = LiveCharts().chart(view, LOSS, "time")
    series = chart.series[0]
    assert chart.x.unit == "min"
    assert 250 <= len(series.x) <= 500
    assert all(a < b for a, b in pairwise(series.x))
    assert series.x[-1] == pytest.approx(5000 * 0.5 / 60, rel=0.01)
    assert series.n == 2
    assert series.y[0] > series.y[-1]


def long_history(run_id: str, epochs: int) -> RunHistory:
    fields = {"seconds": 0.5, "samples_per_s": 1.0, "gradient_norm": 1.0}
    return fold(EpochDone(run_id=run_id, epoch=n, train_loss=1 + 1 / n, **fields) for n in range(1, epochs + 1))


def test_the_depth_source_includes_unfinished_runs(record: Record) -> None:
    view = view_of(record("sweep.depths=[1,2,4,8]", "train.epochs=6", states=["done"] * 8 + ["half"]))
    source = live_source(view)
    assert not source.final
    summary = source.summary
    points = {(point.network, point.depth): point for point in summary.points}
    assert points["densenet", 4].quantities["final_train_loss"].n == 2
    assert points["dense-gaussian", 1].quantities["final_train_loss"].n == 1
    (fit,) = [fit for fit in summary.fits if fit.network == "densenet" and not fit.problem]
    assert fit.depths == (1, 2, 4, 8)
    assert fit.limit is not None
    assert live_source(view_of(record(states=["done"] * 8, name="whole"))).final
