"""Format numbers as text: seconds, bytes, rates and measured values.

All other modules use seconds, bytes and samples per second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

NOTHING = "–"
"""The text for a missing value."""
_ASYMMETRY = 1.5
"""Ratio of the distances of the bounds from the mean above which both bounds are printed."""
Kind = Literal["number", "count", "bytes", "percent", "seconds"]
"""Format of values: plain, with a decimal prefix, in binary units, in percent, or as times."""
_SCALES: dict[Kind, tuple[tuple[float, str], ...]] = {
    "number": ((1.0, ""),),
    "count": ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    "bytes": ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "percent": ((0.01, "%"),),
    "seconds": ((3600.0, "h"), (60.0, "min"), (1.0, "s")),
}
_MIN_TIME_UNITS = 3.0
"""Minimum of the largest value in its unit of time; below, a smaller unit is used."""


def scale_for(values: Iterable[float], kind: Kind) -> tuple[float, str]:
    """Return the divisor and the unit for a set of values, chosen for the largest of them.

    The unit is a decimal prefix (``k``, ``M``, ``G``, ``T``), a binary unit, ``%`` or a unit of time; empty for plain numbers.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    fewest, scales = (_MIN_TIME_UNITS if kind == "seconds" else 1.0), _SCALES[kind]
    return next((scale for scale in scales if largest >= fewest * scale[0]), scales[-1])


def seconds(value: float | None) -> str:
    """Format a duration: ``350 ms``, ``4.1 s``, ``2 min 05 s``, ``1 h 12 min``, ``3 d 04 h``.

    The unit is chosen after rounding, which avoids ``60 s`` and ``1000 ms``.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if round(value * 1e3) < 1000:
        return f"{value * 1e3:.0f} ms"
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    for smaller, per_unit, units_per_next, names in ((1, 60, 60, ("min", "s")), (60, 60, 24, ("h", "min"))):
        count, rest = divmod(round(value / smaller), per_unit)
        if count < units_per_next:
            return f"{count} {names[0]} {rest:02d} {names[1]}"
    count, rest = divmod(round(value / 3600), 24)
    return f"{count} d {rest:02d} h"


def size(value: float | None) -> str:
    """Format a number of bytes in binary units: ``512 B``, ``6.1 GiB``."""
    if value is None:
        return NOTHING
    divisor, unit = scale_for([value], "bytes")
    amount = value / divisor
    return f"{amount:.0f} {unit}" if unit == "B" or 100 <= abs(amount) < 1024 else f"{amount:.1f} {unit}"


def count(value: float | None) -> str:
    """Format a large number with three significant digits and a decimal prefix: ``812``, ``12.4 k``, ``1.25 M``."""
    if value is None or not math.isfinite(value):
        return NOTHING
    divisor, prefix = scale_for([value / 0.9995], "count")  # rounding never leaves 1000 in front of a prefix
    amount = value / divisor
    digits = 0 if (not prefix and amount == round(amount)) or abs(amount) >= 99.95 else 1 + (abs(amount) < 9.995)
    return f"{amount:.{digits}f} {prefix}".rstrip()


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 run``, ``1,200 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    """Format a number with four significant digits, or the name of a non-finite value."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3e}"
    return f"{value:.4g}"


def measured(mean: float | None, half_width: float | None) -> str:
    """Format ``mean ± half width`` with two significant digits of the half width."""
    if mean is None or not math.isfinite(mean):
        return number(mean)
    if half_width is None or not math.isfinite(half_width):
        return number(mean)
    if half_width <= 0 or mean == 0 or half_width < 1e-6 * abs(mean):
        return f"{number(mean)} ± {number(half_width)}"
    decimals = 1 - math.floor(math.log10(half_width))
    if not 0 <= decimals <= 6:
        return f"{number(mean)} ± {number(half_width)}"
    return f"{mean:.{decimals}f} ± {half_width:.{decimals}f}"


def bounded(estimate: float | None, low: float | None, high: float | None) -> str:
    """Format ``1.02 [0.97, 1.06]`` with two significant digits of the half width. An unknown bound is a dash."""
    if estimate is None:
        return NOTHING
    if low is None and high is None:
        return number(estimate)
    widths = [abs(bound - estimate) for bound in (low, high) if bound is not None]
    width = max((width for width in widths if math.isfinite(width)), default=0.0)
    decimals = 1 - math.floor(math.log10(width)) if width > 0 else -1

    def text(value: float | None) -> str:
        if value is None or not math.isfinite(value) or not 0 <= decimals <= 5:
            return f"{value:.1e}" if value and math.isfinite(value) and abs(value) < 1e-3 else number(value)
        return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no minus before a zero

    return f"{text(estimate)} [{text(low)}, {text(high)}]"


def estimated(
    mean: float | None, low: float | None, high: float | None, kind: Literal["number", "count", "percent"] = "number"
) -> str:
    """Format ``mean ± half width``, or ``mean [low, high]`` if the interval is too asymmetric for ``±``."""
    if mean is None or low is None or high is None or not _is_asymmetric(mean, low, high):
        half = None if low is None or high is None else (high - low) / 2
        return {"number": measured, "count": measured_count, "percent": measured_percent}[kind](mean, half)
    divisor, unit = scale_for([mean], kind)
    text = _rounded(mean / divisor, min(mean - low, high - mean) / divisor)
    ends = ", ".join(_rounded(bound / divisor, abs(bound) / divisor) for bound in (low, high))
    return f"{text} [{ends}] {unit}".rstrip()


def _is_asymmetric(mean: float, low: float, high: float) -> bool:
    widths = mean - low, high - mean
    return max(widths) > _ASYMMETRY * min(widths) + 1e-9 * abs(mean)


def _rounded(value: float, to: float) -> str:
    """Round to the second significant digit of ``to``."""
    decimals = 1 - math.floor(math.log10(to)) if 0 < to < math.inf else 0
    if not math.isfinite(value) or decimals > 6:
        return number(value)
    return f"{value:.{max(0, decimals)}f}"


def measured_count(mean: float | None, half_width: float | None) -> str:
    """Format ``mean ± half width`` of a large number, with the decimal prefix of the mean: ``12.4 ± 0.3 k``."""
    if mean is None or half_width is None or not math.isfinite(mean) or not math.isfinite(half_width):
        return count(mean)
    divisor, prefix = scale_for([mean], "count")
    mean, half_width = mean / divisor, half_width / divisor
    decimals = min(3, max(0, 1 - math.floor(math.log10(half_width)))) if half_width > 0 else 2
    return f"{mean:.{decimals}f} ± {half_width:.{decimals}f} {prefix}".rstrip()


def measured_percent(mean: float | None, half_width: float | None) -> str:
    """Format ``mean ± half width`` of a fraction as a percentage: ``3.27 ± 0.02 %``."""
    if mean is None or half_width is None or not math.isfinite(mean) or not math.isfinite(half_width):
        return percent(mean)
    digits = max(0, 2 - math.floor(math.log10(abs(mean) * 100))) if mean else 0
    return f"{mean * 100:.{digits}f} ± {half_width * 100:.{digits}f} %"


def percent(fraction: float | None, *, signed: bool = False) -> str:
    """Format a fraction as a percentage with three significant digits: ``7.25 %``."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    text = f"{abs(fraction) * 100:.3g} %"
    if fraction < 0:
        return "−" + text
    return "+" + text if signed else text
