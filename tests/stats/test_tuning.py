"""The best value of a setting: planted minima, edges, divergence, and the coverage of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from scipy import stats

from dnlbench.stats.tuning import Losses, NotTunedError, Tuned, growth_of, tune

RATES = tuple(0.003 * 10 ** (k / 2) for k in range(5))
CURVATURE = 0.12


def losses(curve: Sequence[float], noise: np.ndarray, values: Sequence[float] = RATES) -> Losses:
    """Return losses whose logarithms are a curve plus noise by seed and value."""
    table = np.exp(np.array(curve) + noise)
    return Losses(samples={value: dict(enumerate(table[:, k].tolist())) for k, value in enumerate(values)})


def parabola(best: float, values: Sequence[float] = RATES) -> list[float]:
    return [CURVATURE * math.log(value / best) ** 2 - 1 for value in values]


def one(given: Losses) -> Tuned:
    (result,) = tune([given])
    assert isinstance(result, Tuned), result
    return result


def noise(random: np.random.Generator, seeds: int, size: float, of_seed: float = 0.1) -> np.ndarray:
    noise: np.ndarray = size * random.normal(size=(seeds, len(RATES))) + of_seed * random.normal(size=(seeds, 1))
    return noise


def test_the_minimum_of_a_parabola_without_noise_is_exact() -> None:
    offsets = np.array([[0.0], [0.3], [-0.2]]) * np.ones(len(RATES))
    result = one(losses(parabola(0.04), offsets))
    assert (result.best, result.low, result.high) == pytest.approx((0.04, 0.04, 0.04))
    assert [result.losses[k] for k in range(3)] == pytest.approx(np.exp([-1, -0.7, -1.2]))
    assert (result.edge, result.is_inside) == ("", True)


def test_the_interval_is_that_of_an_independent_computation() -> None:
    """Fieller's interval from the normal equations and SciPy's t, on a fine grid of u."""
    random = np.random.default_rng(4)
    y = parabola(0.02) + noise(random, 4, 0.05)
    result = one(losses([0] * 5, y))
    u = np.log(RATES)
    design = np.stack([u**2, u, np.ones(5)], axis=1)
    a, b, _ = inverse = np.linalg.inv(design.T @ design) @ design.T @ y.mean(0)
    residual = y - y.mean(0) - y.mean(1)[:, None] + y.mean()
    variance = (residual**2).sum() / 12 / 4 * np.linalg.inv(design.T @ design)
    places = np.linspace(math.log(0.005), math.log(0.1), 100_001)
    gradient = np.stack([2 * places, np.ones_like(places)])
    spread = np.einsum("ik,ij,jk->k", gradient, variance[:2, :2], gradient)
    inside = places[(b + 2 * a * places) ** 2 <= stats.t.ppf(0.975, 12) ** 2 * spread]
    assert result.best == pytest.approx(math.exp(-inverse[1] / (2 * inverse[0])))
    assert (result.low, result.high) == pytest.approx((math.exp(inside[0]), math.exp(inside[-1])), rel=1e-4)


def test_each_half_of_the_seeds_is_measured_at_the_value_of_the_other_half() -> None:
    """Seeds 0 and 2 have their minimum at 0.02, seeds 1 and 3 at 0.05."""
    curves = [parabola(0.02), parabola(0.05)] * 2
    result = one(losses([0] * 5, np.array(curves)))
    at = CURVATURE * math.log(2.5) ** 2 - 1
    assert list(result.losses.values()) == pytest.approx([math.exp(at)] * 4)


@pytest.mark.parametrize(("best", "edge", "end"), [(1e-4, "low", RATES[0]), (10.0, "high", RATES[-1])])
def test_a_minimum_outside_of_the_tried_values_is_at_their_edge(best: float, edge: str, end: float) -> None:
    result = one(losses(parabola(best), noise(np.random.default_rng(0), 3, 0.01)))
    assert (result.edge, result.is_inside) == (edge, False)
    assert result.best == pytest.approx(end)
    assert (result.low, result.high)[edge == "high"] is None


def test_an_interval_beyond_the_tried_values_is_open() -> None:
    result = one(losses(parabola(0.28), noise(np.random.default_rng(1), 3, 0.1)))
    assert (result.edge, result.high) == ("high", None)
    assert result.low is not None


def test_without_curvature_both_ends_are_open() -> None:
    result = one(losses([0.0] * 5, noise(np.random.default_rng(0), 3, 0.1)))
    assert (result.edge, result.low, result.high) == ("both", None, None)


def test_a_parabola_that_five_values_reject_is_fitted_to_three() -> None:
    """The minimum of the parabola through all five values is 0.021."""
    curve = [0.3 * (math.exp(v) - v) for v in (0.8 * math.log(value / 0.04) for value in RATES)]
    result = one(losses(curve, noise(np.random.default_rng(6), 4, 0.005)))
    assert result.best == pytest.approx(0.04, rel=0.2)


def test_a_plateau_far_from_the_minimum_does_not_move_it() -> None:
    """Losses at small learning rates stay at that of guessing, which no polynomial describes."""
    curve = [math.log(10), math.log(10), *parabola(0.1)[2:]]
    assert one(losses(curve, noise(np.random.default_rng(6), 3, 0.02))).best == pytest.approx(0.1, rel=0.05)


def test_values_that_diverge_are_no_candidates() -> None:
    given = losses(parabola(0.02), np.zeros((3, 5)))
    samples = {**given.samples, RATES[-1]: {0: 1e-9}}
    assert one(Losses(samples=samples, failed=[RATES[-1]])).best == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("samples", "failed", "reason"),
    [
        ({0.1: {0: 1.0}, 0.2: {0: 1.0}, 0.3: {0: 1.0}}, [0.3], "2 of 3 values"),
        ({0.1: {0: 1.0}, 0.2: {1: 1.0}, 0.3: {0: 1.0}}, [], "no seed finished at every value"),
        ({0.1: {0: 1.0}, 0.2: {0: 0.0}, 0.3: {0: 1.0}}, [], "not positive"),
    ],
)
def test_without_enough_losses_there_is_a_reason(
    samples: dict[float, dict[int, float]], failed: list[float], reason: str
) -> None:
    (result,) = tune([Losses(samples=samples, failed=failed)])
    assert isinstance(result, NotTunedError)
    assert reason in str(result)


def test_a_single_seed_has_a_best_value_without_interval_and_loss() -> None:
    result = one(losses(parabola(0.02), np.zeros((1, 5))))
    assert result.best == pytest.approx(0.02)
    assert (result.low, result.high, result.losses) == (None, None, {})


def test_growth_of_exact_values_is_exact() -> None:
    depths = [2, 4, 8]
    tuned = [one(losses(parabola(0.05 * depth**-0.5), np.zeros((3, 5)))) for depth in depths]
    growth = growth_of(depths, tuned)
    assert (growth.exponent.estimate, growth.constant) == pytest.approx((-0.5, 0.05))


def test_growth_is_refused_at_the_edge_of_the_grid() -> None:
    tuned = [one(losses(parabola(best), np.zeros((3, 5)))) for best in (0.02, 10.0)]
    with pytest.raises(NotTunedError, match=r"at L=4\b"):
        growth_of([2, 4], tuned)


DEPTHS = (2, 4, 8, 16)
TRIALS = 1500


def trials(seed: int, seeds: int, size: float) -> Iterator[tuple[list[float], list[Tuned]]]:
    """Yield planted best values ``∝ L^-½`` and what is found, with made-up losses of all depths."""
    random = np.random.default_rng(seed)
    planted = [0.06 * depth**-0.5 for depth in DEPTHS]
    for _ in range(TRIALS):
        found = tune([losses(parabola(best), noise(random, seeds, size)) for best in planted])
        yield planted, [each for each in found if isinstance(each, Tuned)]


@pytest.mark.statistics
@pytest.mark.parametrize(("seeds", "size"), [(3, 0.05), (3, 0.1), (5, 0.05)])
def test_a_planted_law_is_recovered_with_95_percent_coverage(seeds: int, size: float) -> None:
    law, place, biases = 0, 0, []
    for planted, found in trials(0, seeds, size):
        exponent = growth_of(DEPTHS, found).exponent
        assert exponent.low is not None
        assert exponent.high is not None
        law += exponent.low <= -0.5 <= exponent.high
        place += sum((t.low or 0) <= best <= (t.high or math.inf) for best, t in zip(planted, found, strict=True))
        biases += [np.mean(np.log(list(each.losses.values()))) + 1 for each in found]
    assert law / TRIALS == pytest.approx(0.95, abs=0.02)
    assert place / TRIALS / len(DEPTHS) == pytest.approx(0.95, abs=0.02)
    assert abs(np.mean(biases)) < 0.2 * np.std(biases)


@pytest.mark.statistics
def test_an_optimum_outside_of_the_grid_is_reported_inside_in_at_most_5_percent() -> None:
    """An interval that lies inside the grid is wrong whenever the optimum is outside, so it is as rare as any other miss."""
    random = np.random.default_rng(9)
    beyond = RATES[-1] * 1.2
    found = [one(losses(parabola(beyond), noise(random, 3, 0.1))) for _ in range(TRIALS)]
    assert sum(each.edge == "" for each in found) / TRIALS < 0.05
    assert all(each.high is None for each in found if each.edge in ("high", "both"))
