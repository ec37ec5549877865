"""Curves in one line of text, as pure functions of values and a width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800
"""Code point of the cell without dots."""
DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Bits of the dots in the left and the right column, from the bottom up."""


def sparkline(values: Sequence[float | None], width: int, low: float = 0.0, high: float | None = None) -> str:
    """Return the newest values as bars, one per cell, the newest at the right. Unknown values are blank.

    Args:
        values: the oldest first.
        width: number of cells of the text.
        low: value of the lowest bar; smaller values have the lowest bar too.
        high: value of the highest bar; None: the largest of these values.
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
    """Return a curve in Braille dots, two columns of four dots per cell, scaled from the smallest to the largest value.

    The oldest value is at the left. If there are more values than columns of dots, each column is the mean of adjacent
    values. Non-finite values are gaps. The text has ``width`` cells.
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
    fraction = (value / 2 - low / 2) / (high / 2 - low / 2)  # halved, because the difference may overflow
    return min(count - 1, int(fraction * (count - 1) + 0.5))
