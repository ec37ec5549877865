"""Rough parameters: what they are made of, and the orders that networks with them have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import Roughness
from dnlbench.dnl.curves import Curves, random_curves
from dnlbench.dnl.vector import VectorForm, states
from dnlbench.studies.forward_limit import rough_time

T0 = 1 / 3


def curves(roughness: Roughness, seed: int = 0) -> Curves:
    return random_curves("attention", positions=2, channels=2, seed=seed, roughness=roughness, t0=T0)


CLOSED_FORMS: dict[Roughness, Callable[[Tensor], Tensor]] = {
    "kink": lambda t: (t - T0).abs(),
    "sqrt": lambda t: (t - T0).abs() ** 0.5,
    "jump": lambda t: (t > T0).double(),
}


@pytest.mark.parametrize("roughness", ["kink", "sqrt", "hoelder", "jump"])
def test_rough_curves_are_the_smooth_ones_and_a_matrix_times_one_function(roughness: Roughness) -> None:
    t, s = torch.linspace(0, 1, 41, dtype=torch.float64), torch.linspace(0, 1, 7, dtype=torch.float64)
    rough, smooth = curves(roughness), curves("smooth")
    parts = [(p(t) - q(t)).flatten(1) for (_, p), (_, q) in zip(rough.one_index(), smooth.one_index(), strict=True)]
    parts += [(rough.K(t[:, None], s) - smooth.K(t[:, None], s))[:, k].flatten(1) for k in range(7)]
    joined = torch.cat(parts, dim=1)
    assert len(list(rough.one_index())) == 5
    assert torch.linalg.matrix_rank(joined, rtol=1e-9) == 1
    assert (joined.abs().amax(0) > 1e-3).all()
    if roughness in CLOSED_FORMS:
        g = CLOSED_FORMS[roughness](t)
        scale = joined[-1] / g[-1]
        torch.testing.assert_close(joined, g[:, None] * scale, rtol=0, atol=1e-13)


def test_the_hoelder_function_is_rough_everywhere_and_another_one_for_each_seed() -> None:
    g = [curves("hoelder", seed).A.g for seed in (0, 1)]  # type: ignore[attr-defined]
    assert not torch.equal(g[0].phases, g[1].phases)
    for near in (0.1, 0.5, 0.83):
        sizes = []
        for h in (3.0**-3, 3.0**-5, 3.0**-7):
            t = near + h * torch.linspace(0, 1, 200, dtype=torch.float64)
            sizes.append(float(g[0](t).max() - g[0](t).min()))
        slope = math.log(sizes[0] / sizes[-1]) / math.log(3**4)
        assert slope == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(("steps", "expected"), [(256, "1/3"), (96, "2/5"), (480, "3/7"), (3 * 5 * 7 * 11, "6/13")])
def test_no_grid_of_a_depth_that_divides_the_reference_holds_the_rough_place(steps: int, expected: str) -> None:
    t0 = rough_time(steps)
    assert t0 == Fraction(expected)
    assert all((t0 * depth).denominator > 1 for depth in range(1, steps + 1) if steps % depth == 0)


ORDERS: dict[Roughness, tuple[float, float]] = {
    "smooth": (0.95, 1.05),
    "kink": (0.95, 1.05),
    "sqrt": (0.45, 0.6),
    "hoelder": (0.2, 0.65),
    "jump": (-0.02, 0.02),
}


@pytest.mark.parametrize("roughness", ORDERS)
def test_a_network_without_memory_has_the_order_of_its_curves(roughness: Roughness) -> None:
    """With K = 0 and the identity, ``x^{l+1} = A(t_l) x_0 + b(t_l)`` against ``x(t) = A(t) x_0 + b(t)``."""
    logs = []
    for seed in range(3):
        drawn = random_curves("local", positions=2, channels=2, seed=seed, roughness=roughness, t0=T0)
        still = Curves(A=drawn.A, b=drawn.b, K=lambda t, s: torch.zeros(len(t), len(s), 4, 4).double(), V=drawn.V)
        x0 = torch.ones(1, 2, 2, dtype=torch.float64)
        errors = []
        for L in (16, 64, 256):
            t = torch.arange(1, L + 1, dtype=torch.float64) / L
            exact = drawn.A(t) @ x0.flatten() + drawn.b(t)
            found = states(VectorForm(activation="identity"), still, x0, depth=L)[1:].flatten(1)
            errors.append(float((found - exact).norm(dim=1).max()))
        logs.append([math.log(a / b) / math.log(4) for a, b in itertools.pairwise(errors)])
    order = sum(map(sum, logs)) / 6
    assert ORDERS[roughness][0] < order < ORDERS[roughness][1]
