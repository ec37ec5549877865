"""Where an axis has ticks and what stands there: round values, each with a label of its own, as many as there is room for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dnlbench.charts.model import Ticks
from dnlbench.charts.terminal.scale import Scale, scale_over

PREFIXES = {3: " k", 6: " M", 9: " G", 12: " T"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHORT_LOG = 4.0
"""A logarithmic axis over a smaller ratio hardly differs from a linear one, and has its ticks."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A value with a label."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class PositionedTick:
    """A tick below an axis."""

    column: int
    start: int
    """Column of its label's first character."""
    label: str


Fits = Callable[[Sequence[Tick]], bool]


def ticks(scale: Scale, most: int, fits: Fits, *, kind: Ticks = "number") -> tuple[Tick, ...]:
    """The most ticks, at most ``most``, that fit. None if not even one does."""
    for found in _candidates(scale, most, kind):
        if len(found) <= most and fits(found):
            return found
    return ()


def row_ticks(
    scale: Scale, columns: int, *, room: int | None = None, kind: Ticks = "number"
) -> tuple[PositionedTick, ...]:
    """Ticks of an axis that lies, their labels well apart. Those that do not end within ``room`` are empty."""
    apart = 2 if columns < 50 else 4

    def placed(found: Sequence[Tick]) -> list[PositionedTick]:
        return _placed(found, scale, columns, columns if room is None else room)

    def fits(found: Sequence[Tick]) -> bool:
        said = [each for each in placed(found) if each.label]
        clear = all(b.start - a.start - len(a.label) >= apart for a, b in pairwise(said))
        return clear and all(each.start >= 0 for each in said)

    return tuple(placed(ticks(scale, max(1, columns // 3), fits, kind=kind)))


def column_ticks(scale: Scale, rows: int, *, kind: Ticks = "number") -> dict[int, str]:
    """Labels of an axis that stands, by row from the top."""
    apart = 4 if rows >= 24 else 3 if rows >= 9 else 2

    def fits(found: Sequence[Tick]) -> bool:
        return all(a - b >= apart for a, b in pairwise(_row(tick, scale, rows) for tick in found))

    found = ticks(scale, max(1, rows // apart + 1), fits, kind=kind)
    return {_row(tick, scale, rows): tick.label for tick in found}


def _row(tick: Tick, scale: Scale, rows: int) -> int:
    """The cell that has the dot: there are four in a cell."""
    return round((1 - scale.fraction(tick.value)) * (4 * rows - 1)) // 4


def _placed(found: Sequence[Tick], scale: Scale, columns: int, room: int) -> list[PositionedTick]:
    result = []
    for tick in found:
        column = round(scale.fraction(tick.value) * (2 * columns - 1)) // 2
        start = max(0, min(column - len(tick.label) // 2, columns - len(tick.label)))
        label = tick.label if start + len(tick.label) <= room else ""
        result.append(PositionedTick(column=column, start=start, label=label))
    return result


def _candidates(scale: Scale, most: int, kind: Ticks) -> Iterator[tuple[Tick, ...]]:
    """From many ticks to few."""
    if kind == "percent":
        percent = scale_over(100 * scale.low, 100 * scale.high, log=scale.log)
        for found in _candidates(percent, most, "number"):
            shares = (Tick(value=tick.value / 100, label=f"{tick.label} %") for tick in found)
            yield tuple(share for share in shares if _is_inside(share.value, scale))  # the smallest floats are coarse
        return
    base = 2 if kind == "depth" else 10
    if scale.log and scale.high / scale.low >= _SHORT_LOG:
        for values in _log_values(scale.low, scale.high, most, base):
            if len(values) >= 2:
                yield tuple(Tick(value=v, label=t) for v, t in zip(values, _log_labels(values, base), strict=True))
    for multiples, step in _linear_values(scale.low, scale.high, most, kind in ("integer", "depth")):
        values = [value for value in multiples if _is_inside(value, scale)]
        yield tuple(Tick(value=v, label=t) for v, t in zip(values, linear_labels(values, step), strict=True))


def _is_inside(value: float, scale: Scale) -> bool:
    return -1e-6 <= scale.fraction(value) <= 1 + 1e-6


def _linear_values(low: float, high: float, most: int, integers: bool) -> Iterator[tuple[list[float], float]]:
    """Multiples of 1, 2 or 5 times a power of ten, with their step, until there are none."""
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
    """Each the float next to its decimal notation."""
    step = mantissa * 10.0**exponent
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if exponent >= 0:
        return [float(k * mantissa * 10**exponent) for k in range(first, last + 1)]
    return [k * mantissa / 10**-exponent for k in range(first, last + 1)]


def _log_values(low: float, high: float, most: int, base: int) -> Iterator[list[float]]:
    """Of ten: 1 to 9, then 1, 2 and 5, then 1 and 3 of each decade, decades, every second, …; of another base: its powers."""
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
    """The float next to the decimal notation."""
    return float(mantissa * 10**exponent) if exponent >= 0 else mantissa / 10**-exponent


def linear_labels(values: Sequence[float], step: float) -> list[str]:
    """With as many decimals as the step needs and one power of ten for all, or one prefix, where they are large or small."""
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
    """Powers of ten in one way: as 0.001 only if there is nothing smaller."""
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
