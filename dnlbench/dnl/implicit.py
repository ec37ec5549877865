r"""Newton's method for stiff steps: the implicit equation ``x = g(x)`` if fixed-point iteration does not contract.

With :math:`J = g'(x)`, Newton's method solves :math:`(I - J) \, \Delta = g(x) - x`; a step that does not lower the residual
is halved. The eigenvalues λ of J determine the trapezoidal rule in the step: a mode :math:`e^{\mu t}` of the continuous
equation has :math:`\lambda = h \mu / 2` and is multiplied by :math:`(1 + \lambda) / (1 - \lambda)`.

- Re λ >= ½: the mode grows threefold or more. The step is too large, and near Re λ = 1 the equation has no solution or one of
  another branch. Blow-up has this form, so the step is refused.
- Re λ < −1: the mode decays, but alternates in sign in the rule. The step is valid while the solution follows its slow part. A
  solution that deviates from the polynomial through the last points by more than `LARGEST_CHANGE` is a transient that the step
  does not resolve.

Source: E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, Springer 1996, sections IV.3 and IV.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from dnlbench.errors import DnlbenchError

MOST_UNKNOWNS = 1024
"""Maximum size of a state whose Jacobian is computed, with one backward pass for each number."""

GROWTH = 0.5
"""Largest real part of an eigenvalue of J."""

LARGEST_CHANGE = 0.05
"""Maximum distance of a stiff step from the prediction, as a fraction of the largest ``|x|`` so far."""

RESOLVED = 0.5
"""Size of an eigenvalue at which the iteration halves its residual and no mode alternates."""

_MOST_STEPS = 50
_MOST_HALVINGS = 30


class ImplicitStepError(DnlbenchError):
    """No solution was found at a time point, or the solution is not finite."""

    @classmethod
    def not_finite(cls, t: float, h: float) -> Self:
        return cls(
            f"the solution is not finite at t = {t:.6g} (step h = {h:.3g}, residual inf): it or the kernel is "
            "unbounded there, or the step is too large; take more steps or a shorter horizon"
        )

    @classmethod
    def not_solved(cls, t: float, h: float) -> Self:
        return cls(
            f"the implicit step at t = {t:.6g} with h = {h:.3g} has no reliable solution: the solution grows "
            "too fast for this step; take more steps or a shorter horizon"
        )

    @classmethod
    def too_stiff(cls, t: float, h: float, steps: int, factor: float) -> Self:
        """Return the error for a step that is too large by the factor."""
        return cls(
            f"the equation is stiff at t = {t:.6g} and its solution changes too fast for h = {h:.3g} "
            f"({steps} steps); take more steps: {math.ceil(steps * factor)} with h = {h / factor:.3g} are enough there"
        )

    @classmethod
    def not_converged(cls, t: float, h: float, residual: float, iterations: int) -> Self:
        return cls(
            f"the implicit step at t = {t:.6g} with h = {h:.3g} does not converge: residual {residual:.3g} after "
            f"{iterations} iterations; take more steps"
        )


class Unresolved(Exception):  # noqa: N818 - an internal signal, not an error of the user
    """The step is unreliable. A step smaller by ``factor`` is reliable; None: no such step is known."""

    def __init__(self, factor: float | None) -> None:
        super().__init__(factor)
        self.factor = factor


def solve_stiff(
    g: Callable[[Tensor], Tensor], last: Tensor, predicted: Tensor, *, tolerance: float, scale: float
) -> Tensor:
    """Solve ``x = g(x)`` by Newton's method from ``last``, the solution one step before.

    Autograd differentiates ``g``. ``predicted`` is the extrapolation of the previous states, ``tolerance`` the absolute size of
    the last Newton step, and ``scale`` the largest ``|x|`` so far.

    Raises:
        Unresolved: if the step is too large, or no solution is found.
    """
    if last.numel() > MOST_UNKNOWNS:
        raise Unresolved(None)
    before = _jacobian(g, last)
    _require_no_growth(before)
    x = _newton(g, last, tolerance)
    if x is None:
        raise Unresolved(_factor(before))
    after = _jacobian(g, x)
    _require_no_growth(after)
    decay = max(_decay(before), _decay(after))
    if decay > 1 and float((x - predicted).abs().max()) > LARGEST_CHANGE * max(scale, float(x.abs().max())):
        raise Unresolved(decay / RESOLVED)
    return x


def _newton(g: Callable[[Tensor], Tensor], start: Tensor, tolerance: float) -> Tensor | None:
    """Return the solution of damped Newton steps; None if they do not converge."""
    x, residual = start, g(start) - start
    for _ in range(_MOST_STEPS):
        J = _jacobian(g, x)
        eye = torch.eye(len(J), dtype=J.dtype, device=J.device)
        flat, info = torch.linalg.solve_ex(eye - J, residual.flatten())
        step: Tensor = flat.view_as(x)
        if int(info) or not step.isfinite().all():
            return None
        size = float(torch.linalg.vector_norm(residual))
        if float(step.abs().max()) <= tolerance:
            return x + step
        for _ in range(_MOST_HALVINGS):
            residual = g(x + step) - (x + step)
            if float(torch.linalg.vector_norm(residual)) < size:  # False for NaN
                break
            step = step / 2
        else:
            return None
        x = x + step
    return None


def _jacobian(g: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ``dg / dx``, shape (n, n) for a state of n numbers, row by row for any ``g`` that autograd supports."""
    matrix: Tensor = jacobian(g, x)  # type: ignore[no-untyped-call]
    return matrix.reshape(x.numel(), x.numel())


def _eigenvalues(J: Tensor) -> Tensor:
    if not J.isfinite().all():
        raise Unresolved(None)
    values: Tensor = torch.linalg.eigvals(J.cpu().double())
    return values


def _require_no_growth(J: Tensor) -> None:
    if float(_eigenvalues(J).real.max()) >= GROWTH:
        raise Unresolved(None)


def _decay(J: Tensor) -> float:
    """Return the largest ``|λ|`` of a Jacobian without growing modes."""
    return float(_eigenvalues(J).abs().max())


def _factor(J: Tensor) -> float | None:
    decay = _decay(J)
    return decay / RESOLVED if decay > RESOLVED and math.isfinite(decay) else None
