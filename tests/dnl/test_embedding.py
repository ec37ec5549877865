"""The embedding principle: the map of a splitting, what it preserves, and whether wrong maps are told from right ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from dnlbench.architecture import ConnectivityName
from dnlbench.dnl.embedding.descent import Samples, constant, descend, distance, moment, perturbed, polyak
from dnlbench.dnl.embedding.margin import factor_to_margin_1, kkt, normalized_margins
from dnlbench.dnl.embedding.networks import INPUT, OUTPUT, Layer, Network, convolutional, densenet, fully_connected
from dnlbench.dnl.embedding.splitting import Split, Splitting, on_the_sphere, split_alike
from dnlbench.dnl.networks import DNLNetwork

NETWORKS: Mapping[str, Network] = {
    "two-layer": fully_connected(1, inputs=5, width=8),
    "deep": fully_connected(3, inputs=5, width=8),
    "convolutional": convolutional(2, inputs=2, width=3),
    "densenet": densenet(2, inputs=2, growth_rate=3, blocks=2),
    "deep densenet": densenet(4, inputs=2, growth_rate=1, blocks=1),
    "windowed densenet": densenet(3, inputs=2, growth_rate=2, blocks=2, connectivity="window", window=2),
    "strided densenet": densenet(4, inputs=2, growth_rate=2, blocks=2, connectivity="strides"),
}
HOMOGENEOUS = {"two-layer": 2, "deep": 4, "convolutional": 3}
"""With their degrees."""
each_network = pytest.mark.parametrize("name", NETWORKS)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples_for(network: Network, count: int = 8) -> Samples:
    images = (2, 6, 6) if any(layer.kernel_size for layer in network.layers) else (5,)
    x = torch.randn(count, *images, generator=seeded(1), dtype=torch.float64)
    return Samples(x=x, y=torch.tensor([1.0, -1.0] * (count // 2), dtype=torch.float64))


def ragged_split(channels: int, seed: int) -> Split:
    """One copy of the first channel, two of the second …, each with random coefficients, and not in order."""
    parents = torch.cat([torch.full((1 + n % 3,), n) for n in range(channels)])
    coefficients = torch.cat([on_the_sphere((1 + n % 3,), seeded(seed + n)) for n in range(channels)])
    order = torch.randperm(len(parents), generator=seeded(seed))
    return Split(parents=parents[order], coefficients=coefficients[order])


def splitting_of(network: Network, kind: str = "ragged") -> Splitting:
    widths = [(state, network.widths[state]) for state in network.hidden]
    if kind == "ragged":
        return Splitting(network=network, splits={s: ragged_split(w, 7 * n) for n, (s, w) in enumerate(widths)})
    coefficients = {"equal": torch.full((3,), 3**-0.5, dtype=torch.float64), "with zero": torch.tensor([0.6, 0, 0.8])}
    alike = coefficients[kind].double()
    # 0.6 and 0.8 in single precision are not on the sphere to 1e-12
    return Splitting(network=network, splits={s: split_alike(w, alike / alike.norm()) for s, w in widths})


# --- The map. ---


@each_network
@pytest.mark.parametrize("kind", ["ragged", "equal", "with zero"])
def test_the_map_is_linear_and_isometric(name: str, kind: str) -> None:
    splitting = splitting_of(NETWORKS[name], kind)
    a, b = (NETWORKS[name].draw(seeded(seed)) for seed in (2, 3))
    S = splitting.embed
    assert len(S(a)) == splitting.wide.parameters > len(a) == NETWORKS[name].parameters
    torch.testing.assert_close(S(2 * a - 3 * b), 2 * S(a) - 3 * S(b), rtol=0, atol=1e-14)
    assert float(S(a).norm()) == pytest.approx(float(a.norm()), rel=1e-14)
    assert float(S(a) @ S(b)) == pytest.approx(float(a @ b), rel=1e-12)


@each_network
def test_the_transpose_is_the_inverse_on_the_range_and_the_adjoint(name: str) -> None:
    splitting = splitting_of(NETWORKS[name])
    theta = NETWORKS[name].draw(seeded(2))
    eta = splitting.wide.draw(seeded(4))
    torch.testing.assert_close(splitting.project(splitting.embed(theta)), theta, rtol=1e-13, atol=1e-15)
    assert float(splitting.embed(theta) @ eta) == pytest.approx(float(theta @ splitting.project(eta)), rel=1e-12)
    whole = torch.vmap(splitting.embed)(torch.eye(len(theta), dtype=torch.float64))
    torch.testing.assert_close(whole @ whole.mT, torch.eye(len(theta), dtype=torch.float64), rtol=0, atol=1e-14)


@each_network
@pytest.mark.parametrize("kind", ["ragged", "equal", "with zero"])
def test_the_wide_network_computes_the_same_function(name: str, kind: str) -> None:
    network = NETWORKS[name]
    splitting, samples, theta = splitting_of(network, kind), samples_for(network), network.draw(seeded(2))
    expected = network(theta, samples.x)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(splitting.wide(splitting.embed(theta), samples.x), expected, rtol=1e-12, atol=1e-14)


@each_network
def test_the_gradient_of_the_wide_network_is_the_image_of_the_gradient(name: str) -> None:
    network = NETWORKS[name]
    splitting, samples = splitting_of(network), samples_for(network)
    theta = network.draw(seeded(2)).requires_grad_()
    eta = splitting.embed(theta.detach()).requires_grad_()
    (narrow,) = torch.autograd.grad((network(theta, samples.x) - samples.y).square().sum(), theta)
    (wide,) = torch.autograd.grad((splitting.wide(eta, samples.x) - samples.y).square().sum(), eta)
    torch.testing.assert_close(wide, splitting.embed(narrow), rtol=1e-11, atol=1e-13)
    assert float(narrow.norm()) > 1e-2


def test_one_neuron_can_be_split_alone() -> None:
    """Neuron 1 into two copies with 0.6 and 0.8: what both maps are, number by number."""
    network = fully_connected(1, inputs=2, width=2)
    split = Split(parents=torch.tensor([0, 1, 1]), coefficients=torch.tensor([1, 0.6, 0.8], dtype=torch.float64))
    splitting = Splitting(network=network, splits={"x1": split})
    theta = torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.float64)  # rows (1, 2) and (3, 4), then v = (5, 6)
    expected = torch.tensor([1, 2, 1.8, 2.4, 2.4, 3.2, 5, 3.6, 4.8], dtype=torch.float64)
    torch.testing.assert_close(splitting.embed(theta), expected, rtol=1e-15, atol=0)


# --- The networks. ---


@pytest.mark.parametrize(("name", "degree"), HOMOGENEOUS.items())
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_networks_without_shortcuts_are_homogeneous(name: str, degree: int, factor: float) -> None:
    network = NETWORKS[name]
    theta, x = network.draw(seeded(2)), samples_for(network).x
    torch.testing.assert_close(network(factor * theta, x), factor**degree * network(theta, x), rtol=1e-12, atol=0)


def test_a_densenet_is_of_no_degree() -> None:
    network = NETWORKS["densenet"]
    theta, x = network.draw(seeded(2)), samples_for(network).x
    degrees = (network(2 * theta, x) / network(theta, x)).abs().log2()
    assert float(degrees.max() - degrees.min()) > 0.1


def test_a_fully_connected_network_is_that_of_its_formula() -> None:
    network = fully_connected(2, inputs=3, width=2)
    theta, x = network.draw(seeded(5)), torch.randn(4, 3, dtype=torch.float64, generator=seeded(6))
    W1, W2, v = theta[:6].view(2, 3), theta[6:10].view(2, 2), theta[10:]
    for row, found in zip(x, network(theta, x), strict=True):
        inner = [max(0.0, float(W1[i] @ row)) for i in range(2)]
        outer = [max(0.0, sum(float(W2[i, j]) * inner[j] for j in range(2))) for i in range(2)]
        assert float(found) == pytest.approx(sum(float(v[i]) * outer[i] for i in range(2)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("connectivity", "window"), [("full", None), ("window", 2), ("strides", None)])
def test_a_densenet_is_the_image_network_without_norms_and_bias(
    connectivity: ConnectivityName, window: int | None
) -> None:
    reference = DNLNetwork(
        "densenet",
        depth=3,
        input_shape=(2, 8, 8),
        classes=1,
        blocks=2,
        growth_rate=2,
        connectivity=connectivity,
        window=window,
        implementation="standard",
    ).double()
    for module in list(reference.modules()):
        if hasattr(module, "norm"):
            module.norm = nn.Identity()
    nn.init.zeros_(reference.classifier.bias)
    weights = [p.detach().flatten() for p in reference.parameters() if p is not reference.classifier.bias]
    network = densenet(3, inputs=2, growth_rate=2, blocks=2, connectivity=connectivity, window=window)
    theta = torch.cat(weights)
    assert len(theta) == network.parameters
    x = torch.randn(5, 2, 8, 8, dtype=torch.float64, generator=seeded(3))
    torch.testing.assert_close(network(theta, x), reference(x).squeeze(1), rtol=1e-12, atol=1e-15)


# --- Descent. ---

BRIEF = 10
"""Steps in which an error shows."""


def trajectory_gap(
    splitting: Splitting, start: Callable[[Tensor], Tensor], steps: int = 60, wide: Network | None = None
) -> float:
    """Largest ‖eta_k − S theta_k‖ / ‖S theta_k‖ of descents from ``theta_0`` and from ``start(theta_0)``."""
    network = splitting.network
    samples, theta = samples_for(network), network.draw(seeded(2))
    starts = [(network, theta), (wide or splitting.wide, start(theta))]
    ends = descend(starts, [samples] * steps, constant(0.1))
    return max(distance(eta.theta, splitting.embed(narrow.theta)) for narrow, eta in ends)


@each_network
def test_trajectories_are_preserved(name: str) -> None:
    splitting = splitting_of(NETWORKS[name])
    assert trajectory_gap(splitting, splitting.embed, steps=500 if name in HOMOGENEOUS else 60) < 1e-10


@pytest.mark.parametrize("name", ["two-layer", "deep", "convolutional", "densenet"])
def test_trajectories_of_sgd_and_of_polyak_steps_are_preserved(name: str) -> None:
    network = NETWORKS[name]
    splitting, samples, theta = splitting_of(network), samples_for(network), network.draw(seeded(2))
    starts = [(network, theta), (splitting.wide, splitting.embed(theta))]
    batches = [samples.of(torch.randperm(8, generator=seeded(k))[:3]) for k in range(100)]
    for step_size in (constant(0.1), polyak(0.02)):
        for narrow, wide in descend(starts, batches, step_size):
            assert distance(wide.theta, splitting.embed(narrow.theta)) < 1e-11
        assert distance(narrow.theta, theta) > 0.01  # it went somewhere


def test_a_descent_is_that_of_its_formula() -> None:
    network = NETWORKS["deep"]
    samples, theta = samples_for(network), network.draw(seeded(2))
    moments = [each for (each,) in descend([(network, theta)], [samples] * 3, constant(0.1))]
    assert len(moments) == 4
    for before, after in pairwise(moments):
        leaf = before.theta.clone().requires_grad_()
        loss = torch.log(1 + torch.exp(-samples.y * network(leaf, samples.x))).mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert before.loss == pytest.approx(float(loss.detach()), rel=1e-14)
        torch.testing.assert_close(after.theta, before.theta - 0.1 * gradient, rtol=1e-13, atol=1e-15)


def test_rounding_moves_a_start_by_as_much() -> None:
    theta = NETWORKS["deep"].draw(seeded(2))
    moved = perturbed(theta, seeded(3))
    assert bool((moved != theta).all())
    assert 1e-16 < distance(moved, theta) < 3e-16


def test_chaos_is_as_large_as_that_of_a_start_that_is_off_by_rounding() -> None:
    """With steps far too large rounding grows without the principle being at fault: the narrow network's own does as well."""
    network = fully_connected(3, inputs=5, width=16)
    samples, theta = samples_for(network, 32), network.draw(seeded(2))
    splitting = splitting_of(network)
    starts = [(network, theta), (splitting.wide, splitting.embed(theta)), (network, perturbed(theta, seeded(3)))]
    wide_gap = twin_gap = 0.0
    for narrow, wide, twin in descend(starts, [samples] * 500, constant(2.0)):
        wide_gap = max(wide_gap, distance(wide.theta, splitting.embed(narrow.theta)))
        twin_gap = max(twin_gap, distance(twin.theta, narrow.theta))
    assert wide_gap > 1e-14
    assert wide_gap < 1e4 * twin_gap


# --- Planted errors. ---


@pytest.mark.parametrize("name", ["two-layer", "deep", "convolutional", "densenet"])
def test_coefficients_off_the_sphere_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = splitting_of(NETWORKS[name])
    state = NETWORKS[name].hidden[0]
    off = {"parents": right.splits[state].parents, "coefficients": 1.05 * right.splits[state].coefficients}
    with pytest.raises(ValueError, match=r"channel \d add up to 1\.1025"):
        Split(**off)
    monkeypatch.setattr("dnlbench.dnl.embedding.splitting.SPHERE_TOLERANCE", 1.0)  # as if nobody had looked
    wrong = replace(right, splits={**right.splits, state: Split(**off)})
    assert trajectory_gap(right, wrong.embed, BRIEF) > 1e-2
    assert trajectory_gap(wrong, wrong.embed, BRIEF) > 1e-4  # against its own image as well


@pytest.mark.parametrize("name", ["two-layer", "deep", "convolutional", "densenet"])
@pytest.mark.parametrize("side", ["incoming", "outgoing"])
def test_scaling_one_side_only_is_found(name: str, side: str) -> None:
    """One side times c², the other as it is: the function is right, its training is not."""
    network = NETWORKS[name]
    right = splitting_of(network)
    state = network.hidden[0]
    c = right.splits[state].coefficients

    def one_sided(theta: Tensor) -> Tensor:
        parts = []
        for layer, weight in right.wide.weights(right.embed(theta)):
            scaled = weight.clone()
            if layer.target == state:
                by = 1 / c if side == "outgoing" else c
                scaled *= by.view(-1, *[1] * (weight.ndim - 1))
            if state in layer.sources:
                first = sum(right.wide.widths[read] for read in layer.sources[: layer.sources.index(state)])
                by = c if side == "outgoing" else 1 / c
                scaled[:, first : first + len(c)] *= by.view(1, -1, *[1] * (weight.ndim - 2))
            parts.append(scaled.flatten())
        return torch.cat(parts)

    samples, theta = samples_for(network), network.draw(seeded(2))
    torch.testing.assert_close(right.wide(one_sided(theta), samples.x), network(theta, samples.x), rtol=1e-11, atol=0)
    assert trajectory_gap(right, one_sided, BRIEF) > 1e-2
    gradient = moment(right.wide, one_sided(theta), samples).gradient
    assert distance(gradient, right.embed(moment(network, theta, samples).gradient)) > 1e-2


@pytest.mark.parametrize("forgotten", ["1.K0", "1.K1", "1.T", "2.K1", "v"])
def test_a_forgotten_consumer_in_a_dense_block_is_found(forgotten: str) -> None:
    network = NETWORKS["densenet"]
    right = splitting_of(network)

    def embed(theta: Tensor) -> Tensor:
        parts = []
        for layer, weight in right.wide.weights(right.embed(theta)):
            read = right.of_concatenation(layer.sources).coefficients
            by = 1 / read.view(1, -1, *[1] * (weight.ndim - 2)) if layer.name == forgotten else 1
            parts.append((weight * by).flatten())
        return torch.cat(parts)

    samples, theta = samples_for(network), network.draw(seeded(2))
    assert distance(right.wide(embed(theta), samples.x), network(theta, samples.x)) > 1e-2
    assert trajectory_gap(right, embed, BRIEF) > 1e-2


class WithBias(Network):
    """A bias of 0.1 before each ReLU, the same for a channel and its copies."""

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        *inner, (_, v) = self.weights(theta)
        for _, weight in inner:
            x = (x @ weight.mT + 0.1).relu()
        return (x @ v.mT).squeeze(1)


def test_a_bias_that_is_not_split_is_found() -> None:
    bare = NETWORKS["deep"]
    network = WithBias(layers=bare.layers, widths=bare.widths)
    splitting = replace(splitting_of(bare), network=network)
    assert isinstance(splitting.wide, WithBias)
    samples, theta = samples_for(bare), bare.draw(seeded(2))
    assert distance(splitting.wide(splitting.embed(theta), samples.x), network(theta, samples.x)) > 1e-2
    assert trajectory_gap(splitting, splitting.embed) > 1e-2


@pytest.mark.parametrize(
    ("parents", "coefficients", "message"),
    [
        ([0, 0], [0.6, 0.9], r"squares of the coefficients of channel 0 add up to 1\.17, not to 1"),
        ([0, 1, 1], [1.0, 0.6, 0.6], r"of channel 1 add up to 0\.72"),
        ([0, 2], [1.0, 1.0], r"of channel 1 add up to 0\.0"),
        ([0, 0], [-0.6, 0.8], r"a coefficient is -0\.6: ReLU is homogeneous only for non-negative factors"),
        ([0, 0], [math.nan, 1.0], r"a coefficient is nan"),
        ([0, 0, 0], [0.6, 0.8], r"3 copies have 2 coefficients"),
    ],
)
def test_splits_that_are_none_are_refused(parents: list[int], coefficients: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(parents=torch.tensor(parents), coefficients=torch.tensor(coefficients, dtype=torch.float64))


def test_splittings_of_other_states_are_refused() -> None:
    network = NETWORKS["two-layer"]
    with pytest.raises(ValueError, match="output: not a hidden state; x1 can be split"):
        Splitting(network=network, splits={OUTPUT: ragged_split(1, 0)})
    with pytest.raises(ValueError, match="x1 has 8 channels, and 3 are split"):
        Splitting(network=network, splits={"x1": ragged_split(3, 0)})


# --- Margins and KKT points. ---

LINEAR = Network(layers=(Layer(name="v", sources=(INPUT,), target=OUTPUT),), widths={INPUT: 2, OUTPUT: 1})


def two_points() -> Samples:
    x = torch.tensor([[2.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    return Samples(x=x, y=torch.tensor([1.0, -1.0], dtype=torch.float64))


def test_the_maximum_margin_of_two_points_is_that_of_the_closed_form() -> None:
    """Both on the margin: ``lambda = G⁻¹ 1`` with the Gram matrix ``G`` of ``y_m x_m``, and ``w = sum lambda_m y_m x_m``."""
    samples = two_points()
    signed = samples.y[:, None] * samples.x
    multipliers = torch.linalg.solve(signed @ signed.mT, torch.ones(2, dtype=torch.float64))
    assert bool((multipliers > 0).all())
    w = multipliers @ signed
    for factor in (1.0, 0.01, 300.0):
        found = kkt(LINEAR, factor * w, samples)
        assert found is not None
        assert found.residual < 1e-14
        assert found.multipliers == pytest.approx(multipliers.tolist(), rel=1e-12)
    assert float(normalized_margins(LINEAR, w, samples).min()) == pytest.approx(1 / float(w.norm()), rel=1e-14)


def test_the_residual_off_the_maximum_margin_is_that_of_the_closed_form() -> None:
    """W = (1, 0): margins 2 and 1, so at margin 1 as it is; the least squares have closed forms for one active sample."""
    samples = two_points()
    w = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = kkt(LINEAR, w, samples)
    assert found is not None
    # min |w − a (2, 1) − b (1, −1)| over a, b >= 0: both are positive and span the plane, a = 1/3, b = 1/3.
    assert found.multipliers == pytest.approx((1 / 3, 1 / 3), rel=1e-12)
    assert found.stationarity == pytest.approx(0, abs=1e-14)
    assert found.slackness == pytest.approx(1 / 3, rel=1e-12)  # (1/3) (2 − 1) / |w|²
    assert found.residual == found.slackness
    inside = torch.tensor([0.2, -1.0], dtype=torch.float64)  # y f = −0.6 for the first: not separated
    assert kkt(LINEAR, inside, samples) is None


def two_layer_solution() -> tuple[Network, Tensor, Samples, tuple[float, ...]]:
    """Two points with ``x_1 · x_2 <= 0``, a ReLU neuron for each: ``w_j = x_j / |x_j|^1.5``, ``v_j = ± |x_j|^-0.5``.

    Minimising ``w² + v²`` under ``v w · x = 1`` gives ``|w| = |v|`` along ``x``; the multipliers are ``1 / |x_j|``.
    """
    x = torch.tensor([[3.0, 0.0, 4.0], [-2.0, 1.0, 0.5]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0], dtype=torch.float64)
    sizes = x.norm(dim=1)
    theta = torch.cat([(x / sizes[:, None] ** 1.5).flatten(), y / sizes.sqrt()])
    network = fully_connected(1, inputs=3, width=2)
    return network, theta, Samples(x=x, y=y), tuple((1 / sizes).tolist())


@pytest.mark.parametrize("factor", [1.0, 0.1, 20.0])
def test_a_kkt_point_of_a_two_layer_network_maps_to_one(factor: float) -> None:
    network, theta, samples, multipliers = two_layer_solution()
    splitting = splitting_of(network)
    for each, point in ((network, theta), (splitting.wide, splitting.embed(theta))):
        found = kkt(each, factor * point, samples)
        assert found is not None
        assert found.residual < 1e-13
        assert found.multipliers == pytest.approx(multipliers, rel=1e-12)
        assert sum(found.multipliers) == pytest.approx(float(theta.square().sum()) / 2, rel=1e-12)  # degree 2


def test_samples_beyond_the_margin_do_not_count() -> None:
    network, theta, samples, multipliers = two_layer_solution()
    more = Samples(x=torch.cat([samples.x, 3 * samples.x[:1]]), y=torch.cat([samples.y, samples.y[:1]]))
    found = kkt(network, theta, more)
    assert found is not None
    # 3 x_1 has the same gradient in v but for a factor; the least squares may use either, complementarity tells them apart
    assert found.stationarity < 1e-13
    weighted = found.multipliers[0] + 3 * found.multipliers[2]
    assert weighted == pytest.approx(multipliers[0], rel=1e-10)
    assert found.slackness == pytest.approx(2 * found.multipliers[2] / float(theta.square().sum()), abs=1e-13)


@cache
def descended(name: str) -> Tensor:
    """Where 400 steps of gradient descent lead."""
    network = NETWORKS[name]
    (*_, (end,)) = descend([(network, network.draw(seeded(2)))], [samples_for(network)] * 400, constant(0.1))
    return end.theta


@pytest.mark.parametrize("name", ["two-layer", "deep", "convolutional", "densenet", "windowed densenet"])
def test_the_residuals_of_any_network_and_of_the_wide_one_agree(name: str) -> None:
    network = NETWORKS[name]
    splitting, samples, end = splitting_of(network), samples_for(network), descended(name)
    ours, theirs = kkt(network, end, samples), kkt(splitting.wide, splitting.embed(end), samples)
    assert ours is not None
    assert theirs is not None
    assert 1e-3 < ours.residual <= 1.5
    assert theirs.parts == pytest.approx(ours.parts, rel=1e-10)
    assert theirs.multipliers == pytest.approx(ours.multipliers, rel=1e-8, abs=1e-10)
    margins = normalized_margins(network, end, samples)
    torch.testing.assert_close(
        normalized_margins(splitting.wide, splitting.embed(end), samples), margins, rtol=1e-10, atol=1e-14
    )
    if name in HOMOGENEOUS:
        again = kkt(network, 3.7 * end, samples)  # the same for every multiple
        assert again is not None
        assert again.parts == pytest.approx(ours.parts, rel=1e-9)


@pytest.mark.parametrize(("name", "degree"), HOMOGENEOUS.items())
def test_normalised_margins_and_the_factor_to_margin_1_are_those_of_the_degree(name: str, degree: int) -> None:
    network = NETWORKS[name]
    samples, end = samples_for(network), descended(name)
    margins = samples.y * network(end, samples.x)
    assert float(margins.min()) > 0
    expected = margins / end.norm() ** degree
    torch.testing.assert_close(normalized_margins(network, end, samples), expected, rtol=1e-11, atol=0)
    factor = factor_to_margin_1(network, end, samples)
    assert factor == pytest.approx(float(margins.min()) ** (-1 / degree), rel=1e-12)
