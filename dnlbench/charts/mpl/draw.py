"""Draw a chart in Matplotlib axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes

from dnlbench.charts.model import Chart, Series
from dnlbench.charts.mpl import settings
from dnlbench.charts.mpl.axes import Frame, set_axes
from dnlbench.charts.mpl.styles import BLACK, Style, style_of

LIMIT_GAP_IN = 0.06
"""Preferred horizontal distance between the limits of different series."""
LIMIT_SPREAD = 0.8
"""Maximum fraction of the space beside infinite depth that limits take."""
OPEN_MARKER_SCALE = 1.5
"""Size of an open marker relative to a filled one."""
MARKED_POINTS = 5
"""Number of markers on a long curve."""


def draw_chart(axes: Axes, chart: Chart, frame: Frame, *, width_in: float, height_in: float) -> None:
    """Draw everything except the title, the legend and the notes."""
    if not chart.series:
        axes.set_axis_off()
        axes.text(0.5, 0.5, chart.empty, ha="center", va="center", fontsize=settings.TEXT_PT)
        return
    set_axes(axes, chart, frame, width_in=width_in, height_in=height_in)
    lines = [each for each in chart.series if each.role in ("mean", "run")]
    for series in chart.series:
        if series.role in ("fit", "theory", "front"):
            _plot(axes, series.x, series.y, series, "curve", linewidth=settings.LINE_PT, zorder=2)
    for index, series in enumerate(lines):
        _measured(axes, series, index, len(lines))
        _names(axes, series)
        if series.failed:
            _cross(axes, series)
    if frame.infinity is not None:
        _limits(axes, chart, frame, frame.infinity, width_in)


def line_style(style: Style) -> Any:
    """Return the line style as Matplotlib accepts it."""
    return (0, style.dashes) if style.dashes else "solid"


def marker_style(style: Style, size: float = settings.MARKER_PT) -> dict[str, Any]:
    """Return marker properties. Open markers are larger, so that they stay visible around a filled one at the same point."""
    return {
        "marker": style.marker or "none",
        "markersize": size * (1.3 if style.marker == "*" else 1.0) * (1.0 if style.filled else OPEN_MARKER_SCALE),
        "markerfacecolor": style.color if style.filled else "none",
        "markeredgecolor": style.color,
        "markeredgewidth": 0.8,
    }


def _plot(axes: Axes, x: Any, y: Any, series: Series, kind: str, **options: Any) -> None:
    style = style_of(series)
    axes.plot(x, y, **{"color": style.color, "linestyle": line_style(style), **options}, gid=_id(axes, kind, series))


def _id(axes: Axes, kind: str, series: Series) -> str:
    """Return the id of an SVG element: ``series--densenet--L-2``."""
    parts = (kind, str(axes.get_label()), series.key)
    return "--".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)


def _measured(axes: Axes, series: Series, index: int, count: int) -> None:
    if len(series.x) == 1 and series.failed:  # shown as a cross only
        return
    faint, style = series.role == "run", style_of(series)
    if series.low is not None and series.high is not None:
        (_bars if series.points or len(series.x) == 1 else _band)(axes, series)
    bare = faint and len(series.x) > 1
    _plot(
        axes,
        series.x,
        series.y,
        series,
        "series",
        linestyle=line_style(style) if series.joined else "none",
        linewidth=settings.THIN_PT if faint or series.points else settings.LINE_PT,
        alpha=settings.FAINT if faint else 1.0,
        markevery=None if series.points else _marked(len(series.x), index, count),
        zorder=2.2 if faint else 3,
        **({"marker": "none"} if bare else marker_style(style)),
    )


def _names(axes: Axes, series: Series) -> None:
    """Write the names of points above and to the right of them."""
    for name, x, y in zip(series.names, series.x, series.y, strict=False):
        axes.annotate(
            name,
            (x, y),
            (2.5, 2.5),
            textcoords="offset points",
            fontsize=settings.SMALL_PT,
            color=style_of(series).color,
            annotation_clip=False,
        )


def _marked(length: int, index: int, count: int) -> list[int]:
    """Return the indices of points with markers. They differ between curves, so that markers do not overlap."""
    if length <= 2 * MARKED_POINTS:
        return list(range(length))
    return [int((k + (index + 0.5) / count) * length / MARKED_POINTS) for k in range(MARKED_POINTS)]


def _band(axes: Axes, series: Series) -> None:
    on_axis = _clamp(axes)
    low, high = ([on_axis(end) for end in ends] for ends in (series.low or (), series.high or ()))
    axes.fill_between(
        series.x,
        low,
        high,
        color=style_of(series).color,
        alpha=settings.BAND,
        linewidth=0,
        zorder=1,
        gid=_id(axes, "band", series),
    )


def _bars(axes: Axes, series: Series) -> None:
    """Draw intervals as bars without caps, which would hide the markers of short intervals."""
    on_axis = _clamp(axes)
    ends = zip(series.x, series.low or (), series.high or (), strict=True)
    known = [(x, on_axis(low), on_axis(high)) for x, low, high in ends if math.isfinite(low) and math.isfinite(high)]
    if known:
        x, low, high = zip(*known, strict=True)
        axes.vlines(
            x, low, high, color=style_of(series).color, linewidth=0.9, zorder=2.5, gid=_id(axes, "bars", series)
        )


def _limits(axes: Axes, chart: Chart, frame: Frame, infinity: float, width_in: float) -> None:
    """Draw limits as lines from the largest depth to infinite depth, with their intervals side by side."""
    limits = [each for each in chart.series if each.role == "limit"]
    room = 2 * LIMIT_SPREAD * math.log(frame.x[1] / infinity) / max(1, len(limits) - 1)
    step = min(LIMIT_GAP_IN * math.log(frame.x[1] / frame.x[0]) / width_in, room)
    for index, limit in enumerate(limits):
        x = infinity * math.exp((index - (len(limits) - 1) / 2) * step)
        value = _clamp(axes)(limit.y[0])
        dotted = {"linestyle": (0, (1, 1.5)), "linewidth": 0.8, "zorder": 1.5}
        _plot(axes, [frame.depths[-1], x], [value, value], limit, "limit", **dotted)
        _limit_interval(axes, limit, x)
        axes.plot([x], [value], **marker_style(style_of(limit)), linestyle="none", zorder=3, clip_on=False)


def _limit_interval(axes: Axes, limit: Series, x: float) -> None:
    """Draw the interval of a limit. Arrows mark bounds that are unknown or beyond the axis."""
    low, high = (limit.low or (math.nan,))[0], (limit.high or (math.nan,))[0]
    if math.isnan(low) or math.isnan(high):
        return
    on_axis, (bottom, top) = _clamp(axes), axes.get_ylim()
    ends = [on_axis(low), on_axis(high)]
    _plot(axes, [x, x], ends, limit, "interval", linestyle="solid", linewidth=0.9, zorder=2.5, solid_capstyle="butt")
    for beyond, end, marker, kind in ((high > top, top, "^", "above"), (low < bottom, bottom, "v", "below")):
        if beyond:
            _plot(axes, [x], [end], limit, kind, marker=marker, markersize=3, linestyle="none", clip_on=False)


def _cross(axes: Axes, series: Series) -> None:
    """Draw a cross at the last known value, or at the upper edge. A halo in the series color keeps it visible on any curve."""
    known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    x, y = known[-1] if known else (series.x[-1], 1.0)
    options: dict[str, Any] = {} if known else {"transform": axes.get_xaxis_transform()}
    options |= {"marker": "x", "markersize": settings.CROSS_PT, "linestyle": "none", "zorder": 4, "clip_on": False}
    for color, width, kind in ((style_of(series).color, 2.6, "halo"), (BLACK, 1.1, "cross")):
        _plot(axes, [x], [y], series, kind, color=color, markeredgewidth=width, **options)


def _clamp(axes: Axes) -> Callable[[float], float]:
    """Return a function that clips values to the y axis and keeps NaN."""
    bottom, top = axes.get_ylim()
    return lambda value: value if math.isnan(value) else min(max(value, bottom), top)
