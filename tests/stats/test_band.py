from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.stats import mean_interval
from dnlbench.stats.band import Band, mean_band

EPOCHS = list(range(1, 151))


def fall(offset: float, until: int) -> tuple[list[int], list[float]]:
    return EPOCHS[:until], [2.0 * math.exp(-0.05 * epoch) + 0.2 + offset for epoch in EPOCHS[:until]]


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), min_size=2, max_size=6))
def test_complete_curves_have_student_intervals_at_each_x(rows: list[list[float]]) -> None:
    found = mean_band([([1.0, 2.0, 4.0, 8.0], row) for row in rows])
    assert found.x == (1.0, 2.0, 4.0, 8.0)
    for k in range(4):
        expected = mean_interval([row[k] for row in rows])
        assert found.mean[k] == pytest.approx(expected.estimate, abs=1e-9)
        assert (found.low[k], found.high[k]) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert found.n[k] == len(rows)


def test_one_seed_has_no_band() -> None:
    found = mean_band([([1.0, 2.0], [3.0, 4.0])])
    assert found.mean == (3.0, 4.0)
    assert all(map(math.isnan, found.low + found.high))
    assert found.n == (1, 1)


def test_seeds_that_are_alike_take_turns() -> None:
    found = mean_band([fall(0.0, 150), fall(0.001, 150), fall(-0.001, 60)])
    assert len(found.x) == 150
    assert (found.n[59], found.n[60]) == (3, 2)
    assert found.left_out == ()
    check_steps(found)


def test_a_straggler_that_differs_waits() -> None:
    found = mean_band([fall(0.0, 150), fall(0.1, 150), fall(0.6, 60)])
    assert found.left_out == (2,)
    assert set(found.n) == {2}
    assert len(found.x) == 150
    check_steps(found)


def test_a_leader_that_differs_does_not_go_on_alone() -> None:
    found = mean_band([fall(0.0, 100), fall(0.1, 99), fall(0.6, 99)])
    assert len(found.x) == 99
    assert set(found.n) == {3}


def test_a_sweep_that_begins_a_seed_does_not_lose_its_mean() -> None:
    assert len(mean_band([fall(0.0, 150), fall(0.3, 1), fall(0.4, 1)]).x) == 150


def check_steps(found: Band) -> None:
    """The mean moves as one curve does."""
    steps = [b - a for a, b in zip(found.mean, found.mean[1:], strict=False)]
    assert all(step < 0.01 for step in steps)


def test_a_seed_that_turns_nan_leaves_the_others() -> None:
    x, y = fall(0.0, 20)
    bad = [*y[:10], *[math.nan] * 10]
    found = mean_band([(x, y), (x, bad), (x, y)])
    assert found.diverged == (1,)
    assert found.mean == pytest.approx(y)
    assert (found.n[9], found.n[10]) == (3, 2)


def test_nothing_at_all() -> None:
    assert mean_band([]).x == ()
    assert mean_band([([], [])]).x == ()
    everything = mean_band([([1.0], [math.nan]), ([1.0], [math.inf])])
    assert math.isnan(everything.mean[0])
    assert everything.n == (0,)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(allow_nan=True, allow_infinity=True)), max_size=6))
def test_it_takes_what_comes(seeds: list[tuple[int, float]]) -> None:
    found = mean_band([(EPOCHS[:until], [value] * until) for until, value in seeds])
    assert len(found.x) == len(found.mean) == len(found.low) == len(found.high) == len(found.n)
    assert found.n == tuple(sorted(found.n, reverse=True))
