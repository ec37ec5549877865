"""A raster of braille dots, two by four in each character cell. Coordinates are in dots from the left and the top."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
CROSS = "✗"
"""Marks a non-finite value of a curve and the end of a failed run."""
FAR = 16.0
"""Distance beyond the frame, in axis lengths, at which lines are clipped to avoid overflow."""
_MARK_SHIFT = 0.381966
"""Shift of the markers from one curve to the next, as a fraction of their distance. The golden section keeps the markers of
any number of curves apart."""


def heights(fractions: Sequence[float], bottom: float) -> list[float]:
    """Convert fractions of the y axis to distances from the top; NaN stays NaN."""
    return [(1 - f) * bottom if -FAR < f < FAR else _clip_far(f, bottom) for f in fractions]


def _clip_far(fraction: float, bottom: float) -> float:
    return (1 - math.copysign(FAR, fraction)) * bottom if math.isfinite(fraction) else math.nan


def segments(xs: Sequence[float], ys: Sequence[float]) -> list[list[Point]]:
    """Split points into connected segments at non-finite coordinates."""
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
    """Return the point of a line at x; None outside."""
    for points in lines:
        if points[0][0] <= x <= points[-1][0]:
            index = max(1, bisect_left(points, (x, -math.inf)))
            if index >= len(points):
                return points[-1]
            (x0, y0), (x1, y1) = points[index - 1], points[index]
            return (x, y0 + (x - x0) / (x1 - x0) * (y1 - y0)) if x1 > x0 else (x1, y1)
    return None


def mark_positions(
    lines: Sequence[Sequence[Point]], right: float, bottom: float, count: int, index: float
) -> list[Point]:
    """Return about ``count`` marker positions on a curve, shifted by its index; the last point of a short curve."""
    count = max(1, count)
    targets = [(k + (0.2 + index * _MARK_SHIFT) % 1) / count * right for k in range(count)]
    positions = [point for x in targets if (point := at(lines, x)) and 0 <= point[1] <= bottom]
    if positions:
        return positions
    return [point for points in lines for point in points if 0 <= point[0] <= right and 0 <= point[1] <= bottom][-1:]


def crosses(values: Sequence[float], xs: Sequence[float], ys: Sequence[float], bottom: float) -> list[Point]:
    """Return the positions where values become non-finite, at the height of the last finite value, else at the top."""
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


WIDE, TALL = 2, 4
"""Dots per cell."""
_BITS = (0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80)
"""Bits of the dots in a cell, by column, then by row."""
_DASH = (4, 3)
"""Lengths of dashes and gaps in dots."""
_DOTTED = (1, 3)


class Raster:
    """Cells with dots, characters and shades. Each cell has the pen of the last object drawn in it.

    Pens and shades are indices that the caller defines.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = max(0, columns), max(0, rows)
        cells = self.columns * self.rows
        self.dots = bytearray(cells)
        self.pens = [-1] * cells
        """Pen of each cell, row by row; -1 if empty."""
        self.shades = [-1] * cells
        self.marks: dict[int, str] = {}
        """Characters that replace the dots of a cell."""
        self.right, self.bottom = WIDE * self.columns - 1, TALL * self.rows - 1
        """Coordinates of the last dots."""

    def line(self, points: Sequence[Point], pen: int, *, dashed: bool = False, dotted: bool = False) -> None:
        """Draw straight lines between consecutive points, clipped to the frame."""
        pattern = _DASH if dashed else _DOTTED if dotted else None
        if not self.columns or not self.rows:
            return
        if len(points) == 1:
            self._dot(*points[0], pen)
        phase = 0
        for start, end in pairwise(points):
            clipped = clip(start, end, self.right, self.bottom)
            if clipped is not None:
                phase = self._segment(*clipped, pen, pattern, phase)

    def mark(self, point: Point, char: str, pen: int) -> None:
        cell = self._cell(point)
        if cell is not None:
            self.marks[cell] = char
            self.pens[cell] = pen

    def shade(self, column: int, top: float, low: float, shade: int) -> None:
        """Shade the cells of a column whose centers lie between two heights."""
        first = math.ceil((max(-1.0, min(top, self.bottom + 9.0)) - 1.5) / TALL)
        last = math.floor((min(self.bottom + 1.0, max(low, -9.0)) - 1.5) / TALL)
        for row in range(max(0, first), min(self.rows - 1, last) + 1):
            self.shades[row * self.columns + column] = shade

    def text(self, cell: int) -> str:
        if cell in self.marks:
            return self.marks[cell]
        return chr(0x2800 + self.dots[cell]) if self.dots[cell] else " "

    def _cell(self, point: Point) -> int | None:
        x, y = point
        if not (-0.5 <= x <= self.right + 0.5 and -0.5 <= y <= self.bottom + 0.5) or not self.dots:
            return None
        column = min(self.columns - 1, max(0, round(x)) // WIDE)
        return min(self.rows - 1, max(0, round(y)) // TALL) * self.columns + column

    def _dot(self, x: float, y: float, pen: int) -> None:
        cell = self._cell((x, y))
        if cell is not None:
            self.dots[cell] |= _BITS[(max(0, round(x)) % WIDE) * TALL + max(0, round(y)) % TALL]
            self.pens[cell] = pen

    def _segment(
        self, x0: float, y0: float, x1: float, y1: float, pen: int, pattern: tuple[int, int] | None, phase: int
    ) -> int:
        """Set dots in equal steps along the longer axis. Return the new phase of the pattern."""
        dots, pens, columns = self.dots, self.pens, self.columns
        dx, dy = x1 - x0, y1 - y0
        steps = math.ceil(max(abs(dx), abs(dy))) or 1
        step_x, step_y = dx / steps, dy / steps
        x, y = x0 + 0.5, y0 + 0.5
        on, period = (pattern[0], sum(pattern)) if pattern else (1, 1)
        for index in range(steps + 1):
            if pattern is None or (phase + index) % period < on:
                column, row = int(x), int(y)
                cell = (row >> 2) * columns + (column >> 1)
                dots[cell] |= _BITS[((column & 1) << 2) | (row & 3)]
                pens[cell] = pen
            x += step_x
            y += step_y
        return phase + steps


def clip(start: Point, end: Point, right: float, bottom: float) -> tuple[float, float, float, float] | None:
    """Clip a line to the rectangle from (0, 0) to (right, bottom), by Liang and Barsky; None if it lies outside."""
    (x0, y0), (x1, y1) = start, end
    if 0 <= x0 <= right and 0 <= x1 <= right and 0 <= y0 <= bottom and 0 <= y1 <= bottom:
        return x0, y0, x1, y1
    dx, dy = x1 - x0, y1 - y0
    enters, leaves = 0.0, 1.0
    for step, distance in ((-dx, x0), (dx, right - x0), (-dy, y0), (dy, bottom - y0)):
        if step == 0:
            if distance < 0:
                return None
        elif step < 0:
            enters = max(enters, distance / step)
        else:
            leaves = min(leaves, distance / step)
    if not enters <= leaves:
        return None
    return (
        min(right, max(0.0, x0 + enters * dx)),
        min(bottom, max(0.0, y0 + enters * dy)),
        min(right, max(0.0, x0 + leaves * dx)),
        min(bottom, max(0.0, y0 + leaves * dy)),
    )
