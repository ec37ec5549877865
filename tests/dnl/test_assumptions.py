import dataclasses
import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from dnlbench.architecture import ActivationName, KernelName, Sources, full, window
from dnlbench.dnl.assumptions import AssumptionReport, assess, block_norms, sigma_lipschitz
from dnlbench.dnl.curves import random_curves
from dnlbench.dnl.extension import sample
from dnlbench.dnl.parameters import Arrays, packed_pairs, packed_size
from dnlbench.dnl.vector import VectorForm, states
from tests.covering import covering

KERNELS: tuple[KernelName, ...] = get_args(KernelName)
ACTIVATIONS: tuple[ActivationName, ...] = get_args(ActivationName)
ROUNDING = 1 + 1e-9

pytestmark = pytest.mark.usefixtures("float64")


def size(x: Tensor) -> Tensor:
    return x.square().sum(dim=-1).sqrt().amax(dim=-1)


def in_the_ball(x: Tensor, radius: float) -> Tensor:
    """Positions that lie outside are drawn back to the sphere."""
    return x * (radius / x.square().sum(dim=-1, keepdim=True).sqrt()).clamp(max=1)


def one_layer(c: int, n: int, *, V: Tensor | None = None, Q: Tensor | None = None, R: Tensor | None = None) -> Arrays:
    """Depth 1; of the other parameters the constants of ``N`` do not depend."""
    d = n * c
    inner = {name: (torch.randn(c, c) if p is None else p)[None] for name, p in (("V", V), ("Q", Q), ("R", R))}
    return Arrays(A=torch.randn(1, d, d), b=torch.randn(1, d), K=torch.randn(1, d, d), **inner)


def on_the_ball(form: VectorForm, parameters: Arrays, x: Tensor, radius: float) -> AssumptionReport:
    """The report with ``x`` (B, n, c) as input of the one layer, and one state of size ``radius``."""
    reached = torch.zeros_like(x)
    reached[0, 0, 0] = radius
    return assess(form, parameters, torch.stack([x, reached]))


def transform(form: VectorForm, parameters: Arrays, x: Tensor) -> Tensor:
    return form.transform(x, *(p[0] for name, p in parameters.one_index() if name in needed(form)))


def needed(form: VectorForm) -> str:
    return "VQR" if form.kernel == "attention" else "V"


def quotients(form: VectorForm, parameters: Arrays, x: Tensor, y: Tensor) -> Tensor:
    return size(transform(form, parameters, x) - transform(form, parameters, y)) / size(x - y)


def climbed(form: VectorForm, parameters: Arrays, n: int, c: int, radius: float) -> tuple[float, float]:
    """The largest growth and the largest difference quotient that an ascent from random pairs of states finds."""
    x = radius * torch.randn(100, n, c) * torch.rand(100, n, 1)
    pairs = torch.stack([x, x + 0.1 * radius * torch.randn_like(x)]).requires_grad_()
    ascent = torch.optim.Adam([pairs], lr=0.03 * radius)
    best = growth = 0.0
    for _ in range(40):
        x, y = in_the_ball(pairs, radius)
        found = quotients(form, parameters, x, y)
        (pairs.grad,) = torch.autograd.grad(-found.log().sum(), pairs)
        with torch.no_grad():
            best = max(best, float(found.max()))
            growth = max(growth, float((size(transform(form, parameters, x)) / size(x)).max()))
        ascent.step()
    return growth, best


@pytest.mark.parametrize(("kernel", "shape", "radius"), covering(KERNELS, [(1, 3), (5, 1), (4, 3)], [0.3, 1.0, 2.5]))
def test_no_two_states_of_the_ball_break_the_bounds_of_n(
    kernel: KernelName, shape: tuple[int, int], radius: float
) -> None:
    n, c = shape
    form, parameters = VectorForm(kernel=kernel, bandwidth=0.8), one_layer(c, n)
    report = on_the_ball(form, parameters, in_the_ball(torch.randn(8, n, c), radius), radius)
    growth, lipschitz = climbed(form, parameters, n, c, radius)
    assert report.state_seen == pytest.approx(radius)
    assert growth <= report.growth_bound * ROUNDING
    assert lipschitz <= report.lipschitz_bound * ROUNDING
    assert report.growth_seen <= report.growth_bound * ROUNDING
    assert report.lipschitz_seen <= report.lipschitz_bound * ROUNDING
    assert lipschitz > report.lipschitz_bound / 6  # of few positions, the bounds being for all numbers of them


@pytest.mark.parametrize("kernel", KERNELS)
def test_differences_of_near_and_of_far_states_stay_below_the_bound(kernel: KernelName) -> None:
    for radius in (0.2, 0.7, 1.5, 4.0):
        form, parameters = VectorForm(kernel=kernel, bandwidth=1.3), one_layer(2, 6)
        x = in_the_ball(radius * torch.randn(1000, 6, 2), radius)
        bound = on_the_ball(form, parameters, x[:1], radius).lipschitz_bound
        for distance in (1e-6, 0.1, 1.0):
            y = in_the_ball(x + distance * radius * torch.randn_like(x), radius)
            assert float(quotients(form, parameters, x, y).max()) <= bound * (1 + 1e-6)


def two_groups(n: int, c: int, reader: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """One reader, and ``n`` positions at each of two places, shape (1, 2 n + 1, c)."""
    return torch.cat([reader.expand(1, c), one.expand(n, c), other.expand(n, c)])[None]


def test_the_bound_of_products_is_attained_by_many_positions() -> None:
    n, radius = 2000, 1.4
    kernel: KernelName
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    u, across = torch.eye(2)
    for kernel, M, reader in (("gaussian", torch.eye(2), across), ("attention", 0.7 * turn, u)):
        form = VectorForm(kernel=kernel)
        parameters = one_layer(2, 2, V=torch.eye(2), Q=torch.eye(2) * math.sqrt(2), R=M)
        x = two_groups(n, 2, radius * reader, radius * u, -radius * u)
        pull = M.mT @ x[0, 0]
        v = two_groups(n, 2, M @ u / M.norm(p=2) * 2**0.5, u + radius * pull, u - radius * pull)
        v = v / v.norm(dim=-1, keepdim=True)
        quotient = float(quotients(form, parameters, x + 1e-6 * v, x - 1e-6 * v))
        a = radius**2 * (1.0 if kernel == "gaussian" else 0.7)
        bound = on_the_ball(form, parameters, x[:, :2], radius).lipschitz_bound  # whatever the number of positions
        assert bound == pytest.approx(a + math.sqrt(1 + a * a))
        assert 0.995 * bound < quotient <= bound * ROUNDING


def test_the_bound_of_distances_has_its_two_branches() -> None:
    def bound(radius: float, n: int, h: float) -> float:
        form = VectorForm(kernel="rbf", bandwidth=h)
        return on_the_ball(form, one_layer(2, n, V=torch.eye(2)), torch.zeros(1, n, 2), radius).lipschitz_bound

    assert bound(0.5, 60, 1.0) == pytest.approx(1.25)
    assert bound(1.0, 60, math.sqrt(0.5)) == pytest.approx(2 + math.sqrt(1 - 4 + 16))
    assert bound(3.0, 40, 1e-3) == pytest.approx(bound(300.0, 40, 1.0))
    w = (bound(300.0, 6, 1.0) - 1) / 4
    assert w * math.exp(w + 1) == pytest.approx(5)  # Lambert's function of 5 / e


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_local_network_is_as_lipschitz_as_its_largest_v(activation: ActivationName) -> None:
    curves = random_curves("local", positions=4, channels=3, seed=3)
    form = VectorForm(activation=activation)
    report = assess(form, curves, states(form, curves, torch.randn(3, 4, 3), depth=20))
    largest = max(float(torch.linalg.svdvals(V)[0]) for V in sample(curves, 20).V)
    assert report.growth_bound == pytest.approx(largest)
    assert report.lipschitz_bound == pytest.approx(largest)
    assert report.lipschitz_seen == pytest.approx(largest)


def test_growth_is_attained_by_equal_positions_along_the_first_singular_vector() -> None:
    parameters = one_layer(3, 4)
    x = 0.8 * torch.linalg.svd(parameters.V[0]).Vh[0].expand(1, 4, 3)
    for kernel in KERNELS:
        report = on_the_ball(VectorForm(kernel=kernel), parameters, x, 0.8)
        assert report.growth_seen == pytest.approx(report.growth_bound)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("c", [1, 3])
def test_what_is_seen_are_the_largest_growth_and_the_norm_of_the_largest_jacobian(kernel: KernelName, c: int) -> None:
    n, L, B = 4, 5, 3
    curves = random_curves(kernel, positions=n, channels=c, seed=1)
    form, arrays = VectorForm(kernel=kernel, activation="relu"), sample(curves, L)
    x = states(form, arrays, torch.randn(B, n, c))
    below = above = growth = 0.0
    for k in range(L):
        theta = [p[k] for name, p in arrays.one_index() if name in needed(form)]
        for state in x[k]:
            growth = max(growth, float(size(form.transform(state, *theta)) / size(state)))
            J = jacobian(lambda y, theta=theta: form.transform(y, *theta), state)  # type: ignore[no-untyped-call]
            u = torch.nn.functional.normalize(torch.randn(1000, 1, c), dim=-1)
            pulled = torch.einsum("iajb,sia->sijb", J, u.expand(-1, n, c))
            v = (pulled / pulled.norm(dim=-1, keepdim=True)).nan_to_num(0.0).flatten(0, 1)  # one for each u and each i
            below = max(below, float(size(torch.einsum("iajb,sjb->sia", J, v)).max()))
            above = max(above, float(torch.linalg.matrix_norm(J.transpose(1, 2), ord=2).sum(dim=1).max()))
    report = assess(form, arrays, x)
    seen = report.lipschitz_seen
    assert report.growth_seen == pytest.approx(growth)
    assert below * (1 - 1e-9) <= seen <= above * ROUNDING
    assert seen < below * 1.01


def network(kernel: KernelName, activation: ActivationName, seed: int) -> tuple[VectorForm, Arrays, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n, c, L, choice = (int(torch.randint(1, 5, (), generator=generator)) for _ in range(4))
    curves = random_curves(kernel, positions=n, channels=c, seed=seed, modes=3, scale=(0.3, 1.0, 2.0)[seed % 3])
    sources = full if choice < 3 else window(2)
    form = VectorForm(kernel=kernel, activation=activation, slope=2.0 if seed % 2 else -0.5, sources=sources)
    return form, sample(curves, 3 * L), torch.randn(3, n, c, generator=generator)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_everything_seen_of_random_networks_stays_below_its_bound(
    kernel: KernelName, activation: ActivationName
) -> None:
    for seed in range(12):
        form, arrays, x0 = network(kernel, activation, seed)
        x = states(form, arrays, x0)
        report = assess(form, arrays, x)
        assert report.state_seen == pytest.approx(float(size(x).max()))
        assert report.growth_seen <= report.growth_bound * ROUNDING
        assert report.lipschitz_seen <= report.lipschitz_bound * ROUNDING
        assert report.state_seen <= report.state_bound_sharp * ROUNDING
        assert report.state_bound_sharp <= report.state_bound * ROUNDING


def scalar_network(L: int, alpha: float, beta: float, V: float = 1.0) -> Arrays:
    """One position with one channel."""
    column = torch.ones(L, 1, 1)
    K = torch.full((packed_size(L), 1, 1), beta / V)
    return Arrays(A=alpha * column, b=torch.zeros(L, 1), K=K, V=V * column)


@pytest.mark.parametrize(("kernel", "activation", "L"), covering(KERNELS, ["identity", "relu", "prelu"], [1, 2, 9]))
def test_lemma_2_is_attained_by_a_network_of_positive_numbers(
    kernel: KernelName, activation: ActivationName, L: int
) -> None:
    alpha, beta, x0 = 0.4, 1.7, 1.3
    form = VectorForm(kernel=kernel, activation=activation)
    arrays = dataclasses.replace(scalar_network(L, alpha, beta, V=0.5), Q=torch.ones(L, 1, 1), R=torch.ones(L, 1, 1))
    x = states(form, arrays, torch.full((1, 1, 1), x0))
    report = assess(form, arrays, x)
    expected = (alpha * x0 + beta / L * x0) * (1 + beta / L) ** (L - 1)
    assert report.state_bound == pytest.approx(expected)
    assert report.state_bound_sharp == pytest.approx(expected)
    assert float(x[-1]) == pytest.approx(expected)


def test_lemma_2_counts_the_bias_and_the_slope_of_prelu() -> None:
    L, alpha, beta, b = 6, 0.4, 1.7, 0.3
    arrays = scalar_network(L, -alpha, beta)
    _, k = packed_pairs(L)
    sign = torch.where(k == 0, -1.0, 1.0)[:, None, None]  # so that all states but the input are negative
    arrays = dataclasses.replace(arrays, b=torch.full((L, 1), -b), K=sign * arrays.K)
    form = VectorForm(activation="prelu", slope=2.0)
    x = states(form, arrays, torch.ones(1, 1, 1))
    report = assess(form, arrays, x)
    expected = (2 * (alpha + b) + 2 * beta / L) * (1 + 2 * beta / L) ** (L - 1)
    assert -float(x[-1]) == pytest.approx(expected)
    assert report.sigma_lipschitz == 2
    assert report.state_bound == pytest.approx(expected)
    assert report.state_bound_sharp == pytest.approx(expected)


def test_a_network_that_only_shrinks_is_bounded_by_its_input() -> None:
    arrays = scalar_network(5, 0.1, 0.1)
    report = assess(VectorForm(), arrays, states(VectorForm(), arrays, torch.full((1, 1, 1), -3.0)))
    assert report.state_bound == report.state_bound_sharp == report.state_seen == 3.0


@pytest.mark.parametrize("sources", [full, window(3)])
def test_the_sharp_bound_is_the_recursion_written_out(sources: Sources) -> None:
    n, L = 4, 7
    form = VectorForm(activation="prelu", slope=-1.5, sources=sources)
    arrays = sample(random_curves("local", positions=n, channels=1, seed=8), L)
    x = states(form, arrays, torch.randn(2, n, 1))
    l_of, k_of = (index.tolist() for index in packed_pairs(L))
    norms = [float(K.abs().sum(dim=1).max()) for K in arrays.K]
    norm = dict(zip(zip(l_of, k_of, strict=True), norms, strict=True))
    u = [float(x[0].abs().max())]
    for l in range(L):  # noqa: E741 - the paper's l
        affine = max(float((arrays.A[l] @ one.flatten() + arrays.b[l]).abs().max()) for one in x[0])
        u.append(1.5 * (affine + sum(norm[l, k] * float(arrays.V[k].abs()) * u[k] for k in form.sources(l)) / L))
    assert assess(form, arrays, x).state_bound_sharp == pytest.approx(max(u))


def test_connection_weights_that_no_layer_reads_do_not_count() -> None:
    form = VectorForm(kernel="gaussian", sources=window(2))
    arrays = sample(random_curves("gaussian", positions=3, channels=2, seed=5), 8)
    x = states(form, arrays, torch.randn(2, 3, 2))
    l, k = packed_pairs(8)  # noqa: E741 - the paper's l
    loud = dataclasses.replace(arrays, K=torch.where((k < l - 1)[:, None, None], 1e6, arrays.K))
    assert assess(form, loud, x) == assess(form, arrays, x)
    everything = assess(dataclasses.replace(form, sources=full), arrays, x)
    assert everything.state_bound_sharp > assess(form, arrays, x).state_bound_sharp


@pytest.mark.parametrize("kernel", KERNELS)
def test_curves_are_assessed_as_their_samples(kernel: KernelName) -> None:
    curves = random_curves(kernel, positions=3, channels=2, seed=4)
    form = VectorForm(kernel=kernel, activation="relu", sources=window(4))
    x = states(form, curves, torch.randn(2, 3, 2), depth=12)
    ours, theirs = (dataclasses.asdict(assess(form, given, x)) for given in (curves, sample(curves, 12)))
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_bounds_follow_the_scale_of_the_parameters(kernel: KernelName) -> None:
    arrays = sample(random_curves(kernel, positions=3, channels=2, seed=4), 6)
    form, x = VectorForm(kernel=kernel), torch.randn(7, 2, 3, 2)
    before = assess(form, arrays, x)
    after = assess(form, dataclasses.replace(arrays, V=-3 * arrays.V, K=arrays.K / 3), x)
    for name in ("growth_bound", "growth_seen", "lipschitz_bound", "lipschitz_seen"):
        assert getattr(after, name) == pytest.approx(3 * getattr(before, name))
    for name in ("state_bound", "state_bound_sharp", "state_seen"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))


def test_what_attention_adds_depends_on_the_product_of_q_and_r() -> None:
    G = torch.randn(3, 3)
    form, x = VectorForm(kernel="attention"), torch.randn(2, 2, 4, 3)
    parameters = one_layer(3, 4)
    assert parameters.Q is not None
    assert parameters.R is not None
    mixed = dataclasses.replace(parameters, Q=G @ parameters.Q, R=G.inverse().mT @ parameters.R)
    assert dataclasses.asdict(assess(form, mixed, x)) == pytest.approx(dataclasses.asdict(assess(form, parameters, x)))
    silent = dataclasses.replace(parameters, Q=0 * parameters.Q)
    assert assess(form, silent, x).lipschitz_bound == pytest.approx(float(torch.linalg.svdvals(parameters.V)[0, 0]))


@pytest.mark.parametrize(("slope", "expected"), [(0.25, 1.0), (2.0, 2.0), (-3.0, 3.0), (-1.0, 1.0)])
def test_the_lipschitz_constant_of_prelu(slope: float, expected: float) -> None:
    form = VectorForm(activation="prelu", slope=slope)
    z = torch.randn(2, 1000)
    steepest = float(((form.sigma(z[0]) - form.sigma(z[1])).abs() / (z[0] - z[1]).abs()).max())
    assert sigma_lipschitz(form) == expected == pytest.approx(steepest)
    assert sigma_lipschitz(VectorForm(activation="tanh", slope=slope)) == 1


@pytest.mark.parametrize(("n", "c"), [(1, 4), (4, 1), (3, 3)])
def test_block_norms_bound_the_matrices(n: int, c: int) -> None:
    matrices = torch.randn(20, n * c, n * c)
    blocks = matrices.view(20, n, c, n, c).transpose(2, 3)
    exact = torch.linalg.matrix_norm(blocks, ord=2).sum(dim=2).amax(dim=1)
    x = torch.randn(500, n, c)
    seen = torch.einsum("miajb,sjb->msia", matrices.view(20, n, c, n, c), x)
    ours = block_norms(matrices, c)
    assert bool((size(seen) <= ours[:, None] * size(x) * ROUNDING).all())
    assert bool((exact <= ours * ROUNDING).all())
    assert bool((ours <= c**0.25 * exact * ROUNDING).all())
    torch.testing.assert_close(block_norms(1e-15 * matrices.float(), c), 1e-15 * ours, rtol=1e-5, atol=0)


def test_dead_states_and_huge_weights_are_reported() -> None:
    L = 4
    arrays = scalar_network(L, -1.0, 0.0)
    arrays = dataclasses.replace(arrays, K=torch.full_like(arrays.K, 1e200))
    form = VectorForm(activation="relu")
    report = assess(form, arrays, torch.zeros(L + 1, 1, 1, 1))
    assert (report.growth_seen, report.state_seen, report.growth_bound) == (0, 0, 1)
    assert assess(form, arrays, torch.ones(L + 1, 1, 1, 1)).state_bound == math.inf


def test_nothing_is_left_in_the_graph() -> None:
    arrays = sample(random_curves("attention", positions=3, channels=2, seed=4), 5)
    learned = Arrays(**{name: value.clone().requires_grad_() for name, value in vars(arrays).items()})
    form = VectorForm(kernel="attention")
    x = states(form, learned, torch.randn(2, 3, 2))
    assert assess(form, learned, x) == assess(form, arrays, x.detach())
    assert all(value.grad is None for value in vars(learned).values())
    assert x.requires_grad


def test_states_and_parameters_that_do_not_fit_are_named() -> None:
    form, arrays = VectorForm(), sample(random_curves("local", positions=3, channels=2, seed=0), 4)
    x = torch.randn(5, 2, 3, 2)
    with pytest.raises(ValueError, match="states are of shape"):
        assess(form, arrays, x[0])
    with pytest.raises(ValueError, match=r"b has shape \(4, 6\)"):
        assess(form, arrays, x[1:])
    with pytest.raises(ValueError, match=r"V has shape \(4, 2, 2\)"):
        assess(form, arrays, x.mT)
    with pytest.raises(ValueError, match="Q and R"):
        assess(VectorForm(kernel="attention"), arrays, x)
    x[2, 1, 0, 0] = math.inf
    with pytest.raises(ValueError, match="not finite"):
        assess(form, arrays, x)
