"""The learning problem against minimisers in closed form, and what its minimisation takes on deeper networks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor
from torch.nn import functional

from dnlbench.architecture import ActivationName, KernelName
from dnlbench.dnl.curves import Curves, random_curves
from dnlbench.dnl.extension import sample
from dnlbench.dnl.learning import LearningProblem, Minimum, minimize
from dnlbench.dnl.parameters import Arrays, unpack
from dnlbench.dnl.regularizer import sequence_energy, square_energy
from dnlbench.dnl.sobolev import SobolevCoordinates
from dnlbench.dnl.vector import VectorForm, states

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float64"), pytest.mark.xdist_group("minima")]

N, C, M = 2, 2, 16
D = N * C


def smooth_target(x0: Tensor) -> Tensor:
    W1, W2 = torch.randn(2, D, D, generator=torch.Generator().manual_seed(3)) / math.sqrt(D)
    return 0.8 * torch.tanh(2 * torch.tanh(x0.reshape(-1, D) @ W1.mT) @ W2.mT)


def regression(
    *, kernel: KernelName = "local", activation: ActivationName = "tanh", weight: float = 1e-3
) -> LearningProblem:
    x0 = torch.randn(M, N, C, generator=torch.Generator().manual_seed(2))
    targets = smooth_target(x0)
    return LearningProblem(
        form=VectorForm(kernel=kernel, activation=activation),
        x0=x0,
        loss=lambda x: functional.mse_loss(x.reshape(M, D), targets),
        weight=weight,
    )


def curves(kernel: KernelName = "local", seed: int = 1) -> Curves:
    return random_curves(kernel, positions=N, channels=C, seed=seed, modes=3, scale=0.5)


def leaves(arrays: Arrays) -> dict[str, Tensor]:
    return {**dict(arrays.one_index()), "K": arrays.K}


def regularizer(arrays: Arrays) -> Tensor:
    energies = [sequence_energy(p) for _, p in arrays.one_index()]
    return torch.stack([*energies, square_energy(unpack(arrays.K))]).sum()


def objective(problem: LearningProblem, arrays: Arrays) -> Tensor:
    """``J_L``, term by term."""
    last = states(problem.form, arrays, problem.x0)[-1]
    return problem.loss(last) + problem.weight * regularizer(arrays)


@cache
def minimum(L: int, tolerance: float, kernel: KernelName = "local") -> Minimum:
    """From the curves on, of the regression; nobody changes it."""
    return minimize(regression(kernel=kernel), sample(curves(kernel), L), tolerance=tolerance)


# --- Minimisers in closed form. ---


def price(L: int) -> float:
    """The least ``r1`` of a sequence of numbers that ends with 1."""
    H = torch.eye(L) / L + L * torch.diff(torch.eye(L), dim=0).mT @ torch.diff(torch.eye(L), dim=0)
    return 1 / float(torch.linalg.inv(H)[-1, -1])


def ridge(problem: LearningProblem, weight: float) -> tuple[Tensor, float]:
    """``(A, b)`` side by side with the least ``|A x + b − g|² / (M d) + weight (|A|² + |b|²)``, and that value."""
    X = torch.cat([problem.x0.reshape(M, D), torch.ones(M, 1)], dim=1)
    G = smooth_target(problem.x0)
    matrix = X.mT @ X / (M * D) + weight * torch.eye(D + 1)
    W = torch.linalg.solve(matrix, X.mT @ G / (M * D)).mT
    return W, float((X @ W.mT - G).square().mean() + weight * W.square().sum())


def reading_no_state(weight: float) -> LearningProblem:
    """``x^{l+1} = A^l x^0 + b^l``: only the last layer's parameters reach the loss, a ridge regression."""
    problem = regression(activation="identity", weight=weight)
    return replace(problem, form=replace(problem.form, sources=lambda layer: ()))


@pytest.mark.parametrize(("L", "weight"), [(1, 1e-1), (1, 1e-3), (2, 1e-1), (5, 1e-3), (16, 1e-1)])
def test_without_earlier_states_the_minimum_is_that_of_a_ridge_regression(L: int, weight: float) -> None:
    problem = reading_no_state(weight)
    W, value = ridge(problem, weight * price(L))
    found = minimize(problem, sample(curves(), L), tolerance=1e-15)
    assert found.value == pytest.approx(value, rel=0, abs=1e-8)
    last = torch.cat([found.arrays.A[-1], found.arrays.b[-1, :, None]], dim=1)
    torch.testing.assert_close(last, W, rtol=0, atol=1e-4)
    assert max(float(found.arrays.K.abs().max()), float(found.arrays.V.abs().max())) < 1e-4


def test_with_one_layer_that_starts_without_connections_the_minimum_is_that_of_a_ridge_regression() -> None:
    problem = regression(activation="identity", weight=0.05)
    start = sample(curves(), 1)
    start = replace(start, K=torch.zeros_like(start.K), V=torch.zeros_like(start.V))
    found = minimize(problem, start, tolerance=1e-15)
    _, value = ridge(problem, problem.weight)
    assert found.value == pytest.approx(value, rel=0, abs=1e-8)
    assert not found.arrays.K.any()  # K V is of second order about 0, so nothing moves them
    assert not found.arrays.V.any()


def test_the_closed_form_has_a_limit_which_the_optimal_values_approach_at_order_1() -> None:
    """The least H¹ norm of a curve that ends with 1 is that of cosh t / cosh 1, squared tanh 1."""
    problem = reading_no_state(1e-2)
    _, limit = ridge(problem, 1e-2 * math.tanh(1))
    errors = [minimize(problem, sample(curves(), L), tolerance=1e-15).value - limit for L in (8, 16, 32)]
    assert [a / b for a, b in pairwise(errors)] == pytest.approx([2, 2], abs=0.1)


# --- What is found. ---


@pytest.mark.parametrize("kernel", ["local", "attention"])
def test_a_minimum_is_what_it_says(kernel: KernelName) -> None:
    problem, start, found = regression(kernel=kernel), sample(curves(kernel), 6), minimum(6, 1e-13, kernel)
    assert found.converged
    assert found.arrays.depth == 6
    assert found.value == found.data_loss + problem.weight * found.regularizer
    assert found.data_loss == pytest.approx(float(problem.data_loss(found.arrays)), rel=1e-11)
    assert found.regularizer == pytest.approx(float(regularizer(found.arrays)), rel=1e-11)
    assert found.value == pytest.approx(float(objective(problem, found.arrays)), rel=1e-11)
    assert found.values[0] == pytest.approx(float(objective(problem, start)), rel=1e-11)
    assert found.values[-1] == found.value
    assert len(found.values) == found.iterations + 1
    assert all(before >= after for before, after in pairwise(found.values))
    assert found.value < 0.3 * found.values[0]
    assert found.evaluations >= found.iterations
    assert found.arrays.K.norm() > 0.1  # it is no trivial one


def gradients(problem: LearningProblem, arrays: Arrays) -> dict[str, Tensor]:
    """Of ``J_L`` in the coordinates it is written in."""
    named = {name: p.detach().clone().requires_grad_() for name, p in leaves(arrays).items()}
    found = torch.autograd.grad(objective(problem, Arrays(**named)), list(named.values()))
    return dict(zip(named, found, strict=True))


@pytest.mark.parametrize("kernel", ["local", "attention", "gaussian", "rbf"])
def test_a_minimum_is_stationary_in_any_coordinates(kernel: KernelName) -> None:
    problem, start, found = regression(kernel=kernel), sample(curves(kernel), 6), minimum(6, 1e-13, kernel)
    before, after = gradients(problem, start), gradients(problem, found.arrays)
    assert found.gradient_norm < 1e-5
    for name, gradient in after.items():
        assert float(gradient.norm()) < 1e-5
        assert float(gradient.norm()) < 1e-3 * float(before[name].norm())


def test_the_gradient_norm_is_that_in_sobolev_coordinates() -> None:
    problem = regression()
    found = minimize(problem, sample(curves(), 5), max_iterations=7)
    coordinates = SobolevCoordinates(found.arrays)
    z = coordinates.flatten(found.arrays).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(problem, coordinates.unflatten(z)), z)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-9)


def test_a_minimum_is_lower_than_what_lies_about_it() -> None:
    problem, found = regression(), minimum(4, 1e-13)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(5):
            moved = {name: p + size * torch.randn_like(p) for name, p in leaves(found.arrays).items()}
            assert float(objective(problem, Arrays(**moved))) > found.value


def test_the_same_start_gives_the_same_bits() -> None:
    first, second = minimum(5, 1e-6), minimize(regression(), sample(curves(), 5), tolerance=1e-6)
    assert first.values == second.values
    assert all(
        torch.equal(p, q) for p, q in zip(*(leaves(each.arrays).values() for each in (first, second)), strict=True)
    )


# --- How it ends. ---


def test_iterations_that_are_used_up_are_not_convergence() -> None:
    problem, start = regression(), sample(curves(), 5)
    found = minimize(problem, start, max_iterations=3)
    assert not found.converged
    assert found.iterations == 3
    assert len(found.values) == 4
    assert found.values == minimum(5, 1e-6).values[:4]
    assert found.value == pytest.approx(float(objective(problem, found.arrays)), rel=1e-11)


def test_a_smaller_tolerance_goes_on_for_longer() -> None:
    found = [minimum(5, tolerance) for tolerance in (1e-3, 1e-6, 1e-9, 1e-12)]
    assert all(each.converged for each in found)
    for tolerance, each in zip((1e-3, 1e-6, 1e-9, 1e-12), found, strict=True):
        steps = [before - after for before, after in pairwise(each.values)]
        assert steps[-1] <= tolerance < min(steps[:-1])
    assert all(before.iterations < after.iterations for before, after in pairwise(found))
    assert all(before.values == after.values[: len(before.values)] for before, after in pairwise(found))


def test_a_start_that_is_a_minimum_is_kept() -> None:
    found = minimum(4, 1e-13)
    again = minimize(regression(), found.arrays, tolerance=1e-10)
    assert again.converged
    assert again.iterations <= 2
    assert again.value == pytest.approx(found.value, abs=1e-12)


class Enough(Exception):  # noqa: N818 - nothing is wrong
    pass


@pytest.mark.parametrize("calls", [1, 2, 10])
def test_what_the_check_raises_ends_it(calls: int) -> None:
    made = 0

    def check() -> None:
        nonlocal made
        made += 1
        if made == calls:
            raise Enough

    with pytest.raises(Enough):
        minimize(regression(), sample(curves(), 4), check=check)
    assert made == calls


# --- Deeper networks. ---


def in_raw_coordinates(problem: LearningProblem, start: Arrays, tolerance: float) -> tuple[int, float]:
    """Iterations and value of the same method in the coordinates that ``J_L`` is written in."""
    named = leaves(start)

    def evaluate(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.from_numpy(vector).requires_grad_()
        parts = torch.split(point, [p.numel() for p in named.values()])
        arrays = Arrays(**{name: x.view(p.shape) for (name, p), x in zip(named.items(), parts, strict=True)})
        value = objective(problem, arrays)
        return value.item(), torch.autograd.grad(value, point)[0].numpy()

    found = optimize.minimize(
        evaluate,
        torch.cat([p.flatten() for p in named.values()]).numpy(),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 20, "ftol": tolerance, "gtol": 0.0, "maxiter": 10**5, "maxfun": 10**6},
    )
    return int(found.nit), float(found.fun)


def test_the_number_of_iterations_does_not_grow_with_depth_while_in_raw_coordinates_it_does() -> None:
    problem = regression(weight=1e-2)
    found = {L: minimize(problem, sample(curves(), L), tolerance=1e-9) for L in (4, 8, 16, 32)}
    iterations = [each.iterations for each in found.values()]
    assert max(iterations) <= 2 * min(iterations)
    assert all(each.converged for each in found.values())
    raw = {L: in_raw_coordinates(problem, sample(curves(), L), tolerance=1e-9) for L in (4, 16)}
    assert raw[16][0] > 2 * raw[4][0]
    assert raw[16][0] > 4 * found[16].iterations
    for L, (_, value) in raw.items():
        assert value == pytest.approx(found[L].value, rel=1e-4)


def test_the_number_of_iterations_does_not_grow_with_depth_where_connections_are_learned() -> None:
    found = [minimum(L, 1e-9) for L in (4, 8, 16)]
    assert min(float(each.arrays.K.norm()) for each in found) > 1
    assert max(each.iterations for each in found) <= 2 * min(each.iterations for each in found)
