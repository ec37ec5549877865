"""Ticks of an axis: as many round values with distinct labels as fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dnlbench.charts.model import Ticks
from dnlbench.charts.terminal.scale import Scale, scale_over

PREFIXES = {3: " k", 6: " M", 9: " G", 12: " T"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MIN_LOG_RATIO = 4.0
"""Ratio below which a logarithmic axis hardly differs from a linear one and has its ticks."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A tick value and its label."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class PositionedTick:
    """A tick of a horizontal axis."""

    column: int
    start: int
    """Column of the first character of the label."""
    label: str


Fits = Callable[[Sequence[Tick]], bool]


def ticks(scale: Scale, most: int, fits: Fits, *, kind: Ticks = "number") -> tuple[Tick, ...]:
    """Return as many ticks as fit, at most ``most``. Empty if none fit."""
    for candidate in _candidates(scale, most, kind):
        if len(candidate) <= most and fits(candidate):
            return candidate
    return ()


def row_ticks(
    scale: Scale, columns: int, *, room: int | None = None, kind: Ticks = "number"
) -> tuple[PositionedTick, ...]:
    """Return the ticks of a horizontal axis with well separated labels. Labels that end beyond ``room`` are empty."""
    apart = 2 if columns < 50 else 4

    def position(candidate: Sequence[Tick]) -> list[PositionedTick]:
        return _positioned(candidate, scale, columns, columns if room is None else room)

    def fits(candidate: Sequence[Tick]) -> bool:
        labeled = [each for each in position(candidate) if each.label]
        clear = all(b.start - a.start - len(a.label) >= apart for a, b in pairwise(labeled))
        return clear and all(each.start >= 0 for each in labeled)

    return tuple(position(ticks(scale, max(1, columns // 3), fits, kind=kind)))


def column_ticks(scale: Scale, rows: int, *, kind: Ticks = "number") -> dict[int, str]:
    """Return the labels of a vertical axis by row, from the top."""
    apart = 4 if rows >= 24 else 3 if rows >= 9 else 2

    def fits(candidate: Sequence[Tick]) -> bool:
        return all(a - b >= apart for a, b in pairwise(_row(tick, scale, rows) for tick in candidate))

    chosen = ticks(scale, max(1, rows // apart + 1), fits, kind=kind)
    return {_row(tick, scale, rows): tick.label for tick in chosen}


def _row(tick: Tick, scale: Scale, rows: int) -> int:
    """Return the row of the cell that contains the dot; a cell has four rows of dots."""
    return round((1 - scale.fraction(tick.value)) * (4 * rows - 1)) // 4


def _positioned(candidate: Sequence[Tick], scale: Scale, columns: int, room: int) -> list[PositionedTick]:
    result = []
    for tick in candidate:
        column = round(scale.fraction(tick.value) * (2 * columns - 1)) // 2
        start = max(0, min(column - len(tick.label) // 2, columns - len(tick.label)))
        label = tick.label if start + len(tick.label) <= room else ""
        result.append(PositionedTick(column=column, start=start, label=label))
    return result


def _candidates(scale: Scale, most: int, kind: Ticks) -> Iterator[tuple[Tick, ...]]:
    """Yield candidate ticks, from many to few."""
    if kind == "percent":
        percent = scale_over(100 * scale.low, 100 * scale.high, log=scale.log)
        for candidate in _candidates(percent, most, "number"):
            scaled = (Tick(value=tick.value / 100, label=f"{tick.label} %") for tick in candidate)
            yield tuple(tick for tick in scaled if _is_inside(tick.value, scale))  # the smallest floats are coarse
        return
    base = 2 if kind == "depth" else 10
    if scale.log and scale.high / scale.low >= _MIN_LOG_RATIO:
        for values in _log_values(scale.low, scale.high, most, base):
            if len(values) >= 2:
                yield tuple(Tick(value=v, label=t) for v, t in zip(values, _log_labels(values, base), strict=True))
    for multiples, step in _linear_values(scale.low, scale.high, most, kind in ("integer", "depth")):
        values = [value for value in multiples if _is_inside(value, scale)]
        yield tuple(Tick(value=v, label=t) for v, t in zip(values, linear_labels(values, step), strict=True))


def _is_inside(value: float, scale: Scale) -> bool:
    return -1e-6 <= scale.fraction(value) <= 1 + 1e-6


def _linear_values(low: float, high: float, most: int, integers: bool) -> Iterator[tuple[list[float], float]]:
    """Yield multiples of 1, 2 or 5 times a power of ten, with their step, while there are any."""
    power = math.floor(math.log10(high - low) - math.log10(max(1, most)))
    if integers:
        power = max(0, power)
    for exponent in range(power, power + 20):
        for mantissa in (1, 2, 5):
            values = _multiples(low, high, mantissa, exponent)
            if not values:
                return
            yield values, mantissa * 10.0**exponent


def _multiples(low: float, high: float, mantissa: int, exponent: int) -> list[float]:
    """Return multiples of a step, each the float closest to its decimal notation."""
    step = mantissa * 10.0**exponent
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if exponent >= 0:
        return [float(k * mantissa * 10**exponent) for k in range(first, last + 1)]
    return [k * mantissa / 10**-exponent for k in range(first, last + 1)]


def _log_values(low: float, high: float, most: int, base: int) -> Iterator[list[float]]:
    """Yield logarithmic ticks, from many to few.

    Base 10: 1 to 9, then 1, 2 and 5, then 1 and 3 of each decade, then every, every second, … decade. Other bases: powers.
    """
    first, last = _floor_log(low, base), _floor_log(high, base) + 1
    powers = {exponent: float(base) ** exponent for exponent in range(first, last + 1)}
    inside = [exponent for exponent, power in powers.items() if low * (1 - 1e-9) <= power <= high * (1 + 1e-9)]
    if base == 10 and last - first <= most:
        for mantissas in (range(1, 10), (1, 2, 5), (1, 3)):
            values = [_decimal(m, exponent) for exponent in powers for m in mantissas]
            yield [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    for stride in range(1, len(inside) + 1):
        kept = [exponent for exponent in inside if exponent % stride == 0]
        yield [_decimal(1, exponent) if base == 10 else powers[exponent] for exponent in kept]


def _floor_log(value: float, base: int) -> int:
    return max(-307 if base == 10 else -1000, math.floor(math.log(value) / math.log(base) + 1e-9))


def _decimal(mantissa: int, exponent: int) -> float:
    """Return the float closest to the decimal notation."""
    return float(mantissa * 10**exponent) if exponent >= 0 else mantissa / 10**-exponent


def linear_labels(values: Sequence[float], step: float) -> list[str]:
    """Format ticks with the decimals that the step needs. Large or small ticks share one power of ten or one prefix."""
    largest = max(map(abs, values), default=0.0)
    exponent, unit = _common_unit(largest)
    decimals = max(0, exponent - math.floor(math.log10(step) + 1e-9))
    return [_with_unit(f"{value / 10.0**exponent:.{decimals}f}", unit) for value in values]


def _common_unit(largest: float) -> tuple[int, str]:
    if largest == 0 or 1e-3 <= largest < 1e4:
        return 0, ""
    exponent = math.floor(math.log10(largest) + 1e-9)
    if largest < 1e-3 or exponent >= 15:
        return exponent, f"·10{str(exponent).translate(_RAISED)}"
    return exponent // 3 * 3, PREFIXES[exponent // 3 * 3]


def _with_unit(text: str, unit: str) -> str:
    if not text.strip("-0."):
        return "0"
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    if digits == "1" and unit.startswith("·"):
        return f"{sign}{unit[1:]}"
    return f"{sign}{digits}{unit}"


def _log_labels(values: Sequence[float], base: int) -> list[str]:
    """Format logarithmic ticks consistently: 0.001 in decimals only if it is the smallest."""
    smallest = 1e-3 if min(values) >= 1e-3 * (1 - 1e-9) else 1e-2
    return [_log_label(value, smallest, base) for value in values]


def _log_label(value: float, smallest: float, base: int) -> str:
    if base != 10 and 1 <= value < 2**20:
        return f"{value:.0f}"
    if smallest * (1 - 1e-9) <= value < 1e4:
        return f"{value:.10g}" if base == 10 else f"{value:.4g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.3g}"
    if 4 <= exponent < 15:
        thousands = exponent // 3 * 3
        return f"{value / 10.0**thousands:.4g}{PREFIXES[thousands]}"
    return _with_unit(mantissa, f"·10{str(exponent).translate(_RAISED)}")
