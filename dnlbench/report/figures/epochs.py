"""Loss over epochs: a panel for each network, a curve for each depth, the mean over seeds with its band."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnlbench.profiles import RunRecord
from dnlbench.report.figures.looks import depth_look
from dnlbench.report.figures.panel import Axis, Block, Cross, Entry, Look, Panel, Scale, Series
from dnlbench.report.figures.subject import (
    Subject,
    bad_entries,
    ended_well,
    groups,
    is_marked,
    profile_entries,
)
from dnlbench.report.metrics import CURVE_METRICS
from dnlbench.stats.band import mean_band

LOSS = CURVE_METRICS[0]


def epochs_block(subject: Subject, *, log: bool | None = None) -> Block:
    """The curves of all profiles. Where their data differ, each data set has panels of its own.

    A run that did not end well is in no mean: it is a faint curve up to where it ended.

    Args:
        subject: the profiles.
        log: whether the losses have a logarithmic axis; None: if all of them are above 0.
    """
    drawn = _panels(subject)
    positive = all(value > 0 for panel in drawn for series in panel.series for value in series.y)
    scale: Scale = "log" if (positive if log is None else log) else "linear"
    panels = tuple(replace(panel, y=replace(panel.y, scale=scale)) for panel in drawn)
    depths = [depth for depth in subject.depths if any(run.depth == depth and run.epochs for run in _runs(subject))]
    networks = [subject.networks[name] for name in dict.fromkeys(run.network for run in _runs(subject) if run.epochs)]
    legend = [
        Entry(label=f"L = {depth}", looks=tuple(_look(subject, place, depth, 0) for place in networks))
        for depth in depths
    ]
    return Block(
        panels=panels,
        legend=groups(legend, [*profile_entries(subject), *bad_entries(subject)]),
        notes=_reading(subject),
        one_scale=len({profile.data.name for profile in subject.profiles}) == 1,
    )


def _runs(subject: Subject) -> Iterator[RunRecord]:
    return (run for profile in subject.profiles for run in profile.runs)


def _look(subject: Subject, network: int, depth: int, profile: int) -> Look:
    return depth_look(network, subject.depths.index(depth), len(subject.depths), profile)


def _panels(subject: Subject) -> list[Panel]:
    several = len({profile.data.name for profile in subject.profiles}) > 1
    found: dict[tuple[str, str], list[Panel]] = {}
    for place, profile in enumerate(subject.profiles):
        for network in dict.fromkeys(run.network for run in profile.runs if run.epochs):
            own = _panel(subject, place, network, f"{network}, {profile.data.name}" if several else network)
            found.setdefault((profile.data.name, network), []).append(own)
    return [
        replace(
            parts[0],
            series=tuple(series for part in parts for series in part.series),
            crosses=tuple(cross for part in parts for cross in part.crosses),
        )
        for parts in found.values()
    ]


def _panel(subject: Subject, profile: int, network: str, title: str) -> Panel:
    own = [run for run in subject.profiles[profile].runs if run.network == network and run.epochs]
    series: list[Series] = []
    crosses: list[Cross] = []
    for depth in dict.fromkeys(run.depth for run in own):
        look = _look(subject, subject.networks[network], depth, profile)
        runs = [run for run in own if run.depth == depth]
        name = f"{subject.whose(profile)}{network} L={depth}"
        series += [mean for mean in [_mean(name, [run for run in runs if ended_well(run)], look)] if mean is not None]
        for run in runs:
            if not ended_well(run):
                alone = _alone(f"{name} seed {run.seed}", run, look)
                series += [alone] if alone.x else []
                crosses += [_cross(run, alone)] if is_marked(run) else []
    return Panel(
        key=title,
        title=title,
        x=Axis(label="epoch", ticks="whole"),
        y=Axis(label=LOSS.label, unit=LOSS.unit, range=LOSS.range),
        series=tuple(series),
        crosses=tuple(crosses),
    )


def _mean(name: str, runs: Sequence[RunRecord], look: Look) -> Series | None:
    if not runs:
        return None
    band = mean_band([_curve(run) for run in runs], LOSS.range)
    alone = len(band.x) == 1  # a band of one point has no area
    return Series(key=name, x=band.x, y=band.mean, low=band.low, high=band.high, look=look, as_bars=alone)


def _curve(run: RunRecord) -> tuple[list[float], list[float]]:
    return [float(epoch.epoch) for epoch in run.epochs], [epoch.train_loss for epoch in run.epochs]


def _alone(name: str, run: RunRecord, look: Look) -> Series:
    """As far as its losses are numbers."""
    points = [(x, y) for x, y in zip(*_curve(run), strict=True) if math.isfinite(y)]
    return Series(key=name, x=[x for x, _ in points], y=[y for _, y in points], look=look, faint=True)


def _cross(run: RunRecord, alone: Series) -> Cross:
    """At the last loss that is a number; at the upper edge if there is none."""
    if not alone.x:
        return Cross(key=alone.key, x=float(run.epochs[0].epoch), y=None, look=alone.look)
    return Cross(key=alone.key, x=alone.x[-1], y=alone.y[-1], look=alone.look)


def _reading(subject: Subject) -> tuple[str, ...]:
    """What a curve and its band are."""
    counts: dict[tuple[int, str, int], int] = {}
    for place, profile in enumerate(subject.profiles):
        for run in profile.runs:
            if run.epochs and ended_well(run):
                point = (place, run.network, run.depth)
                counts[point] = counts.get(point, 0) + 1
    if not counts:
        return ()
    fewest, most = min(counts.values()), max(counts.values())
    if most == 1:
        return ("Curves: one seed each.",)
    n = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (f"Curves: mean over n = {n} seeds; band: 95 % t interval.",)
