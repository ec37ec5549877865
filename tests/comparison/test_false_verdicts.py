"""How often a whole table of equal results holds a better or worse verdict.

Thousands of tables by arrays, with SciPy's t distribution; that `compare` and `contrasts_of` say the same is tested on a few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from dnlbench.comparison import compare
from dnlbench.profiles import Profile, contrasts_of
from dnlbench.stats import holm, holm_over_families
from dnlbench.studies.training import TRAINING

pytestmark = pytest.mark.statistics
MakeProfile = Callable[..., Profile]
Array = NDArray[np.float64]
NETWORKS = ("densenet", "dense-attention", "dense-gaussian")
DEPTHS = (2, 4, 8, 16, 32)
TABLES = 2000
QUANTITIES = {"final_train_loss": (0.03, 0.01), "samples_per_s": (0.03, 0.05), "evaluation_accuracy": (0.01, 0.01)}
"""The noise of a run, on the logarithm, and the tolerance."""
MARGIN = 3 * math.sqrt(0.05 * 0.95 / TABLES)


def verdicts(p_adjusted: Array, mean: Array, half: Array, tolerance: float) -> NDArray[np.bool_]:
    """Where a verdict is better or worse, of log ratios ``mean ± half``."""
    apart = np.abs(mean) > half
    beyond = np.abs(mean) + half > math.log1p(tolerance)
    return (p_adjusted < 0.05) & apart & beyond


def t_test(logs: Array) -> tuple[Array, Array, Array]:
    """P value, mean and half interval over the last axis, which is seeds."""
    seeds = logs.shape[-1]
    mean, error = logs.mean(-1), logs.std(-1, ddof=1) / math.sqrt(seeds)
    p = 2 * scipy_stats.t.sf(np.abs(mean) / error, seeds - 1)
    return p, mean, error * scipy_stats.t.ppf(0.975, seeds - 1)


def false_tables(draws: dict[str, Array]) -> tuple[NDArray[np.bool_], dict[str, Array]]:
    """Which comparisons hold a verdict, with adjusted p values, of log ratios by quantity, table, network, depth and seed."""
    tests = {
        name: (t_test(logs.reshape(len(logs), -1, logs.shape[-1])), t_test(logs.mean(2)))
        for name, logs in draws.items()
    }
    tables = len(next(iter(draws.values())))
    adjusted = [
        holm_over_families([list(map(float, test[0][table])) for pair in tests.values() for test in pair])
        for table in range(tables)
    ]
    found, by_quantity = np.zeros(tables, bool), {}
    for number, (name, pair) in enumerate(tests.items()):
        for place, (_, mean, half) in enumerate(pair):
            p = np.array([each[2 * number + place] for each in adjusted], float)
            found |= verdicts(p, mean, half, QUANTITIES[name][1]).any(1)
            by_quantity[f"{name} {place}"] = p
    return found, by_quantity


def equal_sides(random: np.random.Generator, seeds: int, tables: int) -> dict[str, Array]:
    """Log ratios of two sides that do not differ."""
    shape = (tables, len(NETWORKS), len(DEPTHS), seeds)
    return {name: random.normal(0, noise * math.sqrt(2), shape) for name, (noise, _) in QUANTITIES.items()}


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_comparison_of_equals_holds_a_verdict_in_five_of_a_hundred_at_most(seeds: int) -> None:
    found, _ = false_tables(equal_sides(np.random.default_rng(seeds), seeds, TABLES))
    assert found.mean() <= 0.05 + MARGIN


@pytest.mark.parametrize("seeds", [3, 5])
def test_compare_says_the_same(make_profile: MakeProfile, seeds: int) -> None:
    """Adjusted p values of everything, and whether there is a verdict; with effects, so that there are some."""
    random = np.random.default_rng(11)
    draws = equal_sides(random, seeds, 6)
    effect = np.array([0, 0.05, 0.3, -0.4, 0.6, 0.02])[:, None, None, None]
    draws["final_train_loss"] = draws["final_train_loss"] + effect
    found, adjusted = false_tables(draws)
    assert 0 < found.sum() < len(found)
    base = make_profile({(n, d): [0.1] * seeds for n in NETWORKS for d in DEPTHS}, interleaved="ab")
    for table in range(len(found)):
        comparison = compare(with_ratios(base, draws, None), with_ratios(base, draws, table))
        assert comparison.families == 6
        said = {cell.verdict for cell in comparison.cells} | {figure.verdict for figure in comparison.overall}
        assert bool(said & {"better", "worse"}) == found[table]
        for name in QUANTITIES:
            cells = [cell.p_adjusted for cell in comparison.cells if cell.quantity.name == name]
            figures = [figure.p_adjusted for figure in comparison.overall if figure.quantity.name == name]
            assert cells == pytest.approx(list(adjusted[f"{name} 0"][table]), rel=1e-6)
            assert figures == pytest.approx(list(adjusted[f"{name} 1"][table]), rel=1e-6)


def with_ratios(base: Profile, draws: dict[str, Array], table: int | None) -> Profile:
    """A side with the given log ratios to one whose every value is 0.5; that one itself where ``table`` is None."""
    runs = []
    for run in base.runs:
        place = NETWORKS.index(run.network), DEPTHS.index(run.depth), run.seed
        logs = {name: 0.0 if table is None else float(values[(table, *place)]) for name, values in draws.items()}
        runs.append(run.model_copy(update={name: 0.5 * math.exp(log) for name, log in logs.items()}))
    return base.model_copy(update={"runs": tuple(runs)})


def contrast_pairs() -> Iterator[tuple[int, int]]:
    """Places of both points, in a list of all points network by network."""
    count = len(DEPTHS)
    for network in range(len(NETWORKS)):
        yield from ((network * count + place, network * count + place + 1) for place in range(count - 1))
    for network in range(1, len(NETWORKS)):
        yield from ((place, network * count + place) for place in range(count))


def contrast_tests(logs: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Adjusted p values, and where a verdict is better or worse, of log losses by table, point and seed."""
    ours, theirs = (list(side) for side in zip(*contrast_pairs(), strict=True))
    p, mean, half = t_test(logs[:, theirs] - logs[:, ours])
    adjusted = np.array([holm(list(map(float, row))) for row in p], float)
    return adjusted, verdicts(adjusted, mean, half, 0.01)


def equal_points(random: np.random.Generator, seeds: int, tables: int, noise: Any) -> Array:
    """Log losses on which neither depth nor network has an effect, while seeds have one."""
    shape = (tables, len(NETWORKS), len(DEPTHS), seeds)
    logs = random.normal(0, 1, shape) * np.asarray(noise)[None, None, :, None] + random.normal(
        0, 0.05, (tables, 1, 1, seeds)
    )
    reshaped: Array = logs.reshape(tables, -1, seeds)
    return reshaped


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("noise", [(0.03,) * 5, (0.03, 0.05, 0.1, 0.15, 0.15)], ids=["equal", "growing with depth"])
def test_without_an_effect_of_depth_or_network_a_profile_rarely_holds_a_verdict(
    seeds: int, noise: tuple[float, ...]
) -> None:
    _, judged = contrast_tests(equal_points(np.random.default_rng(20 + seeds), seeds, TABLES, noise))
    assert judged.any(1).mean() <= 0.05 + MARGIN


def test_contrasts_say_the_same(make_profile: MakeProfile) -> None:
    logs = equal_points(np.random.default_rng(31), 5, 5, (0.03,) * 5)
    logs[1:, 4] -= 0.4
    adjusted, judged = contrast_tests(logs)
    assert 0 < judged.sum() < judged.size
    points = [(network, depth) for network in NETWORKS for depth in DEPTHS]
    for table, row in enumerate(logs):
        profile = make_profile({point: list(map(math.exp, values)) for point, values in zip(points, row, strict=True)})
        found = contrasts_of(profile.runs, TRAINING.quantities[0])
        assert [contrast.p_adjusted for contrast in found] == pytest.approx(list(adjusted[table]), rel=1e-6)
        assert [contrast.verdict in ("better", "worse") for contrast in found] == list(judged[table])
