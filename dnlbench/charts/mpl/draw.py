"""A chart in Matplotlib's axes."""

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
"""Between the limits of several series, where there is room."""
LIMIT_SPREAD = 0.8
"""Of the room beside infinite depth they take no more than this part."""
OPEN_MARKER_SCALE = 1.5
"""Size of an open marker, in filled ones."""
MARKED_POINTS = 5
"""Markers of a long curve."""


def draw_chart(axes: Axes, chart: Chart, frame: Frame, *, width_in: float, height_in: float) -> None:
    """Everything but the title, the legend and the notes."""
    if not chart.series:
        axes.set_axis_off()
        axes.text(0.5, 0.5, chart.empty, ha="center", va="center", fontsize=settings.TEXT_PT)
        return
    set_axes(axes, chart, frame, width_in=width_in, height_in=height_in)
    lines = [each for each in chart.series if each.role in ("mean", "run")]
    for series in chart.series:
        if series.role in ("fit", "theory"):
            _plot(axes, series.x, series.y, series, "curve", linewidth=settings.LINE_PT, zorder=2)
    for place, series in enumerate(lines):
        _measured(axes, series, place, len(lines))
        if series.failed:
            _cross(axes, series)
    if frame.infinity is not None:
        _limits(axes, chart, frame, frame.infinity, width_in)


def line_style(style: Style) -> Any:
    """As Matplotlib takes it."""
    return (0, style.dashes) if style.dashes else "solid"


def marker_style(style: Style, size: float = settings.MARKER_PT) -> dict[str, Any]:
    """The marker, filled, or open and larger, so that it is seen around a filled one at the same place."""
    return {
        "marker": style.marker or "none",
        "markersize": size * (1.3 if style.marker == "*" else 1.0) * (1.0 if style.filled else OPEN_MARKER_SCALE),
        "markerfacecolor": style.color if style.filled else "none",
        "markeredgecolor": style.color,
        "markeredgewidth": 0.8,
    }


def _plot(axes: Axes, x: Any, y: Any, series: Series, what: str, **how: Any) -> None:
    style = style_of(series)
    axes.plot(x, y, **{"color": style.color, "linestyle": line_style(style), **how}, gid=_id(axes, what, series))


def _id(axes: Axes, what: str, series: Series) -> str:
    """Of an SVG's element: ``series--densenet--L-2``."""
    parts = (what, str(axes.get_label()), series.key)
    return "--".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)


def _measured(axes: Axes, series: Series, place: int, count: int) -> None:
    if len(series.x) == 1 and series.failed:  # only its cross
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
        markevery=None if series.points else _marked(len(series.x), place, count),
        zorder=2.2 if faint else 3,
        **({"marker": "none"} if bare else marker_style(style)),
    )


def _marked(length: int, place: int, count: int) -> list[int]:
    """The points of a long curve that have markers: other ones on each curve, so that they do not hide each other."""
    if length <= 2 * MARKED_POINTS:
        return list(range(length))
    return [int((k + (place + 0.5) / count) * length / MARKED_POINTS) for k in range(MARKED_POINTS)]


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
    """From end to end; without caps, which hide the markers of small ones."""
    on_axis = _clamp(axes)
    ends = zip(series.x, series.low or (), series.high or (), strict=True)
    known = [(x, on_axis(low), on_axis(high)) for x, low, high in ends if math.isfinite(low) and math.isfinite(high)]
    if known:
        x, low, high = zip(*known, strict=True)
        axes.vlines(
            x, low, high, color=style_of(series).color, linewidth=0.9, zorder=2.5, gid=_id(axes, "bars", series)
        )


def _limits(axes: Axes, chart: Chart, frame: Frame, infinity: float, width_in: float) -> None:
    """Lines from the largest depth to infinite depth, where each has its interval beside those of the others."""
    limits = [each for each in chart.series if each.role == "limit"]
    room = 2 * LIMIT_SPREAD * math.log(frame.x[1] / infinity) / max(1, len(limits) - 1)
    step = min(LIMIT_GAP_IN * math.log(frame.x[1] / frame.x[0]) / width_in, room)
    for place, limit in enumerate(limits):
        x = infinity * math.exp((place - (len(limits) - 1) / 2) * step)
        value = _clamp(axes)(limit.y[0])
        dotted = {"linestyle": (0, (1, 1.5)), "linewidth": 0.8, "zorder": 1.5}
        _plot(axes, [frame.depths[-1], x], [value, value], limit, "limit", **dotted)
        _limit_interval(axes, limit, x)
        axes.plot([x], [value], **marker_style(style_of(limit)), linestyle="none", zorder=3, clip_on=False)


def _limit_interval(axes: Axes, limit: Series, x: float) -> None:
    """Arrows show ends beyond the axis, and ends that are not known."""
    low, high = (limit.low or (math.nan,))[0], (limit.high or (math.nan,))[0]
    if math.isnan(low) or math.isnan(high):
        return
    on_axis, (bottom, top) = _clamp(axes), axes.get_ylim()
    ends = [on_axis(low), on_axis(high)]
    _plot(axes, [x, x], ends, limit, "interval", linestyle="solid", linewidth=0.9, zorder=2.5, solid_capstyle="butt")
    for beyond, end, marker, what in ((high > top, top, "^", "above"), (low < bottom, bottom, "v", "below")):
        if beyond:
            _plot(axes, [x], [end], limit, what, marker=marker, markersize=3, linestyle="none", clip_on=False)


def _cross(axes: Axes, series: Series) -> None:
    """At the last value that is known, or at the upper edge. Black inside the series' color, to be seen on any curve."""
    known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    x, y = known[-1] if known else (series.x[-1], 1.0)
    how: dict[str, Any] = {} if known else {"transform": axes.get_xaxis_transform()}
    how |= {"marker": "x", "markersize": settings.CROSS_PT, "linestyle": "none", "zorder": 4, "clip_on": False}
    for color, width, what in ((style_of(series).color, 2.6, "halo"), (BLACK, 1.1, "cross")):
        _plot(axes, [x], [y], series, what, color=color, markeredgewidth=width, **how)


def _clamp(axes: Axes) -> Callable[[float], float]:
    """Moves a value to the nearest end of the axis; NaN stays."""
    bottom, top = axes.get_ylim()
    return lambda value: value if math.isnan(value) else min(max(value, bottom), top)
