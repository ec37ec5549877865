"""The curves of a sweep under way: one for each network and depth, the mean over its seeds with a band."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench.events import Epochs, RunHistory
from dnlbench.plan import Plan, Run
from dnlbench.profiles import clock_of
from dnlbench.stats.band import Band, mean_band
from dnlbench.studies import Point
from dnlbench.tui.figures import CURVE_METRICS, CurveMetric, Over
from dnlbench.tui.figures.naming import titled
from dnlbench.tui.palette import identity
from dnlbench.tui.plot.figure import Axis, Figure, Series
from dnlbench.watch import SweepView

MOST_POINTS = 500
"""Of a curve that goes into a mean; of longer ones, the mean of each span of epochs does."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the chart is asked to show."""

    metric: CurveMetric = CURVE_METRICS[0]
    x: Over = "epoch"
    ansi: bool = False
    """Whether to use the terminal's own colours."""


def metrics_of(view: SweepView) -> tuple[CurveMetric, ...]:
    """Those that some run has, the first one always."""
    last = [history.epochs[-1] for history in view.histories.values() if history.epochs]
    return tuple(
        metric
        for metric in CURVE_METRICS
        if metric is CURVE_METRICS[0] or any(getattr(epoch, metric.name) is not None for epoch in last)
    )


class Curves:
    """Makes the figure of a view. What has not changed since the last one is not worked out again."""

    def __init__(self) -> None:
        self._known: dict[tuple[Point, Choice], tuple[list[RunHistory], Series]] = {}

    def figure(self, view: SweepView, choice: Choice) -> Figure:
        """Each point's mean, in the order of the plan."""
        by_point: dict[Point, list[Run]] = {}
        for run in view.plan.runs:
            by_point.setdefault(run.point, []).append(run)
        series = (
            self._series(view, place, point, runs, choice) for place, (point, runs) in enumerate(by_point.items())
        )
        seeds = "mean and 95 % band over seeds" if len(view.plan.spec.seeds) > 1 else "one seed"
        return Figure(
            title=f"{titled(choice.metric.label, choice.metric.unit)}: {seeds}",
            x=x_axis(choice.x),
            y=Axis(
                label=choice.metric.label,
                unit=choice.metric.unit,
                log=choice.metric.log,
                range=choice.metric.range,
            ),
            series=tuple(one for one in series if one.x),
            empty="the first epoch is under way" if view.leased else "no epoch is done yet",
        )

    def _series(self, view: SweepView, place: int, point: Point, runs: Sequence[Run], choice: Choice) -> Series:
        histories = [view.histories[run.run_id] for run in runs]
        known = self._known.get((point, choice))
        if known is not None and all(a is b for a, b in zip(known[0], histories, strict=True)):
            return known[1]
        series = _mean_series(place, point, histories, choice, steps_per_epoch(view.plan, view))
        self._known[point, choice] = (histories, series)
        return series


def x_axis(kind: Over) -> Axis:
    """What lies along x."""
    names = {"epoch": ("epoch", ""), "step": ("training step", ""), "time": ("training time", "s")}
    return Axis(label=names[kind][0], unit=names[kind][1])


def steps_per_epoch(plan: Plan, view: SweepView | None) -> int:
    """Training steps of an epoch, 1 as long as it is not known."""
    batch = plan.spec.model_dump().get("train", {}).get("batch_size")
    if not batch or view is None or view.prepared is None:
        return 1
    return math.ceil(view.prepared.data.samples / int(batch))


def run_series(history: RunHistory, choice: Choice, steps: int, like: Series) -> Series:
    """One run's own curve, in the likeness of another."""
    numbers, values, elapsed = _columns(history.epochs, choice.metric)
    x = _along([float(n) for n in numbers], choice.x, steps, dict(zip(map(float, numbers), elapsed, strict=True)))
    return replace(like, x=x, y=values, low=None, high=None, n=None)


def _mean_series(place: int, point: Point, histories: Iterable[RunHistory], choice: Choice, steps: int) -> Series:
    histories = list(histories)
    if choice.metric.machine_bound:
        histories = _one_per_pack(histories)
    columns = [_columns(history.epochs, choice.metric) for history in histories if history.epochs]
    columns = [(numbers, values, elapsed) for numbers, values, elapsed in columns if values]
    if any(len(numbers) > MOST_POINTS for numbers, _, _ in columns):
        columns = _spanned(columns)
    band = mean_band([(numbers, values) for numbers, values, _ in columns], choice.metric.range)
    colour, mark = identity(place, ansi=choice.ansi)
    return Series(
        key=f"{point.network}-L{point.depth}",
        label=f"{point.network} L={point.depth}",
        x=_along(band.x, choice.x, steps, _mean_elapsed(columns)),
        y=band.mean,
        low=band.low,
        high=band.high,
        n=_seeds(band),
        colour=colour,
        mark=mark,
        diverged=bool(band.diverged) or any(h.ended is not None and h.ended.status == "diverged" for h in histories),
    )


def _one_per_pack(histories: Iterable[RunHistory]) -> list[RunHistory]:
    sizes = ((history, history.started.pack_size if history.started else None) for history in histories)
    return list({clock_of(size, history.samples_per_s, id(history)): history for history, size in sizes}.values())


def _seeds(band: Band) -> int:
    return max(band.n, default=0)


_Columns = tuple[list[int], list[float], list[float]]


def _columns(epochs: Epochs, metric: CurveMetric) -> _Columns:
    """Epoch, value and training seconds until then, where there is a value."""
    rows = zip(epochs.column("epoch"), epochs.column(metric.name), epochs.elapsed_s(), strict=True)
    known = [(number, value, elapsed) for number, value, elapsed in rows if value is not None]
    return [row[0] for row in known], [row[1] for row in known], [row[2] for row in known]


def _spanned(columns: Sequence[_Columns]) -> list[_Columns]:
    """The mean of each span of epochs, of one length for all, at the span's last epoch."""
    span = 1
    while max(numbers[-1] for numbers, _, _ in columns) > MOST_POINTS * span:
        span *= 2
    spanned = []
    for numbers, values, elapsed in columns:
        groups = itertools.groupby(zip(numbers, values, elapsed, strict=True), key=lambda row: (row[0] - 1) // span)
        means = [(place, list(rows)) for place, rows in groups]
        spanned.append(
            (
                [(place + 1) * span for place, _ in means],
                [sum(row[1] for row in rows) / len(rows) for _, rows in means],
                [rows[-1][2] for _, rows in means],
            )
        )
    return spanned


def _mean_elapsed(columns: Sequence[_Columns]) -> Mapping[float, float]:
    """Mean training seconds of the seeds until each epoch."""
    by_epoch: dict[float, list[float]] = {}
    for numbers, _, elapsed in columns:
        for number, seconds in zip(numbers, elapsed, strict=True):
            by_epoch.setdefault(float(number), []).append(seconds)
    return {number: sum(seconds) / len(seconds) for number, seconds in by_epoch.items()}


def _along(numbers: Sequence[float], kind: Over, steps: int, elapsed: Mapping[float, float]) -> list[float]:
    if kind == "epoch":
        return list(numbers)
    if kind == "step":
        return [number * steps for number in numbers]
    return list(itertools.accumulate((elapsed[number] for number in numbers), max))
