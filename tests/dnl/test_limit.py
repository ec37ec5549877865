import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import ActivationName, KernelName, strides, window
from dnlbench.dnl.curves import Curve, Curves, random_curves
from dnlbench.dnl.limit import forward_errors, solve_limit
from dnlbench.dnl.vector import VectorForm, states
from dnlbench.dnl.volterra import VolterraSolution

KERNELS: tuple[KernelName, ...] = get_args(KernelName)
NOT_LOCAL: tuple[KernelName, ...] = ("attention", "gaussian", "rbf")

pytestmark = pytest.mark.usefixtures("float64")


def constant(value: Tensor) -> Curve:
    return lambda t: value.expand(len(t), *value.shape)


def constant_curves(n: int, c: int, **matrices: Tensor) -> Curves:
    """Curves that do not change with time: A = 0, b = 0, and all other matrices one, where nothing else is said."""
    d = n * c
    eye = torch.eye(c)
    chosen = {"A": torch.zeros(d, d), "b": torch.zeros(d), "K": torch.eye(d), "V": eye, "Q": eye, "R": eye} | matrices
    K = chosen.pop("K")
    curves: dict[str, Any] = {name: constant(value) for name, value in chosen.items()}
    return Curves(**curves, K=lambda t, s: K.expand(t.numel(), s.numel(), d, d))


def scalar_curves(
    b: Callable[[Tensor], Tensor],
    *,
    K: Callable[[Tensor, Tensor], Tensor] = lambda t, s: torch.ones_like(t - s),
    V: Callable[[Tensor], Tensor] = torch.ones_like,
) -> Curves:
    """One position with one channel, and A = 0."""
    return Curves(
        A=lambda t: torch.zeros(len(t), 1, 1),
        b=lambda t: b(t)[:, None],
        K=lambda t, s: K(t, s)[..., None, None],
        V=lambda t: V(t)[:, None, None],
    )


def flow(M: Tensor, solution: VolterraSolution) -> Tensor:
    """``exp(t M)`` at all points of a solution."""
    result: Tensor = torch.linalg.matrix_exp(solution.times[:, None, None] * M)
    return result


IDENTITY = VectorForm(kernel="local", activation="identity")
NO_INPUT = torch.zeros(1, 1, 1, dtype=torch.float64)


@pytest.mark.parametrize(("levels", "steps"), [(1, 32), (2, 8), (3, 4)])
def test_each_level_of_extrapolation_adds_two_to_the_order(levels: int, steps: int) -> None:
    n, c, B = 3, 2, 4
    A, M = torch.randn(6, 6), torch.randn(6, 6)
    b, x0 = torch.randn(6), torch.randn(B, n, c)
    curves = constant_curves(n, c, A=A, b=b, K=M)
    errors = []
    for count in (steps, 2 * steps):
        solution = solve_limit(IDENTITY, curves, x0, steps=count, levels=levels)
        assert solution.values.shape == (count + 1, B, n * c)
        exact = torch.einsum("tij,bj->tbi", flow(M, solution), x0.view(B, 6) @ A.mT + b)
        errors.append(float((solution.values - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2 * levels, abs=0.3)


def test_v_acts_on_the_channels_of_each_position() -> None:
    V, b = torch.tensor([[-1.0, 2.0], [0.0, 0.5]]), torch.randn(6)
    solution = solve_limit(IDENTITY, constant_curves(3, 2, b=b, V=V), torch.zeros(1, 3, 2), steps=16)
    exact = torch.einsum("tij,nj->tni", flow(V, solution), b.view(3, 2)).flatten(1)
    torch.testing.assert_close(solution.values[:, 0], exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_positions_are_their_own_average_whatever_the_kernel(kernel: KernelName) -> None:
    V, start = torch.tensor([[-1.0, 2.0], [0.0, 0.5]]), torch.randn(2)
    form = VectorForm(kernel=kernel, activation="identity")
    solution = solve_limit(form, constant_curves(4, 2, b=start.repeat(4), V=V), torch.zeros(1, 4, 2), steps=16)
    exact = (flow(V, solution) @ start).repeat(1, 4)
    torch.testing.assert_close(solution.values[:, 0], exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kernel", ["attention", "rbf"])
def test_a_kernel_that_sees_no_difference_averages_all_positions(kernel: KernelName) -> None:
    V, start, zero = torch.tensor([[-1.0, 2.0], [0.0, 0.5]]), torch.randn(4, 2), torch.zeros(2, 2)
    form = VectorForm(kernel=kernel, activation="identity", bandwidth=1e8)
    curves = constant_curves(4, 2, b=start.flatten(), V=V, Q=zero)
    solution = solve_limit(form, curves, torch.zeros(1, 4, 2), steps=16)
    mean = start.mean(dim=0)
    exact = start + (flow(V, solution) @ mean - mean)[:, None]  # x_i' = V m, where m is the mean and m' = V m
    torch.testing.assert_close(solution.values.view(-1, 4, 2), exact, rtol=0, atol=1e-9)


def test_a_narrow_distance_kernel_is_the_local_one() -> None:
    curves = random_curves("local", positions=4, channels=2, seed=1, scale=0.3)
    x0 = 3 * torch.randn(2, 4, 2)
    solutions = [
        solve_limit(VectorForm(kernel=kernel, activation="identity", bandwidth=1e-3), curves, x0, steps=16).values
        for kernel in ("local", "rbf")
    ]
    torch.testing.assert_close(solutions[0], solutions[1])


def test_k_is_taken_at_the_later_and_then_the_earlier_time() -> None:
    solution = solve_limit(IDENTITY, scalar_curves(torch.ones_like, K=lambda t, s: s - t), NO_INPUT, steps=32)
    torch.testing.assert_close(solution.values[:, 0, 0], torch.cos(solution.times))  # the other way about: cosh


def test_the_parameters_inside_n_are_those_of_the_earlier_time() -> None:
    solution = solve_limit(IDENTITY, scalar_curves(torch.ones_like, V=lambda s: 2 * s), NO_INPUT, steps=32)
    torch.testing.assert_close(solution.values[:, 0, 0], torch.exp(solution.times**2), rtol=0, atol=1e-8)


def before_tanh(t: Tensor) -> Tensor:
    """Makes tanh t the solution."""
    return t - torch.log(torch.cosh(t))


def before_bend(slope: float) -> Callable[[Tensor], Tensor]:
    """Makes ``t − 1/2`` the solution where this is positive, and ``slope`` times that where it is not."""

    def b(t: Tensor) -> Tensor:
        y = t - 0.5
        return y - torch.where(y < 0, slope * (y**2 - 0.25), y**2 - 0.25 * slope) / 2

    return b


@pytest.mark.parametrize(
    ("activation", "b", "exact", "allowed"),
    [
        ("tanh", before_tanh, torch.tanh, 1e-10),
        ("relu", before_bend(0.0), lambda t: torch.relu(t - 0.5), 1e-10),
        ("prelu", before_bend(0.1), lambda t: torch.where(t < 0.5, 0.1, 1.0) * (t - 0.5), 1e-10),
    ],
)
def test_the_activation_stands_around_everything(
    activation: ActivationName, b: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor], allowed: float
) -> None:
    form = VectorForm(activation=activation, slope=0.1)
    solution = solve_limit(form, scalar_curves(b), NO_INPUT, steps=64)
    assert float((solution.values[:, 0, 0] - exact(solution.times)).abs().max()) < allowed  # the kink is a grid point


@pytest.mark.parametrize("kernel", KERNELS)
def test_inputs_of_a_batch_do_not_know_of_each_other(kernel: KernelName) -> None:
    curves = random_curves(kernel, positions=3, channels=2, seed=4)
    form, x0 = VectorForm(kernel=kernel), torch.randn(3, 3, 2)
    whole = solve_limit(form, curves, x0, steps=8, levels=1).values
    for m in range(3):
        torch.testing.assert_close(
            solve_limit(form, curves, x0[m : m + 1], steps=8, levels=1).values, whole[:, m : m + 1]
        )


@pytest.mark.parametrize("sources", [window(3), strides])
def test_a_partly_dense_network_has_another_limit(sources: Callable[[int], tuple[int, ...]]) -> None:
    curves = random_curves("local", positions=2, channels=2, seed=0)
    with pytest.raises(ValueError, match=r"Eq\. \(7\) is the limit of the fully dense network"):
        solve_limit(VectorForm(sources=sources), curves, torch.zeros(1, 2, 2), steps=4)


def made_up(values: Tensor) -> VolterraSolution:
    return VolterraSolution(times=torch.linspace(0, 1, len(values)), values=values, error=0.0)


def test_errors_are_the_largest_distances_of_the_batch_at_the_times_of_the_layers() -> None:
    expected = torch.zeros(7, 2, 4)  # at the times 0, 1/6, …, 1
    expected[:, 1] = 1.0
    found = torch.zeros(4, 2, 2, 2)  # depth 3: at 0, 1/3, 2/3 and 1
    found[:, 1] = 1.0
    found[0] = 1e9  # the input is another thing than x(0)
    found[1, 0] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])  # 5 away
    found[1, 1, 0, 0] += 4.5
    found[2, 1] -= 1.0  # 2 away
    expected[6, 0] = torch.tensor([0.0, 0.0, -0.25, 0.0])
    expected[[1, 3, 5]] = math.nan  # times between the layers
    assert forward_errors(found, made_up(expected)).tolist() == [5.0, 2.0, 0.25]


def test_one_layer_is_held_against_the_end() -> None:
    expected = torch.arange(5.0).view(5, 1, 1)
    assert forward_errors(torch.tensor([7.0, 6.5]).view(2, 1, 1, 1), made_up(expected)).tolist() == [2.5]


@pytest.mark.parametrize("depth", [3, 5, 16])
def test_a_depth_that_does_not_divide_the_grid_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth {depth} does not divide the 8 steps of the reference"):
        forward_errors(torch.zeros(depth + 1, 1, 1, 1), made_up(torch.zeros(9, 1, 1)))


def test_errors_of_the_network_whose_limit_is_the_exponential() -> None:
    curves = scalar_curves(torch.ones_like)
    solution = solve_limit(IDENTITY, curves, NO_INPUT, steps=32)
    for depth in (1, 4, 32):
        errors = forward_errors(states(IDENTITY, curves, torch.ones(1, 1, 1), depth=depth), solution)
        expected = [math.exp(l / depth) - (1 + 1 / depth) ** l for l in range(1, depth + 1)]  # noqa: E741 - the paper's l
        assert errors.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_connections_a_network_of_constant_parameters_is_its_own_limit(kernel: KernelName) -> None:
    n, c = 3, 2
    curves = constant_curves(n, c, A=torch.randn(6, 6), b=torch.randn(6), K=torch.zeros(6, 6))
    form, x0 = VectorForm(kernel=kernel), torch.randn(5, n, c)
    errors = forward_errors(states(form, curves, x0, depth=4), solve_limit(form, curves, x0, steps=8))
    assert float(errors.max()) < 1e-14
