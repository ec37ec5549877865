"""Curves of fits, where they leave the range of floats."""

from __future__ import annotations

import math

import pytest

from dnlbench.profiles import FitRecord
from dnlbench.profiles.law import Law, law_of


def test_a_product_that_is_a_float_is_found_where_its_power_is_none() -> None:
    """1e-300 · 2048^110 = 2^1210 · 1e-300."""
    exact = 2**1210 // 10**300
    assert Law(limit=0.0, constant=1e-300, order=-110.0).at(2048) == pytest.approx(float(exact), rel=1e-9)
    assert Law(limit=0.0, constant=-1e-300, order=-110.0).at(2048) == pytest.approx(-float(exact), rel=1e-9)
    assert Law(limit=0.5, constant=0.0, order=-110.0).at(2048) == 0.5


def test_beyond_floats_it_is_infinite() -> None:
    assert Law(limit=1.0, constant=1e-3, order=-110.0).at(2048) == math.inf
    assert Law(limit=1.0, constant=-1e-3, order=-110.0).at(2048) == -math.inf


def test_a_fit_whose_constant_is_no_float_has_no_curve() -> None:
    """Between the last depth and the next it falls by 1e300: like L^-997, with a constant of about 1e1400."""
    facts = {"network": "plain", "quantity": "final_train_loss", "model": "limit", "limit": 0.0}
    steep = FitRecord.model_validate({**facts, "depths": (4, 8, 16), "next_value": 1e-100, "next_gain": 1e200})
    assert law_of(steep) is None
