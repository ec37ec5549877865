"""The confidence set of the best candidate, against its definition and with planted truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dnlbench.stats.best import best_of


def by_seed(values: Sequence[float]) -> dict[int, float]:
    return dict(enumerate(values))


def test_the_set_inverts_one_sided_paired_t_tests() -> None:
    random = np.random.default_rng(5)
    logs = random.normal([0.0, 0.02, 0.1, 0.4], 0.05, (5, 4))
    expected = [
        k
        for k in range(4)
        if all(
            scipy_stats.ttest_rel(logs[:, k], logs[:, other], alternative="greater").pvalue >= 0.05 / 3
            for other in range(4)
            if other != k
        )
    ]
    found = best_of([by_seed(column) for column in np.exp(logs).T.tolist()])
    assert found.index == int(np.argmin(logs.mean(axis=0)))
    assert list(found.members) == expected
    assert 0 < len(expected) < 4


def test_one_seed_has_no_set() -> None:
    assert best_of([{0: 2.0}, {0: 1.0}]).members == ()
    assert best_of([{0: 2.0}, {0: 1.0}]).index == 1


def test_equal_noise_free_values_are_all_best() -> None:
    samples = [by_seed([1.0, 1.0]), by_seed([1.0, 1.0]), by_seed([2.0, 2.0])]
    assert best_of(samples).members == (0, 1)


def test_a_pair_of_candidates_is_tested_over_their_common_seeds() -> None:
    found = best_of([{0: 1.0, 1: 1.1, 2: 1.2}, {1: 2.2, 2: 2.5, 3: 2.0}])
    assert found.members == (0,)


@pytest.mark.statistics
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("means", [(0.0, 0.0, 0.0, 0.0), (0.05, 0.0, 0.02, 0.2), (0.3, 0.1, 0.0, 0.1)])
def test_the_set_contains_the_true_best_in_95_percent(seeds: int, means: tuple[float, ...]) -> None:
    random = np.random.default_rng(11 + seeds)
    noise = np.array([0.02, 0.05, 0.05, 0.1])  # noise depends on depth, and seeds share a part of it
    count, best = 4000, means.index(min(means))
    hits = 0
    for _ in range(count):
        logs = means + noise * random.normal(size=(seeds, 4)) + 0.1 * random.normal(size=(seeds, 1))
        found = best_of([by_seed(column) for column in np.exp(logs).T.tolist()])
        hits += best in found.members
    assert hits / count >= 0.95 - 2 * (0.95 * 0.05 / count) ** 0.5


@pytest.mark.statistics
def test_five_seeds_exclude_a_clearly_worse_depth() -> None:
    random, excluded = np.random.default_rng(3), 0
    for _ in range(500):
        logs = np.array([0.3, 0.0, 0.02, 0.05]) + 0.05 * random.normal(size=(5, 4))
        excluded += 0 not in best_of([by_seed(column) for column in np.exp(logs).T.tolist()]).members
    assert excluded > 0.9 * 500
