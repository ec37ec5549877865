from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.dnl.diagnosis import BlockMetrics, diagnose, diagnose_in_training_mode
from dnlbench.dnl.diagnosis.maps import jacobian_norms, linear_part
from dnlbench.dnl.diagnosis.variation import parameter_steps, roughness, variations
from dnlbench.dnl.image_regularizer import ParametersInDepth, parameters_in_depth
from dnlbench.dnl.networks import Block, DNLNetwork, NormReluConv
from dnlbench.dnl.regularizer import sequence_energy, square_energy
from dnlbench.dnl.states import SeparateStates

pytestmark = pytest.mark.usefixtures("float64")
Batch = tuple[Tensor, Tensor]


def build(network: str, depth: int = 4, **settings: Any) -> DNLNetwork:
    """With running statistics of some training steps."""
    arguments: dict[str, Any] = {"blocks": 2, "growth_rate": 3, **settings}
    built = DNLNetwork(network, depth=depth, input_shape=(1, 8, 8), classes=3, **arguments)
    built.train()
    with torch.no_grad():
        for _ in range(3):
            built(torch.rand(16, 1, 8, 8))
    return built


def a_batch(images: int = 6) -> Batch:
    return torch.rand(images, 1, 8, 8), torch.arange(images) % 3


def layers_of(block: Block) -> list[NormReluConv]:
    return [layer for layer in block.layers if isinstance(layer, NormReluConv)]


@torch.no_grad()
def make_scaling(block: Block, factor: float) -> None:
    """Layers become ``relu(x) -> factor · relu(x)``: the norms do nothing and filters are multiples of the identity."""
    for layer in layers_of(block):
        assert layer.norm.running_var is not None
        layer.norm.reset_running_stats()
        layer.norm.running_var.fill_(1 - layer.norm.eps)
        layer.conv.weight.zero_()
        layer.conv.weight[:, :, 1, 1] = factor * torch.eye(len(layer.conv.weight))


@torch.no_grad()
def make_stem_positive(network: DNLNetwork) -> None:
    """So that the first block's input is, and its units are active."""
    stem = network.features[0]
    assert isinstance(stem, nn.Conv2d)
    stem.weight.abs_()


def numbers(series: Sequence[float | None]) -> list[float]:
    return [value for value in series if value is not None]


@pytest.mark.parametrize("network", ["plain", "densenet"])
def test_training_mode_sees_the_gradients_of_a_training_step(network: str) -> None:
    """By a loop over ``backward``; the network, its running statistics included, stays what it was."""
    built, (images, labels) = build(network, implementation="memory-efficient"), a_batch()
    state = {name: value.clone() for name, value in built.state_dict().items()}
    built.eval()
    figures = diagnose_in_training_mode(built, [(images, labels)])
    assert not built.training
    assert built.implementation == "memory-efficient"
    assert all(torch.equal(value, state[name]) for name, value in built.state_dict().items())
    built.train()
    seen: list[Tensor] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inputs[0].retain_grad()
        seen.append(inputs[0])

    for block in built.blocks:
        block.register_forward_pre_hook(see)
    loss = functional.cross_entropy(built(images), labels)
    torch.autograd.backward(loss)
    assert figures.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    for found, block, x in zip(figures.blocks, built.blocks, seen, strict=True):
        own = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in block.layers]
        assert found.parameter_gradient == pytest.approx(
            [float(nn.utils.get_total_norm(each)) for each in own], rel=1e-9
        )
        assert found.forward[0] == pytest.approx(float(x.detach().square().mean().sqrt()), rel=1e-9)
        assert x.grad is not None
        summed = len(images) * x.grad  # of the sum of the images' losses
        assert found.state_gradient[0] == pytest.approx(float(summed.norm()) / len(images) ** 0.5, rel=1e-9)
    with pytest.raises(ValueError, match="at least one image"):
        diagnose_in_training_mode(built, [])


def test_a_residual_network_whose_branches_are_zero_is_the_identity() -> None:
    network = build("resnet")
    with torch.no_grad():
        for block in network.blocks:
            for layer in layers_of(block):
                layer.conv.weight.zero_()
    for figures in diagnose(network, [a_batch()]):
        assert figures.state_step == figures.map_distance == figures.filter_distance == (0.0,) * 4
        assert figures.parameter_step == (0.0, 0.0, 0.0, None)
        assert figures.roughness == {"filter": 0.0, "all": 0.0}
        assert len(set(figures.forward)) == 1


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_a_residual_layer_that_scales_is_as_far_from_the_identity_as_it_scales(factor: float) -> None:
    network = build("resnet", step_scaling=1.0)
    make_stem_positive(network)
    make_scaling(network.blocks[0], factor)
    figures = diagnose(network, [a_batch()])[0]
    for series in (figures.state_step, figures.map_distance, figures.filter_distance):
        assert series == pytest.approx([factor / 4] * 4)
    assert figures.pattern_change == (0.0, 0.0, 0.0, None)
    assert figures.forward[4] / figures.forward[0] == pytest.approx((1 + factor / 4) ** 4)  # type: ignore[operator]


def test_a_plain_network_of_identities_has_distance_zero_and_one_of_negations_two() -> None:
    network = build("plain", depth=1)
    make_stem_positive(network)
    for factor, distance in ((1.0, 0.0), (-1.0, 2.0), (3.0, 2.0)):
        make_scaling(network.blocks[0], factor)
        figures = diagnose(network, [a_batch()])[0]
        for series in (figures.state_step, figures.map_distance, figures.filter_distance):
            assert series == pytest.approx([distance], abs=1e-12)


@torch.no_grad()
def test_patterns_that_were_made_by_hand_differ_where_they_were_made_to() -> None:
    network = build("resnet", depth=3)
    block = network.blocks[0]
    make_scaling(block, 0.0)
    make_stem_positive(network)
    for layer, negative in zip(layers_of(block), (0, 2, 5), strict=True):  # of 6 channels, on states that do not change
        layer.norm.weight[:negative] = -1.0
    with torch.enable_grad():
        figures = diagnose(network, [a_batch()])[0]
    assert figures.pattern_change == pytest.approx((2 / 6, 3 / 6, None))


def test_equal_layers_have_no_differences_and_linear_ones_have_steps() -> None:
    network = build("plain")
    filters = layers_of(network.blocks[0])
    with torch.no_grad():
        for layer in filters:
            layer.conv.weight.fill_(1.0)
        assert diagnose_parameters(network.blocks[0]) == {"filter": 0.0, "all": 0.0}
        for index, layer in enumerate(filters):
            layer.conv.weight.fill_(1.0 + index)
    size = math.sqrt((1 + 4 + 9 + 16) / 4)
    assert diagnose_parameters(network.blocks[0]) == pytest.approx({"filter": 1 / size, "all": 1 / size})
    assert parameter_steps(variations(parameters_in_depth(network.blocks[0])), 4) == pytest.approx(
        (1 / size, 1 / size, 1 / size, None)
    )


def diagnose_parameters(block: Block) -> dict[str, float]:
    return roughness(variations(parameters_in_depth(block)))


def test_independent_parameters_differ_by_the_square_root_of_two() -> None:
    square, sequence = torch.randn(24, 24, 5, 5), torch.randn(200, 9, 9)
    found = roughness(variations(ParametersInDepth(square=square, sequences={"A": sequence})))
    assert found == pytest.approx(dict.fromkeys(("A", "K", "all"), math.sqrt(2)), rel=0.02)


def test_connection_weights_vary_along_both_indices() -> None:
    l, k = torch.arange(5.0)[:, None], torch.arange(5.0)  # noqa: E741 - the paper's l
    K = (l + 3 * k).view(5, 5, 1).where((l >= k).view(5, 5, 1), torch.tensor(math.nan))
    found = variations(ParametersInDepth(square=K, sequences={}))["K"]
    assert found.size.count == 15
    assert (found.differences.total, found.differences.count) == pytest.approx((10 * 1 + 10 * 9, 20))
    assert {layer: squares.root_mean for layer, squares in found.by_layer.items()} == dict.fromkeys((1, 2, 3, 4), 1.0)


@pytest.mark.parametrize("network", ["densenet", "dense-attention"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_differences_are_those_of_the_regulariser(network: str, bottleneck: bool) -> None:
    parameters = parameters_in_depth(build(network, bottleneck=bottleneck).blocks[1])
    found = variations(parameters)
    assert parameters.square is not None
    assert 2 * found["K"].differences.total == pytest.approx(square_energy(parameters.square, 0.0).item())
    for name, p in parameters.sequences.items():
        if len(p) > 1:
            assert found[name].differences.total == pytest.approx((sequence_energy(p, 1.0) - p.square().sum()).item())
    assert set(found) == {"K", "A", *(["second filter"] * bottleneck), *("QR" * (network == "dense-attention"))}


@pytest.mark.parametrize("network", ["densenet", "dense-attention", "resnet", "plain"])
def test_states_and_gradients_are_those_of_another_forward_pass(network: str) -> None:
    built, (images, labels) = build(network), a_batch()
    found = diagnose(built, [(images[:4], labels[:4]), (images[4:], labels[4:])])
    states, loss = by_hand(built, images, labels)
    for block, figures, own in zip(built.blocks, found, states, strict=True):
        gradients = torch.autograd.grad(loss, own, retain_graph=True)
        first = figures.first_state
        steps = [
            ((new - old).norm() / old.norm()).item() for old, new in zip(own[first:], own[first + 1 :], strict=False)
        ]
        assert numbers(figures.state_step) == pytest.approx(steps)
        assert figures.forward == pytest.approx([state.square().mean().sqrt().item() for state in own])
        # of the mean loss: each image's own loss counts 1/B
        assert figures.state_gradient == pytest.approx([g.norm().item() * math.sqrt(len(images)) for g in gradients])
        of_layers = [torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True) for layer in block.layers]
        norms = [math.sqrt(sum(part.square().sum().item() for part in parts)) for parts in of_layers]
        assert figures.parameter_gradient == pytest.approx(norms)


def by_hand(network: DNLNetwork, images: Tensor, labels: Tensor) -> tuple[list[list[Tensor]], Tensor]:
    """The states of each block and the mean loss, without any of the networks' own forward passes."""

    def normed(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        assert norm.running_mean is not None
        return (x - norm.running_mean.view(1, -1, 1, 1)) * scale(norm) + norm.bias.view(1, -1, 1, 1)

    def convolved(x: Tensor, part: NormReluConv) -> Tensor:
        return functional.conv2d(normed(x, part.norm).clamp_min(0), part.conv.weight, padding="same")

    states, x = [], images
    for part in network.features:
        if isinstance(part, Block):
            own = [x]
            for layer in layers_of(part):
                read = torch.cat([non_local(part, k, own[k]) for k in range(len(own))], 1) if part.dense else own[-1]
                new = convolved(read, layer)
                own.append(own[-1] + new if part.residual else new)
            states.append(own)
            x = torch.cat(own, 1) if part.dense else own[-1]
        else:
            x = convolved(x, part) if isinstance(part, NormReluConv) else part(x)
    logits = network.classifier(normed(x, network.norm).clamp_min(0).mean(dim=(2, 3)))
    return states, functional.cross_entropy(logits, labels)


def scale(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_var is not None
    return (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, 1, 1)


def non_local(block: Block, index: int, state: Tensor) -> Tensor:
    kernel = block.transforms[str(index)] if str(index) in block.transforms else nn.Identity()
    return kernel(state)  # type: ignore[no-any-return]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("network", ["densenet", "dense-attention", "dense-gaussian", "dense-rbf", "resnet", "plain"])
def test_operator_norms_are_the_largest_singular_values(network: str, bottleneck: bool) -> None:
    built, (images, labels) = build(network, depth=2, bottleneck=bottleneck), a_batch(2)
    figures = diagnose(built, [(images, labels)])[1]  # 4×4 pixels
    built.eval()
    states: list[Tensor] = []
    hook = built.blocks[1].register_forward_hook(lambda _, __, found: states.extend(found.kept))
    built(images)
    hook.remove()
    block, layer = built.blocks[1], 1
    x = states[layer].detach()
    exact = [torch.linalg.matrix_norm(jacobian(block, layer, states, i, x), 2).item() for i in range(2)]
    assert figures.map_distance[layer] == pytest.approx(sum(exact) / 2, rel=0.05)
    assert figures.map_distance[layer] <= sum(exact) / 2 * (1 + 1e-9)


def jacobian(block: Block, layer: int, states: Sequence[Tensor], image: int, x: Tensor) -> Tensor:
    """Of ``x^l -> x^{l+1}`` of one image, entry by entry from reverse passes; less I in the baselines."""

    def advance(values: Tensor) -> Tensor:
        known = SeparateStates()
        for k in range(layer + 1):
            known.add(non_local(block, k, values[None] if k == layer else states[k][image : image + 1].detach()))
        return block.advance(layer, values[None], known, lambda widths: SeparateStates())[0]

    size = x[image].numel()
    at = x[image].clone().requires_grad_()
    values = advance(at).flatten()
    found = torch.stack([torch.autograd.grad(value, at, retain_graph=True)[0].flatten() for value in values])
    return found if block.dense else found - torch.eye(size)


def test_the_norm_of_a_matrix_is_found_and_that_of_zero_is_zero() -> None:
    matrices = torch.stack([torch.diag(torch.tensor([3.0, 1.0, -7.0, 0.5])), torch.zeros(4, 4)])
    found = jacobian_norms(lambda x: torch.einsum("bij,bj->bi", matrices, x), torch.rand(2, 4))
    assert found.tolist() == pytest.approx([7.0, 0.0], rel=1e-3)


def test_the_linear_part_of_a_bottleneck_is_the_composition() -> None:
    layer = build("plain", bottleneck=True).blocks[0].layers[0]
    assert isinstance(layer, nn.Sequential)
    narrow, wide = (part for part in layer if isinstance(part, NormReluConv))
    x = torch.rand(1, len(linear_part(layer)), 5, 5)
    inner = functional.conv2d(x * scale(narrow.norm), narrow.conv.weight)
    expected = functional.conv2d(inner * scale(wide.norm), wide.conv.weight, padding=1)
    assert torch.allclose(functional.conv2d(x, linear_part(layer), padding=1), expected)


def test_a_diagnosis_leaves_the_network_as_it_was() -> None:
    network = build("densenet", implementation="memory-efficient")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    diagnose(network, [a_batch()])
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_both_implementations_with_equal_weights_have_equal_figures() -> None:
    efficient, standard = (build("dense-gaussian", implementation=name) for name in ("memory-efficient", "standard"))
    standard.load_state_dict(efficient.state_dict())
    batch = a_batch()
    assert diagnose(efficient, [batch]) == diagnose(standard, [batch])


@pytest.mark.parametrize("connectivity", ["strides", "window"])
def test_partially_dense_networks_and_single_layers_are_measured(connectivity: str) -> None:
    window = 2 if connectivity == "window" else None
    for depth in (1, 2, 5):
        (figures,) = diagnose(build("densenet", depth, blocks=1, connectivity=connectivity, window=window), [a_batch()])
        assert_lengths(figures, depth)


def assert_lengths(figures: BlockMetrics, depth: int) -> None:
    by_layer = (
        figures.state_step,
        figures.map_distance,
        figures.filter_distance,
        figures.parameter_step,
        figures.pattern_change,
        figures.parameter_gradient,
    )
    assert {len(series) for series in by_layer} == {depth}
    assert len(figures.forward) == len(figures.state_gradient) == depth + 1


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        diagnose(build("plain", 1), [])
