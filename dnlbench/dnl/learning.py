r"""The learning problem, Eq. (4), and its minimisers.

.. math:: J_L(\theta) = \frac{1}{M} \sum_m \ell( x^L(\theta; d_m), g_m ) + \lambda R_L(\theta)

over the arrays :math:`\theta` of a network of depth ``L``. Theorem 1: as ``L`` grows the optimal values converge to that of
the continuous problem, and the extended minimisers converge along subsequences.

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
    """``J_L(theta) = (1/M) sum_m loss(x^L(theta; d_m), g_m) + lambda R_L(theta)`` (Eq. (4)), but for the depth."""

    form: VectorForm
    x0: Tensor
    """The inputs ``d_m``, shape (M, n, c)."""
    loss: Callable[[Tensor], Tensor]
    """Last states, shape (M, n, c), to the mean of the loss over the samples, a scalar."""
    weight: float
    """``lambda``."""

    def data_loss(self, arrays: Arrays) -> Tensor:
        return self.loss(states(self.form, arrays, self.x0)[-1])


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where a minimisation ended."""

    arrays: Arrays
    value: float
    """``J_L``."""
    data_loss: float
    """Its first term."""
    regularizer: float
    """``R_L``."""
    gradient_norm: float
    """Euclidean norm of the gradient in Sobolev coordinates."""
    iterations: int
    evaluations: int
    """Of ``J_L`` with its gradient."""
    converged: bool
    """False if the iterations were used up, or if no step lowered ``J_L`` any more that was still to be lowered."""
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
    """``min (1/M) sum_m loss(x^L(theta; d_m), g_m) + lambda R_L(theta)`` from ``start``, by L-BFGS in Sobolev coordinates.

    It finds a local minimum. The method is that of Liu & Nocedal (1989) as SciPy has it. In these coordinates ``R_L = |z|²``,
    so that the number of iterations does not grow with depth.

    Args:
        problem: what to minimise.
        start: of the depth that is asked for.
        tolerance: it ends when an iteration lowers ``J_L`` by less than this, or by less than this share of it where ``J_L``
            is above 1.
        max_iterations: it ends then at the latest.
        pairs: of steps and gradient changes, which L-BFGS keeps.
        check: called before each evaluation; what it raises ends the minimisation.
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
