"""The curves of a chart in a view: what is visible, smoothed, from the back to the front, without points that nobody sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dnlbench.charts.model import Chart, Series
from dnlbench.charts.palette import OKABE_ITO
from dnlbench.charts.terminal.view import View

MARKS = "●▲■◆✚✖★▼◀▶"
"""One for each network and depth, so that color never stands alone."""
ANSI = ("ansi_bright_blue", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_cyan", "ansi_bright_yellow")
"""The terminal's own colors, for people who chose them."""
_MARKS_APART = 3
"""Between the marks of a network in one profile and the next."""
_GUIDES = ("fit", "limit", "theory")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Something to draw."""

    series: Series
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Empty, as ``high``, without intervals."""
    high: Sequence[float] = ()
    faint: bool = False
    bold: bool = False
    marked: bool = False
    """Whether it carries the series' marks."""


def color_of(series: Series, *, ansi: bool = False) -> str:
    """As Textual and Rich parse it; empty: the foreground."""
    colors = ANSI if ansi else OKABE_ITO
    return colors[series.identity.index % len(colors)] if series.identity.label else ""


def mark_of(series: Series) -> str:
    """One character; empty for lines to compare with. The points of each profile have marks of their own."""
    if series.role in _GUIDES:
        return ""
    place = series.identity.index + (_MARKS_APART * series.identity.profile if series.points else 0)
    return MARKS[place % len(MARKS)]


def is_dashed(series: Series) -> bool:
    """Whether it is a line to compare with, or of a profile that is compared with the first."""
    return series.role in _GUIDES or series.identity.profile > 0


def visible(chart: Chart, view: View) -> list[Series]:
    """Series that are not switched off."""
    return [each for each in chart.series if not {each.key, each.parent} & view.hidden]


def legend_series(chart: Chart) -> list[Series]:
    """Series that can be chosen and switched off."""
    return [each for each in chart.series if not each.parent]


def curves(chart: Chart, view: View) -> list[Curve]:
    """What is drawn, in this order: faint ones, lines to compare with, the others, and on top the one that is chosen."""
    ordered = sorted(
        visible(chart, view), key=lambda s: (s.key == view.focus_series, not s.parent, s.role not in _GUIDES)
    )
    return [curve for series in ordered for curve in _of_series(series, view)]


def smoothing_of(series: Series, view: View) -> float:
    """Weight of its smoothing: neither a few measured points nor a fit is smoothed."""
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
    """x, y, low and high of the points that have an x. The interval of a limit stands in the notes."""
    x, y, low, high = series.x, series.y, series.low or (), series.high or ()
    if series.role == "limit" or not (low and high):
        low = high = ()
    if all(map(math.isfinite, x)):
        return x, y, low, high
    kept = [index for index, each in enumerate(x) if math.isfinite(each)]
    return tuple([column[index] for index in kept] if column else () for column in (x, y, low, high))  # type: ignore[return-value]


def as_viewed(chart: Chart, view: View) -> Chart:
    """The chart with the series, scales, smoothing and part of the x axis of a view, for other renderers."""
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
    kept = [index for index, place in enumerate(series.x) if first <= place <= last]
    if len(kept) == len(series.x):
        return series
    x, y = ([column[index] for index in kept] for column in (series.x, series.y))
    low, high = (column and [column[index] for index in kept] for column in (series.low, series.high))
    return replace(series, x=x, y=y, low=low, high=high)


def smoothed(values: Iterable[float], weight: float) -> list[float]:
    """Exponential moving average without the bias of its start.

    With the weight w in [0, 1), over the finite values y₁, y₂, …::

        s_k = w s_{k-1} + (1 - w) y_k,   s_0 = 0
        ŷ_k = s_k / (1 - w^k)

    A value that is not finite stays as it is, where it is, and those after it are averaged as if it had not been there.

    Raises:
        ValueError: if the weight is not in [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a weight is at least 0 and below 1, not {weight}")
    state, forgotten = 0.0, 1.0
    result = []
    for value in values:
        if math.isfinite(value):
            state = weight * state + (1 - weight) * value
            forgotten *= weight
            result.append(state / (1 - forgotten))
        else:
            result.append(value)
    return result


def decimated(places: Sequence[float], values: Sequence[float], buckets: int) -> list[int]:
    """Indices of the points to draw, growing: at most three for each bucket, the first and the last.

    The buckets are of one length along ``places``, which grow. Of each stay the least and the largest of its finite values
    and the first that is not finite.
    """
    count = len(places)
    if count <= 2 or count <= buckets:
        return list(range(count))
    kept = {0, count - 1}
    for start, end in pairwise(_edges(places, max(1, buckets))):
        kept.update(_of_bucket(values, start, end))
    return sorted(kept)


def _edges(places: Sequence[float], buckets: int) -> list[int]:
    """Indices at which a bucket begins, and the end."""
    first, width = places[0], (places[-1] - places[0]) / buckets
    if not width > 0:
        return [0, len(places)]
    edges, current = [0], 0
    for index, place in enumerate(places):
        bucket = min(buckets - 1, int((place - first) / width))
        if bucket > current:
            edges.append(index)
            current = bucket
    return [*edges, len(places)]


def _of_bucket(values: Sequence[float], start: int, end: int) -> set[int]:
    finite = [index for index in range(start, end) if abs(values[index]) < float("inf")]
    kept = set()
    if finite:
        kept = {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    if len(finite) < end - start:
        there = set(finite)
        kept.add(next(index for index in range(start, end) if index not in there))
    return kept
