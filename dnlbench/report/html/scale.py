"""Axes of a chart that stands still: from values to places, and round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dnlbench.report.html.chart import Axis

MARGIN = 0.04
"""Of an axis, on either side of its values."""
BAND_SHARE = 0.5
"""Bands widen an axis by at most this multiple of what the values take: with two seeds one is 13 deviations wide."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """``f(v) = (g(v) - low) / (high - low)`` with ``g`` the identity or the logarithm."""

    low: float
    """Already ``g`` of the least value."""
    high: float
    log: bool

    def place(self, value: float) -> float:
        """Of a value on the axis: 0 at its start, 1 at its end; a value that a logarithm has no place for is at its start."""
        if self.log and value <= 0:
            return 0.0
        return ((math.log(value) if self.log else value) - self.low) / (self.high - self.low)


def scale_over(values: Iterable[float], axis: Axis, bands: Iterable[float] = ()) -> Scale:
    """An axis that has all values that it can have; from 0 to 1, or 1 to 10, where there are none.

    On a linear one the ends of bands have a place too, as far as they do not press the values together.
    """
    log = axis.log
    placed = [math.log(value) if log else value for value in values if value > 0 or not log]
    low, high = (min(placed), max(placed)) if placed else (0.0, math.log(10.0) if log else 1.0)
    if not log:
        reach = BAND_SHARE * ((high - low) or abs(high))
        ends = [*bands, low, high]
        low, high = max(min(ends), low - reach), min(max(ends), high + reach)
    margin = MARGIN * (high - low) if high - low > 1e-9 * max(1.0, abs(low), abs(high)) else max(abs(low) / 10, 0.5)
    low, high = low - margin, high + margin
    if not log:
        low = low if axis.least is None else max(low, axis.least)
        high = high if axis.most is None else min(high, axis.most)
    return Scale(low=low, high=high, log=log)


def ticks(scale: Scale, axis: Axis, most: int) -> list[float]:
    """Round values on the axis, about as many as asked for at most."""
    if scale.log:
        low, high = math.exp(scale.low), math.exp(scale.high)
        found = _powers(low, high, axis.base, most)
        if len(found) >= 2:
            return found
        return [value for value in _multiples(low, high, most, axis.whole) if value > 0]
    return _multiples(scale.low, scale.high, most, axis.whole)


def _multiples(low: float, high: float, most: int, whole: bool) -> list[float]:
    """Of 1, 2 or 5 times a power of ten."""
    least = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= least * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _powers(low: float, high: float, base: int, most: int) -> list[float]:
    """Powers of the base; of ten with twice and five times them where there are few; some where there are many."""
    first, last = math.floor(math.log(low, base)), math.ceil(math.log(high, base))
    for mantissas in ((1, 2, 5), (1, 3), (1,)) if base == 10 else ((1,),):
        found = [m * float(base) ** k for k in range(first, last + 1) for m in mantissas]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def label(value: float, *, whole: bool = False) -> str:
    """A tick's: ``0.05``, ``12 k``, ``10⁻⁵``; all digits of a whole number."""
    if value == 0 or whole:
        return f"{value:.0f}"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size < 1e-3:
        exponent = math.floor(math.log10(size) + 1e-9)
        mantissa = f"{size / 10.0**exponent:.3g}"
        return f"{sign}{'' if mantissa == '1' else mantissa + '·'}10{str(exponent).translate(SUPERSCRIPTS)}"
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if size >= factor:
            return f"{sign}{size / factor:.4g}{prefix}"
    return f"{sign}{size:.4g}"
