"""Exponents of learning rates in depth, against the measured gradients of networks at initialization."""

from __future__ import annotations

import math
from statistics import linear_regression

import pytest
import torch
from torch.nn import functional

from dnlbench.dnl.depth_rates import Exponents, exponents_of
from dnlbench.dnl.networks import DNLNetwork

DEPTHS = (4, 8, 16, 32)


def sizes(name: str, depth: int, alpha: float) -> dict[Exponents, tuple[float, float]]:
    """Return the sum of squares and the sum of absolute values of the gradients of each group, over two networks."""
    sums: dict[Exponents, tuple[float, float]] = {}
    for seed in range(2):
        torch.manual_seed(seed)
        network = DNLNetwork(
            name,
            depth=depth,
            input_shape=(1, 8, 8),
            classes=10,
            blocks=2,
            step_scaling=alpha,
            implementation="standard",
        )
        images, labels = torch.rand(32, 1, 8, 8).round(), torch.arange(32) % 10
        torch.autograd.backward(functional.cross_entropy(network(images), labels))
        for parameter, exponents in exponents_of(network, alpha).items():
            assert parameter.grad is not None
            squares, absolute = sums.get(exponents, (0.0, 0.0))
            grad = parameter.grad
            sums[exponents] = squares + float(grad.square().sum()), absolute + float(grad.abs().sum())
    return sums


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("name", ["resnet", "densenet"])
def test_rates_are_inverse_to_the_growth_of_gradients(name: str, alpha: float) -> None:
    """The first step of a group changes the loss by rate × |g|² with SGD, and by rate × |g|₁ with Adam."""
    by_depth = [sizes(name, depth, alpha) for depth in DEPTHS]
    logs = [math.log(depth) for depth in DEPTHS]
    assert len(by_depth[0]) == (1 if name == "resnet" else 5)
    for group in by_depth[0]:
        squares, absolute = (
            linear_regression(logs, [math.log(each[group][norm]) for each in by_depth]).slope for norm in (0, 1)
        )
        assert squares == pytest.approx(-group.sgd, abs=0.35)
        assert absolute == pytest.approx(-group.adam, abs=0.35)


def test_all_parameters_but_stem_and_bias_of_a_dense_network_depend_on_depth() -> None:
    network = DNLNetwork("dense-attention", depth=3, input_shape=(1, 8, 8), classes=10, blocks=2, bottleneck=True)
    scaled = exponents_of(network, 1.0)
    rest = {name for name, parameter in network.named_parameters() if parameter not in scaled}
    assert rest == {"features.0.weight", "classifier.bias"}
    behind = dict(network.named_parameters())["features.1.layers.2.1.conv.weight"]
    assert scaled[behind] == Exponents(adam=-0.5, eps=-0.5)
