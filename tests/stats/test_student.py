"""Student's t and F distributions against SciPy's."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dnlbench.stats import LEVEL
from dnlbench.stats.student import f_tail, t_quantile, t_tail

FREEDOMS = [1, 1.3, 2, 2.7, 3, 4, 7.7, 8, 30, 101.5, 1000, 2e4]


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_tails_are_scipys(freedom: float) -> None:
    for value in (*np.linspace(-6, 6, 97), 1e-9, 40.0, 1e4, 1e8):
        assert t_tail(freedom, float(value)) == pytest.approx(scipy_stats.t.sf(value, freedom), rel=1e-9, abs=1e-300)


@given(st.floats(1, 1e4), st.floats(-100, 100))
def test_tails_are_scipys_anywhere(freedom: float, value: float) -> None:
    assert t_tail(freedom, value) == pytest.approx(scipy_stats.t.sf(value, freedom), rel=1e-9, abs=1e-250)


@pytest.mark.parametrize("freedom", sorted({*FREEDOMS, *range(1, 31), 35, 60}))
def test_quantiles_are_scipys(freedom: float) -> None:
    assert t_quantile(freedom) == pytest.approx(scipy_stats.t.ppf((1 + LEVEL) / 2, freedom), rel=1e-11)


def test_closed_forms() -> None:
    for value in (0.0, 0.3, 2.0, 50.0):
        assert t_tail(1, value) == pytest.approx(0.5 - math.atan(value) / math.pi, rel=1e-12)
        assert t_tail(2, value) == pytest.approx(0.5 - value / (2 * math.sqrt(2 + value**2)), rel=1e-9)
    assert t_tail(4, math.inf) == 0.0
    assert t_tail(4, -math.inf) == 1.0


def test_comparing_needs_no_scipy() -> None:
    """Its import would be the longest part of a comparison."""
    code = (
        "import sys, dnlbench.comparison, dnlbench.stats as s\n"
        "found = s.welch_log_ratio([1, 2], [3, 4])\n"
        "found.ratio, found.p()\n"
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("freedom", [1, 2, 3, 7])
@pytest.mark.parametrize("below", [1, 3, 9, 19, 200])
def test_f_tails_are_scipys(freedom: int, below: int) -> None:
    for value in (0.0, 1e-3, 0.3, 1.0, 4.26, 50.0, 1e6):
        assert f_tail(freedom, below, value) == pytest.approx(
            scipy_stats.f.sf(value, freedom, below), rel=1e-9, abs=1e-300
        )
