"""The order in which two sides take turns."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

Role = Literal["base", "head"]
Key = tuple[str, int, int]
"""Network, depth and seed of a run: what makes two runs of different sweeps a pair."""


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """What a side does while the other one is idle."""

    role: Role
    keys: tuple[Key, ...]
    """Runs of one point: as many as go on at the same time."""


def alternate_runs(base: Sequence[Key], head: Sequence[Key], size: int) -> list[RunGroup]:
    """The two sides' turns at the runs that they have in common, always one of each back to back; then the other runs.

    Which side comes first alternates along the seeds and, for the same seeds, along the points. So a machine that becomes
    slower while it works, or is faster after a pause, treats both sides alike, within each seed and on the whole.

    Both list the runs that are left, seeds of a point one after the other; the order of the head counts.
    """
    there = set(base)
    common = [key for key in head if key in there]
    groups = []
    for number, seeds in enumerate(_by_point(common)):
        for place, keys in enumerate(_chunks(seeds, size)):
            first, second = _ORDERS[(number + place) % 2]
            groups += [RunGroup(role=first, keys=keys), RunGroup(role=second, keys=keys)]
    ours = set(common)
    return [*groups, *_alone("base", base, ours, size), *_alone("head", head, ours, size)]


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
