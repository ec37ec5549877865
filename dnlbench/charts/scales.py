"""The scale of the y axis, and notes on values that it cannot show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnlbench import units
from dnlbench.charts.model import Chart, Scale, Series
from dnlbench.stats import Range, ends_of, range_of

MIN_LOG_RATIO = 8.0
"""Ratio of the largest to the smallest mean from which the y axis is logarithmic."""
LARGEST = 1e250
"""Largest magnitude that charts show; its inverse is the smallest. Margins and ticks beyond it are still finite floats."""
_OUTSIDE = {"any": "", "positive": "below 0", "fraction": "outside 0 to 1"}


def with_scale(chart: Chart, *, prefer_log: bool, log: bool | None = None) -> Chart:
    """Return the chart with the scale of its y axis and notes on values that the axis cannot show.

    The axis is logarithmic if all means are above 0, and if a logarithmic one is preferred or the means span a factor of
    `MIN_LOG_RATIO`. Fractions are on a logarithmic axis only if one is preferred.

    Args:
        chart: a chart with a linear y axis.
        prefer_log: the default of the study, for losses and if a slope is an order or an exponent.
        log: the choice of the user, which overrides the rule.
    """
    wanted = _suits_log(chart, prefer_log) if log is None else log
    scale: Scale = "log" if wanted else "linear"
    return replace(chart, y=replace(chart.y, scale=scale), notes=(*chart.notes, *cannot_show(chart, scale)))


def cannot_show(chart: Chart, scale: Scale) -> Iterator[str]:
    """Yield notes on values and intervals beyond the axis."""
    measured = [each for each in chart.series if each.role in ("mean", "run")]
    hidden = sum(y <= 0 for each in measured for y in each.y) if scale == "log" else 0
    if hidden:
        verb = "is" if hidden == 1 else "are"
        yield f"{units.counted(hidden, 'value')} ≤ 0 {verb} not shown on the logarithmic axis."
    range_ = _range(chart.y.range, measured)
    least, most = ends_of(range_)
    ends = [end for each in measured for end in (*(each.low or ()), *(each.high or ()))]
    beyond = sum(end < least or end > most for end in ends)
    if beyond:
        yield f"{units.counted(beyond, 'interval bound')} {_OUTSIDE[range_]} cut at the axis: no value can lie there."


def _range(declared: Range, measured: Sequence[Series]) -> Range:
    values = [y for each in measured for y in each.y if math.isfinite(y)]
    return range_of(values, declared) if values else declared


def _suits_log(chart: Chart, preferred: bool) -> bool:
    values = [y for each in chart.series if each.role == "mean" for y in each.y if math.isfinite(y)]
    if not values:
        return preferred
    wide = chart.y.range != "fraction" and max(values) >= MIN_LOG_RATIO * min(values)
    return min(values) > 0 and (preferred or wide)


def drawable(value: float) -> float | None:
    """Return the value, 0 if it is too small for charts, or None if it is too large, infinite or NaN."""
    if not abs(value) <= LARGEST:  # false for NaN, too
        return None
    return value if abs(value) >= 1 / LARGEST else 0.0
