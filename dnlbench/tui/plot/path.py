"""Curves as lines on a surface, whose distances are from the left and from the top."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

Point = tuple[float, float]
CROSS = "✗"
"""Where a curve has a value that is not finite, and at the end of one that diverged."""
FAR = 16.0
"""Axis lengths beyond the frame at which lines that leave it are cut, so that nothing overflows."""
_STAGGER = 0.381966
"""Of the distance between marks, from one series to the next: the golden section keeps those of any number of them apart."""


def heights(fractions: Sequence[float], bottom: float) -> list[float]:
    """Distances from the top for places on the y axis; NaN where there is none."""
    return [(1 - f) * bottom if -FAR < f < FAR else _far(f, bottom) for f in fractions]


def _far(fraction: float, bottom: float) -> float:
    return (1 - math.copysign(FAR, fraction)) * bottom if math.isfinite(fraction) else math.nan


def stretches(xs: Sequence[float], ys: Sequence[float]) -> list[list[Point]]:
    """Points that are connected: up to where one has no place."""
    if math.isfinite(sum(xs) + sum(ys)):
        return [list(zip(xs, ys, strict=True))] if xs else []
    result: list[list[Point]] = [[]]
    for point in zip(xs, ys, strict=True):
        if math.isfinite(point[0]) and math.isfinite(point[1]):
            result[-1].append(point)
        elif result[-1]:
            result.append([])
    return [each for each in result if each]


def at(lines: Sequence[Sequence[Point]], x: float) -> Point | None:
    """The point of a line at x."""
    for points in lines:
        if points[0][0] <= x <= points[-1][0]:
            index = max(1, bisect_left(points, (x, -math.inf)))
            if index >= len(points):
                return points[-1]
            (x0, y0), (x1, y1) = points[index - 1], points[index]
            return (x, y0 + (x - x0) / (x1 - x0) * (y1 - y0)) if x1 > x0 else (x1, y1)
    return None


def on_the_way(lines: Sequence[Sequence[Point]], right: float, bottom: float, count: int, place: int) -> list[Point]:
    """About that many places on a curve, others for each series; its last one if it is too short for that."""
    count = max(1, count)
    targets = [(k + (0.2 + place * _STAGGER) % 1) / count * right for k in range(count)]
    found = [point for x in targets if (point := at(lines, x)) and 0 <= point[1] <= bottom]
    if found:
        return found
    return [point for points in lines for point in points if 0 <= point[0] <= right and 0 <= point[1] <= bottom][-1:]


def crosses(values: Sequence[float], xs: Sequence[float], ys: Sequence[float], bottom: float) -> list[Point]:
    """Where values begin not to be finite, at the height of the last that was; at the top if there was none."""
    if math.isfinite(sum(values)):
        return []
    result, last, was_finite = [], 0.0, True
    for value, x, y in zip(values, xs, ys, strict=True):
        if not math.isfinite(value) and was_finite:
            result.append((x, last))
        was_finite = math.isfinite(value)
        if math.isfinite(y):
            last = max(0.0, min(bottom, y))
    return result
