import doctest
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from dnlbench.dnl import volterra
from dnlbench.dnl.implicit import ImplicitStepError
from dnlbench.dnl.volterra import VolterraSolution, solve_volterra

pytestmark = pytest.mark.xdist_group("volterra")

NON_NORMAL = torch.tensor([[-1.0, 6.0], [0.0, -2.0]], dtype=torch.float64)
STARTS = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0]], dtype=torch.float64)


def ones(t: Tensor) -> Tensor:
    return torch.ones_like(t)


def one(t: Tensor, s: Tensor) -> Tensor:
    return torch.ones_like(t - s)


def matrix(t: Tensor, s: Tensor) -> Tensor:
    return one(t, s)[..., None, None] * NON_NORMAL


def square(s: Tensor, x: Tensor) -> Tensor:
    return x * x


def flow(t: Tensor) -> Tensor:
    result: Tensor = torch.linalg.matrix_exp(t[:, None, None] * NON_NORMAL)
    return result


def tanh_forcing(t: Tensor) -> Tensor:
    """Makes tanh the solution: ∫ tanh sech² = tanh² / 2 and ∫ s tanh sech² = (t tanh² − t + tanh) / 2."""
    x = torch.tanh(t)
    return t - torch.cos(t) * x**2 / 2 - (t * x**2 - t + x) / 2


class Problem(NamedTuple):
    exact: Callable[[Tensor], Tensor]
    arguments: dict[str, Any]
    fine: int
    """Steps at which three levels give eight digits."""


SMOOTH = {
    "exp": Problem(torch.exp, {"forcing": ones, "kernel": one, "horizon": 2.0}, 32),
    "cos": Problem(torch.cos, {"forcing": ones, "kernel": lambda t, s: s - t, "horizon": 3.0}, 16),
    "blow-up": Problem(
        lambda t: 1 / (1 - t), {"forcing": ones, "kernel": one, "nonlinearity": square, "horizon": 0.5}, 16
    ),
    "system": Problem(
        lambda t: flow(t) @ STARTS[0], {"forcing": lambda t: STARTS[0].expand(len(t), 2), "kernel": matrix}, 16
    ),
    "batch": Problem(
        lambda t: torch.einsum("tij,bj->tbi", flow(t), STARTS),
        {"forcing": lambda t: STARTS.expand(len(t), 3, 2), "kernel": matrix},
        16,
    ),
    "scalar kernel": Problem(
        lambda t: torch.exp(t)[:, None, None] * STARTS,
        {"forcing": lambda t: STARTS.expand(len(t), 3, 2), "kernel": one},
        16,
    ),
    "tanh": Problem(
        torch.tanh,
        {
            "forcing": tanh_forcing,
            "kernel": lambda t, s: torch.cos(t) + s,
            "nonlinearity": lambda s, x: x * (1 - x**2),
            "sigma": torch.tanh,
        },
        16,
    ),
}


def ramp_integral(t: Tensor) -> Tensor:
    """∫_0^t relu(cos 3s) ds for t <= 5π/6."""
    turns = 3 * t / math.pi
    return torch.where(turns < 0.5, torch.sin(3 * t), torch.where(turns < 1.5, 1.0, 2 + torch.sin(3 * t))) / 3


KINKED = Problem(
    lambda t: torch.relu(torch.cos(3 * t)),
    {
        "forcing": lambda t: torch.cos(3 * t) - ramp_integral(t),
        "kernel": one,
        "sigma": torch.relu,
        "horizon": 2.0,
    },
    0,
)


SOLVED: dict[tuple[int, int, int], VolterraSolution] = {}


def solve(problem: Problem, steps: int, levels: int) -> VolterraSolution:
    """Once, for all tests."""
    key = (id(problem), steps, levels)
    if key not in SOLVED:
        SOLVED[key] = solve_volterra(**problem.arguments, steps=steps, levels=levels)
    return SOLVED[key]


def true_error(problem: Problem, solution: VolterraSolution) -> float:
    return (solution.values - problem.exact(solution.times)).abs().max().item()


@pytest.mark.parametrize("problem", SMOOTH.values(), ids=SMOOTH)
@pytest.mark.parametrize(("levels", "steps", "slack"), [(1, 64, 0.05), (2, 16, 0.1), (3, 8, 0.25)])
def test_each_level_adds_two_to_the_order(problem: Problem, levels: int, steps: int, slack: float) -> None:
    errors = [true_error(problem, solve(problem, n, levels)) for n in (steps, 2 * steps)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2 * levels, abs=slack)


@pytest.mark.parametrize("problem", SMOOTH.values(), ids=SMOOTH)
def test_three_levels_give_eight_digits_with_few_steps(problem: Problem) -> None:
    solution = solve(problem, problem.fine, levels=3)
    assert true_error(problem, solution) < 1e-8 * problem.exact(solution.times).abs().max().item()


@pytest.mark.parametrize("problem", SMOOTH.values(), ids=SMOOTH)
@pytest.mark.parametrize("levels", [2, 3])
def test_the_estimate_is_the_error_of_the_solution_with_one_level_less(problem: Problem, levels: int) -> None:
    solution, less = solve(problem, 16, levels), solve(problem, 16, levels - 1)
    assert solution.error == pytest.approx(true_error(problem, less), rel=0.05)
    assert solution.error > true_error(problem, solution)


def test_one_level_has_no_estimate() -> None:
    assert math.isnan(solve(SMOOTH["exp"], 8, levels=1).error)


def test_the_estimate_at_the_limit_of_rounding_is_not_below_the_error() -> None:
    solution = solve(SMOOTH["exp"], 16, levels=6)
    assert true_error(SMOOTH["exp"], solution) < solution.error < 1e-11


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float64, 3e-9), (torch.float32, 3 * 8 * torch.finfo(torch.float32).eps)]
)
def test_the_estimate_holds_the_tolerance_or_rounding_as_well(dtype: torch.dtype, expected: float) -> None:
    constant = solve_volterra(lambda t: 3 * ones(t).to(dtype), lambda t, s: 0 * one(t, s), steps=4, tolerance=1e-9)
    assert constant.error == pytest.approx(expected)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_the_tolerance_is_relative(unit: float) -> None:
    scaled, plain = (solve_volterra(lambda t, c=c: c * ones(t), one, steps=5) for c in (unit, 1.0))  # type: ignore[misc]
    torch.testing.assert_close(scaled.values / unit, plain.values, rtol=1e-12, atol=0)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_kink_keeps_order_two_and_no_more(levels: int) -> None:
    scaled = [true_error(KINKED, solve(KINKED, n, levels)) * n**2 for n in (20, 47, 80, 133, 256, 311)]
    assert max(scaled) < 4
    assert min(scaled) > 1e-3  # order 4 would fall to 1/240 of where it began, and order 6 to 1/58000


@pytest.mark.parametrize("levels", [2, 3])
def test_the_estimate_at_a_kink_is_mostly_above_the_error_and_never_far_below(levels: int) -> None:
    solutions = [solve(KINKED, n, levels) for n in range(16, 64, 3)]
    ratios = sorted(solution.error / true_error(KINKED, solution) for solution in solutions)
    assert ratios[0] > 1 / 20
    assert 1 < ratios[len(ratios) // 2] < 20


def test_times_and_shapes() -> None:
    solution = solve(SMOOTH["batch"], 5, levels=2)
    assert solution.times.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert solution.values.shape == (6, 3, 2)
    assert solve_volterra(ones, one, steps=1, levels=1).values.tolist() == pytest.approx(
        [1, 3]
    )  # (1 + h/2) / (1 − h/2)


A, B = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mixed_kernel(t: Tensor, s: Tensor) -> Tensor:
    result: Tensor = torch.cos(2 * t + s)[..., None, None] * A + (t * torch.exp(s))[..., None, None] * B
    return result


def mixed_forcing(t: Tensor) -> Tensor:
    return torch.stack([torch.cos(t), t, 1 - t, t**2, torch.sin(3 * t), 0 * t], dim=1).view(-1, 2, 3)


def mixed_nonlinearity(s: Tensor, x: Tensor) -> Tensor:
    return torch.sin(x) + s * x.flip(0)  # couples the batch as well


MIXED: dict[str, Any] = {
    "forcing": mixed_forcing,
    "kernel": mixed_kernel,
    "nonlinearity": mixed_nonlinearity,
    "sigma": torch.tanh,
}


def double_loop(n: int) -> Tensor:
    """The trapezoidal rule as it is written, with fixed points from zero on."""
    t, h = [torch.tensor(i / n, dtype=torch.float64) for i in range(n + 1)], 1 / n
    found: list[Tensor] = []
    for i in range(n + 1):
        x = torch.zeros(2, 3, dtype=torch.float64)
        for _ in range(60):
            total = mixed_forcing(t[i][None])[0]
            for j in range(i + 1) if i else []:
                weight = h / 2 if j in (0, i) else h
                term = mixed_nonlinearity(t[j], x if j == i else found[j])
                values = mixed_kernel(t[i][None, None], t[j][None])[0, 0]
                total = total + weight * torch.stack([values @ row for row in term])
            x = torch.tanh(total)
        found.append(x)
    return torch.stack(found)


def test_one_level_equals_the_plain_double_loop() -> None:
    solution = solve_volterra(**MIXED, steps=10, levels=1)
    torch.testing.assert_close(solution.values, double_loop(10), rtol=0, atol=2e-13)


@pytest.mark.parametrize(("limit", "size"), [("_BLOCK_BYTES", 1), ("_BLOCK_BYTES", 50_000), ("_MOST_ROWS", 7)])
def test_blocks_change_nothing_and_keep_to_their_size(monkeypatch: pytest.MonkeyPatch, limit: str, size: int) -> None:
    calls: list[tuple[int, int]] = []

    def spy(t: Tensor, s: Tensor) -> Tensor:
        calls.append((len(t), t.shape[0] * s.shape[0] * 9 * 8))
        return mixed_kernel(t, s)

    expected = solve_volterra(**MIXED, steps=150, levels=1).values
    monkeypatch.setattr(volterra, limit, size)
    blocks = solve_volterra(**{**MIXED, "kernel": spy}, steps=150, levels=1).values
    torch.testing.assert_close(blocks, expected, rtol=0, atol=1e-13)
    assert all(size_of <= volterra._BLOCK_BYTES or rows == 1 for rows, size_of in calls)
    assert max(rows for rows, _ in calls) <= volterra._MOST_ROWS
    assert len(calls) > 5


def test_the_kernel_is_called_by_the_block_and_a_step_needs_few_iterations() -> None:
    kernels, transforms = [], []

    def kernel(t: Tensor, s: Tensor) -> Tensor:
        kernels.append(t)
        return one(t, s)

    def nonlinearity(s: Tensor, x: Tensor) -> Tensor:
        transforms.append(s)
        return x

    solve_volterra(ones, kernel, nonlinearity, steps=1024, levels=1)
    assert len(kernels) <= 1024 / 64 + 2
    assert len(transforms) <= 4 * 1025


def test_values_of_the_kernel_beyond_the_diagonal_are_not_used() -> None:
    roots = [torch.sqrt, lambda past: torch.sqrt(past.clamp(min=0))]  # nan and 0 for s > t
    results = [
        solve_volterra(ones, lambda t, s, root=root: root(t - s), steps=100, levels=1).values  # type: ignore[misc]
        for root in roots
    ]
    assert results[0].isfinite().all()
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_the_type_follows_the_forcing_and_no_gradient_is_kept() -> None:
    start = torch.ones((), requires_grad=True)
    solution = solve_volterra(lambda t: (start * t.cos()).float(), one, lambda s, x: x + 0 * s, steps=64, levels=1)
    assert solution.times.dtype == torch.float64
    assert solution.values.dtype == torch.float32
    assert not solution.values.requires_grad
    exact = (torch.exp(solution.times) + torch.cos(solution.times) + torch.sin(solution.times)) / 2  # x' = x − sin t
    torch.testing.assert_close(solution.values.double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("dtype", "shift"), [(torch.float32, 0.0), (torch.float64, 1e6)])
def test_changes_of_the_size_of_rounding_end_the_iteration(dtype: torch.dtype, shift: float) -> None:
    """∫ −8 (shift + N) takes off the ``8 shift t`` of the forcing again; without the floor the last digit flips for ever."""
    starts = torch.linspace(0.5, 2, 40, dtype=torch.float64)

    def decay(shift: float, dtype: torch.dtype) -> Tensor:
        return solve_volterra(
            lambda t: (starts + 8 * shift * t[:, None]).to(dtype),
            lambda t, s: -8 * one(t, s),
            lambda s, x: shift + 1.3 * torch.sin(x),
            steps=32,
            levels=1,
        ).values.double()

    torch.testing.assert_close(decay(shift, dtype), decay(0.0, torch.float64), rtol=0, atol=1e-5)


def stiff(steps: int) -> VolterraSolution:
    return solve_volterra(ones, lambda t, s: -50 * one(t, s), steps=steps, levels=1)


def test_a_transient_that_no_step_resolves_is_an_error_that_names_the_steps_that_do() -> None:
    with pytest.raises(
        ImplicitStepError, match=r"stiff at t = 0\.1 .*h = 0\.1 \(10 steps\); take more steps: 50 with h = 0\.02"
    ):
        stiff(10)
    solution = stiff(50)
    assert (solution.values - torch.exp(-50 * solution.times)).abs().max() < 0.04
    solution = stiff(400)
    torch.testing.assert_close(solution.values, torch.exp(-50 * solution.times), rtol=0, atol=1e-3)


def test_a_very_stiff_kernel_names_very_many_steps() -> None:
    with pytest.raises(ImplicitStepError, match=r"stiff at t = 0\.25 .*take more steps: 1000000000 with h = 1e-09"):
        solve_volterra(ones, lambda t, s: -1e9 * one(t, s), steps=4, levels=1)


@pytest.mark.parametrize(("k", "steps"), [(10.0, 20), (100.0, 16), (1000.0, 64)])
def test_a_stiff_cubic_agrees_with_another_solver(k: float, steps: int) -> None:
    """``x = sin t − k ∫ x³`` is ``x' = cos t − k x³``; the iteration alone does not get through with so few steps."""
    solution = solve_volterra(
        torch.sin, lambda t, s: -k * one(t, s), lambda s, x: x**3, horizon=2.0, steps=steps, levels=2
    )
    expected = solve_ivp(
        lambda t, x: np.cos(t) - k * x**3, (0, 2), [0.0], method="Radau", rtol=1e-10, atol=1e-12, t_eval=solution.times
    )
    error = float((solution.values - torch.from_numpy(expected.y[0])).abs().max())
    assert error < solution.error < 0.005
    assert error < 2e-4


@pytest.mark.parametrize("k", [10.0, 1e5])
def test_a_solution_that_a_stiff_equation_is_drawn_to_is_followed_with_large_steps(k: float) -> None:
    solution = solve_volterra(
        torch.cos, lambda t, s: -k * one(t, s), lambda s, x: x**3 - torch.cos(s) ** 3, horizon=1.2, steps=16, levels=2
    )
    torch.testing.assert_close(solution.values, torch.cos(solution.times), rtol=0, atol=1e-12)


def test_a_stiff_system_of_a_batch_is_solved_too() -> None:
    """``x' = f' + M (x − f)`` with eigenvalues −40 and −80 of M and f = (cos t, sin t), so x = f."""
    M = torch.tensor([[-40.0, 30.0], [0.0, -80.0]], dtype=torch.float64)

    def forcing(t: Tensor) -> Tensor:
        return torch.stack([torch.cos(t), torch.sin(t)], dim=1)[:, None].expand(-1, 3, 2)

    solution = solve_volterra(
        forcing, lambda t, s: one(t, s)[..., None, None] * M, lambda s, x: x - forcing(s[None])[0], steps=24, levels=2
    )
    torch.testing.assert_close(solution.values, forcing(solution.times), rtol=0, atol=1e-11)


@pytest.mark.parametrize("steps", [1, 8, 33])
@pytest.mark.parametrize("horizon", [1.0, 1.05, 3.0])
def test_newton_does_not_step_over_a_blow_up(horizon: float, steps: int) -> None:
    with pytest.raises(ImplicitStepError):
        solve_volterra(ones, one, square, horizon=horizon, steps=steps, levels=2)


def test_growth_that_a_step_does_not_resolve_is_not_called_stiff() -> None:
    with pytest.raises(ImplicitStepError, match="does not converge"):
        solve_volterra(ones, lambda t, s: 10 * one(t, s), steps=2, levels=1)


def test_of_several_solutions_one_is_returned_as_the_documentation_says() -> None:
    solution = solve_volterra(lambda t: 0 * t, one, lambda s, x: 2 * x.sqrt(), steps=8)
    assert (float(solution.values.abs().max()), solution.error) == (0.0, 0.0)


JUMP_AT = 1 / 3


def jump(t: Tensor) -> Tensor:
    return (t >= JUMP_AT - 1e-9).double()


def root(t: Tensor) -> Tensor:
    return (t - JUMP_AT).abs().sqrt()


def convolved_root(t: float) -> float:
    """``√|t − t0| + ∫_0^t e^(t − s) √|s − t0| ds``, which solves ``x = √|t − t0| + ∫ x``."""

    def f(s: float) -> float:
        return math.exp(t - s) * math.sqrt(abs(s - JUMP_AT))

    before, after = quad(f, 0, min(t, JUMP_AT), epsabs=1e-13)[0], quad(f, JUMP_AT, max(t, JUMP_AT))[0]
    return math.sqrt(abs(t - JUMP_AT)) + float(before + after)


@pytest.mark.parametrize(
    ("forcing", "powers", "expected", "order"),
    [
        (jump, (1, 2, 3), lambda t: (t >= JUMP_AT - 1e-9) * math.exp(t - JUMP_AT), 3.0),
        (root, (1.5, 2, 2.5), convolved_root, 3.5),  # h^2.5 has opposite signs on the two sides of t0
    ],
    ids=["jump", "root"],
)
def test_the_series_of_a_rough_forcing_on_the_grid_is_removed(
    forcing: Callable[[Tensor], Tensor], powers: tuple[float, ...], expected: Callable[[float], float], order: float
) -> None:
    errors = []
    for steps in (24, 48, 96):
        solution = solve_volterra(forcing, one, steps=steps, levels=3, powers=powers)
        exact = torch.tensor([expected(t) for t in solution.times.tolist()], dtype=torch.float64)
        assert float((solution.values - exact).abs().max()) < solution.error
        errors.append(
            float((solution.values[-1] - exact[-1]).abs())
        )  # next to t0 the series is another one at each point
    assert math.log2(errors[0] / errors[-1]) / 2 == pytest.approx(order, abs=0.35)


def test_without_a_series_the_finest_grid_is_the_solution() -> None:
    fine = solve_volterra(jump, one, steps=96, levels=1)
    found = solve_volterra(jump, one, steps=24, levels=3, powers=())
    torch.testing.assert_close(found.values, fine.values[::4], rtol=0, atol=0)
    exact = jump(found.times) * torch.exp(found.times - JUMP_AT)
    assert 1 < found.error / float((found.values - exact).abs().max()) < 4


@pytest.mark.parametrize("levels", [1, 3])
def test_a_solution_that_blows_up_is_an_error_near_that_time(levels: int) -> None:
    with pytest.raises(ImplicitStepError, match=r"at t = (0\.9|1\.?[01]?)"):
        solve_volterra(ones, one, square, horizon=1.5, steps=150, levels=levels)


def test_a_solution_that_is_not_finite_at_the_start() -> None:
    with pytest.raises(ImplicitStepError, match="t = 0,"):
        solve_volterra(ones, one, sigma=lambda x: x / 0, steps=4)


@pytest.mark.parametrize("sigma", [torch.sigmoid, torch.tanh, torch.relu, torch.neg])
def test_a_singular_kernel_is_an_error_and_no_bounded_sigma_hides_it(sigma: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ImplicitStepError, match=r"not finite at t = 0\.25 .*kernel"):
        solve_volterra(ones, lambda t, s: -((t - s).abs() ** -0.5), sigma=sigma, steps=4)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("steps must be at least 1, not 0", {"steps": 0}),
    ("levels must be at least 1, not 0", {"levels": 0}),
    ("horizon must be positive and finite, not 0", {"horizon": 0.0}),
    ("horizon must be positive and finite, not nan", {"horizon": math.nan}),
    ("horizon must be positive and finite, not inf", {"horizon": math.inf}),
    ("tolerance must lie between 0 and 1, not 0", {"tolerance": 0.0}),
    (r"forcing must return shape \(9, \*state\), not \(\)", {"forcing": lambda t: t.sum()}),
    (r"forcing must return shape \(9, \*state\), not \(8, 2\)", {"forcing": lambda t: torch.ones(8, 2)}),
    (r"forcing must return shape \(9, \*state\), not \(9, 0\)", {"forcing": lambda t: torch.ones(9, 0)}),
    ("forcing must return floating-point values, not torch.int64", {"forcing": lambda t: t.long()}),
    (r"forcing is not finite at t = 0\.5", {"forcing": lambda t: 1 / (t - 0.5)}),
    (r"forcing is not finite at t = 0\.75", {"forcing": lambda t: torch.stack([t, 1 / (t - 0.75)], 1)}),
    (r"kernel must return shape \(r, j\) for a state of shape \(\); .* \(1,\)", {"kernel": lambda t, s: s}),
    (r"kernel must return shape \(r, j\) for", {"kernel": matrix}),
    (
        r"kernel must return shape \(r, j\) or \(r, j, 3, 3\) .* it returned \(1, 1, 2, 2\)",
        {"forcing": lambda t: t[:, None].expand(-1, 3), "kernel": matrix},
    ),
    (r"kernel must return shape \(2, 3\) here, not \(2, 1\)", {"kernel": lambda t, s: t, "steps": 2, "levels": 1}),
    (r"sigma must keep the state's shape \(\), not \(2,\)", {"sigma": lambda x: torch.stack([x, x])}),
    (r"nonlinearity must keep the state's shape \(\), not \(1,\)", {"nonlinearity": lambda s, x: x[None]}),
]


@pytest.mark.parametrize(("message", "changes"), BAD)
def test_bad_arguments_are_named(message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"forcing": ones, "kernel": one, "steps": 4, "levels": 2}
    with pytest.raises(ValueError, match=message):
        solve_volterra(**{**arguments, **changes})


def test_the_example_in_the_documentation() -> None:
    results = doctest.testmod(volterra)
    assert results.attempted >= 4
    assert results.failed == 0
