"""From values to places on an axis and back, and the part of an axis that data asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LARGEST = 1e300
"""Values beyond count as infinite: differences of larger ones leave the range of floats."""
NARROWEST = 1e-9
"""Least length of an axis, as a share of the values on it: floats cannot tell places on a shorter one apart."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from ``low`` (fraction 0) to ``high`` (fraction 1): ``f = (g(v) - g(low)) / (g(high) - g(low))``.

    ``g`` is the identity, or the logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (-math.inf < self.low < self.high < math.inf) or (self.log and self.low <= 0):
            raise ValueError(f"no axis goes from {self.low} to {self.high}{' by logarithms' if self.log else ''}")

    def fractions(self, values: Iterable[float]) -> list[float]:
        """Places of values; NaN where a value has none, infinities where it is infinite."""
        if self.log:
            start, span = math.log(self.low), math.log(self.high) - math.log(self.low)
            return [(math.log(value) - start) / span if value > 0 else math.nan for value in values]
        low, span = self.low, self.high - self.low
        return [(value - low) / span for value in values]

    def fraction(self, value: float) -> float:
        return self.fractions((value,))[0]

    def value(self, fraction: float) -> float:
        """What is at a place; places far outside end at the range of floats."""
        if self.log:
            start, end = math.log(self.low), math.log(self.high)
            return math.exp(max(-708.0, min(708.0, start + fraction * (end - start))))
        return max(-1e307, min(1e307, self.low + fraction * (self.high - self.low)))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Both axes of a chart."""

    x: Scale
    y: Scale


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Between which values data lies."""

    low: float
    """NaN, as ``high``, if no value has a place."""
    high: float
    left_out: int = 0
    """Finite values that a logarithmic axis has no place for."""

    @property
    def empty(self) -> bool:
        return math.isnan(self.low)


def extent(values: Iterable[float], *, log: bool = False) -> Extent:
    """The least and the largest finite value; on a logarithmic axis of those above zero."""
    finite = [value for value in values if -LARGEST <= value <= LARGEST]
    placed = [value for value in finite if value > 0] if log else finite
    if not placed:
        return Extent(low=math.nan, high=math.nan, left_out=len(finite))
    return Extent(low=min(placed), high=max(placed), left_out=len(finite) - len(placed))


def scale_over(low: float, high: float, *, log: bool = False, padding: float = 0.0) -> Scale:
    """An axis over bounds with padding on either side as a fraction of it.

    Where the bounds are one value the axis is around it; where there are none (NaN) it is from 0 to 1, or from 0.1 to 10.
    """
    if math.isnan(low) or math.isnan(high) or (log and high <= 0):
        return Scale(low=0.1, high=10.0, log=True) if log else Scale(low=0.0, high=1.0)
    low, high = sorted(max(-LARGEST, min(LARGEST, bound)) for bound in (low, high))
    return _log_scale(low, high, padding) if log else _linear_scale(low, high, padding)


def _linear_scale(low: float, high: float, padding: float) -> Scale:
    largest = max(abs(low), abs(high))
    if high - low <= NARROWEST * largest or high - low < 1 / LARGEST:
        half = largest / 10 or 1.0
        low, high = low - half, high + half
        padding = 0.0
    if not low < high:  # what a tenth of the least floats comes to
        return Scale(low=-1.0, high=1.0)
    margin = padding * (high - low)
    return Scale(low=low - margin, high=high + margin)


def _log_scale(low: float, high: float, padding: float) -> Scale:
    low, high = max(low, 1 / LARGEST), max(high, 1 / LARGEST)
    start, end = math.log10(low), math.log10(high)
    if end - start <= NARROWEST * max(1.0, abs(end)):
        start, end, padding = start - 0.5, end + 0.5, 0.0
    margin = padding * (end - start)
    return Scale(low=10.0 ** max(-307.0, start - margin), high=10.0 ** min(307.0, end + margin), log=True)


def joined(extents: Sequence[Extent]) -> Extent:
    """The extent of everything together."""
    full = [each for each in extents if not each.empty]
    return Extent(
        low=min((each.low for each in full), default=math.nan),
        high=max((each.high for each in full), default=math.nan),
        left_out=sum(each.left_out for each in extents),
    )
