"""The order in which the runs of base and head alternate."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

Role = Literal["base", "head"]
Key = tuple[str, int, int]
"""Network, depth and seed of a run, which are equal for the two runs of a pair."""


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of one engine that run at the same time, while the other engine is idle."""

    role: Role
    keys: tuple[Key, ...]
    """Runs of one point."""


def alternate_runs(base: Sequence[Key], head: Sequence[Key], size: int) -> list[RunGroup]:
    """Return groups of runs in an order that alternates between base and head.

    The common runs come first, in pairs of groups with the same keys. The role that starts a pair alternates over the seeds
    and, for equal seeds, over the points. A drift of the machine's speed then affects both roles equally, for each seed and in
    total. The remaining runs follow.

    Args:
        base: unfinished runs of the base, seeds of a point next to each other.
        head: unfinished runs of the head, whose order is used.
        size: maximum number of runs in a group.
    """
    base_keys = set(base)
    common = [key for key in head if key in base_keys]
    groups = []
    for number, seeds in enumerate(_by_point(common)):
        for index, keys in enumerate(_chunks(seeds, size)):
            first, second = _ORDERS[(number + index) % 2]
            groups += [RunGroup(role=first, keys=keys), RunGroup(role=second, keys=keys)]
    shared = set(common)
    return [*groups, *_alone("base", base, shared, size), *_alone("head", head, shared, size)]


def _alone(role: Role, keys: Sequence[Key], common: Set[Key], size: int) -> list[RunGroup]:
    left = [key for key in keys if key not in common]
    return [RunGroup(role=role, keys=group) for seeds in _by_point(left) for group in _chunks(seeds, size)]


_ORDERS: tuple[tuple[Role, Role], tuple[Role, Role]] = (("base", "head"), ("head", "base"))


def _by_point(keys: Sequence[Key]) -> list[list[Key]]:
    points: dict[tuple[str, int], list[Key]] = {}
    for key in keys:
        points.setdefault(key[:2], []).append(key)
    return list(points.values())


def _chunks(keys: Sequence[Key], size: int) -> list[tuple[Key, ...]]:
    return [tuple(keys[start : start + size]) for start in range(0, len(keys), size)]
