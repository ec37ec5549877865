"""Smoothing of curves that are still growing: what is drawn does not change when a point is added."""

from __future__ import annotations

import math
from collections.abc import Iterable


def smoothed(values: Iterable[float], weight: float) -> list[float]:
    """Exponential moving average without the bias of its start.

    With the weight w in [0, 1), over the finite values y₁, y₂, …::

        s_k = w s_{k-1} + (1 - w) y_k,   s_0 = 0
        ŷ_k = s_k / (1 - w^k)

    A value that is not finite stays as it is, where it is, and those after it are averaged as if it had not been there.

    Raises:
        ValueError: if the weight is not in [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a weight is at least 0 and below 1, not {weight}")
    state, forgotten = 0.0, 1.0
    result = []
    for value in values:
        if math.isfinite(value):
            state = weight * state + (1 - weight) * value
            forgotten *= weight
            result.append(state / (1 - forgotten))
        else:
            result.append(value)
    return result
