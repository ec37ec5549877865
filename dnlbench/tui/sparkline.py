"""Curves of one line of text: pure functions of values and a width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800
"""The cell without dots."""
DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""What each dot adds to it: left and right column, each from the bottom up."""


def sparkline(values: Sequence[float | None], width: int, low: float = 0.0, high: float | None = None) -> str:
    """The newest values as bars, one a cell, the newest at the right; what is not known is blank.

    Args:
        values: the oldest first.
        width: number of cells that the text has in any case.
        low: what the lowest bar stands for, which everything below it has too.
        high: what the highest bar stands for; None for the largest value that is shown.
    """
    shown = [math.nan if value is None else value for value in values[max(0, len(values) - width) :]][: max(0, width)]
    top = max((value for value in shown if math.isfinite(value)), default=low) if high is None else high
    return "".join(_bar(value, low, top) for value in shown).rjust(width)


def _bar(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return " "
    if value <= low or high <= low:
        return BARS[0]
    if value >= high:
        return BARS[-1]
    return BARS[_level(value, low, high, len(BARS))]


def braille_sparkline(values: Sequence[float | None], width: int) -> str:
    """A whole curve as dots, two columns of four a cell, from the smallest value to the largest; not finite ones are gaps.

    The values, the oldest first, grow from the left until they take the whole width, then each column of dots is a mean of
    neighbors. The text has ``width`` cells in any case.
    """
    columns = _columns([math.nan if value is None else value for value in values], 2 * width)
    finite = [value for value in columns if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    dots = [_dot(value, low, high, index % 2) for index, value in enumerate(columns)]
    cells = (sum(dots[index : index + 2]) for index in range(0, len(dots), 2))
    return "".join(chr(BRAILLE + cell) if cell else " " for cell in cells).ljust(width)


def _columns(values: list[float], count: int) -> list[float]:
    if len(values) <= count:
        return values
    edges = [index * len(values) // count for index in range(count + 1)] if count > 0 else []
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan


def _dot(value: float, low: float, high: float, column: int) -> int:
    if not math.isfinite(value):
        return 0
    dots = DOTS[column]
    return dots[_level(value, low, high, len(dots)) if high > low else 0]


def _level(value: float, low: float, high: float, count: int) -> int:
    fraction = (value / 2 - low / 2) / (high / 2 - low / 2)  # the whole of a difference may be more than a float holds
    return min(count - 1, int(fraction * (count - 1) + 0.5))
