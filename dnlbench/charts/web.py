"""Charts as plain JSON values for the script of an HTML report."""

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
"""Marker shapes: SVG paths of similar size, centered at the origin."""
CROSS = "M-4,-4L4,4M-4,4L4,-4"
"""The marker at the end of a run that diverged or failed."""
COLORS = 8
"""Number of color classes ``c0``, ``c1``, … in the style sheet."""
DASHES = 4
DIGITS = 5
"""Significant digits of the numbers in a page, more than any screen resolves."""


def chart_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """Return the data that the script reads."""
    return {"charts": [_chart(chart) for chart in charts], "marks": MARKS, "cross": CROSS}


def describe(chart: Chart) -> str:
    """Return the alternative text of a chart."""
    means = [each for each in chart.series if each.role == "mean" and each.y]
    ends = [f"{each.label}: {units.number(each.y[0])} to {units.number(each.y[-1])}" for each in means]
    return f"{chart.title}: {chart.y.text} vs. {chart.x.text}. " + "; ".join(ends)


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": printable(chart.title),
        "text": printable(describe(chart)),
        "x": _axis(chart.x, []),
        "y": _axis(chart.y, [y for each in chart.series for y in each.y if math.isfinite(y)]),
        "series": [_series(each) for each in chart.series],
    }


def _axis(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    least, most = map(_value, ends_of(range_of(values, axis.range) if values else axis.range))
    return {"text": printable(axis.text), "log": axis.scale == "log", "ticks": axis.ticks, "least": least, "most": most}


def _series(series: Series) -> dict[str, Any]:
    index = series.identity.index
    return {
        "key": series.key,
        "parent": series.parent,
        "label": printable(series.label),
        "role": series.role,
        "listed": not series.parent,
        "color": index % COLORS,
        "mark": (index + index // COLORS) % len(MARKS),
        "dash": series.identity.profile % DASHES,
        "x": [_value(value) for value in series.x],
        **{end: [_value(value) for value in getattr(series, end) or ()] for end in ("y", "low", "high")},
        "names": [printable(name) for name in series.names],
        "points": series.points,
        "joined": series.joined,
        "failed": series.failed,
    }


def _value(value: float) -> float | int | None:
    """Round a value; return None if JSON or an axis cannot represent it."""
    clipped = drawable(value)
    if clipped is None:
        return None
    rounded = float(f"{clipped:.{DIGITS}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded
