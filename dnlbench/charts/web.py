"""Charts as plain JSON values, which the script of a page draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dnlbench import units
from dnlbench.charts.model import Axis, Chart, Series
from dnlbench.charts.scales import drawable
from dnlbench.escape import printable
from dnlbench.stats import ends_of, range_of

MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.5,-3.5h7v7h-7z",
    "M0,-4.6L4.4,3.4H-4.4z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.6L4.4,-3.4H-4.4z",
    "M-4.5,-1.4h3.1v-3.1h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1z",
    "M-4.4,-2L0,-5L4.4,-2L2.8,4H-2.8z",
    "M-5,-2.6h10v5.2h-10z",
)
"""SVG paths around the origin, of similar size."""
CROSS = "M-4,-4L4,4M-4,4L4,-4"
"""The end of a curve whose run diverged or failed."""
COLORS = 8
"""Classes ``c0``, ``c1``, … of the style sheet."""
DASHES = 4
DIGITS = 5
"""Significant digits of the numbers in a page: finer than any screen."""


def chart_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script reads."""
    return {"charts": [_chart(chart) for chart in charts], "marks": MARKS, "cross": CROSS}


def described(chart: Chart) -> str:
    """The chart for readers who do not see it."""
    means = [each for each in chart.series if each.role == "mean" and each.y]
    ends = [f"{each.label}: {units.number(each.y[0])} to {units.number(each.y[-1])}" for each in means]
    return f"{chart.title}: {chart.y.text} against {chart.x.text}. " + "; ".join(ends)


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": printable(chart.title),
        "text": printable(described(chart)),
        "x": _axis(chart.x, []),
        "y": _axis(chart.y, [y for each in chart.series for y in each.y if math.isfinite(y)]),
        "series": [_series(each) for each in chart.series],
    }


def _axis(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    least, most = map(_value, ends_of(range_of(values, axis.range) if values else axis.range))
    return {"text": printable(axis.text), "log": axis.scale == "log", "ticks": axis.ticks, "least": least, "most": most}


def _series(series: Series) -> dict[str, Any]:
    place = series.identity.index
    return {
        "key": series.key,
        "parent": series.parent,
        "label": printable(series.label),
        "role": series.role,
        "listed": not series.parent,
        "color": place % COLORS,
        "mark": (place + place // COLORS) % len(MARKS),
        "dash": series.identity.profile % DASHES,
        "x": [_value(value) for value in series.x],
        **{end: [_value(value) for value in getattr(series, end) or ()] for end in ("y", "low", "high")},
        "points": series.points,
        "joined": series.joined,
        "failed": series.failed,
    }


def _value(value: float) -> float | int | None:
    """None for what JSON or an axis cannot hold."""
    shown = drawable(value)
    if shown is None:
        return None
    short = float(f"{shown:.{DIGITS}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short
