"""Local orders of convergence, and their limit.

Where ``e_L = C L^-p (1 + c / L + …)``, the order between two depths is ``p`` up to a term that falls like one over the depth.
A slope through all depths keeps that term, and its interval over replicates shrinks around a wrong value. The line through the
local orders over ``1 / L`` ends at ``p``. It is one through all of them: where errors depend on where a rough place lies
between two points of a grid, local orders take turns, and the last two would say nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from dnlbench.stats.intervals import Interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class LocalOrders:
    """Orders between successive depths, and what they tend to."""

    orders: tuple[float, ...]
    """``log(e_a / e_b) / log(b / a)`` for successive depths ``a < b``, means over the replicates."""
    limit: Interval
    """Mean over replicates of the least-squares line of the orders over ``1 / a``, at 0; with two depths the only order."""


def local_orders(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> LocalOrders:
    """The orders of curves over depth, each a replicate.

    Args:
        depths: at least two, distinct and increasing.
        curves: for each replicate its value at each depth, all above 0.
    """
    found = [_orders(depths, curve) for curve in curves]
    return LocalOrders(
        orders=tuple(mean_interval(list(column)).estimate for column in zip(*found, strict=True)),
        limit=mean_interval([_limit(depths, orders) for orders in found]),
    )


def _orders(depths: Sequence[int], curve: Sequence[float]) -> list[float]:
    return [
        (math.log(e) - math.log(f)) / (math.log(b) - math.log(a))
        for (a, e), (b, f) in itertools.pairwise(zip(depths, curve, strict=True))
    ]


def _limit(depths: Sequence[int], orders: Sequence[float]) -> float:
    if len(orders) == 1:
        return orders[0]
    return linear_regression([1 / depth for depth in depths[:-1]], orders).intercept
