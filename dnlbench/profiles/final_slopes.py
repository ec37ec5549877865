"""The change of a loss at the end of training.

Each seed has a slope: the least-squares line through the logarithm of its loss over the last epochs. The mean slope has a t
interval over seeds, so that its noise is that between seeds and not that of neighboring epochs, which are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import Literal

from dnlbench import units
from dnlbench.profiles.model import RunRecord
from dnlbench.profiles.values import by_point
from dnlbench.stats import Interval, mean_interval
from dnlbench.studies import Point

FEWEST_EPOCHS = 3
"""Epochs that a slope needs."""
LAST_FRACTION = 4
"""The slope is that over the last 1 / 4 of the epochs."""
LEVEL_WITHIN = 0.01
"""Relative change over these epochs up to which a loss is called level."""
SlopeVerdict = Literal["still falling", "rising", "level", "undecided"]


@dataclass(frozen=True, kw_only=True)
class FinalSlope:
    """The mean slope of a loss at the end of training."""

    point: Point
    epochs: int
    """Number of last epochs of the slope."""
    slope: Interval
    """Slope of the logarithm of the loss per epoch."""

    @property
    def verdict(self) -> SlopeVerdict:
        low, high = self.slope.low, self.slope.high
        if low is None or high is None:
            return "undecided"
        most = math.log1p(LEVEL_WITHIN) / (self.epochs - 1)
        if -most <= low and high <= most:
            return "level"
        if high < 0:
            return "still falling"
        return "rising" if low > 0 else "undecided"

    @property
    def text(self) -> str:
        """Return ``-4.10 % [-5.02 %, -3.17 %] an epoch``."""
        low, high = self.slope.low, self.slope.high
        ends = "" if low is None or high is None else f" [{_change(low)}, {_change(high)}]"
        return f"{_change(self.slope.estimate)}{ends} an epoch"


def final_slopes(runs: Iterable[RunRecord], metric: str) -> tuple[FinalSlope, ...]:
    """Return the slope at each point with at least three epochs of positive losses, over its successful runs."""
    slopes_by_point = []
    for point, group in by_point(run for run in runs if run.status == "ok").items():
        curves = [[epoch.value(metric) for epoch in run.epochs] for run in group]
        count = max(FEWEST_EPOCHS, math.ceil(min(map(len, curves)) / LAST_FRACTION))
        slopes = [slope for curve in curves if (slope := _slope(curve[-count:], count)) is not None]
        if slopes:
            slopes_by_point.append(FinalSlope(point=point, epochs=count, slope=mean_interval(slopes)))
    return tuple(slopes_by_point)


def _slope(losses: Sequence[float | None], count: int) -> float | None:
    """Return the slope per epoch; None if there are too few epochs, or a loss has no logarithm."""
    logs = [math.log(loss) for loss in losses if loss is not None and 0 < loss < math.inf]
    return linear_regression(range(count), logs).slope if len(logs) == count else None


def _change(slope: float) -> str:
    return units.percent(math.expm1(slope), signed=True)
