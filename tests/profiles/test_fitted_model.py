"""Curves of fits, also where they leave the range of floats, and what is said of fits."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dnlbench.profiles import FitRecord
from dnlbench.profiles.fitted_model import PowerModel, fit_words, fitted_model
from dnlbench.studies import STUDIES

LOSS = next(each for each in STUDIES["training"].quantities if each.name == "final_train_loss")


def test_a_product_that_is_a_float_is_found_where_its_power_is_none() -> None:
    """1e-300 · 2048^110 = 2^1210 · 1e-300."""
    exact = 2**1210 // 10**300
    assert PowerModel(limit=0.0, constant=1e-300, order=-110.0).at(2048) == pytest.approx(float(exact), rel=1e-9)
    assert PowerModel(limit=0.0, constant=-1e-300, order=-110.0).at(2048) == pytest.approx(-float(exact), rel=1e-9)
    assert PowerModel(limit=0.5, constant=0.0, order=-110.0).at(2048) == 0.5


def test_beyond_floats_it_is_infinite() -> None:
    assert PowerModel(limit=1.0, constant=1e-3, order=-110.0).at(2048) == math.inf
    assert PowerModel(limit=1.0, constant=-1e-3, order=-110.0).at(2048) == -math.inf


def test_a_fit_whose_constant_is_no_float_has_no_curve() -> None:
    """Between the last depth and the next it falls by 1e300: like L^-997, with a constant of about 1e1400."""
    facts = {"network": "plain", "quantity": "final_train_loss", "model": "limit", "limit": 0.0}
    steep = FitRecord.model_validate({**facts, "depths": (4, 8, 16), "next_value": 1e-100, "next_gain": 1e200})
    assert fitted_model(steep) is None


LIMIT: dict[str, Any] = {
    "network": "plain",
    "quantity": "final_train_loss",
    "model": "limit",
    "depths": (2, 4, 8, 16),
    "limit": 0.2,
    "next_value": 0.2 + 0.8 / 32,
    "next_gain": 0.8 / 16 - 0.8 / 32,
}


def test_a_law_without_an_order_is_found_from_the_values_it_foresees() -> None:
    model = fitted_model(FitRecord(**LIMIT))
    assert isinstance(model, PowerModel)
    assert (model.limit, model.constant, model.order) == pytest.approx((0.2, 0.8, 1.0))
    assert model.at(2) == pytest.approx(0.6)
    assert fitted_model(FitRecord(**{**LIMIT, "next_gain": 0.0, "next_value": 0.2})) is None
    assert fitted_model(FitRecord(**{**LIMIT, "limit": None})) is None
    assert fitted_model(FitRecord(**{**LIMIT, "model": "power"})) is None
    stated = fitted_model(FitRecord(**LIMIT, constant=0.7, order=1.5))
    assert isinstance(stated, PowerModel)
    assert (stated.constant, stated.order) == (0.7, 1.5)


def test_an_undetermined_order_is_said_to_be_so() -> None:
    assert "order undetermined; next doubling (L=32) gains 0.025 nats" in fit_words(FitRecord(**LIMIT), LOSS)


def test_a_verdict_is_told_with_its_order() -> None:
    fit = FitRecord(network="n", quantity="change", model="power", depths=(2, 4), order=1.5, expected_order=1.5)
    assert fit_words(fit, LOSS) == "order 1.5, theory 1.5"
    judged = fit.model_copy(update={"theory": "possible", "seen": "converging"})
    assert fit_words(judged, LOSS) == "order 1.5, theory 1.5; possible by theory, converging"
