import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.architecture import ConnectivityName
from dnlbench.dnl.kernels import NonLocal
from dnlbench.dnl.networks import Block, DNLNetwork, NormReluConv
from tests.covering import covering

COLOURS, HEIGHT, WIDTH, CLASSES, GROWTH, DEPTH, BANDWIDTH = 3, 9, 10, 4, 3, 4, 1.3
NETWORKS = ("densenet", "dense-attention", "dense-gaussian", "dense-rbf", "resnet", "plain")


pytestmark = pytest.mark.usefixtures("float64")


def close(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def network_of(name: str, depth: int = DEPTH, **options: Any) -> DNLNetwork:
    options = {"blocks": 2, "growth_rate": GROWTH, "bandwidth": BANDWIDTH, **options}
    options = {"input_shape": (COLOURS, HEIGHT, WIDTH), "classes": CLASSES, **options}
    network = DNLNetwork(name, depth=depth, **options)
    with torch.no_grad():  # so that norms scale and shift, and their running statistics are not 0 and 1
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += 0.4 * torch.rand_like(value) - 0.2
    return network


def some_images(batch: int = 3, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.randn(batch, COLOURS, height, width, requires_grad=True)


# --- A plain DenseNet: each layer reads what has been concatenated so far and appends to it. ---


class PlainLayer(nn.Module):
    def __init__(self, c_in: int, c_block: int, growth: int, bottleneck: bool, tau: float) -> None:
        super().__init__()
        inner = 4 * growth if bottleneck else growth
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, inner, 1 if bottleneck else 3, bias=False)
        if bottleneck:
            self.norm2 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, growth, 3, bias=False)
        self.c_block, self.bottleneck, self.tau = c_block, bottleneck, tau

    def forward(self, so_far: Tensor) -> Tensor:
        x = self.norm1(so_far).clamp(min=0)
        on_input, on_states = self.conv1.weight[:, : self.c_block], self.conv1.weight[:, self.c_block :]
        filters = torch.cat([on_input, self.tau * on_states], dim=1)
        x = functional.conv2d(x, filters, padding="same")
        if self.bottleneck:
            x = functional.conv2d(self.norm2(x).clamp(min=0), self.conv2.weight, padding=1)
        return torch.cat([so_far, x], dim=1)


class PlainDenseNet(nn.Module):
    def __init__(self, depth: int, blocks: int, bottleneck: bool, tau: float, compression: float) -> None:
        super().__init__()
        channels = 2 * GROWTH
        parts: list[nn.Module] = [nn.Conv2d(COLOURS, channels, 3, padding=1, bias=False)]
        for block in range(blocks):
            parts += [PlainLayer(channels + GROWTH * i, channels, GROWTH, bottleneck, tau) for i in range(depth)]
            channels += depth * GROWTH
            if block + 1 < blocks:
                kept = math.floor(channels * compression)
                parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, kept, 1, bias=False)]
                parts.append(nn.AvgPool2d(2, 2))
                channels = kept
        parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.all = nn.Sequential(*parts, nn.Linear(channels, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.all(images)
        return logits


@pytest.mark.parametrize(
    ("shape", "training", "bottleneck", "step_scaling"),
    covering([(1, 0.5), (2, 0.5), (3, 0.34)], [True, False], [False, True], [0.0, 0.5, 1.0]),
)
def test_densenet_equals_a_plain_concatenation(
    shape: tuple[int, float], training: bool, bottleneck: bool, step_scaling: float
) -> None:
    (blocks, compression), tau = shape, 0.2**step_scaling
    options = {"bottleneck": bottleneck, "step_scaling": step_scaling, "blocks": blocks, "compression": compression}
    ours = network_of("densenet", depth=5, **options).train(training)
    theirs = PlainDenseNet(5, blocks, bottleneck, tau, compression).train(training)
    # Both keep their parameters in the order of use.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images, ahead = some_images(), torch.randn(3, CLASSES)
    results = [network(images) for network in (ours, theirs)]
    close(*results)
    gradients = [
        torch.autograd.grad(result, [images, *network.parameters()], ahead)
        for result, network in zip(results, (ours, theirs), strict=True)
    ]
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients[1])
    close(*gradients)
    close(running_statistics(ours), running_statistics(theirs))


def running_statistics(network: nn.Module) -> list[Tensor]:
    return [value for name, value in network.state_dict().items() if "running" in name]


# --- All networks as they stand in the formulas: sums over states, with the N of each written as an n × n matrix. ---

Parameters = Mapping[str, Tensor]


def non_local(name: str, x: Tensor, p: Parameters, at: str) -> Tensor:
    if name == "densenet":
        return x
    i = x.flatten(2).mT  # (B, n, c)
    if name == "dense-attention":
        scores = torch.einsum("bic,bjc->bij", i @ p[f"{at}.q.weight"].T, i @ p[f"{at}.r.weight"].T) / i.shape[2] ** 0.5
    elif name == "dense-gaussian":
        scores = torch.einsum("bic,bjc->bij", i, i)
    else:
        scores = -(i[:, :, None] - i[:, None]).square().sum(dim=3) / (2 * BANDWIDTH**2)
    kappa = torch.exp(scores)
    return (kappa @ i / kappa.sum(dim=2, keepdim=True)).mT.reshape(x.shape)


def norm_relu(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    return torch.relu((x - mean) / torch.sqrt(variance + 1e-5) * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1))


def norm_relu_conv(x: Tensor, p: Parameters, at: str) -> Tensor:
    rectified = norm_relu(x, p[f"{at}.norm.weight"], p[f"{at}.norm.bias"])
    return functional.conv2d(rectified, p[f"{at}.conv.weight"], padding="same")


def new_state(
    terms: Mapping[int, Tensor], taus: Mapping[int, float], p: Parameters, at: str, bottleneck: bool
) -> Tensor:
    # sum_k tau_k K^{l,k} * relu(norm(term_k)); a norm acts per channel, so it splits into those of the states.
    first = f"{at}.0" if bottleneck else at
    widths = [term.shape[1] for term in terms.values()]
    of_states = zip(
        torch.split(p[f"{first}.norm.weight"], widths),
        torch.split(p[f"{first}.norm.bias"], widths),
        torch.split(p[f"{first}.conv.weight"], widths, dim=1),
        terms.items(),
        strict=True,
    )
    summands = [
        taus[k] * functional.conv2d(norm_relu(term, gamma, beta), filters, padding="same")
        for gamma, beta, filters, (k, term) in of_states
    ]
    total = torch.stack(summands).sum(dim=0)
    return norm_relu_conv(total, p, f"{at}.1") if bottleneck else total


def read_by(layer: int, connectivity: str, width: int) -> list[int]:
    inside: Callable[[int], bool] = {
        "full": lambda distance: True,
        "window": lambda distance: distance <= width,
        "strides": lambda distance: distance in (1, 2, 4, 8),
    }[connectivity]
    return [k for k in range(layer + 1) if inside(layer + 1 - k)]


def formulas(
    name: str,
    images: Tensor,
    p: Parameters,
    *,
    depth: int = DEPTH,
    blocks: int = 2,
    bottleneck: bool = False,
    tau: float = 1.0,
    connectivity: str = "full",
    width: int = 0,
) -> Tensor:
    x = functional.conv2d(images, p["features.0.weight"], padding=1)
    for block in range(blocks):
        at = f"features.{1 + 3 * block}"  # block, transition, pooling, block, …
        states = [x]
        for layer in range(depth):
            here = f"{at}.layers.{layer}"
            if name in ("resnet", "plain"):
                f = new_state({layer: states[layer]}, {layer: 1.0}, p, here, bottleneck)
                states.append(states[layer] + tau * f if name == "resnet" else f)
            else:
                read = read_by(layer, connectivity, width)
                terms = {k: non_local(name, states[k], p, f"{at}.transforms.{k}") for k in read}
                states.append(new_state(terms, {k: tau if k else 1.0 for k in read}, p, here, bottleneck))
        x = states[-1] if name in ("resnet", "plain") else torch.cat(states, dim=1)
        if block + 1 < blocks:
            x = norm_relu_conv(x, p, f"features.{2 + 3 * block}")
            x = functional.avg_pool2d(x, 2)
    features = norm_relu(x, p["norm.weight"], p["norm.bias"]).mean(dim=(2, 3))
    return features @ p["classifier.weight"].T + p["classifier.bias"]


def assert_same_as_formulas(name: str, ours: DNLNetwork, **settings: Any) -> None:
    p, images, ahead = dict(ours.named_parameters()), some_images(), torch.randn(3, CLASSES)
    result, expected = ours(images), formulas(name, images, p, **settings)
    close(result, expected)
    leaves = [images, *p.values()]
    close(torch.autograd.grad(result, leaves, ahead), torch.autograd.grad(expected, leaves, ahead))


READS: list[tuple[ConnectivityName, int | None]] = [
    ("full", None),
    ("window", 1),
    ("window", 2),
    ("window", 3),
    ("strides", None),
]


@pytest.mark.parametrize(
    ("name", "reads", "bottleneck", "step_scaling"), covering(NETWORKS[:4], READS, [False, True], [0.0, 0.5, 1.0])
)
def test_dense_networks_equal_their_formulas(
    name: str, reads: tuple[ConnectivityName, int | None], bottleneck: bool, step_scaling: float
) -> None:
    connectivity, width = reads
    ours = network_of(
        name, bottleneck=bottleneck, step_scaling=step_scaling, connectivity=connectivity, window=width, depth=5
    )
    tau = 0.2**step_scaling
    settings = {"connectivity": connectivity, "width": width}
    assert_same_as_formulas(name, ours, depth=5, bottleneck=bottleneck, tau=tau, **settings)


@pytest.mark.parametrize(
    ("name", "bottleneck", "step_scaling", "width"),
    covering(["resnet", "plain"], [False, True], [0.0, 0.5, 1.0], [None, 5]),
)
def test_baselines_equal_their_formulas(name: str, bottleneck: bool, step_scaling: float, width: int | None) -> None:
    ours = network_of(name, bottleneck=bottleneck, step_scaling=step_scaling, width=width)
    assert ours.classifier.in_features == (width or 2 * GROWTH)
    tau = DEPTH**-step_scaling
    assert_same_as_formulas(name, ours, bottleneck=bottleneck, tau=tau)


@pytest.mark.parametrize("name", NETWORKS[4:])
@pytest.mark.parametrize("connectivity", ["window", "strides"])
def test_baselines_have_no_connectivity(name: str, connectivity: ConnectivityName) -> None:
    assert_same_as_formulas(name, network_of(name, connectivity=connectivity, window=2))


@pytest.mark.parametrize("name", NETWORKS[:4])
@pytest.mark.parametrize("width", [DEPTH, DEPTH + 3])
def test_a_window_over_the_whole_depth_is_the_dense_network(name: str, width: int) -> None:
    dense, windowed = network_of(name), network_of(name, connectivity="window", window=width)
    windowed.load_state_dict(dense.state_dict())
    images, ahead = some_images(), torch.randn(3, CLASSES)
    close(windowed(images), dense(images))
    gradients = [
        torch.autograd.grad(network(images), [images, *network.parameters()], ahead) for network in (windowed, dense)
    ]
    close(*gradients)


@pytest.mark.parametrize(("connectivity", "width"), [("full", None), ("strides", None), ("window", 1), ("window", 2)])
@pytest.mark.parametrize("name", NETWORKS[1:4])
def test_each_state_is_transformed_once_and_the_last_never(
    name: str, connectivity: ConnectivityName, width: int | None
) -> None:
    network = network_of(name, depth=6, connectivity=connectivity, window=width)
    transformed: list[Tensor] = []
    states: list[Tensor] = []
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    for module in network.modules():
        if isinstance(module, NonLocal):
            module.register_forward_pre_hook(lambda _, inputs: transformed.append(inputs[0]))
    for block in blocks:
        block.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
        for layer in block.layers:
            layer.register_forward_hook(lambda _, __, new: states.append(new))
    network(some_images())
    assert len(blocks) == 2
    assert len(states) == 2 * 7
    expected = [*states[:6], *states[7:13]]  # x^0 .. x^5 of each block, not x^6
    assert sorted(map(id, transformed)) == sorted(map(id, expected))


def test_depth_128_is_finite_forward_and_backward() -> None:
    torch.set_default_dtype(torch.float32)
    network = DNLNetwork("densenet", depth=128, input_shape=(3, 8, 8), classes=10, blocks=2)
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss = functional.cross_entropy(network(images), torch.tensor([0, 9]))
    gradients = torch.autograd.grad(loss, [images, *network.parameters()])
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(isinstance(module, NormReluConv) for module in network.modules()) == 2 * 128 + 1


@pytest.mark.parametrize(("name", "growth_rate", "step_scaling"), covering(NETWORKS, [1, 7], [0.0, 0.5, 1.0]))
def test_depth_1_with_any_growth_rate_equals_the_formulas(name: str, growth_rate: int, step_scaling: float) -> None:
    ours = network_of(name, depth=1, growth_rate=growth_rate, step_scaling=step_scaling)
    assert_same_as_formulas(name, ours, depth=1)


@pytest.mark.parametrize(("height", "width", "fit"), [(9, 30, 4), (30, 9, 4), (1, 5, 1), (32, 32, 6)])
@pytest.mark.parametrize("name", ["densenet", "plain"])
def test_more_blocks_than_the_image_allows_are_refused_with_the_number_that_fits(
    name: str, height: int, width: int, fit: int
) -> None:
    shape = (COLOURS, height, width)
    with pytest.raises(ValueError, match=rf"\b{fit}\b blocks$"):
        network_of(name, depth=1, input_shape=shape, blocks=fit + 3)
    with pytest.raises(ValueError, match=rf"\b{fit}\b blocks$"):
        network_of(name, depth=1, input_shape=shape, blocks=fit + 1)
    logits = network_of(name, depth=1, input_shape=shape, blocks=fit)(some_images(2, height, width))
    assert logits.shape == (2, CLASSES)
    assert logits.isfinite().all()


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_below_1_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        network_of("densenet", depth=depth)


def test_a_window_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        network_of("densenet", connectivity="window")
