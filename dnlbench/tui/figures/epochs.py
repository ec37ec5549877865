"""Profiles as curves over epochs, of whatever study declares them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.profiles import EpochRecord, Profile, RunRecord, one_per_pack
from dnlbench.report.metrics import CURVE_METRICS, CurveMetric
from dnlbench.stats.band import mean_band
from dnlbench.tui.figures.naming import Look, names_of, reading, titled
from dnlbench.tui.palette import identity
from dnlbench.tui.plot.figure import Axis, Figure, Series

Over = Literal["epoch", "step", "time"]


OVERS: tuple[Over, ...] = ("epoch", "step", "time")
"""What a curve can be drawn over."""


_TIMES = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


_FEWEST_UNITS = 3
"""A time axis that is shorter takes the next smaller unit."""


Point = tuple[str, int]
"""Network and depth."""


def curve_metrics(profiles: Sequence[Profile]) -> tuple[CurveMetric, ...]:
    """Those that any epoch of these profiles has."""
    epochs = [epoch for profile in profiles for run in profile.runs for epoch in run.epochs]
    return tuple(m for m in CURVE_METRICS if any(getattr(epoch, m.name) is not None for epoch in epochs))


def epoch_figure(
    profiles: Sequence[Profile],
    metric: CurveMetric,
    x: Over = "epoch",
    *,
    letters: Sequence[str] = (),
    ansi: bool = False,
) -> Figure:
    """The metric's mean over seeds with its 95 % t band, a curve for each network and depth.

    The first profile's curves are solid, those of the others dashed; equal colour and mark mean equal network and depth. Means
    are over the runs that ended well, as in the tables; each of the others is a faint curve up to where it ended.

    Args:
        profiles: one, or several to hold against the first.
        metric: what is drawn.
        x: what it is drawn over; ``time`` is that of training alone.
        letters: the profiles' short names; by default A, B, … for several, none for one.
        ansi: whether to keep to the terminal's own colours.
    """
    axis, unit_s = _x_axis(profiles, x)
    names = names_of(len(profiles), letters)
    places = {point: i for i, point in enumerate(dict.fromkeys(_point(run) for p in profiles for run in p.runs))}
    series = [
        each
        for index, (profile, name) in enumerate(zip(profiles, names, strict=True))
        for point, runs in _by_point(profile).items()
        for each in _curves(
            runs,
            metric,
            _Ruler(over=x, steps=_steps_per_epoch(profile), unit_s=unit_s),
            Look(name=name, place=places[point], dashed=index > 0, ansi=ansi),
        )
    ]
    return Figure(
        title=titled(metric.label, metric.unit),
        x=axis,
        y=Axis(label=metric.label, unit=metric.unit, log=metric.log, range=metric.range),
        series=tuple(series),
        note=reading("band", names),
        empty=f"no {metric.label} over {axis.label}",
    )


@dataclass(frozen=True, kw_only=True)
class _Ruler:
    """Where epochs lie on the x axis."""

    over: Over
    steps: int | None
    """Training steps an epoch; None: not known."""
    unit_s: float

    def places(self, epochs: dict[int, list[EpochRecord]]) -> list[float]:
        """Of each epoch in turn. The time of one is its mean over runs, so that times grow even where runs end early."""
        if self.over == "epoch":
            return [float(number) for number in epochs]
        if self.over == "step":
            return [float(number * self.steps) for number in epochs] if self.steps else []
        total, places = 0.0, []
        for records in epochs.values():
            total += sum(record.seconds for record in records) / len(records) / self.unit_s
            places.append(total)
        return places


def _curves(runs: Sequence[RunRecord], metric: CurveMetric, ruler: _Ruler, look: Look) -> Iterator[Series]:
    """The mean of the runs that ended well, and each that did not; the mean of all where none did."""
    well = [run for run in runs if run.status == "ok"]
    mean = _mean_curve(well or runs, metric, ruler, look, diverged=not well)
    if mean is not None:
        yield mean
    for run in runs:
        if well and run.status not in ("ok", "cancelled", "skipped"):
            alone = _mean_curve([run], metric, ruler, look, diverged=True, alone=True)
            if alone is not None:
                yield alone


def _mean_curve(
    runs: Sequence[RunRecord],
    metric: CurveMetric,
    ruler: _Ruler,
    look: Look,
    *,
    diverged: bool,
    alone: bool = False,
) -> Series | None:
    epochs = _by_epoch(runs)
    places = dict(zip(epochs, ruler.places(epochs), strict=False))
    samples = one_per_pack(runs) if metric.machine_bound else runs
    band = mean_band([_curve(run, metric, places) for run in samples], metric.range)
    if not band.x:
        return None
    network, depth = _point(runs[0])
    colour, mark = identity(look.place, ansi=look.ansi)
    seed = f" seed {runs[0].seed}" if alone else ""
    return Series(
        key=f"{look.name}:{network}:{depth}{seed}",
        label=f"{look.name} {network} L={depth}{seed}".strip(),
        x=tuple(places[int(epoch)] for epoch in band.x),
        y=band.mean,
        low=None if alone else band.low,
        high=None if alone else band.high,
        n=None if alone else max(band.n),
        colour=colour,
        mark=mark,
        dashed=look.dashed,
        faint=alone,
        behind=f"{look.name}:{network}:{depth}" if alone else "",
        diverged=diverged,
    )


def _curve(run: RunRecord, metric: CurveMetric, places: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """Epochs that have a place on the axis, and the values there."""
    found = [(record.epoch, getattr(record, metric.name)) for record in run.epochs if record.epoch in places]
    known = [(float(epoch), value) for epoch, value in found if value is not None]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _by_point(profile: Profile) -> dict[Point, list[RunRecord]]:
    points: dict[Point, list[RunRecord]] = {}
    for run in profile.runs:
        if run.epochs:
            points.setdefault(_point(run), []).append(run)
    return points


def _by_epoch(runs: Sequence[RunRecord]) -> dict[int, list[EpochRecord]]:
    """The records of each epoch, in its order; later epochs may have fewer."""
    numbers = sorted({record.epoch for run in runs for record in run.epochs})
    epochs: dict[int, list[EpochRecord]] = {number: [] for number in numbers}
    for run in runs:
        for record in run.epochs:
            epochs[record.epoch].append(record)
    return epochs


def _point(run: RunRecord) -> Point:
    return run.network, run.depth


def _x_axis(profiles: Sequence[Profile], over: Over) -> tuple[Axis, float]:
    """With the seconds of its unit, which the longest run chooses."""
    if over != "time":
        return Axis(label="epoch" if over == "epoch" else "training step"), 1.0
    longest = max((sum(epoch.seconds for epoch in run.epochs) for p in profiles for run in p.runs), default=0.0)
    seconds, unit = next(((s, u) for s, u in _TIMES if longest >= _FEWEST_UNITS * s), _TIMES[-1])
    return Axis(label="training time", unit=unit), seconds


def _steps_per_epoch(profile: Profile) -> int | None:
    """Batches that the data make; None where the spec names no size of them."""
    batch = profile.spec.get("train", {}).get("batch_size")
    return math.ceil(profile.data.samples / batch) if isinstance(batch, int) and batch > 0 else None
