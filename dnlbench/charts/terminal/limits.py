"""The axes of a chart in a view: from where to where they go."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Chart
from dnlbench.charts.terminal.curves import Curve, curves
from dnlbench.charts.terminal.scale import LARGEST, Extent, Frame, Scale, extent, joined, scale_over
from dnlbench.charts.terminal.view import Bounds, View
from dnlbench.stats import Range, axis_within

PADDING = 0.04
"""On either side of an axis, as a fraction of it."""
BAND_FRACTION = 0.5
"""A band widens an axis by at most this multiple of what the curves take: with two seeds it is 13 deviations wide."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A chart's axes, and what has no place on them."""

    frame: Frame
    left_out: int
    """Finite values that a logarithmic axis has no place for."""
    empty: bool
    """Whether there is no point at all to show."""
    none_drawable: bool
    """Whether there are points, but none whose value has a place on the y axis."""


def is_log(chart: Chart, view: View) -> tuple[bool, bool]:
    """Whether x and y are logarithmic."""
    return (
        chart.x.scale == "log" if view.log_x is None else view.log_x,
        chart.y.scale == "log" if view.log_y is None else view.log_y,
    )


def limits_of(chart: Chart, view: View) -> Limits:
    """The axes over what is visible, or what was zoomed to."""
    return limits_of_curves(chart, view, curves(chart, view))


def limits_of_curves(chart: Chart, view: View, drawn: Sequence[Curve]) -> Limits:
    """The same where the curves are known."""
    log_x, log_y = is_log(chart, view)
    of_x = joined([extent(curve.x, log=log_x) for curve in drawn])
    x = _zoomed(view.x, log_x) or _x_scale(of_x, log_x, drawn)
    ranges = [_range(curve.x, x) for curve in drawn]
    of_y = joined([extent(c.y[a:b], log=log_y) for c, (a, b) in zip(drawn, ranges, strict=True)])
    low, high = _with_bands(of_y, drawn, ranges, log_y)
    y = _zoomed(view.y, log_y) or _within(chart.y.range, of_y, scale_over(low, high, log=log_y, padding=PADDING))
    has_points = any(len(curve.y) for curve in drawn)
    return Limits(
        frame=Frame(x=x, y=y),
        left_out=of_x.left_out + of_y.left_out,
        empty=not has_points,
        none_drawable=of_x.empty or (joined([extent(c.y, log=log_y) for c in drawn]).empty and of_y.left_out > 0),
    )


def full_frame(chart: Chart, view: View) -> Frame:
    """The axes without zooming."""
    return limits_of(
        chart, View(log_x=view.log_x, log_y=view.log_y, hidden=view.hidden, smoothing=view.smoothing)
    ).frame


def _x_scale(found: Extent, log: bool, drawn: Sequence[Curve]) -> Scale:
    """Lines go from one end to the other; points keep away from them."""
    points = any(curve.series.points for curve in drawn)
    return scale_over(found.low, found.high, log=log, padding=PADDING if points else 0.0)


def _within(range_: Range, found: Extent, scale: Scale) -> Scale:
    if scale.log or found.empty:
        return scale
    low, high = axis_within(range_, (found.low, found.high), scale.low, scale.high)
    return Scale(low=low, high=high)


def _zoomed(bounds: Bounds | None, log: bool) -> Scale | None:
    """None where there is no zooming, or none that a logarithmic axis can show."""
    if bounds is None or not bounds[0] < bounds[1] or (log and bounds[0] <= 0):
        return None
    return scale_over(*bounds, log=log)


def _range(x: Sequence[float], scale: Scale) -> tuple[int, int]:
    """Indices of the points within the axis."""
    margin = 1e-9 * (scale.high - scale.low)
    return bisect_left(x, scale.low - margin), bisect_right(x, scale.high + margin)


def _with_bands(
    found: Extent, drawn: Sequence[Curve], ranges: Sequence[tuple[int, int]], log: bool
) -> tuple[float, float]:
    if found.empty:
        return found.low, found.high
    ends = [extent([*c.low[a:b], *c.high[a:b]], log=log) for c, (a, b) in zip(drawn, ranges, strict=True) if c.low]
    band = joined([found, *ends])
    if log:
        span = max(math.log(found.high) - math.log(found.low), 0.1)
        reach = math.exp(min(600.0, BAND_FRACTION * span))
        return max(band.low, found.low / reach), min(band.high, found.high * reach)
    span = min(LARGEST, found.high - found.low) or abs(found.high) / 10
    return max(band.low, found.low - BAND_FRACTION * span), min(band.high, found.high + BAND_FRACTION * span)
