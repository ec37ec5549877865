r"""A reference solver for nonlinear Volterra integral equations of the second kind.

.. math:: x(t) = \sigma\Bigl( f(t) + \int_0^t K(t, s) \, N(s, x(s)) \, ds \Bigr), \qquad 0 \le t \le T.

With :math:`\sigma` the identity this is the classical (Hammerstein) equation. On the points :math:`t_i = i h` the trapezoidal
rule gives

.. math:: x_i = \sigma\Bigl( f(t_i) + h \sum_{j=0}^{i}{}'' K(t_i, t_j) \, N(t_j, x_j) \Bigr), \qquad x_0 = \sigma(f(0)),

where the two primes halve the first and the last term. The last term makes each step implicit. The step is a contraction if
``h`` is small compared with ``2 / (|σ'| |K(t, t)| |N'|)``, so it is solved by iteration from an extrapolation of the previous
points. If that fails because the equation is stiff, it is solved by Newton's method (`dnlbench.dnl.implicit`). If f, K, N and σ
are smooth, the error at a fixed ``t`` is a series in ``h²``. Solving again with half the step removes its first terms
(Richardson extrapolation, in a Romberg table).

*Uniqueness is assumed.* It holds if N and σ are Lipschitz on the values of the solution. Otherwise an equation may have several
solutions, which the solver cannot detect: for ``x = ∫ 2 √x``, solved by 0 and by t², it returns 0 with an error of 0. Blow-up
is detected: ``x = 1 + ∫ x²`` has no solution from t = 1 on, the discrete step has none either, and that raises an error.

*The error* is of order ``2 · levels`` in the step if ``f``, ``K``, ``N`` and ``sigma`` are smooth. If the solution has a kink
inside the interval, as with ``sigma = relu``, the order is 2 for any number of levels: the error of the step that contains the
kink depends on the position of the kink in the step, which is not a series in ``h²``. If a forcing or kernel is not smooth at
points of the coarsest grid, the error is a series in other powers of the step.

`VolterraSolution.error` is the largest difference from the solution with one level less, plus the tolerance. It estimates the
error of the latter, so for a smooth solution it has order ``2 · levels − 2`` and overestimates the error. With a kink it has
the size of the true error, mostly above it and seldom below a tenth. (The last two entries of the last row of the table are
not suitable: they use the same grids, and with a kink differ by as little as 1/250 of the error.) Without any series the
solution is the trapezoidal rule on the finest grid. Its error is the difference from the rule with twice the step over ``2^½ −
1``, the error of a rule of order ½, which is 2.4 times the difference.

*Stiff* equations, such as ``x = f − k ∫ x³`` with ``h k`` above 1, are solved if the solution is smooth. A transient that the
step does not resolve raises an error with a sufficient number of steps.

Sources: equation (7) of arXiv 2510.02049; P. Linz, Analytical and Numerical Methods for Volterra Equations, SIAM 1985,
chapter 7; H. Brunner, Collocation Methods for Volterra Integral and Related Functional Equations, Cambridge 2004.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.dnl.implicit import ImplicitStepError, Unresolved, solve_stiff

_BLOCK_BYTES = 8 << 20
"""Bytes of kernel values in memory at a time, once as returned by the kernel and once in the order of the product."""
_MOST_ROWS = 64
"""Maximum rows of a block. Sums within a block are computed row by row, so it should be short compared with the history."""
_MOST_ITERATIONS = 100
"""Maximum iterations of an implicit step; a step that halves its residual each time needs half of them."""
SLOWEST = 0.5
"""Lower bound of the order of an error without series: that of the roughest supported functions, Hölder ½."""
_EXTRAPOLATION = ((1,), (-1, 2), (1, -3, 3), (-1, 4, -6, 4))
"""Weights of the extrapolation through the last 1 to 4 equidistant points, one step ahead."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VolterraSolution:
    """The solution of `solve_volterra` at the points of its coarsest grid."""

    times: Tensor
    """``t``, shape (steps + 1,), float64."""
    values: Tensor
    """``x(t)``, shape (steps + 1, *state)."""
    error: float
    """Estimate of ``max |values − x|`` over all points and components; NaN with one level."""


def identity(x: Tensor) -> Tensor:
    """Return ``x``."""
    return x


def identity_nonlinearity(s: Tensor, x: Tensor) -> Tensor:
    """Return ``N(s, x) = x``, for the linear equation."""
    return x


@torch.no_grad()
def solve_volterra(
    forcing: Callable[[Tensor], Tensor],
    kernel: Callable[[Tensor, Tensor], Tensor],
    nonlinearity: Callable[[Tensor, Tensor], Tensor] = identity_nonlinearity,
    *,
    sigma: Callable[[Tensor], Tensor] = identity,
    horizon: float = 1.0,
    steps: int,
    levels: int = 3,
    tolerance: float = 1e-13,
    powers: Sequence[float] | None = None,
) -> VolterraSolution:
    """Solve ``x(t) = sigma(f(t) + ∫_0^t K(t, s) N(s, x(s)) ds)`` on 0 <= t <= T.

    The work is ``(steps · 2^levels)² / 6`` evaluations of the kernel, in blocks of rows that are multiplied by the history as
    matrices. Computed in the dtype and on the device of ``forcing``, without gradient.

    The renewal density for lifetimes with density ``t e^−t`` is ``(1 − e^−2t) / 2``:

    >>> def lifetime(t):
    ...     return t * torch.exp(-t)
    >>> renewal = solve_volterra(lifetime, lambda t, s: lifetime(t - s), horizon=4.0, steps=64)
    >>> exact = (1 - torch.exp(-2 * renewal.times)) / 2
    >>> bool((renewal.values - exact).abs().max() < renewal.error < 1e-6)
    True

    Args:
        forcing: ``f``, maps times (m,), float64, to (m, *state); the state may have any shape.
        kernel: ``K``, maps t (r, 1) and s (j,), float64, to (r, j), or to (r, j, d, d) for a matrix that acts on the last
            dimension of the state; the latter is fastest as a view of memory in the order (r, d, j, d). It is also called
            with s > t, where its values are ignored.
        nonlinearity: ``N``, maps s of shape () and a state to a state.
        sigma: maps a state to a state.
        horizon: ``T > 0``.
        steps: steps of the coarsest grid, on which the solution is returned.
        levels: number of grids, each with half the step of the one before; 1 is the trapezoidal rule.
        tolerance: tolerance of the implicit step, relative to the largest ``|x|`` so far. Changes within 8 units of rounding
            of ``x``, or of the terms of its sum, are accepted.
        powers: powers of the step in the series of the error, increasing, in the order of their removal; None: 2, 4, 6 and so
            on; empty for a function without a series.

    Raises:
        ValueError: for an argument out of its range, a forcing that is not finite, or shapes that do not match.
        ImplicitStepError: if a step is too large to be solved reliably, or the solution is not finite at some t.
    """
    _check_numbers(steps, levels, horizon, tolerance)
    times = torch.linspace(0.0, horizon, (steps << (levels - 1)) + 1, dtype=torch.float64)
    forces = _forces(forcing, times)
    tolerance = max(tolerance, _rounding(forces))
    equation = _Equation(kernel=kernel, nonlinearity=nonlinearity, sigma=sigma, tolerance=tolerance)
    exponents = [2 * m for m in range(1, levels)] if powers is None else list(powers)
    above, row = _last_rows(equation, times, forces, levels, exponents)
    difference = _size(row[-1] - above[-1]) if above else math.nan
    if not exponents:
        difference /= 2**SLOWEST - 1
    coarse_times = times[:: 1 << (levels - 1)].to(forces.device)
    return VolterraSolution(times=coarse_times, values=row[-1], error=difference + tolerance * _size(row[-1]))


def _check_numbers(steps: int, levels: int, horizon: float, tolerance: float) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if levels < 1:
        raise ValueError(f"levels must be at least 1, not {levels}")
    if not 0 < horizon < math.inf:
        raise ValueError(f"horizon must be positive and finite, not {horizon}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, not {tolerance}")


def _forces(forcing: Callable[[Tensor], Tensor], times: Tensor) -> Tensor:
    """Return ``f`` at the m times, shape (m, *state); ValueError if it is not finite floating point of that shape."""
    forces = forcing(times)
    if forces.shape[:1] != times.shape or forces.numel() == 0:
        raise ValueError(f"forcing must return shape ({len(times)}, *state), not {tuple(forces.shape)}")
    if not forces.is_floating_point():
        raise ValueError(f"forcing must return floating-point values, not {forces.dtype}")
    finite = forces.flatten(1).isfinite().all(1) if forces.dim() > 1 else forces.isfinite()
    if not finite.all():
        raise ValueError(f"forcing is not finite at t = {times[(~finite).cpu()][0]:.6g}")
    return forces


def _rounding(x: Tensor) -> float:
    return 8 * torch.finfo(x.dtype).eps


def _last_rows(
    equation: _Equation, times: Tensor, forces: Tensor, levels: int, powers: Sequence[float]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the last two rows of the Romberg table on the points of the coarsest grid; the first is empty with one level."""
    above: list[Tensor] = []
    row: list[Tensor] = []
    for level in range(levels):
        stride = 1 << (levels - 1 - level)
        march = _March(equation, times[::stride].to(forces.device), forces[::stride])
        above, row = row, _next_row(row, march.run()[:: 1 << level], powers)
    return above, row


def _next_row(above: list[Tensor], first: Tensor, powers: Sequence[float]) -> list[Tensor]:
    """Return the row of the Romberg table from ``first``: ``R_m = R_(m−1) + (R_(m−1) − above_(m−1)) / (2^p_m − 1)``."""
    row = [first]
    for power, coarser in zip(powers, above, strict=False):
        row.append(row[-1] + (row[-1] - coarser) / (2**power - 1))
    return row


def _size(x: Tensor) -> float:
    """Return ``max |x|``; NaN if an element is."""
    return float(torch.linalg.vector_norm(x, math.inf))


@dataclass(frozen=True, kw_only=True)
class _Equation:
    """The equation, which is common to all grids."""

    kernel: Callable[[Tensor, Tensor], Tensor]
    nonlinearity: Callable[[Tensor, Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    tolerance: float
    """Tolerance of the implicit step."""


class _March:
    """The trapezoidal rule on one grid of m points, from the first to the last.

    A state is stored as (b, d): for a matrix kernel, d is its last dimension and b the product of the others; for a scalar
    kernel d is 1. The history is one matrix (b, m d), whose columns contain ``w_j N(t_j, x_j)``, with the weights ``w`` of the
    rule. The sums over j of a block of rows are therefore one product with the values of the kernel as a matrix.
    """

    def __init__(self, equation: _Equation, times: Tensor, forces: Tensor) -> None:
        self.equation = equation
        self.times = times
        self.state = forces.shape[1:]
        self.h = float(times[1])
        self.rounding = _rounding(forces)
        self.matrix = self._matrix_shape()
        self.d = self.matrix[0] if self.matrix else 1
        self.forces = forces.reshape(len(times), -1, self.d).contiguous()
        self.values = torch.empty_like(self.forces)
        self.history = self.forces.new_empty(self.forces.shape[1], len(times) * self.d)
        self.extrapolation = [self.forces.new_tensor(weights) for weights in _EXTRAPOLATION]
        self.scale = 0.0
        self.stiff = False
        """True if a step needed Newton's method; all later steps use it too."""

    def run(self) -> Tensor:
        """Compute the solution at all points, shape (m, *state)."""
        self._start()
        first = 1
        while first < len(self.times):
            end = min(first + self._rows(first), len(self.times))
            self._block(first, end)
            first = end
        return self.values.reshape(-1, *self.state)

    def _matrix_shape(self) -> tuple[int, ...]:
        """Return () for a scalar kernel, (d, d) for a matrix; ValueError for any other shape."""
        start = self.times[:1]
        shape = tuple(self.equation.kernel(start[:, None], start).shape)
        matrix = (self.state[-1], self.state[-1]) if self.state else ()
        if shape not in {(1, 1), (1, 1, *matrix)}:
            choice = f" or (r, j, {matrix[0]}, {matrix[0]})" if matrix else ""
            raise ValueError(
                f"kernel must return shape (r, j){choice} for a state of shape {tuple(self.state)}; "
                f"with r = j = 1 it returned {shape}"
            )
        return shape[2:]

    def _start(self) -> None:
        """Compute ``x_0 = sigma(f(0))``, and check the shapes that ``sigma`` and ``N`` return."""
        x = self.equation.sigma(self.forces[0].view(self.state))
        transformed = self.equation.nonlinearity(self.times[0], x)
        for name, result in (("sigma", x), ("nonlinearity", transformed)):
            if result.shape != self.state:
                raise ValueError(f"{name} must keep the state's shape {tuple(self.state)}, not {tuple(result.shape)}")
        if not math.isfinite(_size(x)):
            raise ImplicitStepError("the solution is not finite at t = 0, where it is sigma(forcing(0))")
        self._keep(0, x.reshape_as(self.forces[0]), self.h / 2)

    def _rows(self, first: int) -> int:
        """Return the number of rows from ``first`` on that fit in a block."""
        row_bytes = (first + _MOST_ROWS) * self.d**2 * self.forces.element_size()
        return max(1, min(_MOST_ROWS, _BLOCK_BYTES // row_bytes))

    def _block(self, first: int, end: int) -> None:
        d, start = self.d, first * self.d
        kernel = self._kernel(first, end)
        sums = self.history[:, :start] @ kernel[:, :start].mT  # (b, rows · d): all columns before the block
        rows, pasts = kernel.view(-1, d, end * d).unbind(), sums.view(-1, end - first, d).unbind(1)
        for i, row, past in zip(range(first, end), rows, pasts, strict=True):
            near = self.history[:, start : i * d] @ row[:, start : i * d].mT  # the block's columns before i
            diagonal = row[:, i * d : (i + 1) * d].mT * (self.h / 2)
            self._keep(i, self._solve(i, self.forces[i] + past + near, diagonal), self.h)

    def _kernel(self, first: int, end: int) -> Tensor:
        """Compute ``K(t_i, s_j)``, first <= i < end, 0 <= j < end, as a matrix (rows · d, end · d)."""
        values = self.equation.kernel(self.times[first:end, None], self.times[:end])
        expected = (end - first, end, *self.matrix)
        if values.shape != expected:
            raise ValueError(f"kernel must return shape {expected} here, not {tuple(values.shape)}")
        values = values.to(self.forces.dtype).view(end - first, end, self.d, self.d)
        return values.transpose(1, 2).reshape((end - first) * self.d, end * self.d)

    def _solve(self, i: int, known: Tensor, diagonal: Tensor) -> Tensor:
        """Solve ``x = sigma(known + N(t_i, x) diagonal)``; shapes (b, d) and (d, d) to (b, d)."""
        error = None
        if not self.stiff:
            try:
                return self._iterate(i, known, diagonal)
            except ImplicitStepError as failure:
                self.stiff, error = True, failure
        return self._newton(i, known, diagonal, error)

    def _iterate(self, i: int, known: Tensor, diagonal: Tensor) -> Tensor:
        """Solve the step by iteration from an extrapolation of the previous points."""
        t, x, change = self.times[i], self._predict(i), math.nan
        rounding = self.rounding * _size(known)  # the rest of large sums that cancel
        for _ in range(_MOST_ITERATIONS):
            argument = torch.addmm(known, self._nonlinear(t, x), diagonal)
            last, x = x, self.equation.sigma(argument.reshape(self.state)).reshape_as(known)
            change = _size(x - last)
            if not math.isfinite(change + _size(argument)):  # a bounded sigma hides infinite arguments
                raise ImplicitStepError.not_finite(float(t), self.h)
            if change <= self.equation.tolerance * max(self.scale, _size(x)) + rounding:
                return x
        raise ImplicitStepError.not_converged(float(t), self.h, change, _MOST_ITERATIONS)

    def _newton(self, i: int, known: Tensor, diagonal: Tensor, error: ImplicitStepError | None) -> Tensor:
        """Solve the step by Newton's method. If that fails, raise the ``error`` of the iteration, if any."""
        t, last = self.times[i], self.values[i - 1]
        if not math.isfinite(_size(known) + _size(diagonal)):
            raise error or ImplicitStepError.not_finite(float(t), self.h)

        def step(x: Tensor) -> Tensor:
            argument = torch.addmm(known, self._nonlinear(t, x), diagonal)
            return self.equation.sigma(argument.reshape(self.state)).reshape_as(known)

        tolerance = self.equation.tolerance * max(self.scale, _size(last)) + self.rounding * _size(known)
        try:
            return solve_stiff(step, last, self._predict(i), tolerance=tolerance, scale=self.scale)
        except Unresolved as unresolved:
            if unresolved.factor is not None:
                raise ImplicitStepError.too_stiff(float(t), self.h, len(self.times) - 1, unresolved.factor) from None
            raise error or ImplicitStepError.not_solved(float(t), self.h) from None

    def _predict(self, i: int) -> Tensor:
        """Extrapolate the last four points, or fewer, to ``t_i``; shape (b, d)."""
        weights = self.extrapolation[min(i, len(self.extrapolation)) - 1]
        last = self.values[i - len(weights) : i]
        return (weights @ last.flatten(1)).view_as(last[0])

    def _nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Compute ``N(t, x)``, shape (b, d) to the same."""
        return self.equation.nonlinearity(t, x.reshape(self.state)).to(x.dtype).reshape_as(x)

    def _keep(self, i: int, x: Tensor, weight: float) -> None:
        """Store the solution at ``t_i``, and its term in the sums of the later points."""
        self.values[i] = x
        self.history[:, i * self.d : (i + 1) * self.d] = self._nonlinear(self.times[i], x) * weight
        self.scale = max(self.scale, _size(x))
