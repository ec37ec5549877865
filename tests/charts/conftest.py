"""Profiles for charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dnlbench.profiles import Profile, RunRecord
from tests.charts.synthetic import MODELS, curve, of_runs, run_of

MakeProfile = Callable[..., Profile]
Draw = Callable[..., Profile]


@pytest.fixture
def sweep(make_profile: MakeProfile) -> Draw:
    """Return a factory of training profiles; ``others`` replaces runs."""

    def make(
        *,
        networks: Sequence[str] = tuple(MODELS),
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
    """Return a factory of profiles whose seeds are different problems, with values from formulas."""

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
