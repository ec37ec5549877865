"""Fewer cases than all combinations of parameters are, in which each pair of values still meets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def covering(*axes: Sequence[Any], strength: int = 2) -> list[tuple[Any, ...]]:
    """Cases of one value of each axis. Any values of any two axes, or of as many as the strength says, meet in one."""
    places = list(combinations(range(len(axes)), strength))
    cases = {
        case: {(place, tuple(case[axis] for axis in place)) for place in places}
        for case in product(*(range(len(axis)) for axis in axes))
    }
    missing, chosen = set().union(*cases.values()), []
    while missing:
        chosen.append(max(cases, key=lambda case: len(cases[case] & missing)))
        missing -= cases[chosen[-1]]
    return [tuple(axis[at] for axis, at in zip(axes, case, strict=True)) for case in chosen]
