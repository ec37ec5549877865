"""``limit + amplitude · L^-order`` by least squares, and the region of all such curves that fit well enough.

For a given order the model is a straight line in ``L^-order``, so the best curve of each order has a closed form, and so has
what the curves within a threshold say about anything that is linear in limit and amplitude. Only the order is searched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

ORDERS = (0.1, 6.0)
"""The orders that are looked at."""
ROUNDING = 1e-24
"""Misfit per value that is rounding: curves that differ by less fit equally well."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """Mean values at some depths, in units in which the smallest depth and the largest value are 1."""

    depths: Array
    values: Array
    counts: Array
    """How many values each is the mean of."""
    depth_unit: float
    value_unit: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """``limit + amplitude · L^-order`` in the units of the means, and its ``misfit = Σ count (1 - curve / value)²``."""

    limit: float
    amplitude: float
    order: float
    misfit: float


@dataclass(frozen=True, kw_only=True)
class Region:
    """All curves whose misfit is at most `threshold`."""

    orders: Array
    """Those the region has, closely spaced from the lowest to the highest."""
    low: float | None
    """The lowest order; None where the region reaches the end of `ORDERS`."""
    high: float | None
    threshold: float


Quantity: TypeAlias = "Callable[[Means, Array], tuple[float, Array]]"
"""Something linear in limit and amplitude: the factors of both, for each order."""


def limit(means: Means, orders: Array) -> tuple[float, Array]:
    """The limit itself."""
    return 1.0, 0.0 * orders


def next_value(means: Means, orders: Array) -> tuple[float, Array]:
    """The curve at twice the largest depth."""
    return 1.0, (2 * means.depths.max()) ** -orders


def next_gain(means: Means, orders: Array) -> tuple[float, Array]:
    """The curve at the largest depth, less the curve at twice that."""
    return 0.0, means.depths.max() ** -orders - (2 * means.depths.max()) ** -orders


def best_curve(means: Means) -> Curve:
    """The curve with the least misfit and a limit that is not negative.

    Where several orders fit equally well, as they do for a flat curve, it is the one nearest to 1.
    """
    import numpy as np
    from scipy.optimize import brentq

    orders = _all_orders()
    misfits = _lines(means, orders).misfit
    equal = np.flatnonzero(misfits <= misfits.min() + _rounding(means))
    start = int(equal[np.abs(np.log(orders[equal])).argmin()])
    below, above = orders[max(start - 1, 0)], orders[min(start + 1, len(orders) - 1)]
    best = _at(means, float(orders[start]))
    if _slope(means, below) < 0 < _slope(means, above):
        found = _at(means, float(brentq(lambda order: _slope(means, order), below, above, xtol=1e-14, rtol=1e-14)))
        best = found if found.misfit < best.misfit - _rounding(means) else best
    return best


def _slope(means: Means, order: float) -> float:
    """Half of the derivative of the least misfit by the order: limit and amplitude, which are best, contribute nothing.

    Its zero is known to rounding, the minimum itself only to the root of that.
    """
    import numpy as np

    curve, power = _at(means, order), means.depths**-order
    left = 1 - (curve.limit + curve.amplitude * power) / means.values
    return float(np.sum(means.counts * left * curve.amplitude * np.log(means.depths) * power / means.values))


def region_of(means: Means, best: Curve, allowance: float) -> Region:
    """The curves whose misfit is larger than the best one's by at most `allowance`."""
    import numpy as np

    threshold = best.misfit * (1 + 1e-12) + allowance + _rounding(means)
    orders = np.union1d(_all_orders(), best.order)
    inside = np.flatnonzero(_lines(means, orders).misfit <= threshold)
    first, last = int(inside[0]), int(inside[-1])
    low = None if first == 0 else _edge(means, threshold, orders[first], orders[first - 1])
    high = None if last == len(orders) - 1 else _edge(means, threshold, orders[last], orders[last + 1])
    spread = np.linspace(ORDERS[0] if low is None else low, ORDERS[1] if high is None else high, 257)
    return Region(orders=np.union1d(spread, best.order), low=low, high=high, threshold=threshold)


def _edge(means: Means, threshold: float, inner: float, outer: float) -> float:
    """The last order within the threshold on the way from one within to one beyond; bisected, which cannot fail."""
    for _ in range(40):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if _at(means, middle).misfit <= threshold else (inner, middle)
    return float(inner)


def estimate(quantity: Quantity, means: Means, curve: Curve) -> float:
    """What one curve says, in the units of the caller."""
    import numpy as np

    of_limit, of_amplitude = quantity(means, np.array([curve.order]))
    return means.value_unit * (of_limit * curve.limit + float(of_amplitude[0]) * curve.amplitude)


def ends(quantity: Quantity, means: Means, region: Region) -> tuple[Array, Array]:
    """The least and the largest that any curve of the region says, for each of its orders, in the units of the caller."""
    lines = _lines(means, region.orders)
    factors = quantity(means, region.orders)
    low, high = (means.value_unit * lines.end(factors, region.threshold, sign) for sign in (-1, 1))
    return low, high


def _all_orders() -> Array:
    import numpy as np

    return np.geomspace(*ORDERS, 161)


def _rounding(means: Means) -> float:
    return ROUNDING * float(means.counts.sum())


def _at(means: Means, order: float) -> Curve:
    import numpy as np

    lines = _lines(means, np.array([order]))
    return Curve(
        limit=float(lines.limit[0]), amplitude=float(lines.amplitude[0]), order=order, misfit=float(lines.misfit[0])
    )


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """For each order the line ``limit + amplitude · x``, ``x = L^-order``, with the least misfit.

    Another line has a misfit that is larger by ``level_weight (Δlimit + centre Δamplitude)² + slope_weight Δamplitude²``, so
    the lines within a threshold fill an ellipse; of this only the part with ``limit >= 0`` counts. Where the best line has a
    negative limit, the best allowed one is pinned: its limit is 0.
    """

    free_limit: Array
    free_amplitude: Array
    free_misfit: Array
    centre: Array
    level_weight: float
    slope_weight: Array
    pinned_amplitude: Array
    pinned_misfit: Array
    pinned_weight: Array

    @property
    def limit(self) -> Array:
        return self.free_limit.clip(min=0)

    @property
    def amplitude(self) -> Array:
        import numpy as np

        return np.where(self.free_limit < 0, self.pinned_amplitude, self.free_amplitude)

    @property
    def misfit(self) -> Array:
        import numpy as np

        return np.where(self.free_limit < 0, self.pinned_misfit, self.free_misfit)

    def end(self, factors: tuple[float, Array], threshold: float, sign: int) -> Array:
        """The largest (sign 1) or least (sign -1) value within the threshold, for each order."""
        import numpy as np

        of_limit, of_amplitude = factors
        level, slope = of_limit / self.level_weight, (of_amplitude - of_limit * self.centre) / self.slope_weight
        length = (of_limit * level + (of_amplitude - of_limit * self.centre) * slope) ** 0.5
        radius = sign * (threshold - self.free_misfit).clip(min=0) ** 0.5
        touching = self.free_limit + radius * (level - self.centre * slope) / length
        free = of_limit * self.free_limit + of_amplitude * self.free_amplitude + radius * length
        pinned_radius = sign * ((threshold - self.pinned_misfit).clip(min=0) / self.pinned_weight) ** 0.5
        pinned = of_amplitude * self.pinned_amplitude + abs(of_amplitude) * pinned_radius
        return np.where(touching < 0, pinned, free)


def _lines(means: Means, orders: Array) -> _Lines:
    """Least squares of ``1 = limit · (1 / value) + amplitude · (x / value)``, made orthogonal against round-off."""
    ones = means.counts**0.5
    level = ones / means.values
    x = level * means.depths ** -orders[:, None]
    level_weight = float((level * level).sum())
    centre = (x * level).sum(1) / level_weight
    slope = x - centre[:, None] * level
    slope_weight, pinned_weight = (slope * slope).sum(1), (x * x).sum(1)
    height = float((ones * level).sum()) / level_weight
    amplitude, pinned = (ones * slope).sum(1) / slope_weight, (ones * x).sum(1) / pinned_weight
    misfits = ones - height * level - amplitude[:, None] * slope, ones - pinned[:, None] * x
    return _Lines(
        free_limit=height - centre * amplitude,
        free_amplitude=amplitude,
        free_misfit=(misfits[0] ** 2).sum(1),
        centre=centre,
        level_weight=level_weight,
        slope_weight=slope_weight,
        pinned_amplitude=pinned,
        pinned_misfit=(misfits[1] ** 2).sum(1),
        pinned_weight=pinned_weight,
    )
