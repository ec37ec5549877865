from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnlbench.architecture import ARCHITECTURES
from dnlbench.dnl.memory_efficient import states
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.runners.training.flops import forward_flops
from dnlbench.runners.training.memory import LiveTensors
from dnlbench.studies.training import size as sizes
from dnlbench.studies.training.size import network_size
from dnlbench.studies.training.spec import NetworkSettings
from tests.covering import covering

Shape = tuple[int, int, int]

CONNECTIVITIES: list[dict[str, Any]] = [
    {"connectivity": "full"},
    {"connectivity": "window", "window": 1},
    {"connectivity": "window", "window": 3},
    {"connectivity": "strides"},
]
NON_LOCAL = ["dense-gaussian", "dense-rbf", "dense-attention"]
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


pytestmark = pytest.mark.usefixtures("one_thread")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def closed_form(
    depth: int, blocks: int, g: int, colours: int, classes: int, *, attention: bool = False, bottleneck: bool = False
) -> int:
    c = 2 * g
    total = 9 * colours * c
    for block in range(blocks):
        read = depth * c + g * depth * (depth - 1) // 2  # by all layers together: sum of c + l g
        if bottleneck:  # two norms, a 1×1 filter to 4 g and a 3×3 one from there to g
            total += (2 + 4 * g) * read + depth * (2 * 4 * g + 9 * 4 * g * g)
        else:
            total += (2 + 9 * g) * read
        if attention:  # Q and R on x^0 and on L − 1 further states; nothing reads x^L
            total += 2 * c * c + 2 * (depth - 1) * g * g
        c += depth * g
        if block < blocks - 1:
            total += 2 * c + c * (c // 2)
            c //= 2
    return total + 2 * c + (c + 1) * classes


@pytest.mark.parametrize(
    ("name", "bottleneck", "sizes"),
    covering(["densenet", *NON_LOCAL], [False, True], [(1, 1, 1), (2, 4, 6), (5, 3, 7), (12, 3, 12), (32, 4, 6)]),
)
def test_parameters_of_dense_networks_have_a_closed_form(name: str, bottleneck: bool, sizes: Shape) -> None:
    depth, blocks, growth = sizes
    options: dict[str, Any] = {"blocks": blocks, "growth_rate": growth, "bottleneck": bottleneck}
    shape, classes = (3, 32, 32), 10
    with torch.device("meta"):
        network = DNLNetwork(name, depth=depth, input_shape=shape, classes=classes, **options)
    expected = closed_form(
        depth, blocks, growth, 3, classes, attention=name == "dense-attention", bottleneck=bottleneck
    )
    assert count(network) == expected
    assert network_size(ARCHITECTURES[name], depth, shape, classes, NetworkSettings(**options)).parameters == expected


class Saved:
    """The values that torch keeps for the backward pass, parameters apart, by the storage that they lie in."""

    def __init__(self, network: nn.Module, shape: Shape, batch: int, form: torch.memory_format) -> None:
        self._parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        self._alive: list[Tensor] = []  # a freed storage's address could come again
        self.values: dict[int, int] = {}
        images = torch.rand(batch, *shape).contiguous(memory_format=form)
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            self.logits = network.train()(images)

    def _pack(self, tensor: Tensor) -> Tensor:
        self._alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self.values[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor


def kept_values(network: nn.Module, shape: Shape, batch: int) -> int:
    """The values that the forward pass leaves behind for the backward pass, whoever keeps them, and the images."""
    live = LiveTensors(network.parameters())
    with live:
        images = torch.rand(batch, *shape).contiguous(memory_format=torch.channels_last)
        logits = network.train()(images)
    assert logits.requires_grad
    return live.bytes // 4


@pytest.mark.parametrize(
    ("name", "connectivity", "implementation", "bottleneck", "step_scaling"),
    covering(
        list(ARCHITECTURES),
        CONNECTIVITIES,
        ["standard", "memory-efficient"],
        [False, True],
        [0.0, 0.5, 1.0],
        strength=3,
    ),
)
def test_size_of_a_network_is_that_of_the_one_that_is_built(
    name: str, connectivity: dict[str, Any], implementation: str, bottleneck: bool, step_scaling: float
) -> None:
    shape, depth = (3, 12, 17), 5
    options = {**connectivity, "bottleneck": bottleneck, "step_scaling": step_scaling, "blocks": 2, "compression": 0.7}
    options["implementation"] = implementation
    network = DNLNetwork(name, depth=depth, input_shape=shape, classes=7, **options)
    network.to(memory_format=torch.channels_last)
    size = network_size(ARCHITECTURES[name], depth, shape, 7, NetworkSettings(**options))
    assert size.parameters == count(network)
    # The difference of two batches leaves what grows with the batch: scaled filters and statistics of norms do not.
    two, four = (kept_values(network, shape, batch) for batch in (2, 4))
    assert size.stored == pytest.approx((four - two) / 2, rel=0.15)


@pytest.mark.parametrize(("name", "width"), [("resnet", 5), ("plain", 40)])
def test_size_of_a_baseline_with_a_width_of_its_own(name: str, width: int) -> None:
    options: dict[str, Any] = {"blocks": 3, "width": width}
    network = DNLNetwork(name, depth=4, input_shape=(1, 8, 8), classes=10, **options)
    size = network_size(ARCHITECTURES[name], 4, (1, 8, 8), 10, NetworkSettings(**options))
    layers = 3 * 4 * (2 * width + 9 * width**2) + 2 * (2 * width + width**2)
    assert count(network) == size.parameters == 9 * width + layers + 2 * width + 10 * (width + 1)


@pytest.mark.parametrize(("name", "growth", "form"), covering(NON_LOCAL, [1, 2, 6], list(FORMATS)))
def test_no_matrix_over_pairs_of_pixels_is_stored(name: str, growth: int, form: str) -> None:
    network = DNLNetwork(name, depth=2, input_shape=(3, 32, 32), classes=10, blocks=1, growth_rate=growth)
    batch, n = 2, 32 * 32
    saved = Saved(network, (3, 32, 32), batch, FORMATS[form])
    assert max(saved.values.values()) < batch * n * n / 10
    gradients = torch.autograd.grad(saved.logits.sum(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("name", "connectivity", "bottleneck"), covering(list(ARCHITECTURES), CONNECTIVITIES, [False, True])
)
def test_operations_are_those_of_the_products_that_torch_is_seen_to_do(
    name: str, connectivity: dict[str, Any], bottleneck: bool
) -> None:
    shape, depth = (3, 12, 16), 4
    options = {**connectivity, "bottleneck": bottleneck, "blocks": 3, "growth_rate": 4, "compression": 0.7}
    network = DNLNetwork(name, depth=depth, input_shape=shape, classes=7, **options)
    found = network_size(ARCHITECTURES[name], depth, shape, 7, NetworkSettings(**options)).flops
    counted = forward_flops(network, torch.zeros(2, *shape))
    assert counted is not None
    # rbf: torch pads the values with a zero channel, which is no work that anybody asked for
    padding = 0.2 if name == "dense-rbf" else 0.0
    assert found <= counted <= found * (1 + padding)


def test_operations_of_one_attention_layer_written_out() -> None:
    settings = NetworkSettings(blocks=1, growth_rate=2)
    size = network_size(ARCHITECTURES["dense-attention"], 1, (3, 8, 8), 10, settings)
    n, c = 64, 4
    multiply_adds = n * 3 * 9 * c + (2 * n * n * c + 2 * n * c * c) + n * c * 9 * 2 + 6 * 10
    assert size.flops == 2 * multiply_adds


def test_parts_are_counted_as_large_as_they_are_made() -> None:
    assert sizes.PART_BYTES == states.PART_BYTES
