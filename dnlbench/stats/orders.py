"""``value ≈ constant · L^-order``: orders of convergence with their limit, and the exponents of costs.

For ``e_L = C L^-p (1 + c / L + …)`` the order between two depths is ``p`` up to a term that falls like one over the depth. A
slope through all depths contains that term, and its interval over replicates shrinks around a wrong value. The line through the
local orders over ``1 / L`` has the intercept ``p``. It uses all local orders, since they may alternate if the errors depend on
the position of a kink between two grid points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from dnlbench.stats.intervals import Interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class OrderFit:
    """The fit ``value ≈ constant · L^-order``."""

    order: Interval
    constant: float


def fit_order(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> OrderFit:
    """Fit ``log value = log constant - order · log L`` by least squares for each replicate; return the mean over replicates.

    The interval is the t interval over replicates; a single replicate has none. Depths may be in any order.

    Raises:
        ValueError: for no curves, fewer than two distinct depths, unequal lengths or values that are not positive.
    """
    lines = [_log_line(depths, curve) for curve in curves]
    order = mean_interval([-slope for slope, _ in lines])
    return OrderFit(order=order, constant=math.exp(mean_interval([height for _, height in lines]).estimate))


def fit_exponent(depths: Sequence[int], values: Sequence[float]) -> float:
    """Fit the exponent q of ``cost ≈ c · L^q``: the least-squares slope of log cost on log L over the three largest depths.

    Costs that do not depend on depth hide the growth at small depths.

    Raises:
        ValueError: for fewer than two distinct depths, unequal lengths or values that are not positive.
    """
    check_curve(depths, values)
    largest = sorted(set(depths))[-3:]
    pairs = [(depth, value) for depth, value in zip(depths, values, strict=True) if depth in largest]
    return _log_line([depth for depth, _ in pairs], [value for _, value in pairs])[0]


def _log_line(depths: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    check_curve(depths, values)
    if len(set(depths)) < 2:
        raise ValueError(f"a slope needs at least 2 different depths, not {len(set(depths))}")
    x, y = [math.log(depth) for depth in depths], [math.log(value) for value in values]
    center, height = math.fsum(x) / len(x), math.fsum(y) / len(y)
    steps = [each - center for each in x]
    slope = math.fsum(s * each for s, each in zip(steps, y, strict=True)) / math.fsum(s * s for s in steps)
    return slope, height - slope * center


def check_curve(depths: Sequence[int], values: Sequence[float]) -> None:
    """Refuse values that have no logarithm, with a ValueError."""
    check_depths(depths, len(values))
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a fit needs positive finite values, not {value}")


def check_depths(depths: Sequence[int], values: int) -> None:
    """Refuse depths below 1 and another number of values, with a ValueError."""
    if len(depths) != values:
        raise ValueError(f"a fit needs as many values as depths, not {values} for {len(depths)}")
    if any(depth < 1 for depth in depths):
        raise ValueError(f"a depth is at least 1, not {min(depths)}")


@dataclass(frozen=True, kw_only=True)
class LocalOrders:
    """Orders between successive depths, and their limit."""

    orders: tuple[float, ...]
    """``log(e_a / e_b) / log(b / a)`` for successive depths ``a < b``, means over the replicates."""
    limit: Interval
    """Mean over replicates of the least-squares line of the orders over ``1 / a``, at 0; with two depths the only order."""


def local_orders(depths: Sequence[int], curves: Sequence[Sequence[float]]) -> LocalOrders:
    """Compute the local orders of positive curves over two or more increasing depths, each a replicate."""
    orders_by_curve = [_orders(depths, curve) for curve in curves]
    return LocalOrders(
        orders=tuple(mean_interval(list(column)).estimate for column in zip(*orders_by_curve, strict=True)),
        limit=mean_interval([_limit(depths, orders) for orders in orders_by_curve]),
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
