"""Where an axis has ticks and what stands there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from dnlbench import units
from dnlbench.report.figures.panel import Ticks

SHORT_LOG = 4.0
"""A logarithmic axis over a smaller ratio hardly differs from a linear one, and has its ticks."""
INFINITY = "∞"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Marks = list[tuple[float, str]]
"""Values with their labels."""


def value_ticks(low: float, high: float, most: int, *, log: bool, kind: Ticks) -> Marks:
    """Round values of an axis, two at least if there is any way, and no more than ``most`` where that allows it."""
    best: list[float] = []
    for values in _candidates(low, high, most, log=log, whole=kind == "whole"):
        if len(values) >= 2 or not best:
            best = values
        if len(best) <= most:
            break
    return list(zip(best, _labels(best, kind), strict=True))


def depth_ticks(depths: Sequence[float], apart: Callable[[float, float], bool]) -> tuple[Marks, list[float]]:
    """The depths that there are: those whose labels are clear of each other, and the others.

    The largest has its label, then powers of two, then what there is room for.

    Args:
        depths: increasing.
        apart: whether there is room for the labels of two depths.
    """
    kept: list[float] = []
    for depth in sorted(depths, key=lambda d: (d == depths[-1], math.log2(d).is_integer(), d), reverse=True):
        if all(apart(min(depth, other), max(depth, other)) for other in kept):
            kept.append(depth)
    return [(depth, f"{depth:.0f}") for depth in sorted(kept)], [depth for depth in depths if depth not in kept]


def minor_log_ticks(low: float, high: float) -> list[float]:
    """1 to 9 of each decade, if there are few decades."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    if last - first > 8:
        return []
    values = (_decimal(m, e) for e in range(first, last + 1) for m in range(1, 10))
    return [value for value in values if low <= value <= high]


def _candidates(low: float, high: float, most: int, *, log: bool, whole: bool) -> Iterator[list[float]]:
    """From many to few."""
    if log and high / low >= SHORT_LOG:
        first, last = math.floor(math.log10(low)), math.floor(math.log10(high)) + 1
        sets: list[Sequence[int]] = [(1, 2, 5), (1, 3)] if last - first <= most else []
        for mantissas in sets:
            values = [_decimal(m, e) for e in range(first, last + 1) for m in mantissas]
            yield [value for value in values if _within(value, low, high)]
        decades = [e for e in range(first, last + 1) if _within(_decimal(1, e), low, high)]
        for stride in range(1, len(decades)):
            yield [_decimal(1, e) for e in decades if e % stride == 0]
        return
    power = math.floor(math.log10(high - low) - math.log10(max(1, most)))
    for exponent in range(max(0, power) if whole else power, power + 20):
        for mantissa in (1, 2, 5):
            step = _decimal(mantissa, exponent)
            start, end = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            yield [
                k * mantissa / 10**-exponent if exponent < 0 else float(k * mantissa * 10**exponent)
                for k in range(start, end + 1)
            ]
            if end < start:
                return


def _within(value: float, low: float, high: float) -> bool:
    return low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


def _decimal(mantissa: int, exponent: int) -> float:
    """The float next to the decimal notation."""
    return float(mantissa * 10**exponent) if exponent >= 0 else mantissa / 10**-exponent


def _labels(values: Sequence[float], kind: Ticks) -> list[str]:
    """As short as they can be, each another one."""
    short = _short_labels(values, kind)
    labels = short if len(set(short)) == len(short) else [f"{value:.12g}" for value in values]
    return [label.replace("-", "−") for label in labels]


def _short_labels(values: Sequence[float], kind: Ticks) -> list[str]:
    if kind == "share":
        return [units.percent(value) for value in values]
    largest, smallest = max(map(abs, values), default=0.0), min((abs(v) for v in values if v), default=1.0)
    if kind == "count" and largest >= 1e4:
        return [_prefixed(value) for value in values]
    even = _are_even(values)
    if smallest >= 1e-3 and largest < 1e5:
        decimals = max((_decimals(value) for value in values), default=0)
        return [f"{value:.{decimals}f}" if even else f"{value:.10g}" for value in values]
    return _even_powers(values, largest) if even else [_power(value) for value in values]


def _are_even(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(values)]
    return not steps or max(steps) - min(steps) < 1e-6 * max(steps)


def _decimals(value: float) -> int:
    text = f"{value:.10f}".rstrip("0")
    return len(text.partition(".")[2])


def _prefixed(value: float) -> str:
    """``1 k``, not ``1.00 k``."""
    number, space, prefix = units.count(value).partition(" ")
    return f"{float(number):g}{space}{prefix}"


def _even_powers(values: Sequence[float], largest: float) -> list[str]:
    """With one power of ten for all, and as many decimals as their step needs."""
    exponent = math.floor(math.log10(largest) + 1e-9)
    step = values[1] - values[0] if len(values) > 1 else largest
    decimals = max(0, exponent - math.floor(math.log10(step) + 1e-9))
    raised = f"10{str(exponent).translate(_RAISED)}"
    return [f"{value / 10.0**exponent:.{decimals}f}·{raised}" if value else "0" for value in values]


def _power(value: float) -> str:
    """``10⁻⁴`` or ``3·10⁻⁴``."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.3g}"
    raised = f"10{str(exponent).translate(_RAISED)}"
    return raised if mantissa == "1" else f"{mantissa}·{raised}"
