"""Dropout and the width of the stem in the built-in networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnlbench.architecture import ARCHITECTURES
from dnlbench.dnl.networks import DNLNetwork, NormReluConv
from dnlbench.runners.training.memory import LiveTensors
from dnlbench.runners.training.pack import PackLearner
from dnlbench.studies.training.size import network_size
from dnlbench.studies.training.spec import NetworkSettings, TrainSettings

SHAPE, DEPTH = (3, 12, 16), 3
OPTIONS: dict[str, Any] = {"blocks": 2, "growth_rate": 4, "stem": 11, "compression": 0.7}


def build(name: str = "densenet", **options: Any) -> DNLNetwork:
    torch.manual_seed(1)
    network = DNLNetwork(name, depth=DEPTH, input_shape=SHAPE, classes=7, **{**OPTIONS, **options})
    return network.to(memory_format=torch.channels_last)


def images(count: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, *SHAPE, generator=generator).contiguous(memory_format=torch.channels_last)


def outputs(network: nn.Module) -> list[Tensor]:
    """Return the output of each convolution with a norm before it, in training mode."""
    result: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: result.append(output))
        for module in network.modules()
        if isinstance(module, NormReluConv)
    ]
    torch.manual_seed(3)
    network.train()(images())
    for hook in hooks:
        hook.remove()
    return result


def zeros(output: Tensor) -> float:
    return float((output == 0).double().mean())


@pytest.mark.parametrize("implementation", ["standard", "memory-efficient"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_every_convolution_but_the_first_drops_outputs(implementation: str, bottleneck: bool) -> None:
    options: dict[str, Any] = {"implementation": implementation, "bottleneck": bottleneck}
    dropped, full = (outputs(build(dropout=p, **options)) for p in (0.25, 0.0))
    assert len(dropped) == 2 * DEPTH * (2 if bottleneck else 1) + 1  # and the transition
    for output in dropped:
        assert abs(zeros(output) - 0.25) < 0.01 + 4 * (0.25 * 0.75 / output.numel()) ** 0.5
    assert all(zeros(output) < 0.01 for output in full)  # where all inputs are negative
    first, alike = dropped[0], full[0]  # its input is the same
    torch.testing.assert_close(first, torch.where(first == 0, 0.0, alike / 0.75))


@pytest.mark.parametrize("name", ["densenet", "dense-attention", "resnet"])
def test_evaluation_drops_nothing(name: str) -> None:
    with_dropout, without = build(name, dropout=0.5).eval(), build(name).eval()
    assert torch.equal(with_dropout(images()), without(images()))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_both_implementations_compute_the_same_function_and_gradients_under_dropout(bottleneck: bool) -> None:
    results = []
    for implementation in ("standard", "memory-efficient"):
        network = build(dropout=0.3, bottleneck=bottleneck, implementation=implementation).train()
        torch.manual_seed(4)
        logits = network(images())
        logits.square().sum().backward()
        results.append([logits, *(p.grad for p in network.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_batched_seeds_drop_different_outputs() -> None:
    pack = PackLearner([build(dropout=0.5).train() for _ in range(2)], TrainSettings())
    same = images().expand(2, *images().shape)
    losses = pack.losses(same, torch.arange(8).remainder(7).expand(2, -1))
    pack.backward(losses)
    assert losses[0] != losses[1]
    assert all(bool(p.grad.isfinite().all()) for p in pack.parameters if p.grad is not None)


@pytest.mark.parametrize("name", ["densenet", "dense-attention", "resnet"])
@pytest.mark.parametrize("implementation", ["standard", "memory-efficient"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_sizes_count_the_stem_and_the_factors_of_dropout(name: str, implementation: str, bottleneck: bool) -> None:
    options: dict[str, Any] = {"implementation": implementation, "bottleneck": bottleneck, "dropout": 0.5}
    network = build(name, **options).train()
    size = network_size(ARCHITECTURES[name], DEPTH, SHAPE, 7, NetworkSettings(**OPTIONS, **options))
    assert size.parameters == sum(parameter.numel() for parameter in network.parameters())
    kept = []
    for count in (2, 4):
        live = LiveTensors(network.parameters())
        batch = torch.rand(count, *SHAPE)
        with live:
            logits = network(batch.contiguous(memory_format=torch.channels_last).clone())
        kept.append(live.bytes // 4)
        assert logits.requires_grad
    assert size.stored == pytest.approx((kept[1] - kept[0]) / 2, rel=0.15)
    without = network_size(
        ARCHITECTURES[name], DEPTH, SHAPE, 7, NetworkSettings(**OPTIONS, **{**options, "dropout": 0.0})
    )
    assert size.stored > without.stored
    assert size.flops == without.flops


@pytest.mark.parametrize("name", ["resnet", "plain"])
def test_a_baseline_has_the_width_of_its_stem(name: str) -> None:
    first = next(build(name).parameters())
    assert len(first) == 11
    assert len(next(build(name, width=5).parameters())) == 5
