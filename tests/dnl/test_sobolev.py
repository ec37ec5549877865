"""The coordinates of the regulariser: |z|² is R_L, and both maps are those of explicit matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import KernelName
from dnlbench.dnl import regularizer as module
from dnlbench.dnl.parameters import Arrays, packed_size
from dnlbench.dnl.regularizer import sequence_energy, square_energy
from dnlbench.dnl.sobolev import SobolevCoordinates

pytestmark = pytest.mark.usefixtures("float64")

KERNELS: list[KernelName] = ["local", "attention"]
N, C = 2, 2


def close(ours: object, expected: object, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def shapes(kernel: KernelName, L: int, n: int = N, c: int = C) -> dict[str, tuple[int, ...]]:
    """In the order in which `as_vector` has them."""
    d = n * c
    inner = ("V", "Q", "R") if kernel == "attention" else ("V",)
    return {"A": (L, d, d), "b": (L, d), **dict.fromkeys(inner, (L, c, c)), "K": (packed_size(L), d, d)}


def random_arrays(kernel: KernelName, L: int, n: int = N, c: int = C) -> Arrays:
    return Arrays(**{name: torch.randn(shape) for name, shape in shapes(kernel, L, n, c).items()})


def as_vector(arrays: Arrays) -> Tensor:
    return torch.cat([p.flatten() for _, p in arrays.one_index()] + [arrays.K.flatten()])


def as_arrays(vector: Tensor, kernel: KernelName, L: int, n: int = N, c: int = C) -> Arrays:
    named = shapes(kernel, L, n, c)
    parts = torch.split(vector, [math.prod(shape) for shape in named.values()])
    return Arrays(**{name: part.view(shape) for (name, shape), part in zip(named.items(), parts, strict=True)})


def full_square(packed: Tensor, L: int) -> Tensor:
    """The entries on and below the diagonal in their places, column after column, and nothing to go by above it."""
    square = [[torch.full(packed.shape[1:], math.nan) for _ in range(L)] for _ in range(L)]
    entries = iter(packed)
    for k in range(L):
        for l in range(k, L):  # noqa: E741 - the paper's l
            square[l][k] = next(entries)
    return torch.stack([torch.stack(row) for row in square])


def regularizer(arrays: Arrays) -> Tensor:
    """``R_L`` by the functions that training uses too."""
    one_index = sum((sequence_energy(p) for _, p in arrays.one_index()), torch.zeros(()))
    return one_index + square_energy(full_square(arrays.K, arrays.depth))


def matrix(function: Callable[[Tensor], Tensor], place: Tensor) -> Tensor:
    """Of derivatives, a row for each component of the function."""
    place = place.clone().requires_grad_()
    rows = [torch.autograd.grad(component, place, retain_graph=True)[0] for component in function(place)]
    return torch.stack(rows)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("L", [1, 2, 5, 8])
def test_the_square_of_the_coordinates_is_the_regulariser(kernel: KernelName, L: int) -> None:
    arrays = random_arrays(kernel, L)
    z = SobolevCoordinates(arrays).flatten(arrays)
    assert z.dtype == torch.float64
    assert z.shape == as_vector(arrays).shape
    close(z.square().sum(), regularizer(arrays))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("L", [1, 2, 5, 8])
def test_each_map_undoes_the_other(kernel: KernelName, L: int) -> None:
    arrays = random_arrays(kernel, L)
    coordinates = SobolevCoordinates(arrays)
    back = coordinates.unflatten(coordinates.flatten(arrays))
    assert [name for name, _ in back.one_index()] == [name for name, _ in arrays.one_index()]
    close(as_vector(back), as_vector(arrays))
    z = torch.randn(len(as_vector(arrays)))
    close(coordinates.flatten(coordinates.unflatten(z)), z)


@pytest.mark.parametrize(
    ("kernel", "L"), [("local", 1), ("local", 2), ("local", 6), ("attention", 3), ("attention", 4)]
)
def test_the_maps_are_roots_of_the_matrix_of_the_quadratic_form(kernel: KernelName, L: int) -> None:
    size = (kernel, L, 2, 1)  # d = 2, c = 1
    arrays = random_arrays(*size)
    coordinates = SobolevCoordinates(arrays)
    place = as_vector(arrays)
    H = matrix(lambda v: torch.autograd.grad(regularizer(as_arrays(v, *size)), v, create_graph=True)[0], place) / 2
    close(place @ H @ place, regularizer(arrays))
    forth = matrix(lambda v: coordinates.flatten(as_arrays(v, *size)), place)
    back = matrix(lambda z: as_vector(coordinates.unflatten(z)), torch.randn(len(place)))
    identity = torch.eye(len(place))
    close(forth.mT @ forth, H)
    close(back @ back.mT, torch.linalg.inv(H))
    close(back.mT @ H @ back, identity)
    close(forth @ back, identity)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_of_both_maps_are_those_of_finite_differences(kernel: KernelName) -> None:
    size = (kernel, 3, 2, 1)
    arrays = random_arrays(*size)
    coordinates = SobolevCoordinates(arrays)
    z = torch.randn(len(as_vector(arrays)), requires_grad=True)
    place = as_vector(arrays).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: as_vector(coordinates.unflatten(z)), (z,))
    assert torch.autograd.gradcheck(lambda v: coordinates.flatten(as_arrays(v, *size)), (place,))


@pytest.mark.parametrize("kernel", KERNELS)
def test_both_maps_are_linear(kernel: KernelName) -> None:
    first, second = random_arrays(kernel, 5), random_arrays(kernel, 5)
    coordinates = SobolevCoordinates(first)
    sums = as_arrays(3 * as_vector(first) - 0.7 * as_vector(second), kernel, 5)
    close(coordinates.flatten(sums), 3 * coordinates.flatten(first) - 0.7 * coordinates.flatten(second))
    y, z = torch.randn(2, len(as_vector(first)))
    close(
        as_vector(coordinates.unflatten(3 * y - 0.7 * z)),
        3 * as_vector(coordinates.unflatten(y)) - 0.7 * as_vector(coordinates.unflatten(z)),
    )
    assert not as_vector(coordinates.unflatten(torch.zeros_like(z))).any()


def test_the_values_of_the_arrays_they_are_made_for_do_not_matter() -> None:
    arrays, others = random_arrays("attention", 4), random_arrays("attention", 4)
    z = SobolevCoordinates(others).flatten(arrays)
    assert torch.equal(z, SobolevCoordinates(arrays).flatten(arrays))


def test_a_constant_has_one_coordinate_for_each_of_its_numbers() -> None:
    L, value = 7, torch.randn(4, 4)
    zeros = Arrays(A=torch.zeros(L, 4, 4), b=torch.zeros(L, 4), V=torch.zeros(L, 2, 2), K=torch.zeros(28, 4, 4))
    constant = Arrays(A=value.expand(L, 4, 4), b=zeros.b, V=zeros.V, K=zeros.K - value)
    z = SobolevCoordinates(zeros).flatten(constant)
    assert (z.abs() > 1e-12).sum() == 2 * value.numel()
    close(z.square().sum(), 2 * value.square().sum())


@pytest.mark.parametrize("kernel", ["local", "attention"])
@pytest.mark.parametrize("L", [1, 2, 5])
def test_the_regulariser_of_arrays_is_the_square_of_their_coordinates(kernel: KernelName, L: int) -> None:
    arrays = random_arrays(kernel, L)
    found = module.regularizer(arrays)
    close(found, SobolevCoordinates(arrays).flatten(arrays).square().sum())
    close(found, regularizer(arrays))


def test_the_gradient_of_the_regulariser_agrees_with_finite_differences() -> None:
    named = [(name, p.requires_grad_()) for name, p in random_arrays("attention", 3).one_index()]
    K = random_arrays("attention", 3).K.requires_grad_()

    def energy(K: Tensor, *values: Tensor) -> Tensor:
        return module.regularizer(Arrays(K=K, **{name: p for (name, _), p in zip(named, values, strict=True)}))

    assert torch.autograd.gradcheck(energy, (K, *(p for _, p in named)))
