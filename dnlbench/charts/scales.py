"""The scale of the y axis, and what an axis cannot show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnlbench import units
from dnlbench.charts.model import Chart, Scale, Series
from dnlbench.stats import Range, ends_of, range_of

WIDE = 8.0
"""Values that span this factor have a logarithmic axis."""
LARGEST = 1e250
"""Charts show numbers of at most this size, and at least its inverse: margins and ticks beyond them are floats, too."""
_SPANS = {"any": "", "positive": "below 0", "fraction": "outside 0 to 1"}


def with_scale(chart: Chart, *, prefer_log: bool, log: bool | None = None) -> Chart:
    """The chart with the scale of its y axis, and notes on what that axis cannot show.

    The axis is logarithmic if all means are above 0, and if a logarithmic one is preferred or the means span a factor of
    `WIDE`. Shares are on a logarithmic axis only if that is preferred.

    Args:
        chart: with a linear y axis.
        prefer_log: the study's choice: for losses, and where a slope is an order or an exponent.
        log: the user's choice, which overrides the rule.
    """
    wanted = _suits_log(chart, prefer_log) if log is None else log
    scale: Scale = "log" if wanted else "linear"
    return replace(chart, y=replace(chart.y, scale=scale), notes=(*chart.notes, *cannot_show(chart, scale)))


def cannot_show(chart: Chart, scale: Scale) -> Iterator[str]:
    """Notes on values and intervals that are not where the axis is."""
    measured = [each for each in chart.series if each.role in ("mean", "run")]
    hidden = sum(y <= 0 for each in measured for y in each.y) if scale == "log" else 0
    if hidden:
        verb = "is" if hidden == 1 else "are"
        yield f"{units.counted(hidden, 'value')} {verb} not above 0 and cannot be shown on a logarithmic axis."
    range_ = _range(chart.y.range, measured)
    least, most = ends_of(range_)
    ends = [end for each in measured for end in (*(each.low or ()), *(each.high or ()))]
    beyond = sum(end < least or end > most for end in ends)
    if beyond:
        yield f"Cut at the axis: {units.counted(beyond, 'end')} of intervals {_SPANS[range_]}, where no value can be."


def _range(declared: Range, measured: Sequence[Series]) -> Range:
    values = [y for each in measured for y in each.y if math.isfinite(y)]
    return range_of(values, declared) if values else declared


def _suits_log(chart: Chart, preferred: bool) -> bool:
    values = [y for each in chart.series if each.role == "mean" for y in each.y if math.isfinite(y)]
    if not values:
        return preferred
    wide = chart.y.range != "fraction" and max(values) >= WIDE * min(values)
    return min(values) > 0 and (preferred or wide)


def drawable(value: float) -> float | None:
    """The value; 0 if it is smaller than charts can show; None if it is too large, infinite or NaN."""
    if not abs(value) <= LARGEST:  # false for NaN, too
        return None
    return value if abs(value) >= 1 / LARGEST else 0.0
