"""The values at the cursor."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Chart, Series
from dnlbench.charts.terminal.curves import legend_series, smoothed, smoothing_of, visible
from dnlbench.charts.terminal.scale import Scale
from dnlbench.charts.terminal.view import View


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The point of a series nearest to the cursor."""

    key: str
    x: float | None = None
    """None, like ``y``, if the cursor lies beyond the ends of the series."""
    y: float | None = None
    smoothed: float | None = None
    """None without smoothing."""


@dataclass(frozen=True, kw_only=True)
class CursorValues:
    """The values of all visible legend series at one x."""

    x: float
    readings: tuple[Reading, ...]


def values_at(chart: Chart, view: View, at: float) -> CursorValues:
    """Return the values at ``at``, and the nearest x that a series has."""
    readings = tuple(_reading(each, view, at) for each in visible(chart, view) if not each.parent)
    xs = [reading.x for reading in readings if reading.x is not None]
    return CursorValues(x=min(xs, key=lambda x: abs(x - at), default=at), readings=readings)


def _reading(series: Series, view: View, at: float) -> Reading:
    index = nearest(series.x, at)
    if index is None or _is_beyond(series.x, at):
        return Reading(key=series.key)
    weight = smoothing_of(series, view)
    return Reading(
        key=series.key,
        x=series.x[index],
        y=series.y[index],
        smoothed=smoothed(series.y[: index + 1], weight)[-1] if weight else None,
    )


def nearest(x: Sequence[float], at: float) -> int | None:
    """Return the index of the nearest point, the first of two equally near ones; None without points."""
    if not x:
        return None
    index = bisect_left(x, at)
    if index == 0 or (index < len(x) and x[index] - at < at - x[index - 1]):
        return index
    return index - 1


def _is_beyond(x: Sequence[float], at: float) -> bool:
    """Return True if ``at`` is beyond an end of the series by more than half the distance of the last two points."""
    if len(x) < 2:
        return bool(x) and at != x[0]
    return at < x[0] - (x[1] - x[0]) / 2 or at > x[-1] + (x[-1] - x[-2]) / 2


def next_x(chart: Chart, view: View, at: float | None, step: int, scale: Scale, columns: int) -> float | None:
    """Return the next x of a visible series, at least one column to the right (left) of the cursor.

    Without a cursor, start at the middle of the axis. At the ends, stay. None without points.
    """
    values = sorted(
        {x for each in visible(chart, view) for x in each.x} or {x for s in legend_series(chart) for x in s.x}
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
