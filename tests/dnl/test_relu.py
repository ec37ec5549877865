"""Deep ReLU networks: closed forms, the explicit form against the recursion, and activation domains counted by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import Direction
from dnlbench.dnl.relu import (
    Condition,
    ReluNetwork,
    activations,
    condition,
    expected_order,
    explicit_states,
    find_domains,
    stable_fraction,
    states,
)

pytestmark = pytest.mark.usefixtures("float64")


def random_network(n: int, d: int, *, scale: float = 0.5) -> ReluNetwork:
    return ReluNetwork(W=torch.eye(d) + scale * torch.randn(n, d, d) / math.sqrt(d), b=scale * torch.randn(n, d))


def scalar(p: Tensor, b: Tensor) -> ReluNetwork:
    return ReluNetwork(W=(1 + p)[:, None, None], b=b[:, None])


def explicit(network: ReluNetwork, x0: Tensor, *, at_once: int = 2**18) -> tuple[Tensor, Tensor]:
    """The last states by the explicit form, and by the recursion."""
    found = states(network, x0)
    active = activations(found)
    return explicit_states(network, active, find_domains(active), x0, at_once=at_once), found[-1]


# Closed forms


def test_a_scalar_that_is_always_on_is_multiplied_by_all_weights() -> None:
    p, x0 = 0.9 * (2 * torch.rand(40) - 1), torch.rand(7, 1) + 0.1
    found = states(scalar(p, torch.zeros(40)), x0)
    assert found.shape == (41, 7, 1)
    for n in (1, 2, 17, 40):
        torch.testing.assert_close(found[n], (1 + p[:n]).prod() * x0, rtol=1e-14, atol=0)
    assert activations(found).all()


def test_a_scalar_with_biases_is_the_sum_over_them() -> None:
    p, b, x0 = torch.rand(30), torch.rand(30), torch.rand(5, 1)
    found = states(scalar(p, b), x0)
    expected = x0 * (1 + p).prod() + sum(float(b[i] * (1 + p[i + 1 :]).prod()) for i in range(30))
    torch.testing.assert_close(found[-1], expected, rtol=1e-13, atol=0)


def test_identity_layers_keep_what_is_positive() -> None:
    x0 = torch.randn(20, 4)
    found = states(ReluNetwork(W=torch.eye(4).expand(9, 4, 4), b=torch.zeros(9, 4)), x0)
    for n in range(1, 10):
        assert torch.equal(found[n], x0.relu())


def test_biases_that_are_all_negative_kill_everything() -> None:
    network = ReluNetwork(W=torch.eye(3).expand(50, 3, 3), b=torch.full((50, 3), -0.1))
    x0 = torch.randn(16, 3)
    found = states(network, x0)
    assert found.max() > 0
    steps = math.ceil(float(x0.max()) / 0.1)
    assert torch.equal(found[steps:], torch.zeros(51 - steps, 16, 3))
    assert not activations(found)[steps - 1 :].any()
    by_product, by_recursion = explicit(network, x0)
    assert torch.equal(by_product, by_recursion)


def test_a_layer_is_what_it_says() -> None:
    W, b, x0 = torch.randn(1, 3, 3), torch.randn(1, 3), torch.randn(8, 3)
    expected = torch.stack([torch.relu(W[0] @ x + b[0]) for x in x0])
    torch.testing.assert_close(states(ReluNetwork(W=W, b=b), x0)[1], expected)


# The explicit form


def brute_force(network: ReluNetwork, active: Tensor, x0: Tensor) -> Tensor:
    """``(D_n W_n ⋯ D_1 W_1) x_0 + sum_i (D_n W_n ⋯ D_{i+1} W_{i+1}) D_i b_i``, term by term, for one point."""
    n, d = network.b.shape
    D = [torch.diag(active[k].double()) for k in range(n)]

    def product(first: int) -> Tensor:
        """``D_n W_n ⋯ D_first W_first``, layers counted from 0."""
        result = torch.eye(d)
        for k in range(first, n):
            result = D[k] @ network.W[k] @ result
        return result

    return product(0) @ x0 + sum((product(i + 1) @ D[i] @ network.b[i] for i in range(n)), torch.zeros(d))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])
def test_the_explicit_form_is_the_sum_of_the_paper(n: int) -> None:
    network, x0 = random_network(n, 3), torch.randn(11, 3)
    active = activations(states(network, x0))
    found = explicit_states(network, active, find_domains(active), x0)
    expected = torch.stack([brute_force(network, active[:, m], x0[m]) for m in range(11)])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("n", "d", "scale"), [(1, 1, 0.5), (33, 2, 0.5), (100, 6, 0.3), (257, 5, 0.1), (1000, 4, 0.03)]
)
def test_the_explicit_form_is_the_recursion(n: int, d: int, scale: float) -> None:
    for _ in range(3):
        by_product, by_recursion = explicit(random_network(n, d, scale=scale), torch.randn(40, d))
        deviation = (by_product - by_recursion).norm(dim=1).max() / by_recursion.norm(dim=1).max()
        assert deviation < 1e-12


def test_how_many_domains_are_in_work_does_not_matter() -> None:
    network, x0 = random_network(50, 3), torch.randn(40, 3)
    whole, _ = explicit(network, x0)
    for at_once in (1, 1000):
        assert torch.equal(explicit(network, x0, at_once=at_once)[0], whole)


def swapped(network: ReluNetwork) -> ReluNetwork:
    W = network.W.clone()
    W[[3, 4]] = W[[4, 3]]
    return dataclasses.replace(network, W=W)


def late_bias(network: ReluNetwork) -> ReluNetwork:
    return dataclasses.replace(network, b=network.b.roll(1, dims=0))


def transposed(network: ReluNetwork) -> ReluNetwork:
    return dataclasses.replace(network, W=network.W.mT)


def slightly_other(network: ReluNetwork) -> ReluNetwork:
    return dataclasses.replace(network, W=network.W * (1 + 1e-10))


@pytest.mark.parametrize("error", [swapped, late_bias, transposed, slightly_other])
def test_the_explicit_form_of_another_network_is_another(error: object) -> None:
    assert callable(error)
    network, x0 = random_network(20, 4), torch.rand(10, 4) + 0.5
    network = dataclasses.replace(network, b=network.b.abs())
    found = states(network, x0)
    active = activations(found)
    other = explicit_states(error(network), active, find_domains(active), x0)
    assert (other - found[-1]).norm(dim=1).max() / found[-1].norm(dim=1).max() > 1e-12


def test_an_activation_matrix_that_is_wrong_is_noticed() -> None:
    network, x0 = random_network(20, 4, scale=0.1), torch.rand(6, 4) + 0.5
    active = activations(states(network, x0))
    assert active[10].any()
    active[10] = ~active[10]
    off = explicit_states(network, active, find_domains(active), x0) - states(network, x0)[-1]
    assert off.norm() > 1e-3


# Activation domains


def test_two_neurons_part_a_line_into_three() -> None:
    """relu(x − 1) and relu(2 − x) of the first number: on for x > 1, and for x < 2."""
    network = ReluNetwork(W=torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), b=torch.tensor([[-1.0, 2.0]]))
    x0 = torch.tensor([[0.0, 0.0], [0.5, 0.0], [1.5, 0.0], [1.9, 0.0], [3.0, 0.0]])
    active = activations(states(network, x0))
    assert active[0].tolist() == [[False, True], [False, True], [True, True], [True, True], [True, False]]
    domains = find_domains(active)
    assert domains.count.tolist() == [3]
    first, second, third = domains.of_point[0], domains.of_point[2], domains.of_point[4]
    assert domains.of_point.tolist() == [first, first, second, second, third]
    assert len({int(first), int(second), int(third)}) == 3


def test_domains_are_parted_layer_by_layer() -> None:
    """Three identity layers of one neuron, of which the second and the third take 1 off: off after them below 1 and 2."""
    network = ReluNetwork(W=torch.ones(3, 1, 1), b=torch.tensor([[0.0], [-1.0], [-1.0]]))
    x0 = torch.tensor([[-1.0], [-2.0], [0.5], [1.5], [2.5], [3.5]])
    assert find_domains(activations(states(network, x0))).count.tolist() == [2, 3, 4]


def test_points_that_part_and_look_alike_again_stay_apart() -> None:
    active = torch.tensor([[[True], [False]], [[True], [True]], [[False], [False]]])  # (n, B, d)
    domains = find_domains(active)
    assert domains.count.tolist() == [2, 2, 2]
    assert domains.of_point.tolist() in ([0, 1], [1, 0])


def test_one_point_and_equal_points_meet_one_domain() -> None:
    network = random_network(10, 3)
    for x0 in (torch.randn(1, 3), torch.randn(1, 3).expand(8, 3)):
        domains = find_domains(activations(states(network, x0)))
        assert domains.count.tolist() == [1] * 10
        assert not domains.of_point.any()


def test_the_count_is_that_of_distinct_patterns() -> None:
    active = torch.rand(6, 60, 2) > 0.3
    domains = find_domains(active)
    for k in range(1, 7):
        patterns = {tuple(active[:k, m].flatten().tolist()) for m in range(60)}
        assert int(domains.count[k - 1]) == len(patterns)
    by_domain: dict[int, set[tuple[bool, ...]]] = {}
    for m in range(60):
        by_domain.setdefault(int(domains.of_point[m]), set()).add(tuple(active[:, m].flatten().tolist()))
    assert all(len(patterns) == 1 for patterns in by_domain.values())
    assert sorted(by_domain) == list(range(len(by_domain)))


def test_settled_units_are_those_that_never_change() -> None:
    active = torch.tensor([[[True, False]], [[True, True]], [[True, False]]]).expand(3, 2, 2).clone()
    assert stable_fraction(active) == 0.5
    assert stable_fraction(active[:1]) == 1.0
    active[1, 1, 0] = False
    assert stable_fraction(active) == 0.25


# What theory says


@pytest.mark.parametrize(
    ("weights", "biases", "gain", "expected"),
    [
        (2.0, 1.5, 1.0, "guaranteed"),
        (2.0, math.inf, 1.0, "guaranteed"),
        (1.0, 2.0, 1.0, "possible"),
        (2.0, 1.0, 1.0, "possible"),
        (0.1, 0.1, 1.0, "possible"),
        (0.0, 2.0, 1.0, "excluded"),
        (2.0, 0.0, 1.0, "excluded"),
        (2.0, 2.0, 0.9, "excluded"),
    ],
)
def test_the_conditions_for_convergence(weights: float, biases: float, gain: float, expected: Condition) -> None:
    assert condition(weights, biases, gain=gain) == expected


@pytest.mark.parametrize(
    ("weights", "biases", "direction", "expected"),
    [
        (2.0, 2.0, "independent", 1.5),
        (1.0, 2.0, "independent", 0.5),
        (2.0, 1.0, "independent", 0.5),
        (0.5, 2.0, "independent", None),
        (2.0, 3.0, "fixed", 1.0),
        (1.0, 1.0, "fixed", None),
        (math.inf, 1.5, "fixed", 0.5),
        (math.inf, math.inf, "fixed", None),
    ],
)
def test_the_order_that_is_expected(
    weights: float, biases: float, direction: Direction, expected: float | None
) -> None:
    assert expected_order(weights, biases, direction) == expected
    assert expected_order(weights, biases, direction, gain=1.1) is None
