"""The best value of a setting, from the losses at several values with several seeds.

The log loss is a polynomial in the logarithm ``u`` of the value, plus noise of a seed that all values share, plus independent
noise of equal variance. It is fitted to the means over seeds at the best tried value and its neighbors: a parabola to five
values, a cubic to five, or a parabola to three, the first one that the lack-of-fit F tests of all depths together do not reject
at `REJECTED`.

- The best value is the minimum of the polynomial. Its interval is Fieller's (1954, J. R. Stat. Soc. B 16): all ``u`` around it
  at which the slope is not significantly different from 0. The variance of the noise has ``(n − 1)(K − 1)`` degrees of freedom
  for ``n`` seeds and ``K`` values. An end of the interval outside the tried values is unknown.
- The smallest of several noisy means is biased low. The loss at the best value is therefore measured with other seeds than
  those that choose the value: each half of the seeds gives its losses at the value that the other half chooses. Between two
  tried values, the log loss of a seed is a parabola through the nearest three.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnlbench.stats.intervals import Interval
from dnlbench.stats.student import f_tail, t_quantile

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A polynomial around the best tried value."""

    values: int
    """Number of values that it is fitted to, as far as there are as many."""
    degree: int


SHAPES = (Shape(values=5, degree=2), Shape(values=5, degree=3), Shape(values=3, degree=2))
FEWEST_VALUES = 3
_ROUNDING = 1e-18
REJECTED = 0.01
"""Level of the lack-of-fit test."""
Edge = Literal["", "low", "high", "both"]
"""The ends of the tried values that may be the best: an interval reaches them, or the loss still falls there."""


class NotTunedError(ValueError):
    """The losses do not determine a best value; the text is the reason."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best value of a setting."""

    best: float
    """The minimum, or the end of the tried values if the minimum lies outside of them."""
    low: float | None
    """Lower end of the 95 % interval; None if it lies outside the tried values, or for a single seed."""
    high: float | None
    edge: Edge
    is_inside: bool
    """True if the minimum lies between the tried values."""
    losses: Mapping[int, float]
    """Loss at the best value by seed. Empty for a single seed."""
    variance: float
    """Variance of the logarithm of the best value; NaN if unknown."""
    freedom: int
    """Degrees of freedom of the variance."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The losses of a network at one depth."""

    samples: Mapping[float, Mapping[int, float]]
    """Positive losses by value and seed. Seeds that lack a value are left out."""
    failed: Collection[float] = ()
    """Values at which the loss of a seed diverged. They are no candidates."""


def tune(losses: Sequence[Losses]) -> list[Tuned | NotTunedError]:
    """Find the values with the smallest loss of one network at several depths, whose polynomials have one shape.

    Returns:
        The best value at each depth, or the reason why there is none: fewer than `FEWEST_VALUES` values or no seed remain.
    """
    grids = [_grid(each) for each in losses]
    shape = _shape([each for each in grids if isinstance(each, _Grid)])
    return [_Fit(each, shape).tuned() if isinstance(each, _Grid) else each for each in grids]


def _grid(losses: Losses) -> _Grid | NotTunedError:
    samples = losses.samples
    values = [value for value in sorted(samples) if value not in losses.failed]
    if len(values) < FEWEST_VALUES:
        tried = len({*samples, *losses.failed})
        return NotTunedError(
            f"{len(values)} of {tried} values have losses that did not diverge; {FEWEST_VALUES} are needed"
        )
    seeds = sorted(set.intersection(*(set(samples[value]) for value in values)))
    if not seeds:
        return NotTunedError("no seed finished at every value")
    table = [[samples[value][seed] for value in values] for seed in seeds]
    if min(map(min, table)) <= 0:
        return NotTunedError("a loss is not positive, and has no logarithm")
    return _Grid.of(values, seeds, table)


def _shape(grids: Sequence[_Grid]) -> Shape:
    """Return the first shape that the losses at all depths together do not reject, by Fisher's combination of p values."""
    for shape in SHAPES:
        p_values = [p for grid in grids if (p := _Fit(grid, shape).misfit_p()) is not None]
        if p_values and _combined(p_values) >= REJECTED:
            return shape
    return SHAPES[-1]


def _combined(p_values: Sequence[float]) -> float:
    """Return the tail of chi-squared with ``2 k`` degrees of freedom at ``−2 Σ log p`` for ``k`` independent p values."""
    if min(p_values) <= 0:
        return 0.0
    half = -math.fsum(map(math.log, p_values))
    return math.exp(-half) * math.fsum(half**k / math.factorial(k) for k in range(len(p_values)))


@dataclass(frozen=True, kw_only=True)
class _Polynomial:
    coefficients: Array
    """Coefficients from the highest power to the constant."""
    covariance: Array

    def minima(self) -> list[float]:
        import numpy as np

        slope: Array = np.polyder(self.coefficients)
        return [u for u in _real_roots(slope) if np.polyval(np.polyder(slope), u) > 0]

    def variance_of_minimum(self, u: float) -> float:
        """Return the variance of the minimum to first order: of the slope there, over the square of the curvature."""
        import numpy as np

        return float(np.polyval(self._slope_variance(), u) / np.polyval(np.polyder(self.coefficients, 2), u) ** 2)

    def fieller(self, u: float, t: float) -> tuple[float, float]:
        """Return the ends of the interval around the minimum ``u`` in which ``slope² ≤ t² variance``; infinite if open."""
        import numpy as np

        if self.variance_of_minimum(u) < _ROUNDING:
            return u, u
        slope: Array = np.polyder(self.coefficients)
        open_ends: Array = np.polysub(np.polymul(slope, slope), t * t * self._slope_variance())
        roots = _real_roots(open_ends)
        below, above = ([each for each in roots if sign * (each - u) > 0] for sign in (-1, 1))
        return max(below, default=-math.inf), min(above, default=math.inf)

    def _slope_variance(self) -> Array:
        """Return the variance of the slope at ``u``, as a polynomial in ``u``."""
        import numpy as np

        powers = np.arange(len(self.coefficients))[:0:-1]
        covariance = self.covariance[:-1, :-1] * np.outer(powers, powers)
        size = len(covariance)
        flipped = covariance[::-1]  # its diagonals have equal powers of u
        return np.array([flipped.trace(k) for k in range(1 - size, size)])


def _real_roots(coefficients: Array) -> list[float]:
    import numpy as np

    return [float(root.real) for root in np.roots(coefficients) if abs(root.imag) < 1e-9 * max(1.0, abs(root))]


@dataclass(frozen=True)
class _Grid:
    """Log losses ``y`` by seed and value, at the logarithms ``u`` of the values, which are centered."""

    seeds: Sequence[int]
    center: float
    u: Array
    y: Array

    @classmethod
    def of(cls, values: Sequence[float], seeds: Sequence[int], losses: Sequence[Sequence[float]]) -> _Grid:
        import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

        u = np.log(np.array(values))
        return cls(seeds, float(u.mean()), u - u.mean(), np.log(np.array(losses)))

    @property
    def best(self) -> int:
        """Index of the value with the smallest mean."""
        return int(self.y.mean(0).argmin())

    def half(self, start: int) -> _Grid:
        """Return every second seed."""
        return _Grid(self.seeds[start::2], self.center, self.u, self.y[start::2])

    def loss(self, seed: int, u: float) -> float:
        """Interpolate the loss of a seed, given by its index."""
        import numpy as np

        near = _around(int(abs(self.u - u).argmin()), 3, len(self.u))
        return math.exp(float(np.polyval(np.polyfit(self.u[near], self.y[seed, near], 2), u)))


class _Fit:
    """A polynomial around the best value of a grid."""

    def __init__(self, grid: _Grid, shape: Shape, window: slice | None = None) -> None:
        import numpy as np

        self.grid, self.shape = grid, shape
        self.window = window or _around(grid.best, shape.values, len(grid.u))
        self.u, self.y = grid.u[self.window], grid.y[:, self.window]
        self.noise, self.freedom = self._noise()
        basis = np.vander(self.u, min(shape.degree, len(self.u) - 1) + 1)
        self.polynomial = _Polynomial(
            coefficients=np.linalg.lstsq(basis, self.y.mean(0), rcond=None)[0],
            covariance=np.linalg.inv(basis.T @ basis) * self.noise / len(grid.seeds),
        )
        self.minimum = self._minimum()

    def _noise(self) -> tuple[float, int]:
        """Return the variance of the noise, without that which all values share, and its degrees of freedom."""
        freedom = (self.y.shape[0] - 1) * (self.y.shape[1] - 1)
        residual = self.y - self.y.mean(0) - self.y.mean(1, keepdims=True) + self.y.mean()
        return (float((residual**2).sum()) / freedom if freedom else math.nan), freedom

    def _minimum(self) -> float:
        """Return the minimum between the fitted values, or else beyond the end of the tried values that is best; else NaN."""
        minima, first, last = self.polynomial.minima(), self.u[0], self.u[-1]
        if inside := [u for u in minima if first < u < last]:
            return inside[0]
        ends = {0: lambda u: u <= first, len(self.grid.u) - 1: lambda u: u >= last}
        beyond = ends.get(self.grid.best, lambda u: False)
        return next(filter(beyond, minima), math.nan)

    def misfit_p(self) -> float | None:
        """Return the p value of the lack of fit; None for an interpolation, or for a single seed."""
        import numpy as np

        spare = len(self.u) - len(self.polynomial.coefficients)
        if spare < 1 or not self.freedom:
            return None
        residual = self.y.mean(0) - np.polyval(self.polynomial.coefficients, self.u)
        misfit = len(self.grid.seeds) * float(residual @ residual) / spare
        if misfit < _ROUNDING:
            return 1.0
        return f_tail(spare, self.freedom, misfit / self.noise) if self.noise > 0 else 0.0

    def best(self) -> float:
        """Return the minimum, or the end of the tried values before it; without a minimum, the best tried value."""
        if math.isfinite(self.minimum):
            return min(max(self.minimum, float(self.grid.u[0])), float(self.grid.u[-1]))
        return float(self.grid.u[self.grid.best])

    def tuned(self) -> Tuned:
        first, last = float(self.grid.u[0]), float(self.grid.u[-1])
        is_inside = first < self.minimum < last
        low, high = math.nan, math.nan
        if self.freedom and math.isfinite(self.minimum):
            low, high = self.polynomial.fieller(self.minimum, t_quantile(self.freedom))
        below, above = not self.minimum > first or low <= first, not self.minimum < last or high >= last
        return Tuned(
            best=self._value(self.best()),
            low=None if below or math.isnan(low) else self._value(min(low, last)),
            high=None if above or math.isnan(high) else self._value(max(high, first)),
            edge="both" if below and above else "low" if below else "high" if above else "",
            is_inside=is_inside,
            losses=self._held_out(),
            variance=self.polynomial.variance_of_minimum(self.minimum) if is_inside and self.freedom else math.nan,
            freedom=self.freedom,
        )

    def _value(self, u: float) -> float:
        return math.exp(u + self.grid.center)

    def _held_out(self) -> dict[int, float]:
        """Return the loss of each seed at the value that the other half of the seeds chooses."""
        grid = self.grid
        if len(grid.seeds) < 2:
            return {}
        chosen = [_Fit(grid.half(start), self.shape, self.window).best() for start in (1, 0)]
        return {seed: grid.loss(k, chosen[k % 2]) for k, seed in enumerate(grid.seeds)}


def _around(middle: int, size: int, count: int) -> slice:
    """Return ``size`` neighbors of an index, fewer if there are not as many."""
    start = max(0, min(middle - size // 2, count - size))
    return slice(start, min(start + size, count))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The fit ``C L^q`` of best values over depth."""

    exponent: Interval
    constant: float
    misfit_p: float | None
    """p value of the lack-of-fit test; None for two depths."""


def growth_of(depths: Sequence[int], tuned: Sequence[Tuned]) -> Growth:
    """Fit the exponent ``q`` of the best values by least squares of their logarithms on log L.

    The variance of each best value is to first order in the noise. Best values of different depths are independent, since their
    networks are. Degrees of freedom are Satterthwaite's.

    Raises:
        NotTunedError: if fewer than two depths are given, or a best value is not inside the tried values or has no variance.
    """
    import numpy as np

    if len(depths) < 2:
        raise NotTunedError("an exponent needs at least two depths")
    if outside := [depth for depth, each in zip(depths, tuned, strict=True) if not each.is_inside]:
        raise NotTunedError(f"the best value lies at an end of the tried values at L={', '.join(map(str, outside))}")
    variances = np.array([each.variance for each in tuned])
    if not np.isfinite(variances).all():
        raise NotTunedError("a single seed finished at every value")
    x, y = np.log(np.array(depths, float)), np.log(np.array([each.best for each in tuned]))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    exponent, parts = float(weights @ y), weights**2 * variances
    freedom = parts.sum() ** 2 / (parts**2 / [each.freedom for each in tuned]).sum() if parts.sum() else 1.0
    half = t_quantile(float(freedom)) * math.sqrt(parts.sum())
    residual, spare = y - y.mean() - exponent * (x - x.mean()), len(depths) - 2
    return Growth(
        exponent=Interval(
            estimate=exponent, low=exponent - half, high=exponent + half, n=min(len(t.losses) for t in tuned)
        ),
        constant=math.exp(float(y.mean() - exponent * x.mean())),
        misfit_p=_misfit_p(residual, variances, spare, sum(each.freedom for each in tuned)) if spare else None,
    )


def _misfit_p(residual: Array, variances: Array, spare: int, freedom: int) -> float:
    if not variances.min() > 0:
        return 1.0 if abs(residual).max() < 1e-9 else 0.0
    return f_tail(spare, freedom, float((residual**2 / variances).sum()) / spare)
