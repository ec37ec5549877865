"""Both implementations of the image networks against each other, alone and as packs of seeds under `torch.vmap`."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from dnlbench.architecture import ImplementationName
from dnlbench.dnl.memory_efficient import convolution, states
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.runners.training.memory import step_memory_bytes
from tests.covering import covering

pytestmark = pytest.mark.xdist_group("loops")

NETWORKS = ("densenet", "dense-attention", "dense-gaussian", "dense-rbf", "resnet", "plain")
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "bottleneck": {"bottleneck": True},
    "window": {"connectivity": "window", "window": 2},
    "strides": {"connectivity": "strides", "depth": 6},
    "by offsets": {"growth_rate": 1, "depth": 9},
    "1/L": {"step_scaling": 1.0, "bottleneck": True},
    "three blocks": {"blocks": 3, "input_shape": (3, 8, 10), "growth_rate": 4},
}
IMPLEMENTATIONS: tuple[ImplementationName, ...] = ("standard", "memory-efficient")
CLASSES, SEEDS = 4, 3


def close(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)


def network_of(name: str, **options: Any) -> DNLNetwork:
    options = {"depth": 3, "input_shape": (3, 8, 8), "classes": CLASSES, "blocks": 2, "growth_rate": 3, **options}
    network = DNLNetwork(name, **options)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand_like(value) - 0.1
    return network


def pair_of(name: str, **options: Any) -> tuple[DNLNetwork, DNLNetwork]:
    """The same network in both implementations."""
    standard, efficient = (network_of(name, implementation=each, **options) for each in IMPLEMENTATIONS)
    efficient.load_state_dict(standard.state_dict())
    return standard, efficient


def batch_of(size: int = 5, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 3, height, width), torch.randint(CLASSES, (size,))


def step_of(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients."""
    loss = functional.cross_entropy(network(images), labels)
    return loss.detach(), list(torch.autograd.grad(loss, list(network.parameters())))


# --- Both implementations. ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_both_implementations_agree(name: str, options: dict[str, Any]) -> None:
    standard, efficient = pair_of(name, **options)
    images, labels = batch_of(5, *options.get("input_shape", (3, 8, 8))[1:])
    of_standard, of_efficient = (step_of(network, images, labels) for network in (standard, efficient))
    assert sum(gradient.abs().max() > 1e-6 for gradient in of_standard[1]) > 0.8 * len(of_standard[1])
    close(of_efficient, of_standard)
    close(efficient.state_dict(), standard.state_dict())
    given = images.requires_grad_()
    by_images = [torch.autograd.grad(network(given).square().sum(), [given]) for network in (standard, efficient)]
    close(*by_images)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NETWORKS)
def test_there_is_one_way_to_evaluate(name: str) -> None:
    standard, efficient = pair_of(name)
    images, _ = batch_of()
    standard.eval()
    efficient.eval()
    before = copy.deepcopy(efficient.state_dict())
    assert torch.equal(standard(images), efficient(images))
    assert all(torch.equal(value, before[key]) for key, value in efficient.state_dict().items())
    close(efficient(images[:1]), efficient(images)[:1])


@pytest.mark.usefixtures("float64")
def test_training_without_gradients_moves_running_statistics_alike() -> None:
    standard, efficient = pair_of("dense-gaussian")
    images, _ = batch_of()
    with torch.no_grad():
        close(efficient(images), standard(images))
    close(efficient.state_dict(), standard.state_dict())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
def test_five_steps_in_float32(name: str) -> None:
    losses = []
    pair = pair_of(name)
    batches = [batch_of(16) for _ in range(5)]
    for network in pair:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
        of_one = []
        for images, labels in batches:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            of_one.append(loss.item())
        losses.append(of_one)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(set(losses[0])) == 5


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_step_under_autocast_is_near_that_in_float32(name: str, implementation: ImplementationName) -> None:
    network = network_of(name, implementation=implementation, growth_rate=4, depth=2)
    images, labels = batch_of(128)
    exact = step_of(network, images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = step_of(network, images, labels)
    assert rough[0].item() == pytest.approx(exact[0].item(), abs=2e-2)
    assert all(gradient.dtype == torch.float32 for gradient in rough[1])
    ours, right = (torch.cat([gradient.flatten() for gradient in each[1]]) for each in (rough, exact))
    assert functional.cosine_similarity(ours, right, dim=0) > 0.99


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_hides_a_divergence(name: str, bad: float) -> None:
    network = network_of(name, implementation="memory-efficient")
    images, labels = batch_of()
    images[2, 1, 3, 4] = bad
    loss, gradients = step_of(network, images, labels)
    assert loss.isnan()
    assert not any(gradient.isfinite().all() for gradient in gradients)


def activation_bytes(implementation: ImplementationName, depth: int) -> int:
    network = DNLNetwork(
        "densenet", depth=depth, input_shape=(3, 16, 16), classes=CLASSES, blocks=2, implementation=implementation
    )
    images, labels = batch_of(8, 16, 16)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    held = [images, labels, *network.parameters(), *network.buffers()]
    held += [parameter.grad for parameter in network.parameters() if parameter.grad is not None]

    def step() -> None:
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]

    return step_memory_bytes(torch.device("cpu"), held, step) - sum(each.untyped_storage().nbytes() for each in held)


@pytest.mark.usefixtures("one_thread")
def test_activation_memory_is_linear_in_depth_where_that_of_standard_layers_is_quadratic() -> None:
    grows = {
        each: math.log(activation_bytes(each, 32) / activation_bytes(each, 8)) / math.log(4) for each in IMPLEMENTATIONS
    }
    assert grows["memory-efficient"] < 1.3
    assert grows["standard"] > 1.6
    assert activation_bytes("memory-efficient", 32) < activation_bytes("standard", 32) / 5


# --- Packs. ---


class Pack:
    """Networks of the same shape, side by side; their loss is the sum, so that none has a part in another's gradients."""

    def __init__(self, networks: Sequence[DNLNetwork]) -> None:
        self.parameters, self.buffers = stack_module_state(list(networks))
        self.skeleton = copy.deepcopy(networks[0]).to("meta")

    def step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Losses and gradients of all, of a batch each."""

        def loss_of(parameters: Any, buffers: Any, images: Tensor, labels: Tensor) -> Tensor:
            logits = functional_call(self.skeleton, (parameters, buffers), (images,))
            return functional.cross_entropy(logits, labels)

        losses = torch.vmap(loss_of)(self.parameters, self.buffers, images, labels)
        return losses.detach(), list(torch.autograd.grad(losses.sum(), list(self.parameters.values())))


def networks_and_batches(name: str, size: int = 4, **options: Any) -> tuple[list[DNLNetwork], Tensor, Tensor]:
    batches = [batch_of(size) for _ in range(SEEDS)]
    images, labels = (torch.stack(each) for each in zip(*batches, strict=True))
    return [network_of(name, **options) for _ in range(SEEDS)], images, labels


def singly(networks: Sequence[DNLNetwork], images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """As `Pack.step`, one after the other."""
    each = [step_of(*given) for given in zip(networks, images, labels, strict=True)]
    gradients = zip(*(gradients for _, gradients in each), strict=True)
    return torch.stack([loss for loss, _ in each]), [torch.stack(of_one) for of_one in gradients]


def assert_a_pack_is_its_networks(name: str, **options: Any) -> None:
    networks, images, labels = networks_and_batches(name, **options)
    pack = Pack(networks)
    close(pack.step(images, labels), singly(networks, images, labels))
    buffers: Any = stack_module_state(list(networks))[1]
    close(pack.buffers, buffers)
    assert any("running_var" in key for key in buffers)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "implementation", "options"),
    covering(NETWORKS, IMPLEMENTATIONS, [{}, OPTIONS["1/L"], OPTIONS["by offsets"]]),
)
def test_a_pack_is_its_networks(name: str, implementation: ImplementationName, options: dict[str, Any]) -> None:
    assert_a_pack_is_its_networks(name, implementation=implementation, **options)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pack_is_its_networks_where_seeds_are_convolved_together(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(convolution, "groups_seeds", lambda _: True)
    monkeypatch.setattr(states, "groups_seeds", lambda _: True)
    assert_a_pack_is_its_networks(name, implementation="memory-efficient", bottleneck=True)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_memory_efficient_pack_in_float32(name: str) -> None:
    networks, images, labels = networks_and_batches(name, implementation="memory-efficient")
    packed, alone = Pack(networks).step(images, labels)[0], singly(networks, images, labels)[0]
    torch.testing.assert_close(packed, alone, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_that_diverges_leaves_the_others_as_they_were(name: str, implementation: ImplementationName) -> None:
    networks, images, labels = networks_and_batches(name, implementation=implementation)
    well_pack, ill_pack = Pack(networks), Pack(networks)
    well = well_pack.step(images, labels)
    images[1, 0, 0, 0, 0] = math.nan
    ill = ill_pack.step(images, labels)
    assert ill[0].isnan().tolist() == [False, True, False]
    others = torch.tensor([0, 2])
    assert torch.equal(ill[0][others], well[0][others])
    for of_ill, of_well in zip(ill[1], well[1], strict=True):
        assert torch.equal(of_ill[others], of_well[others])
    for key, value in ill_pack.buffers.items():
        assert torch.equal(value[others], well_pack.buffers[key][others])
