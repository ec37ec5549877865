"""The order of runs: pairs back to back, and base and head first equally often."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from dnlbench.paired.schedule import Key, RunGroup, alternate_runs


def keys(networks: str, depths: list[int], seeds: int) -> list[Key]:
    return [(network, depth, seed) for network, depth, seed in product(networks, depths, range(seeds))]


def pairs(groups: list[RunGroup]) -> list[tuple[RunGroup, RunGroup]]:
    return list(zip(groups[::2], groups[1::2], strict=True))


@pytest.mark.parametrize(("depths", "seeds", "size"), [(1, 1, 1), (3, 3, 1), (2, 4, 1), (3, 5, 2), (2, 3, 4)])
def test_every_run_of_each_side_has_one_turn_next_to_its_partners(depths: int, seeds: int, size: int) -> None:
    runs = keys("ab", list(range(1, depths + 1)), seeds)
    groups = alternate_runs(list(reversed(runs)), runs, size)
    for first, second in pairs(groups):
        assert {first.role, second.role} == {"base", "head"}
        assert first.keys == second.keys
        assert len(first.keys) <= size
        assert len({key[:2] for key in first.keys}) == 1
    for role in ("base", "head"):
        assert [key for group in groups if group.role == role for key in group.keys] == runs


def test_base_and_head_come_first_in_turn() -> None:
    first = [pair[0].role for pair in pairs(alternate_runs(keys("a", [1], 5), keys("a", [1], 5), 1))]
    assert first == ["base", "head", "base", "head", "base"]


def test_each_seed_has_either_side_first_at_as_many_points_and_each_point_at_as_many_seeds() -> None:
    runs = keys("ab", [1, 2], 4)
    groups = alternate_runs(runs, runs, 1)
    first = Counter((first.role, first.keys[0][2]) for first, _ in pairs(groups))
    assert first == {(role, seed): 2 for role in ("base", "head") for seed in range(4)}
    by_point = Counter((first.role, first.keys[0][:2]) for first, _ in pairs(groups))
    assert set(by_point.values()) == {2}


def test_a_steady_drift_cancels() -> None:
    """Base and head have the same mean time, so that a steady slowdown affects both equally."""
    runs = keys("ab", [1, 2, 4], 4)
    times: dict[str, list[int]] = {"base": [], "head": []}
    for time, group in enumerate(alternate_runs(runs, runs, 1)):
        times[group.role].append(time)
    assert sum(times["base"]) == sum(times["head"])


def test_runs_that_one_side_lacks_come_last() -> None:
    base, head = keys("a", [1, 2], 2), keys("a", [2, 4], 2)
    groups = alternate_runs(base, head, 2)
    assert [(group.role, group.keys) for group in groups] == [
        ("base", (("a", 2, 0), ("a", 2, 1))),
        ("head", (("a", 2, 0), ("a", 2, 1))),
        ("base", (("a", 1, 0), ("a", 1, 1))),
        ("head", (("a", 4, 0), ("a", 4, 1))),
    ]


def test_nothing_left_makes_no_turns() -> None:
    assert alternate_runs([], [], 1) == []
