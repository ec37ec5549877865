"""Random weights near the identity: their norms, convolutions as matrices, and what is equal for equal seeds."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn import functional

from dnlbench.architecture import Direction, Padding, WeightKind
from dnlbench.dnl.near_identity import (
    Decay,
    Directions,
    LayerForm,
    convolution_matrices,
    draw_directions,
    near_identity,
)
from dnlbench.dnl.relu import states

pytestmark = pytest.mark.usefixtures("float64")

KINDS: tuple[WeightKind, ...] = get_args(WeightKind)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


def form(kind: WeightKind, *, positions: int = 5, channels: int = 2, padding: Padding = "zeros") -> LayerForm:
    return LayerForm(kind=kind, positions=positions, channels=channels, padding=padding)


@pytest.mark.parametrize("padding", get_args(Padding))
@pytest.mark.parametrize(("positions", "filter_size"), [(5, 1), (5, 3), (7, 5), (3, 3), (1, 1)])
def test_matrices_do_what_convolutions_do(padding: Padding, positions: int, filter_size: int) -> None:
    filters, x = torch.randn(4, 3, 2, filter_size), torch.randn(6, positions, 2)
    matrices = convolution_matrices(filters, positions, padding)
    assert matrices.shape == (4, positions * 3, positions * 2)
    around = filter_size // 2
    for kernel, matrix in zip(filters, matrices, strict=True):
        mode = "circular" if padding == "circular" else "constant"
        padded = functional.pad(x.mT, (around, around), mode=mode)
        expected = functional.conv1d(padded, kernel).mT  # (6, positions, 3)
        torch.testing.assert_close((x.flatten(1) @ matrix.mT).view(6, positions, 3), expected)


def test_a_convolution_of_one_channel_written_out() -> None:
    kernel = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    (zeros,), (circular,) = (convolution_matrices(kernel, 4, padding) for padding in get_args(Padding))
    assert zeros.tolist() == [[2, 3, 0, 0], [1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2]]
    assert circular.tolist() == [[2, 3, 0, 1], [1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2]]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_norms_fall_as_asked(kind: WeightKind, direction: Direction) -> None:
    directions = draw_directions(form(kind), direction, layers=100, seed=3)
    weights, biases = Decay(scale=0.7, exponent=1.5), Decay(scale=0.2, exponent=0.5)
    network = near_identity(directions, weights=weights, biases=biases)
    k = torch.arange(1.0, 101.0)
    found = torch.linalg.matrix_norm(network.W - torch.eye(10), ord=2)
    torch.testing.assert_close(found, 0.7 * k**-1.5, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(network.b.norm(dim=1), 0.2 * k**-0.5)
    torch.testing.assert_close(weights.norms(100), 0.7 * k**-1.5)


def test_other_gains_go_to_another_multiple_of_the_identity() -> None:
    directions = draw_directions(form("dense"), "independent", layers=3, seed=0)
    none = Decay(scale=0.0, exponent=1.0)
    network = near_identity(directions, weights=none, biases=none, gain=0.5)
    assert torch.equal(network.W, 0.5 * torch.eye(10).expand(3, 10, 10))
    assert not network.b.any()
    assert none.effective_exponent == float("inf")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_deep_network_is_a_shallow_one_continued(kind: WeightKind, direction: Direction) -> None:
    deep = draw_directions(form(kind), direction, layers=300, seed=5)
    for layers in (1, 63, 64, 65, 200):
        shallow = draw_directions(form(kind), direction, layers=layers, seed=5)
        assert torch.equal(shallow.U, deep.U[:layers])
        assert torch.equal(shallow.v, deep.v[:layers])


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_directions_are_one_and_independent_ones_are_many(kind: WeightKind) -> None:
    fixed = draw_directions(form(kind), "fixed", layers=70, seed=1)
    assert (fixed.U[0] == fixed.U).all()
    assert (fixed.v == fixed.v[0]).all()
    other = draw_directions(form(kind), "independent", layers=70, seed=1)
    assert torch.unique(other.U.flatten(1), dim=0).shape[0] == 70
    assert other.U.mean(dim=0).abs().max() < 0.2
    assert not torch.equal(draw_directions(form(kind), "independent", layers=70, seed=2).U, other.U)


def test_convolutional_layers_shift_with_their_input() -> None:
    """With circular padding and biases of the channels a shifted input has shifted states."""
    directions = draw_directions(form("conv", padding="circular"), "independent", layers=20, seed=0)
    decay = Decay(scale=0.5, exponent=0.5)
    network = near_identity(directions, weights=decay, biases=decay)
    x0 = torch.randn(4, 5, 2)
    found, shifted = (states(network, x.flatten(1))[-1].view(4, 5, 2) for x in (x0, x0.roll(2, dims=1)))
    torch.testing.assert_close(shifted, found.roll(2, dims=1))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_the_random_numbers_of_a_layer(kind: WeightKind) -> None:
    expected = {"dense": 10 * 10 + 10, "conv": 2 * 2 * 3 + 2}
    assert form(kind).parameters == expected[kind]
    assert form(kind).width == 10


def test_directions_have_norm_one() -> None:
    for kind in KINDS:
        found: Directions = draw_directions(form(kind), "independent", layers=10, seed=0)
        torch.testing.assert_close(torch.linalg.matrix_norm(found.U, ord=2), torch.ones(10))
        torch.testing.assert_close(found.v.norm(dim=1), torch.ones(10))
