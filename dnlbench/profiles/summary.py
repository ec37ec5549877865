"""What a profile's runs add up to, for any study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from dnlbench.profiles.model import IntervalRecord, PointSummary, RunRecord, Summary
from dnlbench.stats import mean_interval
from dnlbench.studies import Quantity


def values_of(runs: Iterable[RunRecord], quantity: Quantity) -> dict[int, float]:
    """The finite values of a quantity by seed, of the runs that are ``ok``."""
    values = {run.seed: getattr(run, quantity.name) for run in runs if run.status == "ok"}
    return {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}


def summarise(runs: Sequence[RunRecord], quantities: Sequence[Quantity]) -> Summary:
    """Mean and interval of each quantity at each point, points in the order in which the runs name them."""
    points: dict[tuple[str, int], list[RunRecord]] = {}
    for run in runs:
        points.setdefault((run.network, run.depth), []).append(run)
    return Summary(points=tuple(_point(group, quantities) for group in points.values()))


def _point(runs: Sequence[RunRecord], quantities: Sequence[Quantity]) -> PointSummary:
    intervals = {}
    for quantity in quantities:
        values = list(values_of(runs, quantity).values())
        if values:
            found = mean_interval(values)
            intervals[quantity.name] = IntervalRecord(mean=found.estimate, low=found.low, high=found.high, n=found.n)
    return PointSummary(
        network=runs[0].network,
        depth=runs[0].depth,
        parameters=next((run.parameters for run in runs if run.parameters is not None), None),
        statuses=dict(Counter(run.status for run in runs)),
        quantities=intervals,
    )
