"""The vector form against a plain double loop, and what its sums and its memory grow like."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dnlbench.architecture import ActivationName, KernelName, Sources, full, strides, window
from dnlbench.dnl.curves import CosineCurve, CosineSurface, Curves, random_curves
from dnlbench.dnl.extension import extend, sample
from dnlbench.dnl.parameters import Arrays
from dnlbench.dnl.vector import VectorForm, states
from tests.covering import covering

KERNELS: list[KernelName] = ["local", "attention", "gaussian", "rbf"]
ACTIVATIONS: list[ActivationName] = ["relu", "prelu", "tanh", "identity"]
CONNECTIVITIES: Mapping[str, Sources] = {"full": full, "window": window(3), "strides": strides}
FORMS = covering(KERNELS, ACTIVATIONS, list(CONNECTIVITIES))
B, N, C = 3, 3, 2
D = N * C


pytestmark = pytest.mark.usefixtures("float64")


def close(ours: object, expected: object, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def random_arrays(L: int, n: int = N, c: int = C, dtype: torch.dtype = torch.float64) -> Arrays:
    d = n * c
    shapes = {"A": (L, d, d), "b": (L, d), "V": (L, c, c), "Q": (L, c, c), "R": (L, c, c)}
    values = {name: torch.randn(shape) / math.sqrt(shape[-1]) for name, shape in shapes.items()}
    K = 3 * torch.randn(L * (L + 1) // 2, d, d) / math.sqrt(d)
    return Arrays(**{name: value.to(dtype).requires_grad_() for name, value in values.items()}, K=K.to(dtype))


def learned(arrays: Arrays, kernel: KernelName) -> list[Tensor]:
    """All that the network of this kernel reads, as leaves of the graph."""
    arrays.K.requires_grad_()
    return [arrays.K] + [p for name, p in arrays.one_index() if kernel == "attention" or name not in ("Q", "R")]


def sigma(activation: ActivationName, z: Tensor, slope: float) -> Tensor:
    return {
        "relu": lambda: torch.where(z > 0, z, torch.zeros_like(z)),
        "prelu": lambda: torch.where(z > 0, z, slope * z),
        "tanh": lambda: (torch.exp(2 * z) - 1) / (torch.exp(2 * z) + 1),
        "identity": lambda: z,
    }[activation]()


def softmax_matrix(form: VectorForm, x: Tensor, Q: Tensor, R: Tensor) -> Tensor:
    """``kappa(x_i, x_j) / C_i`` of one state, shape (n, n)."""
    kappa: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
        "attention": lambda u, v: torch.exp((Q @ u) @ (R @ v) / math.sqrt(len(u))),
        "gaussian": lambda u, v: torch.exp(u @ v),
        "rbf": lambda u, v: torch.exp(-((u - v) ** 2).sum() / (2 * form.bandwidth**2)),
    }
    if form.kernel == "local":
        return torch.eye(len(x), dtype=x.dtype)
    weights = torch.stack([torch.stack([kappa[form.kernel](u, v) for v in x]) for u in x])
    return weights / weights.sum(dim=1, keepdim=True)


def double_loop(form: VectorForm, p: Arrays, x0: Tensor) -> Tensor:
    """Eq. (1) as it is written, one input after the other, shape (L + 1, B, n, c)."""
    L = len(p.b)
    Q, R = (p.V, p.V) if p.Q is None or p.R is None else (p.Q, p.R)
    start = [sum(L - j for j in range(k)) for k in range(L)]  # where K^{k,k} is packed
    batch = []
    for x in x0:
        made, transformed = [x], []
        for l in range(L):  # noqa: E741
            transformed.append(softmax_matrix(form, made[l], Q[l], R[l]) @ made[l] @ p.V[l].T)
            z = p.A[l] @ x.flatten() + p.b[l]
            for k in form.sources(l):
                z = z + p.K[start[k] + l - k] @ transformed[k].flatten() / L
            made.append(sigma(form.activation, z, form.slope).view(x.shape))
        batch.append(torch.stack(made))
    return torch.stack(batch, dim=1)


@pytest.mark.parametrize(("kernel", "activation", "connectivity"), FORMS)
def test_states_and_gradients_equal_the_double_loop(
    kernel: KernelName, activation: ActivationName, connectivity: str
) -> None:
    form = VectorForm(
        kernel=kernel, activation=activation, bandwidth=0.8, slope=0.3, sources=CONNECTIVITIES[connectivity]
    )
    arrays, x0 = random_arrays(5), torch.randn(2, N, C, requires_grad=True)
    leaves = [x0, *learned(arrays, kernel)]
    ours, expected = states(form, arrays, x0), double_loop(form, arrays, x0)
    assert torch.equal(ours[0], x0)
    close(ours, expected)
    ahead = torch.randn_like(ours)
    close(torch.autograd.grad(ours, leaves, ahead), torch.autograd.grad(expected, leaves, ahead), 1e-11)


@pytest.mark.parametrize(("kernel", "activation", "connectivity"), FORMS)
@torch.no_grad()
def test_single_precision(kernel: KernelName, activation: ActivationName, connectivity: str) -> None:
    form = VectorForm(kernel=kernel, activation=activation, sources=CONNECTIVITIES[connectivity])
    curves = random_curves(kernel, positions=N, channels=C, seed=1, dtype=torch.float32)
    single, x0 = sample(curves, 5), torch.randn(2, N, C, dtype=torch.float32)
    double = Arrays(**{name: p.double() for name, p in [*single.one_index(), ("K", single.K)]})
    expected = double_loop(form, double, x0.double()).float()
    for ours in (states(form, single, x0), states(form, curves, x0, depth=5)):
        assert ours.dtype == torch.float32
        close(ours, expected, 1e-5)


def test_a_network_of_one_layer() -> None:
    arrays, x0 = random_arrays(1), torch.randn(B, N, C)
    x = x0.reshape(B, D)
    z = x @ arrays.A[0].T + arrays.b[0] + (x0 @ arrays.V[0].T).reshape(B, D) @ arrays.K[0].T
    close(states(VectorForm(), arrays, x0), torch.stack([x0, torch.tanh(z).view(B, N, C)]))


def with_gradients(curves: Curves) -> list[Tensor]:
    """The coefficients of random curves, which shall be learned."""
    surface = cast(CosineSurface, curves.K)
    one_index = [cast(CosineCurve, curve).coefficients for _, curve in curves.one_index()]
    return [coefficients.requires_grad_() for coefficients in (surface.coefficients, *one_index)]


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_curves_and_their_samples_give_the_same_states_and_gradients(kernel: KernelName, connectivity: str) -> None:
    form = VectorForm(kernel=kernel, sources=CONNECTIVITIES[connectivity])
    curves = random_curves(kernel, positions=N, channels=C, seed=2)
    x0 = torch.randn(B, N, C, requires_grad=True)
    leaves = [x0, *with_gradients(curves)]
    sampled, stored = states(form, curves, x0, depth=7), states(form, sample(curves, 7), x0)
    close(sampled, stored)
    ahead = torch.randn_like(sampled)
    close(torch.autograd.grad(sampled, leaves, ahead), torch.autograd.grad(stored, leaves, ahead))
    with torch.no_grad():
        close(states(form, curves, x0, depth=7), stored)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_extended_arrays_sampled_at_their_depth_give_the_same_states_and_gradients(
    connectivity: str, linear: bool
) -> None:
    form = VectorForm(kernel="attention", sources=CONNECTIVITIES[connectivity])
    arrays, x0 = random_arrays(7), torch.randn(B, N, C, requires_grad=True)
    leaves = [x0, *learned(arrays, "attention")]
    sampled, stored = states(form, extend(arrays, linear=linear), x0, depth=7), states(form, arrays, x0)
    close(sampled, stored)
    ahead = torch.randn_like(sampled)
    close(torch.autograd.grad(sampled, leaves, ahead), torch.autograd.grad(stored, leaves, ahead))


@pytest.mark.parametrize(
    ("kernel", "activation", "connectivity"),
    [
        ("attention", "tanh", "full"),
        ("local", "identity", "window"),
        ("rbf", "tanh", "strides"),
        ("gaussian", "prelu", "full"),
    ],
)
def test_gradients_equal_difference_quotients(
    kernel: KernelName, activation: ActivationName, connectivity: str
) -> None:
    form = VectorForm(kernel=kernel, activation=activation, sources=CONNECTIVITIES[connectivity])
    arrays, x0 = random_arrays(4, n=2, c=2), torch.randn(2, 2, 2, requires_grad=True)
    leaves = learned(arrays, kernel)
    names = ["K", *(name for name, p in arrays.one_index() if any(p is leaf for leaf in leaves))]

    def from_leaves(x: Tensor, *values: Tensor) -> Tensor:
        return states(form, replace(arrays, **dict(zip(names, values, strict=True))), x)

    assert torch.autograd.gradcheck(from_leaves, (x0, *leaves))


def test_gradients_of_curves_equal_difference_quotients() -> None:
    curves = random_curves("attention", positions=2, channels=2, seed=3, modes=2)
    x0 = torch.randn(2, 2, 2, requires_grad=True)

    def from_coefficients(x: Tensor, *values: Tensor) -> Tensor:
        K, *one_index = values
        named = zip((name for name, _ in curves.one_index()), one_index, strict=True)
        made = Curves(**{name: CosineCurve(coefficients=p) for name, p in named}, K=CosineSurface(coefficients=K))
        return states(VectorForm(kernel="attention"), made, x, depth=4)

    assert torch.autograd.gradcheck(from_coefficients, (x0, *with_gradients(curves)))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_inputs_of_a_batch_do_not_see_each_other(kernel: KernelName) -> None:
    form = VectorForm(kernel=kernel)
    arrays, x0 = random_arrays(6), torch.randn(B, N, C, requires_grad=True)
    together = states(form, arrays, x0)
    close(together, torch.cat([states(form, arrays, x0[i : i + 1]) for i in range(B)], dim=1))
    (gradient,) = torch.autograd.grad(together[:, 1].square().sum(), x0)
    assert (gradient[1] != 0).all()
    assert (gradient[[0, 2]] == 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_batches_and_parameters_of_any_layout(kernel: KernelName) -> None:
    form, arrays = VectorForm(kernel=kernel), random_arrays(5)
    x0 = torch.randn(C, N, B).permute(2, 1, 0)
    turned = replace(arrays, K=arrays.K.mT.contiguous().mT, A=arrays.A.mT.contiguous().mT)
    close(states(form, turned, x0), states(form, arrays, x0.contiguous()))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_layer_reads_its_sources_and_no_other_state(kernel: KernelName, connectivity: str) -> None:
    L, sources = 9, CONNECTIVITIES[connectivity]
    arrays, x0 = random_arrays(L), torch.randn(B, N, C)
    # Only the last layer has connections: b^{k-1} reaches it through the state x^k alone.
    last = [sum(L - j for j in range(k)) + L - 1 - k for k in range(L)]
    K = torch.zeros_like(arrays.K).index_copy(0, torch.tensor(last), arrays.K.detach()[last]).requires_grad_()
    end = states(VectorForm(kernel=kernel, sources=sources), replace(arrays, K=K), x0)[L]
    by_weight, by_bias = torch.autograd.grad(end.sum(), [K, arrays.b])
    assert {k for k in range(L) if (by_weight[last[k]] != 0).any()} == set(sources(L - 1))
    assert {k for k in range(1, L) if (by_bias[k - 1] != 0).any()} == set(sources(L - 1)) - {0}


@pytest.mark.parametrize("kind", ["arrays", "curves"])
def test_what_stands_in_places_that_are_not_read_does_not_matter(kind: str) -> None:
    form = VectorForm(kernel="gaussian", sources=window(2))
    arrays, x0 = random_arrays(6), torch.randn(B, N, C)
    other = torch.cat(
        [column + 100 * (torch.arange(6 - k) >= 2)[:, None, None] for k, column in enumerate(columns_of(arrays))]
    )
    changed, depth = replace(arrays, K=other), None
    if kind == "curves":
        changed, depth = cast(Any, extend(changed)), 6
    close(states(form, changed, x0, depth=depth), states(form, arrays, x0))


def columns_of(arrays: Arrays) -> list[Tensor]:
    L = len(arrays.b)
    return list(torch.split(arrays.K, [L - k for k in range(L)]))


def problem(kind: str, kernel: KernelName, L: int, batch: int = 16) -> tuple[Arrays | Curves, list[Tensor], Tensor]:
    """Parameters of depth L as arrays or as curves, the leaves among them, and inputs."""
    curves = random_curves(kernel, positions=N, channels=C, seed=4)
    x0 = torch.randn(batch, N, C)
    if kind == "curves":
        return curves, with_gradients(curves), x0
    arrays = sample(curves, L)
    leaves = [arrays.K, *(p for _, p in arrays.one_index())]
    return arrays, [leaf.requires_grad_() for leaf in leaves], x0


def saved_bytes(form: VectorForm, kind: str, L: int) -> int:
    """What the graph keeps for the backward pass beside the parameters: whole storages, for a view keeps all of its own."""
    parameters, leaves, x0 = problem(kind, form.kernel, L)
    known = {leaf.untyped_storage().data_ptr() for leaf in leaves}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = states(form, parameters, x0, depth=L)
    assert result.grad_fn is not None  # the graph is still there, so no address was used twice
    return sum(storages.values())


@pytest.mark.parametrize(
    ("functions", "kind", "connectivity"),
    covering(
        [*(("local", each) for each in ACTIVATIONS), *((each, "prelu") for each in KERNELS[1:])],
        ["arrays", "curves"],
        ["full", "window"],
    ),
)
def test_what_is_kept_for_the_backward_pass_grows_like_the_depth(
    functions: tuple[KernelName, ActivationName], kind: str, connectivity: str
) -> None:
    kernel, activation = functions
    form = VectorForm(kernel=kernel, activation=activation, sources=CONNECTIVITIES[connectivity])
    kept = [saved_bytes(form, kind, L) for L in (16, 32, 64)]
    assert kept[0] > 16 * 16 * D * 8, "the states at least"
    assert kept[1] <= 2.1 * kept[0]
    assert kept[2] <= 2.1 * kept[1]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(form: VectorForm, kind: str, L: int) -> tuple[int, int]:
    """Of the forward and of the backward pass."""
    parameters, leaves, x0 = problem(kind, form.kernel, L, batch=2)
    forward, backward = Operations(), Operations()  # type: ignore[no-untyped-call]
    with forward:
        result = states(form, parameters, x0, depth=L)
    with backward:
        torch.autograd.grad(result, leaves, result)
    return forward.count, backward.count


@pytest.mark.parametrize(
    ("kind", "kernel", "connectivity"), covering(["arrays", "curves"], ["local", "attention"], ["full", "window"])
)
def test_there_is_no_loop_over_pairs_of_layers(kind: str, kernel: KernelName, connectivity: str) -> None:
    form = VectorForm(kernel=kernel, sources=CONNECTIVITIES[connectivity])
    shallow, middle, deep = (operations(form, kind, L) for L in (16, 32, 64))
    assert all(count > 32 for count in shallow)
    assert all(twice <= 2.1 * once for once, twice in zip(shallow + middle, middle + deep, strict=True))


def test_columns_are_sampled_once_forward_and_once_backward() -> None:
    curves, calls = random_curves("local", positions=N, channels=C, seed=5), []
    (coefficients, *_) = with_gradients(curves)

    def surface(t: Tensor, s: Tensor) -> Tensor:
        calls.append((len(t), len(s)))
        return curves.K(t, s)

    result = states(VectorForm(), replace(curves, K=surface), torch.randn(B, N, C), depth=5)
    expected = [(5 - k, 1) for k in range(5)]
    assert calls == expected
    torch.autograd.grad(result.sum(), coefficients)
    assert calls == expected + expected[::-1]


def test_arguments_that_do_not_fit() -> None:
    arrays, x0 = random_arrays(4), torch.randn(B, N, C)
    curves = random_curves("local", positions=N, channels=C, seed=6)
    assert torch.equal(states(VectorForm(), arrays, x0, depth=4), states(VectorForm(), arrays, x0))
    cases: list[tuple[str, KernelName, Arrays | Curves, tuple[int, ...], int | None]] = [
        ("depth = 3: the arrays have depth 4", "local", arrays, (B, N, C), 3),
        ("depth = None: curves need a depth of at least 1", "local", curves, (B, N, C), None),
        ("depth = 0: curves need a depth of at least 1", "local", curves, (B, N, C), 0),
        ("the attention kernel needs the parameters Q and R", "attention", curves, (B, N, C), 4),
        ("the attention kernel needs the parameters R", "attention", replace(arrays, R=None), (B, N, C), None),
        ("x0 has shape (3, 6); parameters of d = 6 and c = 2 need (B, 3, 2)", "local", arrays, (B, D), None),
        ("x0 has shape (3, 2, 3); parameters of d = 6 and c = 2 need (B, 3, 2)", "local", arrays, (B, C, N), None),
        ("x0 has shape (3, 5, 2); parameters of d = 6 and c = 2 need (B, 3, 2)", "local", curves, (B, 5, C), 4),
    ]
    for text, kernel, parameters, shape, depth in cases:
        with pytest.raises(ValueError, match=r".") as raised:
            states(VectorForm(kernel=kernel), parameters, torch.randn(shape), depth=depth)
        assert str(raised.value) == text
