"""The minimum of a parabola fitted over a logarithmic axis, with its interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dnlbench.stats.intervals import Interval, mean_of, variance_of
from dnlbench.stats.student import t_quantile

FEWEST_POINTS = 4
"""A parabola has three parameters; with one more point, it can fail to fit."""


class NoMinimumError(ValueError):
    """The values do not determine a minimum; the message is the reason."""


def fit_minimum(x: Sequence[float], curves: Sequence[Sequence[float]]) -> Interval:
    """Return the ``x`` at the minimum of ``log y = a u² + b u + c`` with ``u = log x``.

    The parabola is the least-squares fit to each curve; ``a`` and ``b`` have one value per seed, which are linear in its
    logarithms. The minimum ``u* = −b / 2a`` of the mean parabola is a ratio of two paired means. Its interval is Fieller's: all
    ``u`` at which the mean slope ``b + 2 a u`` is not significantly different from 0 (Fieller 1954, J. R. Stat. Soc. B 16).

    Args:
        x: positive values, at least `FEWEST_POINTS` different ones.
        curves: positive values at each ``x``, one curve per seed.

    Returns:
        The interval, without bounds for a single seed.

    Raises:
        NoMinimumError: if there are too few points, the parabola doesn't open upward (for several seeds: significantly), or its
            minimum lies outside the range of ``x``.
    """
    if len(set(x)) < FEWEST_POINTS:
        raise NoMinimumError(f"a parabola needs at least {FEWEST_POINTS} points, not {len(set(x))}")
    logs = [math.log(value) for value in x]
    center = mean_of(logs)
    fits = [_coefficients([u - center for u in logs], [math.log(value) for value in curve]) for curve in curves]
    a, b = ([fit[k] for fit in fits] for k in (0, 1))
    if not mean_of(a) > 0:
        raise NoMinimumError("the parabola does not open upward")
    best = -mean_of(b) / (2 * mean_of(a)) + center
    if not min(logs) <= best <= max(logs):
        raise NoMinimumError("the minimum lies outside the measured range")
    low, high = (None, None) if len(curves) < 2 else (math.exp(end + center) for end in _fieller(a, b))
    return Interval(estimate=math.exp(best), low=low, high=high, n=len(curves))


def _coefficients(u: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return ``a`` and ``b`` of the least-squares parabola."""
    import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

    (a, b, _), *_ = np.linalg.lstsq(np.vander(np.array(u), 3), np.array(y), rcond=None)
    return float(a), float(b)


def _fieller(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Solve ``mean(b + 2 a u)² = t² var(b + 2 a u) / n`` for ``u``."""
    n, mean_a, mean_b = len(a), mean_of(a), mean_of(b)
    factor = t_quantile(n - 1) ** 2 / n
    covariance = sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True)) / (n - 1)
    square = 4 * (mean_a**2 - factor * variance_of(a, mean_a))
    linear = 4 * (mean_a * mean_b - factor * covariance)
    constant = mean_b**2 - factor * variance_of(b, mean_b)
    if square <= 0:
        raise NoMinimumError("the parabola does not open upward significantly; more seeds may decide")
    root = math.sqrt(max(0.0, linear**2 - 4 * square * constant))
    return (-linear - root) / (2 * square), (-linear + root) / (2 * square)
