"""Holm's method within families and over them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from dnlbench.stats import count_families, holm, holm_over_families

Families = Sequence[Sequence[float | None]]


def rejected(families: Sequence[Sequence[float]], level: float) -> set[tuple[int, int]]:
    """The same procedure carried out step by step at one level: shares of the error, passed on by families that are done."""
    share = {number: level / len(families) for number in range(len(families))}
    found: set[tuple[int, int]] = set()
    while True:
        for number, share_of in share.items():
            left = sorted((p, place) for place, p in enumerate(families[number]))
            for rank, (p, place) in enumerate(left):
                if p * (len(left) - rank) > share_of:
                    break
                found.add((number, place))
        done = [number for number in share if all((number, place) in found for place in range(len(families[number])))]
        if not done or len(share) == 1:
            return found
        passed = sum(share.pop(number) for number in done)
        if not share:
            return found
        share = {number: value + passed / len(share) for number, value in share.items()}


@pytest.mark.parametrize(
    "families",
    [
        [[0.01, 0.04], [0.02, 0.3]],
        [[0.004, 0.009], [0.011, 0.024, 0.5]],
        [[0.001], [0.012], [0.024]],
        [[0.9, 0.8], [0.0005, 0.02, 0.03]],
    ],
)
def test_adjusted_p_values_are_the_levels_at_which_tests_become_significant(families: list[list[float]]) -> None:
    adjusted = holm_over_families(families)
    levels = sorted({p for family in adjusted for p in family if p is not None and p < 1})
    assert levels
    for level, slightly in itertools.product(levels, (-1e-9, 1e-9)):
        expected = {
            (n, i) for n, family in enumerate(adjusted) for i, p in enumerate(family) if p and p <= level + slightly
        }
        assert rejected(families, level + slightly) == expected


def test_one_family_is_holms_method() -> None:
    p_values = [0.04, None, 0.01, 0.02]
    assert holm(p_values) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm_over_families([p_values]) == [holm(p_values)]


def test_families_without_tests_and_equal_ones_take_no_share() -> None:
    families: Families = [[0.01, 0.02], [None], [], [0.01, 0.02]]
    assert count_families(families) == 1
    assert holm_over_families(families) == [pytest.approx([0.02, 0.02]), [None], [], pytest.approx([0.02, 0.02])]


def test_a_family_that_is_significant_in_full_passes_on_its_share() -> None:
    first, second = holm_over_families([[0.001], [0.03, 0.04]])
    assert first == [pytest.approx(0.002)]
    assert second == pytest.approx([0.06, 0.06])
    _, second = holm_over_families([[0.001], [0.02, 0.9]])
    assert second[0] == pytest.approx(0.04)


def test_families_that_are_equal_after_adjustment_alone_both_count() -> None:
    assert count_families([[0.6, 0.7], [0.8, 0.9]]) == 2
    assert holm_over_families([[0.01], [0.6, 0.7], [0.8, 0.9]])[0] == [pytest.approx(0.03)]
