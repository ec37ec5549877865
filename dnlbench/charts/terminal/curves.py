"""The visible curves of a chart in drawing order, smoothed and decimated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dnlbench.charts.model import Chart, Series
from dnlbench.charts.palette import OKABE_ITO
from dnlbench.charts.terminal.view import View

MARKS = "●▲■◆✚✖★▼◀▶"
"""Markers by network and depth, so that curves never differ by color alone."""
ANSI = ("ansi_bright_blue", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_cyan", "ansi_bright_yellow")
"""Colors of the terminal's own palette."""
_MARK_STRIDE = 3
"""Distance between the markers of a network in consecutive profiles."""
_GUIDES = ("fit", "limit", "theory", "front")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve to draw."""

    series: Series
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Empty, like ``high``, without intervals."""
    high: Sequence[float] = ()
    faint: bool = False
    bold: bool = False
    marked: bool = False
    """True if the curve has markers."""


def color_of(series: Series, *, ansi: bool = False) -> str:
    """Return the color for Textual and Rich; empty for the foreground color."""
    colors = ANSI if ansi else OKABE_ITO
    return colors[series.identity.index % len(colors)] if series.identity.label else ""


def mark_of(series: Series) -> str:
    """Return the marker character; empty for reference lines. Points have different markers in each profile."""
    if series.role in _GUIDES:
        return ""
    index = series.identity.index + (_MARK_STRIDE * series.identity.profile if series.points else 0)
    return MARKS[index % len(MARKS)]


def is_dashed(series: Series) -> bool:
    """Return True for reference lines and for all profiles except the first."""
    return series.role in _GUIDES or series.identity.profile > 0


def visible(chart: Chart, view: View) -> list[Series]:
    """Return the series that are not hidden."""
    return [each for each in chart.series if not {each.key, each.parent} & view.hidden]


def legend_series(chart: Chart) -> list[Series]:
    """Return the series that the legend lists."""
    return [each for each in chart.series if not each.parent]


def curves(chart: Chart, view: View) -> list[Curve]:
    """Return the visible curves in drawing order: faint curves, reference lines, the others, and the selected one on top."""
    ordered = sorted(
        visible(chart, view), key=lambda s: (s.key == view.focus_series, not s.parent, s.role not in _GUIDES)
    )
    return [curve for series in ordered for curve in _of_series(series, view)]


def smoothing_of(series: Series, view: View) -> float:
    """Return the smoothing weight of a series. Points and fits are not smoothed."""
    is_exact = series.points or series.parent or series.role in _GUIDES
    return 0.0 if is_exact else min(0.99, max(0.0, view.smoothing))


def _of_series(series: Series, view: View) -> list[Curve]:
    x, y, low, high = _columns(series)
    weight = smoothing_of(series, view)
    curve = Curve(series=series, x=x, y=y, low=low, high=high, faint=bool(series.parent or weight))
    if not weight:
        return [replace(curve, bold=series.key == view.focus_series, marked=not series.parent)]
    return [curve, Curve(series=series, x=x, y=smoothed(y, weight), bold=True, marked=True)]


def _columns(series: Series) -> tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]:
    """Return x, y, low and high of the points with a finite x. The notes report the intervals of limits."""
    x, y, low, high = series.x, series.y, series.low or (), series.high or ()
    if series.role == "limit" or not (low and high):
        low = high = ()
    if all(map(math.isfinite, x)):
        return x, y, low, high
    kept = [index for index, each in enumerate(x) if math.isfinite(each)]
    return tuple([column[index] for index in kept] if column else () for column in (x, y, low, high))  # type: ignore[return-value]


def as_viewed(chart: Chart, view: View) -> Chart:
    """Apply a view (visible series, scales, smoothing, x range) to a chart, for other renderers."""
    low, high = view.x or (-math.inf, math.inf)
    return replace(
        chart,
        x=chart.x if view.log_x is None else replace(chart.x, scale="log" if view.log_x else "linear"),
        y=chart.y if view.log_y is None else replace(chart.y, scale="log" if view.log_y else "linear"),
        series=tuple(_within(_as_smoothed(each, view), low, high) for each in visible(chart, view)),
    )


def _as_smoothed(series: Series, view: View) -> Series:
    weight = smoothing_of(series, view)
    return replace(series, y=smoothed(series.y, weight), low=None, high=None) if weight else series


def _within(series: Series, first: float, last: float) -> Series:
    kept = [index for index, x in enumerate(series.x) if first <= x <= last]
    if len(kept) == len(series.x):
        return series
    x, y = ([column[index] for index in kept] for column in (series.x, series.y))
    low, high = (column and [column[index] for index in kept] for column in (series.low, series.high))
    names = [series.names[index] for index in kept] if series.names else ()
    return replace(series, x=x, y=y, low=low, high=high, names=names)


def smoothed(values: Iterable[float], weight: float) -> list[float]:
    """Return the bias-corrected exponential moving average.

    With the weight w in [0, 1) and the finite values y₁, y₂, …::

        s_k = w s_{k-1} + (1 - w) y_k,   s_0 = 0
        ŷ_k = s_k / (1 - w^k)

    Non-finite values are kept in place and excluded from the average.

    Raises:
        ValueError: if the weight is not in [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"the weight must be at least 0 and below 1, not {weight}")
    state, decay = 0.0, 1.0
    result = []
    for value in values:
        if math.isfinite(value):
            state = weight * state + (1 - weight) * value
            decay *= weight
            result.append(state / (1 - decay))
        else:
            result.append(value)
    return result


def decimated(xs: Sequence[float], values: Sequence[float], buckets: int) -> list[int]:
    """Return the increasing indices of the points to draw: the first, the last, and at most three for each bucket.

    The buckets divide the increasing ``xs`` into equal lengths. Each keeps its smallest and largest finite value and its
    first non-finite one.
    """
    count = len(xs)
    if count <= 2 or count <= buckets:
        return list(range(count))
    kept = {0, count - 1}
    for start, end in pairwise(_edges(xs, max(1, buckets))):
        kept.update(_of_bucket(values, start, end))
    return sorted(kept)


def _edges(xs: Sequence[float], buckets: int) -> list[int]:
    """Return the index at which each bucket begins, and the end."""
    first, width = xs[0], (xs[-1] - xs[0]) / buckets
    if not width > 0:
        return [0, len(xs)]
    edges, current = [0], 0
    for index, x in enumerate(xs):
        bucket = min(buckets - 1, int((x - first) / width))
        if bucket > current:
            edges.append(index)
            current = bucket
    return [*edges, len(xs)]


def _of_bucket(values: Sequence[float], start: int, end: int) -> set[int]:
    finite = [index for index in range(start, end) if abs(values[index]) < float("inf")]
    kept = set()
    if finite:
        kept = {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    if len(finite) < end - start:
        kept.add(next(index for index in range(start, end) if not math.isfinite(values[index])))
    return kept
