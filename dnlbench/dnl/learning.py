r"""The learning problem, Eq. (4), and its minimizers.

.. math:: J_L(\theta) = \frac{1}{M} \sum_m \ell( x^L(\theta; d_m), g_m ) + \lambda R_L(\theta)

over the arrays :math:`\theta` of a network of depth ``L``. Theorem 1: as ``L`` grows, the optimal values converge to that of
the continuous problem, and the extended minimizers converge along subsequences.

Source: arXiv 2510.02049, sections 2 and 3. The displayed formulas were not legible in the text at hand; these forms were
rebuilt from its words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from dnlbench.dnl.parameters import Arrays
from dnlbench.dnl.sobolev import SobolevCoordinates
from dnlbench.dnl.vector import VectorForm, states


@dataclass(frozen=True, kw_only=True)
class LearningProblem:
    """The problem ``J_L(theta) = (1/M) sum_m loss(x^L(theta; d_m), g_m) + lambda R_L(theta)``, Eq. (4), for any depth."""

    form: VectorForm
    x0: Tensor
    """The inputs ``d_m``, shape (M, n, c)."""
    loss: Callable[[Tensor], Tensor]
    """Maps last states, shape (M, n, c), to the mean loss over the samples, a scalar."""
    weight: float
    """``lambda``."""

    def data_loss(self, arrays: Arrays) -> Tensor:
        return self.loss(states(self.form, arrays, self.x0)[-1])


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The result of a minimization."""

    arrays: Arrays
    value: float
    """``J_L``."""
    data_loss: float
    """The first term of ``J_L``."""
    regularizer: float
    """``R_L``."""
    gradient_norm: float
    """Euclidean norm of the gradient in Sobolev coordinates."""
    iterations: int
    evaluations: int
    """Number of evaluations of ``J_L`` with its gradient."""
    converged: bool
    """False if the maximum number of iterations was reached, or if the line search failed."""
    values: tuple[float, ...]
    """``J_L`` at the start and after each iteration."""


def minimize(
    problem: LearningProblem,
    start: Arrays,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
    pairs: int = 20,
    check: Callable[[], None] = lambda: None,
) -> Minimum:
    """Minimize ``(1/M) sum_m loss(x^L(theta; d_m), g_m) + lambda R_L(theta)`` by L-BFGS in Sobolev coordinates.

    The result is a local minimum. The method is SciPy's implementation of Liu & Nocedal (1989). In these coordinates
    ``R_L = |z|²``, so the number of iterations does not grow with depth.

    Args:
        problem: the problem.
        start: the initial arrays, which also set the depth.
        tolerance: stop if an iteration lowers ``J_L`` by less than this; relative to ``J_L`` if that is above 1.
        max_iterations: maximum number of iterations.
        pairs: number of pairs of steps and gradient changes that L-BFGS stores.
        check: called before each evaluation; an exception ends the minimization.
    """
    coordinates = SobolevCoordinates(start)
    z0 = coordinates.flatten(start)
    values: list[float] = []

    def evaluate(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        check()
        point = torch.from_numpy(z).to(z0).requires_grad_()
        value = problem.data_loss(coordinates.unflatten(point)) + problem.weight * point.square().sum()
        (gradient,) = torch.autograd.grad(value, point)
        return value.item(), gradient.cpu().numpy()

    first, _ = evaluate(z0.cpu().numpy())
    result = optimize.minimize(
        evaluate,
        z0.cpu().numpy(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda intermediate_result: values.append(float(intermediate_result.fun)),
        options={"maxcor": pairs, "ftol": tolerance, "gtol": 0.0, "maxiter": max_iterations, "maxfun": 10**6},
    )
    z = torch.from_numpy(result.x).to(z0)
    arrays = coordinates.unflatten(z)
    regularizer = float(z.square().sum())
    return Minimum(
        arrays=arrays,
        value=float(result.fun),
        data_loss=float(result.fun) - problem.weight * regularizer,
        regularizer=regularizer,
        gradient_norm=float(np.linalg.norm(result.jac)),
        iterations=int(result.nit),
        evaluations=int(result.nfev),
        converged=bool(result.success),
        values=(first, *values),
    )
