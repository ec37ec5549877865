"""The axis limits of a chart in a view."""

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
"""Margin at each end of an axis, as a fraction of its length."""
BAND_FRACTION = 0.5
"""A band widens an axis by at most this fraction of the range of the curves. With two seeds, a band is 13 standard
deviations wide."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The axes of a chart, and the values that they cannot show."""

    frame: Frame
    left_out: int
    """Number of finite values that a logarithmic axis cannot show."""
    empty: bool
    """True if there are no points."""
    none_drawable: bool
    """True if there are points, but the axes cannot show any of them."""


def is_log(chart: Chart, view: View) -> tuple[bool, bool]:
    """Return whether x and y are logarithmic."""
    return (
        chart.x.scale == "log" if view.log_x is None else view.log_x,
        chart.y.scale == "log" if view.log_y is None else view.log_y,
    )


def limits_of(chart: Chart, view: View) -> Limits:
    """Return the axes over the visible series or the zoomed range."""
    return limits_of_curves(chart, view, curves(chart, view))


def limits_of_curves(chart: Chart, view: View, visible_curves: Sequence[Curve]) -> Limits:
    """Return the axes over given curves; see `limits_of`."""
    log_x, log_y = is_log(chart, view)
    x_extent = joined([extent(curve.x, log=log_x) for curve in visible_curves])
    x = _zoomed(view.x, log_x) or _x_scale(x_extent, log_x, visible_curves)
    ranges = [_range(curve.x, x) for curve in visible_curves]
    y_extent = joined([extent(c.y[a:b], log=log_y) for c, (a, b) in zip(visible_curves, ranges, strict=True)])
    low, high = _with_bands(y_extent, visible_curves, ranges, log_y)
    y = _zoomed(view.y, log_y) or _within(chart.y.range, y_extent, scale_over(low, high, log=log_y, padding=PADDING))
    has_points = any(len(curve.y) for curve in visible_curves)
    return Limits(
        frame=Frame(x=x, y=y),
        left_out=x_extent.left_out + y_extent.left_out,
        empty=not has_points,
        none_drawable=x_extent.empty
        or (joined([extent(c.y, log=log_y) for c in visible_curves]).empty and y_extent.left_out > 0),
    )


def full_frame(chart: Chart, view: View) -> Frame:
    """Return the axes without zoom."""
    return limits_of(
        chart, View(log_x=view.log_x, log_y=view.log_y, hidden=view.hidden, smoothing=view.smoothing)
    ).frame


def _x_scale(values: Extent, log: bool, visible_curves: Sequence[Curve]) -> Scale:
    """Return the x axis. Points have a margin, lines have none."""
    points = any(curve.series.points for curve in visible_curves)
    return scale_over(values.low, values.high, log=log, padding=PADDING if points else 0.0)


def _within(range_: Range, values: Extent, scale: Scale) -> Scale:
    if scale.log or values.empty:
        return scale
    low, high = axis_within(range_, (values.low, values.high), scale.low, scale.high)
    return Scale(low=low, high=high)


def _zoomed(bounds: Bounds | None, log: bool) -> Scale | None:
    """Return the zoomed scale; None without zoom or if a logarithmic axis cannot show it."""
    if bounds is None or not bounds[0] < bounds[1] or (log and bounds[0] <= 0):
        return None
    return scale_over(*bounds, log=log)


def _range(x: Sequence[float], scale: Scale) -> tuple[int, int]:
    """Return the range of indices of the points within the axis."""
    margin = 1e-9 * (scale.high - scale.low)
    return bisect_left(x, scale.low - margin), bisect_right(x, scale.high + margin)


def _with_bands(
    values: Extent, visible_curves: Sequence[Curve], ranges: Sequence[tuple[int, int]], log: bool
) -> tuple[float, float]:
    if values.empty:
        return values.low, values.high
    ends = [
        extent([*c.low[a:b], *c.high[a:b]], log=log) for c, (a, b) in zip(visible_curves, ranges, strict=True) if c.low
    ]
    band = joined([values, *ends])
    if log:
        span = max(math.log(values.high) - math.log(values.low), 0.1)
        reach = math.exp(min(600.0, BAND_FRACTION * span))
        return max(band.low, values.low / reach), min(band.high, values.high * reach)
    span = min(LARGEST, values.high - values.low) or abs(values.high) / 10
    return max(band.low, values.low - BAND_FRACTION * span), min(band.high, values.high + BAND_FRACTION * span)
