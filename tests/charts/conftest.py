"""Profiles to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dnlbench.profiles import Profile, RunRecord
from tests.charts.synthetic import LAWS, curve, of_runs, run_of

MakeProfile = Callable[..., Profile]
Draw = Callable[..., Profile]


@pytest.fixture
def sweep(make_profile: MakeProfile) -> Draw:
    """A training profile of networks, depths, seeds and epochs, some of whose runs may be others."""

    def make(
        *,
        networks: Sequence[str] = tuple(LAWS),
        depths: Sequence[int] = (2, 4, 8, 16),
        seeds: int = 3,
        epochs: int = 12,
        others: Mapping[tuple[str, int, int], RunRecord] | None = None,
        **changes: Any,
    ) -> Profile:
        runs = [
            (others or {}).get((n, d, s)) or run_of(n, d, s, curve(n, d, s, epochs))
            for n in networks
            for d in depths
            for s in range(seeds)
        ]
        return of_runs(make_profile({("densenet", 2): [0.1]}), runs, **changes)

    return make


@pytest.fixture
def problems(make_profile: MakeProfile) -> Draw:
    """A profile of a study whose seeds are problems of their own, with values of its quantities by formula."""

    def make(
        study: str,
        values: Mapping[str, Callable[[int, int], float]],
        *,
        depths: Sequence[int] = (4, 8, 16, 32),
        seeds: int = 3,
    ) -> Profile:
        runs = [
            run_of("local-tanh", d, s, [], measurements={name: value(d, s) for name, value in values.items()})
            for d in depths
            for s in range(seeds)
        ]
        return of_runs(make_profile({("densenet", 2): [0.1]}), runs, study=study)

    return make
