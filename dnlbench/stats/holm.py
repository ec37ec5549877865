"""Adjustment of p values for the number of tests by Holm's method, within families and over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's method, in the given order; None stays None and is not counted.

    If results below a level are called significant, the probability of any error is at most that level, for any dependence.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = largest
    return adjusted


Family = Sequence[float | None]


def count_families(families: Sequence[Family]) -> int:
    """Count the families with p values; equal families, which are the same tests, count once."""
    return len(_largest(families))


def holm_over_families(families: Sequence[Family]) -> list[list[float | None]]:
    """Adjust p values by Holm's method within each family, and over the families.

    Each of ``F`` families gets ``1/F`` of the error. A family whose tests are all significant passes its part to the others in
    equal parts, as a single test does in Holm's method. If results below a level are called significant, the probability of
    any error in any family is at most that level (a sequentially rejective Bonferroni procedure: Bretz et al. 2009,
    doi:10.1002/sim.3495). Families without p values do not count, and equal families count once: they are the same tests.

    Returns:
        The adjusted p values in the given order; None stays None.
    """
    largest = _largest(families)
    return [[_over_families(p, tuple(family), largest) for p in holm(family)] for family in families]


PValues = tuple[float | None, ...]


def _largest(families: Sequence[Family]) -> dict[PValues, float]:
    """Return the largest adjusted p value of each distinct family that has any."""
    return {tuple(family): max(known) for family in families if (known := [p for p in holm(family) if p is not None])}


def _over_families(p: float | None, tested: PValues, largest: Mapping[PValues, float]) -> float | None:
    """Return the smallest level at which a test is significant, for any number of other families that pass on their part."""
    if p is None:
        return None
    count, level, best = len(largest), 0.0, min(1.0, len(largest) * p)
    others = sorted(value for family, value in largest.items() if family != tested)
    for passed, other in enumerate(others, start=1):
        level = max(level, (count - passed + 1) * other)
        best = min(best, max(level, (count - passed) * p))
    return best
