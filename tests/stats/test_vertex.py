"""The minimum of a parabola: closed forms, refusals and the coverage of its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from dnlbench.stats.intervals import mean_interval
from dnlbench.stats.vertex import NoMinimumError, fit_minimum

X = (1e3, 3e3, 1e4, 3e4, 1e5)


def parabola(x: Sequence[float], a: float, best: float, c: float = 0.0) -> list[float]:
    return [math.exp(a * math.log(each / best) ** 2 + c) for each in x]


def test_the_minimum_of_exact_parabolas_is_found() -> None:
    found = fit_minimum(X, [parabola(X, 0.1, 8e3), parabola(X, 0.1, 8e3, c=0.4)])
    assert (found.estimate, found.low, found.high) == pytest.approx((8e3, 8e3, 8e3), rel=1e-6)
    assert fit_minimum(X, [parabola(X, 0.1, 8e3)]).low is None


def test_with_equal_curvature_the_interval_is_that_of_the_mean() -> None:
    """Then the minimum of each seed has the interval of a mean, the special case of Fieller's."""
    places = [7e3, 8e3, 1e4]
    found, logs = fit_minimum(X, [parabola(X, 0.1, each) for each in places]), mean_interval([*map(math.log, places)])
    assert logs.low is not None
    assert logs.high is not None
    expected = [math.exp(each) for each in (logs.estimate, logs.low, logs.high)]
    assert [found.estimate, found.low, found.high] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("x", "curves", "reason"),
    [
        (X[:3], [parabola(X[:3], 0.1, 3e3)], "needs at least 4 points, not 3"),
        (X, [parabola(X, -0.1, 8e3)], "does not open upward$"),
        (X, [parabola(X, 0.1, 1e6)], "outside the measured range"),
        (X, [parabola(X, 0.3, 8e3), parabola(X, -0.1, 8e3)], "does not open upward significantly"),
    ],
)
def test_without_a_minimum_there_is_a_reason(x: Sequence[float], curves: list[list[float]], reason: str) -> None:
    with pytest.raises(NoMinimumError, match=reason):
        fit_minimum(x, curves)


@pytest.mark.statistics
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_contains_a_planted_minimum_in_95_percent(seeds: int) -> None:
    random, count, hits, refused = np.random.default_rng(seeds), 3000, 0, 0
    clean = np.log(parabola(X, 0.05, 1.2e4))
    for _ in range(count):
        curves = np.exp(clean + 0.02 * random.normal(size=(seeds, len(X))) + 0.1 * random.normal(size=(seeds, 1)))
        try:
            found = fit_minimum(X, curves.tolist())
        except NoMinimumError:
            refused += 1
            continue
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1.2e4 <= found.high
    assert refused < 0.01 * count
    assert abs(hits / (count - refused) - 0.95) < 0.02
