"""Two tests of means over depth without a curve: do they turn, and does their change slow down?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.stats.holm import holm
from dnlbench.stats.student import t_tail

SIGNIFICANT = 0.05
Direction = Literal["rises", "falls"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Means at increasing depths."""

    depths: tuple[int, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]
    """Variances of the means."""
    freedom: int
    """Degrees of freedom of the variances."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """The most significant rise or fall between two depths."""

    start: int
    end: int
    p: float
    """Two-sided p value of Welch's statistic, adjusted by Holm's method over all pairs of depths."""

    @property
    def text(self) -> str:
        return f"from L = {self.start} to {self.end} ({p_text(self.p)})"


def p_text(p: float) -> str:
    """Format a p value: ``p = 0.002`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def significant_moves(spread: Spread) -> dict[Direction, Move]:
    """Return the most significant rise and fall, if any. A curve with both is not monotone."""
    pairs = list(itertools.combinations(range(len(spread.depths)), 2))
    scores = [_score(spread, i, j) for i, j in pairs]
    adjusted = holm([2 * t_tail(spread.freedom, abs(score)) for score in scores])
    moves: dict[Direction, Move] = {}
    for (i, j), score, p in sorted(zip(pairs, scores, adjusted, strict=True), key=lambda each: abs(each[1])):
        if p is not None and p < SIGNIFICANT:
            move = Move(start=spread.depths[i], end=spread.depths[j], p=p)
            moves["rises" if score > 0 else "falls"] = move
    return moves


def _score(spread: Spread, i: int, j: int) -> float:
    return (spread.means[j] - spread.means[i]) / math.sqrt(spread.variances[i] + spread.variances[j])


def flattening(spread: Spread) -> float:
    """Return the one-sided p value that the change per doubling of depth does not slow down; near 1 if it gets faster.

    It is the t test of the quadratic coefficient of a weighted parabola in log L, which is positive for a fall that slows down
    and negative for a rise that slows down. Every curve with a limit slows down; a straight line in log L does not.
    """
    import numpy as np

    x = np.log(spread.depths) - np.log(spread.depths).mean()
    root = 1 / np.sqrt(spread.variances)
    basis = root[:, None] * np.stack([np.ones_like(x), x, x * x], axis=1)
    q, r = np.linalg.qr(basis)
    coefficients = np.linalg.solve(r, q.T @ (root * np.array(spread.means)))
    error = abs(1 / r[2, 2])
    falls = spread.means[-1] < spread.means[0]
    return t_tail(spread.freedom, float(coefficients[2] / error) * (1 if falls else -1))


def spread_of(depths: Sequence[int], means: Sequence[float], variances: Sequence[float], freedom: int) -> Spread:
    """Return means and variances sorted by depth."""
    rows = sorted(zip(depths, means, variances, strict=True))
    return Spread(
        depths=tuple(depth for depth, _, _ in rows),
        means=tuple(mean for _, mean, _ in rows),
        variances=tuple(variance for _, _, variance in rows),
        freedom=freedom,
    )
