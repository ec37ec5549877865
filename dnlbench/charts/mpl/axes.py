"""Axis limits, ticks and tick labels of a chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    FixedFormatter,
    FixedLocator,
    Formatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from dnlbench.charts.model import Axis, Chart
from dnlbench.charts.scales import drawable
from dnlbench.stats import axis_within

PADDING = 0.05
"""Margin at each end of an axis, as a fraction of its length."""
INTERVAL_FRACTION = 0.5
"""Intervals widen an axis by at most this fraction of the range of values. With two seeds, an interval is 13 standard
deviations wide."""
TICK_SPACING_IN = 0.27
"""Minimum spacing of ticks on a vertical axis."""
CHARACTER_IN = 0.062
"""Width of a digit at `settings.SMALL_PT`."""
MOST_TICKS = 8
"""Maximum number of ticks on a horizontal axis."""
MIN_LOG_RATIO = 5.0
"""Ratio below which a logarithmic axis has the ticks of a linear one. A larger ratio contains at least two of 1, 2, 5."""
INFINITY_FACTOR = 4.0
"""Position of infinite depth, as a multiple of the largest depth, beyond the fitted curves."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The limits of both axes, and the depths with ticks."""

    x: Bounds
    y: Bounds
    depths: tuple[float, ...] = ()
    infinity: float | None = None
    """Position of infinite depth; None if no chart shows it."""


def frame_of(charts: Sequence[Chart]) -> Frame:
    """Return axis limits that contain all charts, which must have the same kinds of axes."""
    series = [each for chart in charts for each in chart.series]
    xs = sorted({x for each in series for x in each.x})
    if not xs:
        return Frame(x=(0.0, 1.0), y=(0.0, 1.0))
    log = charts[0].y.scale == "log"

    def on_axis(values: Iterator[float]) -> list[float]:
        clipped = (drawable(value) for value in values)
        return [value for value in clipped if value is not None and (value > 0 or not log)]

    values = on_axis(y for each in series for y in each.y)
    ends = on_axis(end for each in series for end in (*(each.low or ()), *(each.high or ())))
    y = _y_bounds(values, ends, charts[0].y)
    if charts[0].x.ticks != "depth":
        low, high = xs[0], xs[-1]
        if charts[0].x.scale == "log":
            factor = math.exp(max(PADDING * math.log(high / low), 0.12))
            return Frame(x=(low / factor, high * factor), y=y)
        room = max(0.03 * (high - low), min(0.1, 0.1 * (high - low))) if high > low else 0.5
        return Frame(x=(low - room, high + room), y=y)
    depths = tuple(sorted({x for each in series if each.role in ("mean", "run") for x in each.x}))
    infinity = depths[-1] * INFINITY_FACTOR if any(each.role == "limit" for each in series) else None
    last = infinity or xs[-1]
    room = max(PADDING * math.log(last / depths[0]), 0.12)
    ends_x = math.exp(math.log(depths[0]) - room), math.exp(math.log(last) + room * (2 if infinity else 1))
    return Frame(x=ends_x, y=y, depths=depths, infinity=infinity)


def _y_bounds(values: Sequence[float], ends: Sequence[float], axis: Axis) -> Bounds:
    """Return limits that contain the values with a margin, and intervals up to `INTERVAL_FRACTION`."""
    log = axis.scale == "log"
    to, back = (math.log, math.exp) if log else (float, float)
    low, high = to(min(values, default=1.0)), to(max(values, default=1.0))
    span = high - low or (0.5 if log else abs(high) or 1.0)
    lowest, highest = min(map(to, ends), default=low), max(map(to, ends), default=high)
    low = max(min(low, lowest), low - INTERVAL_FRACTION * span)
    high = min(max(high, highest), high + INTERVAL_FRACTION * span)
    if high == low:
        low, high = low - span / 2, high + span / 2
    room = PADDING * (high - low)
    bounds = back(low - room), back(high + room)
    return bounds if log else axis_within(axis.range, values, *bounds)


def set_axes(axes: Axes, chart: Chart, frame: Frame, *, width_in: float, height_in: float) -> None:
    """Set labels, scales, limits and ticks. The size of the axes in inches limits the number of ticks."""
    axes.set_xlabel(chart.x.text)
    axes.set_ylabel(chart.y.text)
    axes.set_xscale(chart.x.scale, **({"base": 2} if chart.x.ticks == "depth" else {}))
    axes.set_yscale(chart.y.scale)
    axes.set_xlim(*frame.x)
    axes.set_ylim(*frame.y)
    most = max(2, min(MOST_TICKS, int(width_in / (CHARACTER_IN * (len(f"{frame.x[1]:.0f}") + 2.5)))))
    _set_ticks(axes.xaxis, chart.x, frame.x, most)
    _set_ticks(axes.yaxis, chart.y, frame.y, max(3, int(height_in / TICK_SPACING_IN)))
    if chart.x.ticks == "depth":
        _set_depth_ticks(axes.xaxis, frame, width_in)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
        axis.set_tick_params(which="major", length=3, width=0.6, pad=2)
        axis.set_tick_params(which="minor", length=1.8, width=0.4)


def _set_ticks(axis: Any, kind: Axis, bounds: Bounds, most: int) -> None:
    axis.set_major_locator(_locator(kind, bounds, most))
    axis.set_minor_locator(LogLocator(subs=range(2, 10)) if kind.scale == "log" else NullLocator())
    axis.set_major_formatter(_formatter(kind, bounds))


def _locator(kind: Axis, bounds: Bounds, most: int) -> Locator:
    if kind.scale == "linear" or bounds[1] / bounds[0] < MIN_LOG_RATIO:
        return MaxNLocator(most - 1, steps=[1, 2, 5, 10], integer=kind.ticks == "integer", min_n_ticks=1)
    decades = math.log10(bounds[1] / bounds[0])
    subs = next((each for each in ((1, 2, 5), (1, 3)) if len(each) * decades <= most + 0.5), (1,))
    return LogLocator(subs=subs, numticks=most)


def _formatter(kind: Axis, bounds: Bounds) -> Formatter:
    if kind.ticks in ("count", "integer") and max(map(abs, bounds)) >= 1e4:
        return EngFormatter()
    return _Percent() if kind.ticks == "percent" else _Numbers()


class _Numbers(Formatter):
    """Formats plain numbers, with equal decimals if ticks are evenly spaced."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        return number(value)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        texts = [number(value) for value in values]
        steps = [b - a for a, b in pairwise(values)]
        if any("⁻" in text or "·" in text for text in texts) or max(steps, default=0) > 1.001 * min(steps, default=0):
            return texts
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        return [f"{value:.{decimals}f}".replace("-", "−") for value in values]


class _Percent(_Numbers):
    def format_ticks(self, values: Sequence[float]) -> list[str]:
        return [f"{text} %" for text in super().format_ticks([100 * value for value in values])]


def number(value: float) -> str:
    """Format a number as ``0.25`` or ``3·10⁻⁴``."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.10g}".replace("-", "−")
    mantissa, _, exponent = f"{value:.9e}".partition("e")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    factor = f"{float(mantissa):.10g}".replace("-", "−")
    return {"1": power, "−1": f"−{power}"}.get(factor, f"{factor}·{power}")


def _set_depth_ticks(axis: Any, frame: Frame, width_in: float) -> None:
    per_log = width_in / math.log(frame.x[1] / frame.x[0])

    def apart(a: float, b: float) -> bool:
        return math.log(b / a) * per_log > CHARACTER_IN * (len(f"{a:.0f}") + len(f"{b:.0f}") + 1.5) / 2

    major = labeled_depths(frame.depths, apart)
    marks = [(depth, f"{depth:.0f}") for depth in major]
    if frame.infinity:
        marks.append((frame.infinity, "∞"))
    axis.set_major_locator(FixedLocator([depth for depth, _ in marks]))
    axis.set_major_formatter(FixedFormatter([text for _, text in marks]))
    axis.set_minor_locator(FixedLocator([depth for depth in frame.depths if depth not in major]))


def labeled_depths(depths: Sequence[float], apart: Callable[[float, float], bool]) -> list[float]:
    """Return the depths whose labels do not overlap, sorted. Priority: the largest, powers of two, others."""
    kept: list[float] = []
    for depth in sorted(depths, key=lambda d: (d == depths[-1], math.log2(d).is_integer(), d), reverse=True):
        if all(apart(min(depth, other), max(depth, other)) for other in kept):
            kept.append(depth)
    return sorted(kept)
