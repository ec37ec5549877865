"""R_L against loops over the indices, against finite differences and against integrals."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.dnl.regularizer import flip, sequence_energy, square_energy

pytestmark = pytest.mark.usefixtures("float64")

GROWTH, BLOCKS = 2, 2


def close(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


# --- As they stand in the formulas, an index at a time. ---


def square(x: Tensor) -> Tensor:
    return (x * x).sum()


def r1(p: Sequence[Tensor], tau: float) -> Tensor:
    total = torch.zeros(())
    for value in p:
        total = total + tau * square(value)
    for before, after in pairwise(p):
        total = total + square(after - before) / tau
    return total


def r2(K: Mapping[tuple[int, int], Tensor], L: int, tau: float) -> Tensor:
    """``K`` holds the pairs ``0 <= k <= l < L``."""
    full = {(i, k): K[i, k] if k <= i else K[k, i] for i, k in product(range(L), repeat=2)}
    total = torch.zeros(())
    for (i, k), value in full.items():
        total = total + tau**2 * square(value)
        if i + 1 < L:
            total = total + square(full[i + 1, k] - value)
        if k + 1 < L:
            total = total + square(full[i, k + 1] - value)
    return total


def read_by(layer: int, options: Mapping[str, Any]) -> list[int]:
    states = range(layer + 1)
    if options.get("connectivity") == "window":
        return [k for k in states if layer - k < options["window"]]
    if options.get("connectivity") == "strides":
        return [k for k in states if (layer + 1 - k).bit_count() == 1]
    return list(states)


def of_the_block(at: str, w: Mapping[str, Tensor], name: str, L: int, options: Mapping[str, Any]) -> Tensor:
    """The part of the block whose parameters' names begin with ``at``."""
    tau, bottleneck = 1 / L, options.get("bottleneck", False)
    inner = ["0.", "1."] if bottleneck else [""]
    filters = [[w[f"{at}.layers.{layer}.{part}conv.weight"] for layer in range(L)] for part in inner]
    if not name.startswith("dense"):
        return sum((r1(p, tau) for p in filters), torch.zeros(()))
    first = filters[0]
    c, made = first[0].shape[1], first[0].shape[0]
    A, K = [], {}
    for layer in range(L):
        widths = {k: c if k == 0 else GROWTH for k in read_by(layer, options)}
        slices = dict(zip(widths, torch.split(first[layer], list(widths.values()), dim=1), strict=True))
        A.append(slices.get(0, torch.zeros(made, c, *first[0].shape[2:])))
        for k in range(1, layer + 1):
            K[layer - 1, k - 1] = slices.get(k, torch.zeros(made, GROWTH, *first[0].shape[2:]))
    total = r2(K, L - 1, tau) + r1(A, tau)
    if bottleneck:
        total = total + r1(filters[1], tau)
    if name == "dense-attention":
        for matrix in "qr":
            Q = [w[f"{at}.transforms.{k}.{matrix}.weight"] for k in range(L)]
            total = total + r1(Q[:1], tau) + r1(Q[1:], tau)
    return total


def by_hand(network: DNLNetwork, name: str, L: int, options: Mapping[str, Any]) -> Tensor:
    w = dict(network.named_parameters())
    places = [1 + 3 * block for block in range(BLOCKS)]  # behind the stem, then behind a transition and its pooling
    return sum((of_the_block(f"features.{place}", w, name, L, options) for place in places), torch.zeros(()))


def network_of(name: str, L: int, **options: Any) -> DNLNetwork:
    options = {"blocks": BLOCKS, "growth_rate": GROWTH, "compression": 0.7, **options}
    return DNLNetwork(name, depth=L, input_shape=(3, 8, 8), classes=4, **options)


# --- The tensors' functions. ---


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("L", [1, 2, 5])
@pytest.mark.parametrize("step", [None, 0.3])
def test_the_energies_are_those_of_loops(L: int, shape: tuple[int, ...], step: float | None) -> None:
    p, K = torch.randn(L, *shape), torch.randn(L, L, *shape)
    tau = step or 1 / L
    close(sequence_energy(p, step), r1(list(p), tau))
    close(square_energy(K, step), r2({(i, k): K[i, k] for i in range(L) for k in range(i + 1)}, L, tau))


@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_flip_copies_what_stands_below_the_diagonal(shape: tuple[int, ...]) -> None:
    K = torch.randn(6, 6, *shape)
    flipped = flip(K)
    for i, k in product(range(6), repeat=2):
        assert torch.equal(flipped[i, k], K[max(i, k), min(i, k)])


@pytest.mark.parametrize("junk", [1e300, math.inf, math.nan])
def test_what_stands_above_the_diagonal_is_not_read(junk: float) -> None:
    clean = torch.randn(5, 5, 2)
    above = torch.ones(5, 5).triu(1).bool()
    spoilt = clean.masked_fill(above[..., None], junk).requires_grad_()
    gradients = []
    for K in (spoilt, clean.requires_grad_()):
        energy = square_energy(K)
        gradients.append(torch.autograd.grad(energy, K)[0])
        close(energy, square_energy(clean))
    assert torch.equal(*gradients)
    assert (gradients[0][above] == 0).all()
    assert (gradients[0][~above] != 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    K, p = torch.randn(4, 4, 2, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    assert torch.autograd.gradcheck(flip, (K,))
    assert torch.autograd.gradcheck(square_energy, (K,))
    assert torch.autograd.gradcheck(lambda p: sequence_energy(p, 0.3), (p,))


def test_a_constant_has_no_differences_and_factors_count_squared() -> None:
    value = torch.randn(3, 2)
    close(sequence_energy(value.expand(7, 3, 2)), square(value))
    close(square_energy(value.expand(7, 7, 3, 2)), square(value))
    p, K = torch.randn(7, 3), torch.randn(7, 7, 3)
    close(sequence_energy(-3 * p), 9 * sequence_energy(p))
    close(square_energy(-3 * K), 9 * square_energy(K))


# The squared norm in H¹ in closed form. The third function is not symmetric: its reflection is exp(max(t, s)).
E2 = math.e**2
FUNCTIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "exp(t + s)": (lambda t, s: (t + s).exp(), 3 * ((E2 - 1) / 2) ** 2),
    "(t s, t + s)": (lambda t, s: torch.stack([t * s, t + s], dim=-1), 1 / 9 + 2 / 3 + 7 / 6 + 2),
    "exp(t), s < t": (lambda t, s: t.exp() + 0 * s, E2 + 1),
}
DEPTHS = (32, 64, 128, 256)


def orders(energy: Callable[[Tensor], Tensor], limit: float) -> list[float]:
    errors = [abs(float(energy(torch.arange(L) / L)) - limit) for L in DEPTHS]
    return [math.log2(before / after) for before, after in pairwise(errors)]


def test_a_sampled_curve_has_its_norm_in_the_limit() -> None:
    norm = E2 - 1 + 1 / 5 + 4 / 3
    assert orders(lambda t: sequence_energy(torch.stack([t.exp(), t**2], dim=-1)), norm) == pytest.approx(
        [1, 1, 1], abs=0.05
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_sampled_function_has_the_norm_of_its_reflection_in_the_limit(name: str) -> None:
    function, norm = FUNCTIONS[name]
    found = orders(lambda t: square_energy(function(t[:, None], t[None, :])), norm)
    assert found == pytest.approx([1, 1, 1], abs=0.05)


def test_what_has_no_index_in_depth_is_refused() -> None:
    for K in (torch.zeros(3), torch.zeros(3, 4), torch.zeros(3, 2, 3)):
        for function in (flip, square_energy):
            with pytest.raises(ValueError, match=r"connection weights have shape \(L, L, …\), not \(3"):
                function(K)
    for p in (torch.zeros(()), torch.zeros(0, 2)):
        with pytest.raises(ValueError, match="samples in depth have shape"):
            sequence_energy(p)
    with pytest.raises(ValueError, match=r"not \(0, 0, 2\)"):
        square_energy(torch.zeros(0, 0, 2))
    assert square_energy(torch.zeros(0, 0, 2), 0.5) == 0


# --- Networks. ---

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "densenet": ("densenet", {}),
    "dense-attention": ("dense-attention", {}),
    "dense-gaussian": ("dense-gaussian", {}),
    "window 1": ("dense-attention", {"connectivity": "window", "window": 1}),
    "window 3": ("densenet", {"connectivity": "window", "window": 3}),
    "strides": ("densenet", {"connectivity": "strides"}),
    "bottleneck": ("dense-attention", {"bottleneck": True}),
    "bottleneck strides": ("densenet", {"bottleneck": True, "connectivity": "strides"}),
    "steps": ("densenet", {"step_scaling": 1.0}),
    "resnet": ("resnet", {}),
    "resnet bottleneck": ("resnet", {"bottleneck": True, "step_scaling": 1.0, "width": 5}),
    "plain": ("plain", {"width": 3}),
}


@pytest.mark.parametrize("L", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_networks_regulariser_is_that_of_loops(kind: str, L: int) -> None:
    name, options = KINDS[kind]
    network = network_of(name, L, **options).to(memory_format=torch.channels_last)
    ours, expected = network.regularizer(), by_hand(network, name, L, options)
    close(ours, expected)
    parameters = dict(network.named_parameters())
    gradients = [
        torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
        for value in (ours, expected)
    ]
    close(*gradients)
    regularised = {at for at, gradient in zip(parameters, gradients[0], strict=True) if gradient.any()}
    inside = {at for at in parameters if "layers" in at or "transforms" in at}
    assert regularised == {at for at in inside if "norm" not in at}


@pytest.mark.parametrize("kind", KINDS)
def test_a_networks_gradient_is_that_of_finite_differences(kind: str) -> None:
    name, options = KINDS[kind]
    network = network_of(name, 3, growth_rate=1, blocks=1, **{**options, "width": None})
    weights = [p for at, p in network.named_parameters() if ("layers" in at or "transforms" in at) and "norm" not in at]
    gradients = torch.autograd.grad(network.regularizer(), weights)
    direction = [torch.randn_like(p) for p in weights]

    @torch.no_grad()
    def at_distance(h: float) -> float:
        for p, d in zip(weights, direction, strict=True):
            p.add_(d, alpha=h)
        value = float(network.regularizer())
        for p, d in zip(weights, direction, strict=True):
            p.sub_(d, alpha=h)
        return value

    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert (at_distance(0.01) - at_distance(-0.01)) / 0.02 == pytest.approx(slope, rel=1e-9)


def test_the_number_of_operations_does_not_grow_with_the_pairs() -> None:
    counts = []
    for L in (4, 8, 16):
        network = network_of("densenet", L)
        network.regularizer()
        with Operations() as operations:
            torch.autograd.backward(network.regularizer())
        counts.append(operations.count)
    assert counts[2] - counts[1] <= 2.2 * (counts[1] - counts[0])
    for shape in ((4, 4, 3), (40, 40, 3)):
        with Operations() as operations:
            square_energy(torch.zeros(shape))
        counts.append(operations.count)
    assert counts[-1] == counts[-2] < 20


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts torch's operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_behind_batch_norm_the_regulariser_can_be_made_small_without_changing_the_network() -> None:
    """So it is not coercive, and Theorem 1 does not carry over to the image networks."""
    torch.manual_seed(0)
    network = DNLNetwork("densenet", depth=8, input_shape=(1, 8, 8), classes=10, blocks=3)
    images = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        logits, before = network(images), float(network.regularizer())
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(0.3)
        change, after = (network(images) - logits).abs().max(), float(network.regularizer())
    assert after / before == pytest.approx(0.09)
    assert change < 0.005 * logits.abs().max()
