"""The candidates that may have the smallest mean, as a confidence set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnlbench.stats.ratios import geometric_mean, ratio_test
from dnlbench.stats.student import LEVEL


@dataclass(frozen=True, kw_only=True)
class Best:
    """The candidate with the smallest mean, and all candidates that may have the smallest true mean."""

    index: int
    """Index of the smallest geometric mean."""
    members: tuple[int, ...]
    """Indices of the confidence set, ascending. Empty if no pair of candidates can be tested, as with one seed."""


def best_of(samples: Sequence[Mapping[int, float]]) -> Best:
    """Return the candidate with the smallest mean with a confidence set of level `LEVEL`.

    A candidate is in the set unless it is significantly worse than another one: the one-sided t test of its ratio to some
    other candidate, paired by seed where possible, has a p value below ``(1 − LEVEL) / (k − 1)`` for ``k`` candidates.

    Coverage: the true best is no worse than any other, so each of its ``k − 1`` tests is wrong with a probability of at most
    ``(1 − LEVEL) / (k − 1)``, and all together with at most ``1 − LEVEL``. This holds for any number of seeds from 2 and any
    dependence between candidates, which a bootstrap over three to five seeds doesn't achieve.

    Args:
        samples: positive values by seed, one mapping per candidate, none empty.
    """
    means = [geometric_mean(list(sample.values())) for sample in samples]
    index = means.index(min(means))
    level = (1 - LEVEL) / max(1, len(samples) - 1)
    worst = [_p_values_of_worse(sample, [*samples[:k], *samples[k + 1 :]]) for k, sample in enumerate(samples)]
    if not any(worst):
        return Best(index=index, members=())
    members = (k for k, p_values in enumerate(worst) if k == index or all(p >= level for p in p_values))
    return Best(index=index, members=tuple(members))


def _p_values_of_worse(sample: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> list[float]:
    """Return the p value of "no worse than the other" for each other candidate with a test."""
    tests = [ratio_test(other, sample, may_be_paired=True).log_ratio for other in others]
    p_values = [None if test is None else test.p_above(0.0) for test in tests]
    return [p for p in p_values if p is not None]
