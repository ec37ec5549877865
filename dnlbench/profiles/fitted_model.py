"""The fitted model of a fit over depth, and its description in words."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench import units
from dnlbench.profiles.model import FitRecord
from dnlbench.stats import Form, form_named
from dnlbench.studies import Quantity
from dnlbench.studies.base import POWERS

LOG_LARGEST = math.log(sys.float_info.max)


@dataclass(frozen=True, kw_only=True)
class PowerModel:
    """The model ``limit + constant · L^-order``."""

    limit: float
    constant: float
    order: float

    def at(self, depth: float) -> float:
        """Return the value at a depth; infinite if it exceeds the range of floats."""
        try:
            return self.limit + self.constant * math.pow(depth, -self.order)
        except OverflowError:  # of the power; its product with the constant may well be a float
            return self.limit + self._by_logarithms(depth)

    def _by_logarithms(self, depth: float) -> float:
        if self.constant == 0:
            return 0.0
        size = math.log(abs(self.constant)) - self.order * math.log(depth)
        return math.copysign(math.exp(size) if size < LOG_LARGEST else math.inf, self.constant)


@dataclass(frozen=True, kw_only=True)
class FormModel:
    """The model ``base + constant · x(L / unit)`` with the basis function x of a form."""

    form: Form
    shape: float
    base: float
    constant: float
    unit: float
    """The smallest depth."""

    def at(self, depth: float) -> float:
        import numpy as np

        return self.base + self.constant * float(self.form.basis(np.array(depth / self.unit), np.array(self.shape)))


def fitted_model(fit: FitRecord) -> PowerModel | FormModel | None:
    """Return the fitted model of a record; None without a fit, or if the fit is refused.

    If the record's numbers are means over curves, or no order is known, it is the power law with the same limit through the
    fitted values at the largest depth and at twice that.
    """
    if fit.model in POWERS:
        known = fit.constant is not None and fit.order is not None
        return PowerModel(limit=0.0, constant=fit.constant or 0.0, order=fit.order or 0.0) if known else None
    if fit.model == "limit" and fit.form:
        return _form_model(fit)
    if fit.limit is None or fit.next_value is None or fit.next_gain is None:
        return None
    if fit.model == "limit" and fit.order is not None and fit.constant is not None:
        return PowerModel(limit=fit.limit, constant=fit.constant, order=fit.order)
    here, there = fit.next_value + fit.next_gain - fit.limit, fit.next_value - fit.limit
    if here * there <= 0:
        return None
    order = math.log2(here / there)
    try:
        return PowerModel(limit=fit.limit, constant=here * max(fit.depths) ** order, order=order)
    except OverflowError:  # a curve so steep that no chart shows it
        return None


def order_words(fit: FitRecord) -> str:
    """Describe the order of a power: the limit of the local orders if there are any, otherwise the slope."""
    if fit.local_orders:
        limit = units.bounded(fit.order_limit, fit.order_limit_low, fit.order_limit_high)
        return f"{limit} (locally {order_list(fit.local_orders)})"
    return units.bounded(fit.order, fit.order_low, fit.order_high)


def growth_words(fit: FitRecord) -> str:
    """Format the exponent ``q`` of ``C L^q``, minus the order, with its interval."""
    negated = (None if value is None else -value for value in (fit.order, fit.order_high, fit.order_low))
    return units.bounded(*negated)


def order_list(orders: Sequence[float]) -> str:
    """Format local orders with two decimals."""
    return ", ".join(f"{order:.2f}" for order in orders)


def _form_model(fit: FitRecord) -> PowerModel | FormModel | None:
    form = form_named(fit.form)
    if form is None or fit.shape is None or fit.base is None or fit.constant is None:
        return None
    if fit.form == "power":
        return PowerModel(limit=fit.base, constant=fit.constant, order=fit.shape)
    return FormModel(form=form, shape=fit.shape, base=fit.base, constant=fit.constant, unit=float(min(fit.depths)))


def fit_words(fit: FitRecord, quantity: Quantity) -> str:
    """Describe a fit in a line: limit, order, and the gain of the next doubling of depth."""
    if fit.model == "growth":
        return f"L^{growth_words(fit)}; {fit.seen}"
    if fit.model == "power":
        least = "at least " if fit.at_least else ""
        theory = "" if fit.expected_order is None else f", theory {least}{units.number(fit.expected_order)}"
        judged = f"; {fit.theory} by theory, {fit.seen}" if fit.theory else ""
        return f"order {order_words(fit)}{theory}{judged}"
    if fit.refused:
        return f"no limit: {fit.refused}; {best_words(fit, quantity)}"
    unit = f" {quantity.unit}" if quantity.unit else ""
    limit = f"{units.bounded(fit.limit, fit.limit_low, fit.limit_high)}{unit}"
    if fit.undetermined:
        limit = "undetermined"
    order = "undetermined" if fit.order is None else f"{fit.order:.2g}"
    gain, *_ = next_gain(fit, quantity)
    gains = units.NOTHING if gain is None else f"{gain:.2g}"
    return f"L → ∞ {limit}, order {order}; next doubling (L={2 * max(fit.depths)}) gains {gains}{unit}"


def next_gain(fit: FitRecord, quantity: Quantity) -> tuple[float | None, float | None, float | None]:
    """Return the gain of the next doubling of depth with its interval: the increase of a quantity that is better if higher."""
    gain = (fit.next_gain, fit.next_gain_low, fit.next_gain_high)
    if quantity.better != "higher":
        return gain
    best, low, high = (None if value is None else -value for value in gain)
    return best, high, low


def best_words(fit: FitRecord, quantity: Quantity) -> str:
    """Describe the best measured depth, such as ``best measured: L = 8 with 0.31 [0.29, 0.33] nats``."""
    if fit.best_depth is None:
        return ""
    unit = f" {quantity.unit}" if quantity.unit else ""
    value = units.bounded(fit.best_value, fit.best_low, fit.best_high)
    return f"best measured: L = {fit.best_depth} with {value}{unit}"
