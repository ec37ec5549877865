"""A panel in Matplotlib's axes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from dnlbench.report.drawable import drawable
from dnlbench.report.figures import style
from dnlbench.report.figures.looks import INK
from dnlbench.report.figures.panel import Axis, Cross, Curve, Limit, Look, Panel, Series
from dnlbench.report.figures.ticks import INFINITY, depth_ticks, minor_log_ticks, value_ticks
from dnlbench.stats import axis_within

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PADDING = 0.05
"""On either side of an axis, as a fraction of it."""
INTERVAL_SHARE = 0.5
"""Intervals widen an axis by at most this multiple of what the values take: with two seeds one is 13 deviations wide."""
TICK_APART_IN = 0.27
"""Between ticks of an axis that stands."""
CHARACTER_IN = 0.062
"""Width of a digit at `style.SMALL_PT`."""
INFINITY_AFTER = 2.5
"""Infinite depth lies at this multiple of the largest depth."""
DODGE_IN = 0.06
"""Between the limits of several series, where there is room."""
PADDED = 0.8
"""Of the room beside infinite depth they take no more than this part."""
OPEN = 1.5
"""Size of an open marker, in filled ones."""
MARKED_EPOCHS = 5
"""Markers of a long curve."""

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The ends of both axes."""

    x: Bounds
    y: Bounds


def frame_of(panels: Sequence[Panel], depths: Sequence[float]) -> Frame:
    """Axes that hold all of the panels, which have equal kinds of axes."""
    log = panels[0].y.scale == "log"
    values = [v for panel in panels for v in _with_place(_values(panel)) if v > 0 or not log]
    ends = [v for panel in panels for v in _with_place(_ends(panel)) if v > 0 or not log]
    return Frame(x=_x_bounds(panels, depths), y=_y_bounds(values, ends, panels[0].y))


def draw_panel(
    axes: Axes, panel: Panel, frame: Frame, *, depths: Sequence[float], width_in: float, height_in: float
) -> None:
    """Everything but the title, the legend and the notes.

    Args:
        axes: empty ones.
        panel: what is drawn.
        frame: the axes' ends.
        depths: where a depth axis has its ticks.
        width_in: of the axes, about; for the number of ticks. So is height_in.
        height_in: see there.
    """
    _set_x(axes, panel, frame.x, depths, width_in)
    _set_y(axes, panel.y, frame.y, height_in)
    for curve in panel.curves:
        _curve(axes, curve)
    for place, series in enumerate(panel.series):
        _series(axes, series, place, len(panel.series))
    if panel.limits:
        _limits(axes, panel, frame, depths, width_in)
    for cross in panel.crosses:
        _cross(axes, cross)


def line_style(look: Look) -> Any:
    """As Matplotlib takes it."""
    return (0, look.dashes) if look.dashes else "solid"


def marker_style(look: Look, size: float = style.MARKER_PT) -> dict[str, Any]:
    """The marker, filled, or open and larger, so that it is seen around a filled one at the same place."""
    return {
        "marker": look.marker or "none",
        "markersize": size * (1.3 if look.marker == "*" else 1.0) * (1.0 if look.filled else OPEN),
        "markerfacecolor": look.colour if look.filled else "none",
        "markeredgecolor": look.colour,
        "markeredgewidth": 0.8,
    }


def _with_place(values: Iterable[float]) -> Iterator[float]:
    """Those that an axis can reach to, which the others are beyond."""
    return (found for value in values if (found := drawable(value)) is not None)


def _values(panel: Panel) -> Iterator[float]:
    """What has to be within the axis."""
    for series in panel.series:
        yield from series.y
    for curve in panel.curves:
        yield from curve.y
    for limit in panel.limits:
        yield limit.value


def _ends(panel: Panel) -> Iterator[float]:
    """Of intervals."""
    for series in panel.series:
        for bound in (*(series.low or ()), *(series.high or ())):
            if math.isfinite(bound):
                yield bound
    for limit in panel.limits:
        yield from (bound for bound in (limit.low, limit.high) if bound is not None and math.isfinite(bound))


def _x_bounds(panels: Sequence[Panel], depths: Sequence[float]) -> Bounds:
    if panels[0].x.ticks == "depth":
        infinite = any(panel.limits for panel in panels)
        last = depths[-1] * (INFINITY_AFTER if infinite else 1.0)
        room = max(PADDING * math.log(last / depths[0]), 0.12)
        return math.exp(math.log(depths[0]) - room), math.exp(math.log(last) + room * (2 if infinite else 1))
    found = [x for panel in panels for series in panel.series for x in series.x]
    found += [cross.x for panel in panels for cross in panel.crosses]
    low, high = min(found, default=1.0), max(found, default=1.0)
    room = max(0.03 * (high - low), 0.1) if high > low else 0.5
    return low - room, high + room


def _y_bounds(values: Sequence[float], ends: Sequence[float], axis: Axis) -> Bounds:
    """The values with a margin, and of intervals as much as does not press them together."""
    log = axis.scale == "log"
    to, back = (math.log, math.exp) if log else (float, float)
    low, high = to(min(values, default=1.0)), to(max(values, default=1.0))
    span = high - low or (0.5 if log else abs(high) or 1.0)
    lowest, highest = min(map(to, ends), default=low), max(map(to, ends), default=high)
    low = max(min(low, lowest), low - INTERVAL_SHARE * span)
    high = min(max(high, highest), high + INTERVAL_SHARE * span)
    if high == low:
        low, high = low - span / 2, high + span / 2
    room = PADDING * (high - low)
    bounds = back(low - room), back(high + room)
    return bounds if log else axis_within(axis.range, values, *bounds)


def _set_x(axes: Axes, panel: Panel, bounds: Bounds, depths: Sequence[float], width_in: float) -> None:
    axes.set_xlabel(panel.x.text)
    axes.set_xscale("log" if panel.x.scale == "log" else "linear", **({"base": 2} if panel.x.ticks == "depth" else {}))
    axes.set_xlim(*bounds)
    minor: list[float] = []
    if panel.x.ticks == "depth":
        per_log = width_in / math.log(bounds[1] / bounds[0])

        def apart(a: float, b: float) -> bool:
            return math.log(b / a) * per_log > CHARACTER_IN * (len(f"{a:.0f}") + len(f"{b:.0f}") + 1.5) / 2

        marks, minor = depth_ticks(depths, apart)
        if panel.limits:
            marks = [*marks, (depths[-1] * INFINITY_AFTER, INFINITY)]
    else:
        most = max(2, int(width_in / (CHARACTER_IN * (len(f"{bounds[1]:.0f}") + 2.5))))
        marks = [mark for mark in value_ticks(*bounds, min(most, 8), log=False, kind=panel.x.ticks) if mark[0] >= 1]
    _set_ticks(axes.xaxis, marks, minor)


def _set_y(axes: Axes, axis: Axis, bounds: Bounds, height_in: float) -> None:
    axes.set_ylabel(axis.text)
    log = axis.scale == "log"
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(*bounds)
    marks = value_ticks(*bounds, max(3, int(height_in / TICK_APART_IN)), log=log, kind=axis.ticks)
    _set_ticks(axes.yaxis, marks, minor_log_ticks(*bounds) if log else [])


def _set_ticks(axis: Any, marks: Sequence[tuple[float, str]], minor: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator([value for value, _ in marks]))
    axis.set_major_formatter(FixedFormatter([label for _, label in marks]))
    axis.set_minor_locator(FixedLocator(list(minor)) if minor else NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="major", length=3, width=0.6, pad=2)
    axis.set_tick_params(which="minor", length=1.8, width=0.4)


def _curve(axes: Axes, curve: Curve) -> None:
    width = style.THIN_PT if curve.thin else style.LINE_PT
    axes.plot(
        curve.x,
        curve.y,
        color=curve.look.colour,
        linestyle=line_style(curve.look),
        linewidth=width,
        zorder=2,
        gid=_id(axes, "curve", curve.key),
    )


def _series(axes: Axes, series: Series, place: int, count: int) -> None:
    look = series.look
    if series.low is not None and series.high is not None:
        (_bars if series.as_bars else _band)(axes, series)
    axes.plot(
        series.x,
        series.y,
        color=look.colour,
        linestyle=line_style(look) if series.joined else "none",
        linewidth=style.THIN_PT if series.faint or series.thin else style.LINE_PT,
        alpha=style.FAINT if series.faint else 1.0,
        markevery=None if series.thin else _marked(len(series.x), place, count),
        zorder=2.2 if series.faint else 3,
        gid=_id(axes, "series", series.key),
        **({"marker": "none"} if series.faint and len(series.x) > 1 else marker_style(look)),
    )


def _marked(length: int, place: int, count: int) -> list[int]:
    """Which points of a long curve have markers: other ones on each curve, so that they do not hide each other."""
    if length <= 2 * MARKED_EPOCHS:
        return list(range(length))
    return [int((k + (place + 0.5) / count) * length / MARKED_EPOCHS) for k in range(MARKED_EPOCHS)]


def _band(axes: Axes, series: Series) -> None:
    axes.fill_between(
        series.x,
        series.low or (),
        series.high or (),
        color=series.look.colour,
        alpha=style.BAND,
        linewidth=0,
        zorder=1,
        gid=_id(axes, "band", series.key),
    )


def _bars(axes: Axes, series: Series) -> None:
    """From end to end; without caps, which hide the markers of small ones."""
    bounds = zip(series.x, series.low or (), series.high or (), strict=True)
    for x, low, high in bounds:
        if math.isfinite(low) and math.isfinite(high):
            axes.plot(
                [x, x],
                [_on_axis(axes, low), _on_axis(axes, high)],
                color=series.look.colour,
                linewidth=0.9,
                zorder=2.5,
                solid_capstyle="butt",
                gid=_id(axes, "interval", f"{series.key} L={x:.0f}"),
            )


def _limits(axes: Axes, panel: Panel, frame: Frame, depths: Sequence[float], width_in: float) -> None:
    """Lines to infinite depth, where each has its interval beside those of the others."""
    middle, count = depths[-1] * INFINITY_AFTER, len(panel.limits)
    room = 2 * PADDED * math.log(frame.x[1] / middle) / max(1, count - 1)
    step = min(DODGE_IN * math.log(frame.x[1] / frame.x[0]) / width_in, room)
    for place, limit in enumerate(panel.limits):
        _limit(axes, limit, middle * math.exp((place - (count - 1) / 2) * step))


def _limit(axes: Axes, limit: Limit, x: float) -> None:
    value, colour = _on_axis(axes, limit.value), limit.look.colour
    axes.plot(
        [limit.start, x],
        [value, value],
        color=colour,
        linestyle=(0, (1, 1.5)),
        linewidth=0.8,
        zorder=1.5,
        gid=_id(axes, "limit", limit.key),
    )
    if limit.low is not None or limit.high is not None:
        bottom, top = axes.get_ylim()
        low = bottom if limit.low is None else _on_axis(axes, limit.low)
        high = top if limit.high is None else _on_axis(axes, limit.high)
        axes.plot([x, x], [low, high], color=colour, linewidth=0.9, zorder=2.5, gid=_id(axes, "interval", limit.key))
        for is_open, end, marker, name in (
            (limit.high is None or limit.high > top, top, "^", "above"),
            (limit.low is None or limit.low < bottom, bottom, "v", "below"),
        ):
            if is_open:
                arrow: dict[str, Any] = {
                    "marker": marker,
                    "markersize": 3,
                    "color": colour,
                    "linestyle": "none",
                    "clip_on": False,
                }
                axes.plot([x], [end], **arrow, gid=_id(axes, name, limit.key))
    axes.plot([x], [value], **marker_style(limit.look), linestyle="none", zorder=3, clip_on=False)


def _on_axis(axes: Axes, value: float) -> float:
    """The value, or the nearest end of the axis."""
    bottom, top = axes.get_ylim()
    return min(max(value, bottom), top)


def _cross(axes: Axes, cross: Cross) -> None:
    """Black inside the series' colour, so that it is seen on any curve."""
    at_edge = cross.y is None
    where: dict[str, Any] = {"transform": axes.get_xaxis_transform()} if at_edge else {}
    y = 1.0 if cross.y is None else cross.y
    for colour, width, name in ((cross.look.colour, 2.6, "halo"), (INK, 1.1, "cross")):
        axes.plot(
            [cross.x],
            [y],
            marker="x",
            markersize=style.CROSS_PT,
            markeredgewidth=width,
            color=colour,
            linestyle="none",
            zorder=4,
            clip_on=False,
            gid=_id(axes, name, cross.key),
            **where,
        )


def _id(axes: Axes, what: str, key: str) -> str:
    """Of an SVG's element: ``series--densenet--densenet-L-2``."""
    return "--".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in (what, str(axes.get_label()), key))
