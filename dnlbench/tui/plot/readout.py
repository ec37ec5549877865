"""The values at the cursor."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.tui.plot.curves import in_legend, smoothing_of, visible
from dnlbench.tui.plot.figure import Figure, Series
from dnlbench.tui.plot.scale import Scale
from dnlbench.tui.plot.smooth import smoothed
from dnlbench.tui.plot.view import View


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One series at the cursor: its nearest point."""

    key: str
    label: str
    colour: str
    mark: str
    x: float | None
    """Where the point is; None, as ``y``, if the series has none so far to the left or right."""
    y: float | None
    smoothed: float | None = None
    """None without smoothing."""
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Readout:
    """All visible series with a place in the legend at one x."""

    x: float
    readings: tuple[Reading, ...]


def readout(figure: Figure, view: View, at: float) -> Readout:
    """The values at ``at``, and the x nearest to it that a series has."""
    series = [each for each in visible(figure, view) if not each.faint]
    readings = tuple(_reading(each, view, at) for each in series)
    there = [reading.x for reading in readings if reading.x is not None]
    return Readout(x=min(there, key=lambda x: abs(x - at), default=at), readings=readings)


def _reading(series: Series, view: View, at: float) -> Reading:
    index = nearest(series.x, at)
    named = Reading(
        key=series.key, label=series.label, colour=series.colour, mark=series.mark, x=None, y=None, n=series.n
    )
    if index is None or index >= len(series.y) or _is_beyond(series.x, at):
        return named
    weight = smoothing_of(series, view)
    band = (
        (series.low[index], series.high[index]) if series.low is not None and series.high is not None else (None, None)
    )
    return Reading(
        key=named.key,
        label=named.label,
        colour=named.colour,
        mark=named.mark,
        x=series.x[index],
        y=series.y[index],
        smoothed=smoothed(series.y[: index + 1], weight)[-1] if weight else None,
        low=band[0],
        high=band[1],
        n=named.n,
    )


def nearest(x: Sequence[float], at: float) -> int | None:
    """Index of the point nearest to it, of two the first; None without any."""
    if not x:
        return None
    index = bisect_left(x, at)
    if index == 0 or (index < len(x) and x[index] - at < at - x[index - 1]):
        return index
    return index - 1


def _is_beyond(x: Sequence[float], at: float) -> bool:
    """Whether it is further from the series' end than half the distance of the points there."""
    if len(x) < 2:
        return bool(x) and at != x[0]
    return at < x[0] - (x[1] - x[0]) / 2 or at > x[-1] + (x[-1] - x[-2]) / 2


def next_x(figure: Figure, view: View, at: float | None, step: int, scale: Scale, columns: int) -> float | None:
    """The x that some visible series has nearest to the cursor, at least a column to the right (or left) of it.

    Without a cursor it is the one in the middle of the axis; at the ends it stays. None without any point.
    """
    values = sorted(
        {x for each in visible(figure, view) for x in each.x} or {x for s in in_legend(figure) for x in s.x}
    )
    if not values:
        return None
    if at is None:
        return values[nearest(values, scale.value(0.5)) or 0]
    start, least = scale.fraction(at), 0.999 / max(1, columns)
    further = [x for x in values if step * (scale.fraction(x) - start) >= least]
    if further:
        return further[0] if step > 0 else further[-1]
    return values[-1] if step > 0 else values[0]
