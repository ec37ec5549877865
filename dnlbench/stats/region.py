"""Least-squares fits of ``limit + amplitude · x(L)``, and the region of all curves of one form that fit well enough.

For a given shape a form is a straight line in x. The best curve of each shape has a closed form, and so have the bounds of all
quantities that are linear in limit and amplitude over the curves within a threshold. Only the shape is searched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dnlbench.stats.forms import POWER, Form
from dnlbench.stats.means import Means

if TYPE_CHECKING:
    from dnlbench.stats.forms import Array

STEPS = 129
ROUNDS = 3
"""Number of refinements of a search between two shapes, each with `STEPS` steps."""
ROUNDING = 1e-24
"""Rounding of the misfit per weight: curves with a smaller difference fit equally well."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The curve ``limit + amplitude · x`` in the units of the means, with ``misfit = Σ weight (1 - curve / value)²``."""

    form: Form
    limit: float
    amplitude: float
    shape: float
    misfit: float


@dataclass(frozen=True, kw_only=True)
class Region:
    """All curves of a form whose misfit is at most `threshold`."""

    form: Form
    shapes: Array
    """The shapes of the region, closely spaced from the lowest to the highest."""
    low: float | None
    """The lowest shape; None if the region reaches the start of the searched range."""
    high: float | None
    threshold: float
    lines: _Lines


Quantity: TypeAlias = "Callable[[Form, Means, Array], tuple[float, Array]]"
"""A quantity that is linear in limit and amplitude: the factors of both, for each shape."""


def limit(form: Form, means: Means, shapes: Array) -> tuple[float, Array]:
    """The limit itself."""
    return 1.0, 0.0 * shapes


def fitted_value(form: Form, means: Means, shapes: Array) -> tuple[float, Array]:
    """The curve at the largest depth."""
    return 1.0, form.basis(means.depths.max(), shapes)


def next_value(form: Form, means: Means, shapes: Array) -> tuple[float, Array]:
    """The curve at twice the largest depth."""
    return 1.0, form.basis(2 * means.depths.max(), shapes)


def next_gain(form: Form, means: Means, shapes: Array) -> tuple[float, Array]:
    """The curve at the largest depth, less the curve at twice that."""
    return 0.0, form.basis(means.depths.max(), shapes) - form.basis(2 * means.depths.max(), shapes)


def best_curve(means: Means, form: Form) -> Curve:
    """Return the curve with the least misfit and a non-negative limit.

    If several shapes fit equally well, as for a flat curve, it is the one nearest to 1.
    """
    import numpy as np

    shapes = form.shapes(means.depths)
    misfits = _lines(means, form, shapes).misfit
    equal = np.flatnonzero(misfits <= misfits.min() + _rounding(means))
    start = int(equal[np.abs(shapes[equal] - 1).argmin()])
    best = _at(means, form, float(shapes[start]))
    below, above = shapes[max(start - 1, 0)], shapes[min(start + 1, len(shapes) - 1)]
    root = _root(means, form, float(below), float(above))
    refined = best if root is None else _at(means, form, root)
    return refined if refined.misfit < best.misfit - _rounding(means) else best


def _root(means: Means, form: Form, below: float, above: float) -> float | None:
    """Return the shape at which the derivative of the least misfit is 0; None if there is none in between.

    The zero is accurate to rounding, a search for the minimum only to the root of it.
    """
    import numpy as np

    for _ in range(ROUNDS):
        steps = np.linspace(below, above, STEPS)
        slopes = _slopes(means, form, steps)
        if not slopes[0] < 0 < slopes[-1]:
            return None
        last = int((slopes > 0).argmax())
        below, above = float(steps[last - 1]), float(steps[last])
    return below + (above - below) * float(slopes[last - 1] / (slopes[last - 1] - slopes[last]))


def _slopes(means: Means, form: Form, shapes: Array) -> Array:
    """Return half of the derivative of the least misfit with respect to the shape; optimal limit and amplitude drop out."""
    lines, column = _lines(means, form, shapes), shapes[:, None]
    limit, amplitude = lines.limit[:, None], lines.amplitude[:, None]
    left = 1 - (limit + amplitude * form.basis(means.depths, column)) / means.values
    slopes: Array = -(means.weights * left * amplitude * form.slope(means.depths, column) / means.values).sum(1)
    return slopes


def region_of(means: Means, best: Curve, threshold: float) -> Region | None:
    """Return the curves of a form with a misfit of at most the threshold; None if there are none."""
    import numpy as np

    form, threshold = best.form, threshold * (1 + 1e-12) + _rounding(means)
    if best.misfit > threshold:
        return None
    grid = form.shapes(means.depths)
    shapes = np.union1d(grid, best.shape)
    inside = np.flatnonzero(_lines(means, form, shapes).misfit <= threshold)
    first, last = int(inside[0]), int(inside[-1])
    low = None if first == 0 else _edge(means, form, threshold, shapes[first], shapes[first - 1])
    high = None if last == len(shapes) - 1 else _edge(means, form, threshold, shapes[last], shapes[last + 1])
    spread = np.linspace(grid[0] if low is None else low, grid[-1] if high is None else high, 129)
    shapes = np.union1d(spread, best.shape)
    lines = _lines(means, form, shapes)
    return Region(form=form, shapes=shapes, low=low, high=high, threshold=threshold, lines=lines)


def _edge(means: Means, form: Form, threshold: float, inner: float, outer: float) -> float:
    """Return the last shape within the threshold between a shape within and one beyond, by refined steps."""
    import numpy as np

    for _ in range(ROUNDS):
        steps = np.linspace(inner, outer, STEPS)
        beyond = _lines(means, form, steps).misfit > threshold
        beyond[0], beyond[-1] = False, True
        first = int(beyond.argmax())
        inner, outer = float(steps[first - 1]), float(steps[first])
    return inner


def estimate(quantity: Quantity, means: Means, curve: Curve) -> float:
    """Return the quantity of one curve, in the units of the caller."""
    import numpy as np

    of_limit, of_amplitude = quantity(curve.form, means, np.array([curve.shape]))
    return means.value_unit * (of_limit * curve.limit + float(of_amplitude[0]) * curve.amplitude)


def ends(quantity: Quantity, means: Means, region: Region) -> tuple[Array, Array]:
    """Return the least and the largest quantity of the region for each shape, in the units of the caller."""
    factors = quantity(region.form, means, region.shapes)
    low, high = (means.value_unit * region.lines.end(factors, region.threshold, sign) for sign in (-1, 1))
    return low, high


def limit_ends(means: Means, region: Region) -> tuple[float, float]:
    """Return the least and the largest limit; 0 and infinity if only the slow end of the shapes bounds them.

    A still slower curve would move such a bound further.
    """
    low, high = ends(limit, means, region)
    least, largest = float(low.min()), float(high.max())
    if region.form.has_slow_end and region.low is None and len(low) > 1:
        least = 0.0 if low[0] < low[1:].min() * (1 - 1e-9) else least
        largest = math.inf if high[0] > high[1:].max() * (1 + 1e-9) else largest
    return least, largest


def _rounding(means: Means) -> float:
    return ROUNDING * float(means.weights.sum())


def _at(means: Means, form: Form, shape: float) -> Curve:
    import numpy as np

    lines = _lines(means, form, np.array([shape]))
    return Curve(
        form=form,
        limit=float(lines.limit[0]),
        amplitude=float(lines.amplitude[0]),
        shape=shape,
        misfit=float(lines.misfit[0]),
    )


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The line ``limit + amplitude · x`` with the least misfit for each shape.

    The misfit of another line is larger by ``level_weight (Δlimit + center Δamplitude)² + slope_weight Δamplitude²``, so the
    lines within a threshold form an ellipse. Only its part with ``limit >= 0`` counts. If the best line has a negative limit,
    the best allowed one is pinned: its limit is 0.
    """

    free_limit: Array
    free_amplitude: Array
    free_misfit: Array
    center: Array
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
        """Return the largest (sign 1) or least (sign -1) value within the threshold, for each shape."""
        import numpy as np

        of_limit, of_amplitude = factors
        level, slope = of_limit / self.level_weight, (of_amplitude - of_limit * self.center) / self.slope_weight
        length = (of_limit * level + (of_amplitude - of_limit * self.center) * slope) ** 0.5
        radius = sign * (threshold - self.free_misfit).clip(min=0) ** 0.5
        touching = self.free_limit + radius * (level - self.center * slope) / length
        free = of_limit * self.free_limit + of_amplitude * self.free_amplitude + radius * length
        pinned_radius = sign * ((threshold - self.pinned_misfit).clip(min=0) / self.pinned_weight) ** 0.5
        pinned = of_amplitude * self.pinned_amplitude + abs(of_amplitude) * pinned_radius
        return np.where(touching < 0, pinned, free)


def _lines(means: Means, form: Form, shapes: Array) -> _Lines:
    """Solve the least squares of ``1 = limit · (1 / value) + amplitude · (x / value)``, orthogonalized against round-off."""
    ones = means.weights**0.5
    level = ones / means.values
    x = level * form.basis(means.depths, shapes[:, None])
    level_weight = float((level * level).sum())
    center = (x * level).sum(1) / level_weight
    slope = x - center[:, None] * level
    slope_weight, pinned_weight = (slope * slope).sum(1), (x * x).sum(1)
    height = float((ones * level).sum()) / level_weight
    amplitude, pinned = (ones * slope).sum(1) / slope_weight, (ones * x).sum(1) / pinned_weight
    misfits = ones - height * level - amplitude[:, None] * slope, ones - pinned[:, None] * x
    return _Lines(
        free_limit=height - center * amplitude,
        free_amplitude=amplitude,
        free_misfit=(misfits[0] ** 2).sum(1),
        center=center,
        level_weight=level_weight,
        slope_weight=slope_weight,
        pinned_amplitude=pinned,
        pinned_misfit=(misfits[1] ** 2).sum(1),
        pinned_weight=pinned_weight,
    )


def amplitude_of(means: Means, curve: Curve) -> float:
    """Return the amplitude in the unit of the values; for a power for depths in layers."""
    unit = means.depth_unit**curve.shape if curve.form is POWER else 1.0
    return curve.amplitude * means.value_unit * unit


def relative_misfit(curve: Curve, means: Means) -> float:
    """Return the root mean square of the relative misfits of the means."""
    import numpy as np

    shape = np.array(curve.shape)
    left = 1 - (curve.limit + curve.amplitude * curve.form.basis(means.depths, shape)) / means.values
    return float(np.sqrt(np.mean(left**2)))
