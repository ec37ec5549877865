"""A kernel consists of a declaration and a class; everything else reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from dnlbench import architecture
from dnlbench.dnl import kernels
from dnlbench.dnl.assumptions import assess
from dnlbench.dnl.curves import random_curves
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.dnl.vector import VectorForm, states
from dnlbench.studies import Point
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import TrainingSpec

KERNEL = cast("architecture.KernelName", "symmetric")


class Symmetric(kernels.NonLocal):
    """``kappa = exp((Q x_i)·(Q x_j) / sqrt(c))``."""

    kernel = KERNEL

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        (q,) = matrices
        return kernels.attention(x, q, q)

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        (q,) = matrices
        return kernels.Attention.stretch(r, [q, q], bandwidth, n)


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    network = architecture.Architecture(name="dense-symmetric", kernel=KERNEL, family="dense", summary="A test.")
    for table, name, value in (
        (architecture.KERNELS, KERNEL, architecture.Kernel(matrices=("Q",))),
        (kernels.IMPLEMENTATIONS, KERNEL, Symmetric),
        (architecture.ARCHITECTURES, network.name, network),
    ):
        monkeypatch.setitem(cast("dict[Any, Any]", table), name, value)


@pytest.mark.parametrize("implementation", ["standard", "memory-efficient"])
def test_networks_have_it_and_their_size_is_estimated(
    implementation: architecture.ImplementationName,
) -> None:
    spec = TrainingSpec.model_validate(
        {"name": "new", "sweep": {"networks": ["dense-symmetric"], "depths": [3]}, "network": {"blocks": 2}}
    )
    network = DNLNetwork(
        "dense-symmetric", depth=3, input_shape=(1, 8, 8), classes=10, blocks=2, implementation=implementation
    )
    outputs = network(torch.rand(4, 1, 8, 8))
    assert outputs.shape == (4, 10)
    outputs.sum().backward()
    learned = [parameter for name, parameter in network.named_parameters() if name.endswith(".q.weight")]
    assert len(learned) == 2 * 3
    assert all(parameter.grad is not None for parameter in learned)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert estimate(spec, Point(network="dense-symmetric", depth=3), (1, 8, 8), 10).parameters == count


def test_the_regularizer_has_its_matrices() -> None:
    network = DNLNetwork("dense-symmetric", depth=3, input_shape=(1, 8, 8), classes=10, blocks=1)
    before = network.regularizer()
    with torch.no_grad():
        next(p for name, p in network.named_parameters() if name.endswith(".q.weight")).mul_(2)
    assert network.regularizer() > before


def test_the_equation_has_it_and_a_bound() -> None:
    form = VectorForm(kernel=KERNEL, activation="tanh")
    curves = random_curves(KERNEL, positions=3, channels=2, seed=0)
    assert {name for name, _ in curves.one_index()} == {"A", "b", "V", "Q"}
    x = states(form, curves, torch.randn(5, 3, 2, dtype=torch.float64), depth=8)
    report = assess(form, curves, x)
    assert 0 < report.lipschitz_seen <= report.lipschitz_bound < math.inf
