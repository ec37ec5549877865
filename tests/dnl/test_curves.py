import math
from typing import cast

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import KernelName
from dnlbench.dnl.curves import CosineCurve, CosineSurface, Curves, random_curves

pytestmark = pytest.mark.usefixtures("float64")


def coefficients(curves: Curves) -> dict[str, Tensor]:
    found = {name: cast(CosineCurve, curve).coefficients for name, curve in curves.one_index()}
    return {**found, "K": cast(CosineSurface, curves.K).coefficients}


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_cosine_curves_equal_their_sum(shape: tuple[int, ...]) -> None:
    c, times = torch.randn(5, *shape), torch.tensor([0.0, 0.3, 1.0])
    values = CosineCurve(coefficients=c)(times)
    assert values.shape == (3, *shape)
    for value, t in zip(values, times.tolist(), strict=True):
        torch.testing.assert_close(value, sum(c[m] * math.cos(m * math.pi * t) for m in range(5)))


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (1, 1), (4, 1), (1, 3)])
def test_cosine_surfaces_equal_their_sum(rows: int, columns: int, shape: tuple[int, ...]) -> None:
    c, t, s = torch.randn(4, 3, *shape), torch.rand(rows), torch.rand(columns)
    values = CosineSurface(coefficients=c)(t[:, None], s)
    assert values.shape == (rows, columns, *shape)
    for i in range(rows):
        for j in range(columns):
            terms = [
                c[p, q] * math.cos(p * math.pi * float(t[i])) * math.cos(q * math.pi * float(s[j]))
                for p in range(4)
                for q in range(3)
            ]
            torch.testing.assert_close(values[i, j], torch.stack(terms).sum(0))


def test_single_precision_is_kept_though_times_are_double() -> None:
    curves = random_curves("attention", positions=3, channels=2, seed=0, dtype=torch.float32)
    exact = random_curves("attention", positions=3, channels=2, seed=0)
    t = torch.tensor([0.0, 0.4, 0.9])
    found = [curve(t) for _, curve in curves.one_index()] + [curves.K(t[:, None], t)]
    expected = [curve(t) for _, curve in exact.one_index()] + [exact.K(t[:, None], t)]
    assert {values.dtype for values in found} == {torch.float32}
    assert {values.dtype for values in expected} == {torch.float64}
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", ["local", "attention", "gaussian", "rbf"])
def test_shapes_of_random_curves(kernel: KernelName) -> None:
    found = coefficients(random_curves(kernel, positions=5, channels=3, seed=0, modes=6))
    expected = {"A": (6, 15, 15), "b": (6, 15), "V": (6, 3, 3), "K": (6, 6, 15, 15)}
    if kernel == "attention":
        expected |= {"Q": (6, 3, 3), "R": (6, 3, 3)}
    assert {name: tuple(values.shape) for name, values in found.items()} == expected


def test_random_curves_are_determined_by_their_arguments_and_not_by_what_was_drawn_before() -> None:
    first = coefficients(random_curves("attention", positions=3, channels=2, seed=7))
    torch.randn(5)
    again = coefficients(random_curves("attention", positions=3, channels=2, seed=7))
    other = coefficients(random_curves("attention", positions=3, channels=2, seed=8))
    doubled = coefficients(random_curves("attention", positions=3, channels=2, seed=7, scale=2.0))
    state = torch.get_rng_state()
    random_curves("local", positions=3, channels=2, seed=9)
    assert torch.equal(torch.get_rng_state(), state)
    for name, values in first.items():
        assert torch.equal(again[name], values)
        assert not torch.isclose(other[name], values).any()
        torch.testing.assert_close(doubled[name], 2 * values)
    flat = torch.cat([values.flatten() for values in first.values()]).tolist()
    assert len(set(flat)) == len(flat), "no number is used twice"


def test_standard_deviations_of_the_coefficients() -> None:
    found = coefficients(random_curves("attention", positions=10, channels=8, seed=0, modes=3, scale=0.5))
    decay = torch.tensor([1.0, 1 / 4, 1 / 9])
    sizes = {"A": 80, "V": 8, "Q": 8, "R": 8}
    for name, columns in sizes.items():
        spread = found[name].flatten(1).square().mean(1).sqrt()
        torch.testing.assert_close(spread, 0.5 * decay / math.sqrt(columns), rtol=0.3, atol=0.0)
    torch.testing.assert_close(found["b"].square().mean(1).sqrt(), 0.5 * decay, rtol=0.3, atol=0.0)
    spread = found["K"].flatten(2).square().mean(2).sqrt()
    torch.testing.assert_close(spread, 0.5 * decay[:, None] * decay / math.sqrt(80), rtol=0.05, atol=0.0)
