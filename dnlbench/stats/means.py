"""Means of measured values over depth, to which curves are fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dnlbench.stats.intervals import mean_interval
from dnlbench.stats.orders import check_depths

if TYPE_CHECKING:
    from dnlbench.stats.forms import Array

FEWEST_DEPTHS = 4
"""Fits have three parameters, and a test of fit needs one more depth."""


class TooFewDepthsError(ValueError):
    """Too few distinct depths for a limit."""

    def __init__(self, count: int) -> None:
        super().__init__(f"too few depths: {count}, a limit needs at least {FEWEST_DEPTHS}")


@dataclass(frozen=True, kw_only=True)
class Means:
    """Mean values over depth, in units of the smallest depth and the largest value."""

    depths: Array
    values: Array
    weights: Array
    """The reciprocal of the relative variance of each mean, or the number of its values."""
    depth_unit: float
    value_unit: float

    def weighted(self, weights: Sequence[float]) -> Means:
        import numpy as np

        return replace(self, weights=np.array(weights))


def means_of(depths: Sequence[int], samples: Sequence[Sequence[float]]) -> Means:
    """Compute means and sizes of the samples; raises the errors of `fit_limit`."""
    import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

    check_depths(depths, len(samples))
    if len(set(depths)) < FEWEST_DEPTHS:
        raise TooFewDepthsError(len(set(depths)))
    values = [_mean(sample) for sample in samples]
    return Means(
        depths=np.array(depths) / min(depths),
        values=np.array(values) / max(values),
        weights=np.array([float(len(sample)) for sample in samples]),
        depth_unit=float(min(depths)),
        value_unit=max(values),
    )


def _mean(sample: Sequence[float]) -> float:
    if not all(math.isfinite(value) and value >= 0 for value in sample) or not any(sample):
        raise ValueError(f"a limit needs finite values, none negative and not all 0, not {list(sample)}")
    return mean_interval(sample).estimate
