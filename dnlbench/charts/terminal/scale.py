"""Map values to fractions of an axis and back, and choose axis limits for data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LARGEST = 1e300
"""Larger magnitudes count as infinite, because their differences overflow."""
MIN_LENGTH = 1e-9
"""Minimum length of an axis relative to its values. Floats cannot resolve a shorter one."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from ``low`` (fraction 0) to ``high`` (fraction 1): ``f = (g(v) - g(low)) / (g(high) - g(low))``.

    ``g`` is the identity or the logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (-math.inf < self.low < self.high < math.inf) or (self.log and self.low <= 0):
            raise ValueError(f"invalid {'logarithmic ' if self.log else ''}axis from {self.low} to {self.high}")

    def fractions(self, values: Iterable[float]) -> list[float]:
        """Return the fractions of values; NaN if undefined, infinite for infinite values."""
        if self.log:
            start, span = math.log(self.low), math.log(self.high) - math.log(self.low)
            return [(math.log(value) - start) / span if value > 0 else math.nan for value in values]
        low, span = self.low, self.high - self.low
        return [(value - low) / span for value in values]

    def fraction(self, value: float) -> float:
        return self.fractions((value,))[0]

    def value(self, fraction: float) -> float:
        """Return the value at a fraction, clipped to the range of floats."""
        if self.log:
            start, end = math.log(self.low), math.log(self.high)
            return math.exp(max(-708.0, min(708.0, start + fraction * (end - start))))
        return max(-1e307, min(1e307, self.low + fraction * (self.high - self.low)))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The x and y axes of a chart."""

    x: Scale
    y: Scale


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The smallest and the largest value of data."""

    low: float
    """NaN, like ``high``, without drawable values."""
    high: float
    left_out: int = 0
    """Number of finite values that a logarithmic axis cannot show."""

    @property
    def empty(self) -> bool:
        return math.isnan(self.low)


def extent(values: Iterable[float], *, log: bool = False) -> Extent:
    """Return the extent of the finite values, on a logarithmic axis of the positive ones."""
    finite = [value for value in values if -LARGEST <= value <= LARGEST]
    kept = [value for value in finite if value > 0] if log else finite
    if not kept:
        return Extent(low=math.nan, high=math.nan, left_out=len(finite))
    return Extent(low=min(kept), high=max(kept), left_out=len(finite) - len(kept))


def scale_over(low: float, high: float, *, log: bool = False, padding: float = 0.0) -> Scale:
    """Return an axis over bounds, with padding at each end as a fraction of its length.

    For equal bounds, the axis is centered on them. For NaN bounds, it is 0 to 1, or 0.1 to 10 if logarithmic.
    """
    if math.isnan(low) or math.isnan(high) or (log and high <= 0):
        return Scale(low=0.1, high=10.0, log=True) if log else Scale(low=0.0, high=1.0)
    low, high = sorted(max(-LARGEST, min(LARGEST, bound)) for bound in (low, high))
    return _log_scale(low, high, padding) if log else _linear_scale(low, high, padding)


def _linear_scale(low: float, high: float, padding: float) -> Scale:
    largest = max(abs(low), abs(high))
    if high - low <= MIN_LENGTH * largest or high - low < 1 / LARGEST:
        half = largest / 10 or 1.0
        low, high = low - half, high + half
        padding = 0.0
    if not low < high:  # a tenth of the smallest floats underflows
        return Scale(low=-1.0, high=1.0)
    margin = padding * (high - low)
    return Scale(low=low - margin, high=high + margin)


def _log_scale(low: float, high: float, padding: float) -> Scale:
    low, high = max(low, 1 / LARGEST), max(high, 1 / LARGEST)
    start, end = math.log10(low), math.log10(high)
    if end - start <= MIN_LENGTH * max(1.0, abs(end)):
        start, end, padding = start - 0.5, end + 0.5, 0.0
    margin = padding * (end - start)
    return Scale(low=10.0 ** max(-307.0, start - margin), high=10.0 ** min(307.0, end + margin), log=True)


def joined(extents: Sequence[Extent]) -> Extent:
    """Return the union of extents."""
    full = [each for each in extents if not each.empty]
    return Extent(
        low=min((each.low for each in full), default=math.nan),
        high=max((each.high for each in full), default=math.nan),
        left_out=sum(each.left_out for each in extents),
    )
