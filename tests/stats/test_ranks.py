"""The rank-sum test: closed forms, SciPy, enumeration with ties, and its error rate with values beyond a limit."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations

import pytest
from scipy.stats import mannwhitneyu

from dnlbench.stats import ranks
from dnlbench.stats.ranks import rank_sum_p, smallest_rank_sum_p

INF = math.inf


@pytest.mark.parametrize(("n", "m", "p"), [(3, 3, 0.1), (4, 4, 2 / 70), (2, 5, 2 / 21), (1, 1, 1.0)])
def test_separate_groups_have_the_smallest_p(n: int, m: int, p: float) -> None:
    ours, theirs = [float(k) for k in range(n)], [float(100 + k) for k in range(m)]
    assert rank_sum_p(ours, theirs) == pytest.approx(p) == pytest.approx(smallest_rank_sum_p(n, m))


def test_values_without_ties_agree_with_scipy() -> None:
    rng = random.Random(1)
    for n, m in ((3, 5), (6, 6), (9, 4)):
        ours, theirs = [rng.gauss(0.5, 1) for _ in range(n)], [rng.gauss(0, 1) for _ in range(m)]
        assert rank_sum_p(ours, theirs) == pytest.approx(mannwhitneyu(ours, theirs, method="exact").pvalue)


def enumerated(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The definition: relabel all values in every way, and compare the number of pairs won."""
    values = [*ours, *theirs]

    def won(chosen: Sequence[int]) -> float:
        others = [value for k, value in enumerate(values) if k not in chosen]
        pairs = [(values[k], other) for k in chosen for other in others]
        return abs(sum((a > b) - (a < b) for a, b in pairs))

    choices = [won(chosen) for chosen in combinations(range(len(values)), len(ours))]
    return sum(each >= won(range(len(ours))) for each in choices) / len(choices)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([3, 4, INF], [2, 2, 3]),
        ([INF, INF, INF], [5, 6, INF]),
        ([1, 1, 2, 9], [2, 2, INF, INF, 4]),
        ([INF] * 3, [INF] * 3),
    ],
)
def test_ties_and_values_beyond_the_limit(ours: list[float], theirs: list[float]) -> None:
    assert rank_sum_p(ours, theirs) == pytest.approx(enumerated(ours, theirs))


def test_the_approximation_for_many_values_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    ours, theirs = [float(rng.randrange(1, 30)) for _ in range(30)], [float(rng.randrange(5, 34)) for _ in range(30)]
    exact = rank_sum_p(ours, theirs)
    monkeypatch.setattr(ranks, "EXACT", 0)
    assert rank_sum_p(ours, theirs) == pytest.approx(exact, abs=0.01)
    assert rank_sum_p([INF] * 3, [INF] * 3) == 1


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(ValueError, match="values in both groups"):
        rank_sum_p([], [1.0])


@pytest.mark.statistics
@pytest.mark.parametrize("limit", [4.0, 8.0, INF])
def test_the_error_rate_is_at_most_5_percent(limit: float) -> None:
    rng, samples = random.Random(3), 4000

    def times() -> list[float]:
        return [time if (time := math.ceil(rng.expovariate(0.2))) <= limit else INF for _ in range(5)]

    rejected = sum(rank_sum_p(times(), times()) < 0.05 for _ in range(samples)) / samples
    assert rejected <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / samples)
