"""The rank-sum test of Wilcoxon, Mann and Whitney for times to an event, some of which are only known to exceed a limit.

A value that exceeds the limit is infinite here: it ranks after all others, and such values tie. The test needs no more than the
order of the values, so no time is made up for them. Ties have their mean rank, and the p value is exact: the share of all ways
to choose the group whose rank sum is at least as far from its expectation as the observed one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

EXACT = 60
"""Number of values in both groups up to which p values are exact. For more, they are normal approximations."""


def rank_sum_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the two-sided p value that two groups have equal distributions.

    Raises:
        ValueError: if a group is empty.
    """
    if not ours or not theirs:
        raise ValueError("a rank-sum test needs values in both groups")
    ranks = _doubled_ranks([*ours, *theirs])
    observed = sum(ranks[: len(ours)])
    n, total = len(ours), len(ranks)
    distance = abs(total * observed - n * sum(ranks))  # from the expectation, as an integer
    if total > EXACT:
        return _normal_p(ranks, n, distance / total)
    sums = _sums(ranks, n)
    return sum(number for s, number in sums.items() if abs(total * s - n * sum(ranks)) >= distance) / math.comb(
        total, n
    )


def smallest_rank_sum_p(n: int, m: int) -> float:
    """Return the smallest p value of groups of these sizes: all values of one group before those of the other."""
    return min(1.0, 2 / math.comb(n + m, n))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, which is an integer for the mean rank of tied values too."""
    counts, doubled, before = Counter(values), {}, 0
    for value in sorted(counts):
        doubled[value] = 2 * before + counts[value] + 1
        before += counts[value]
    return [doubled[value] for value in values]


def _sums(ranks: Sequence[int], n: int) -> Counter[int]:
    """Count the choices of ``n`` ranks by their sum."""
    counts: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in range(n))]
    for rank in ranks:
        for size in range(n, 0, -1):
            for total, count in counts[size - 1].items():
                counts[size][total + rank] += count
    return counts[n]


def _normal_p(ranks: Sequence[int], n: int, distance: float) -> float:
    """Return the normal approximation with the variance of a sum of ``n`` ranks drawn without replacement."""
    total = len(ranks)
    mean = sum(ranks) / total
    variance = n * (total - n) / (total * (total - 1)) * sum((rank - mean) ** 2 for rank in ranks)
    return math.erfc(distance / math.sqrt(2 * variance)) if variance else 1.0
