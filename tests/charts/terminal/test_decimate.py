from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dnlbench.charts.terminal.curves import decimated

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=300)


@given(VALUES, st.integers(1, 40))
def test_extremes_ends_and_non_finite_values_are_kept(values: list[float], buckets: int) -> None:
    places = [float(k) for k in range(len(values))]
    kept = decimated(places, values, buckets)
    assert kept == sorted(set(kept))
    assert len(kept) <= 3 * buckets + 2
    finite = [v for v in values if math.isfinite(v)]
    if finite:
        chosen = [values[k] for k in kept if math.isfinite(values[k])]
        assert (min(chosen), max(chosen)) == (min(finite), max(finite))
    if values:
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
        assert any(not math.isfinite(values[k]) for k in kept) == any(not math.isfinite(v) for v in values)


def test_each_bucket_keeps_its_extremes() -> None:
    values = [0.0, 5.0, -5.0, 1.0, 2.0, 9.0, 3.0, 3.0]
    assert decimated([float(k) for k in range(8)], values, 2) == [0, 1, 2, 4, 5, 7]


def test_few_points_are_all_kept() -> None:
    assert decimated([0.0, 1.0, 2.0], [1.0, 1.0, 1.0], 5) == [0, 1, 2]


def test_points_at_one_x() -> None:
    assert decimated([1.0] * 9, [float(k % 5) for k in range(9)], 3) == [0, 4, 8]
