r"""The deep-layer limit of a network, the integral equation (7), and the distance of a network from it.

.. math:: x(t) = \sigma\Big( A(t) x_0 + b(t) + \int_0^t K(t, s) N_{\theta(s)}(x(s)) \, ds \Big), \qquad t \in [0, 1].

Corollary 5: for the states :math:`x^l` of the network whose parameters are samples of smooth curves,
:math:`\max_l \|x^l - x(t_l)\| \le C / L`.

Source: arXiv 2510.02049, section 3. The displayed formulas were not legible in the text at hand; these forms were rebuilt
from its words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dnlbench.architecture import full
from dnlbench.dnl.curves import Curves
from dnlbench.dnl.vector import VectorForm
from dnlbench.dnl.volterra import VolterraSolution, solve_volterra


def solve_limit(
    form: VectorForm,
    curves: Curves,
    x0: Tensor,
    *,
    steps: int,
    levels: int = 3,
    powers: Sequence[float] | None = None,
) -> VolterraSolution:
    """Solve ``x(t) = sigma(A(t) x_0 + b(t) + ∫_0^t K(t, s) N_{theta(s)}(x(s)) ds)`` on [0, 1] for a batch of inputs.

    The order is ``2 levels`` for smooth activations and 2 for those with a kink; see `solve_volterra`.

    Args:
        form: kernel and activation.
        curves: the parameters.
        x0: inputs, shape (B, n, c).
        steps: steps of the coarsest grid; the solution is returned at its ``steps + 1`` points.
        levels: levels of extrapolation.
        powers: powers of the step in the series of the error, for curves that are not smooth; see `solve_volterra`.

    Returns:
        The solution with values of shape (steps + 1, B, n c).

    Raises:
        ValueError: if the connectivity is not full. With ``m`` sources per layer the sum of Eq. (1) is ``O(m / L)``.
        ImplicitStepError: if a step cannot be solved.
    """
    if form.sources is not full:
        raise ValueError("Eq. (7) is the limit of the fully dense network")
    B, n, c = x0.shape
    inputs = x0.reshape(B, n * c)
    inner = [curve for name, curve in curves.one_index() if name in ("V", "Q", "R")]

    def forcing(t: Tensor) -> Tensor:
        return inputs @ curves.A(t).mT + curves.b(t)[:, None]  # (m, B, d)

    def nonlinearity(s: Tensor, x: Tensor) -> Tensor:
        theta = (curve(s.view(1))[0] for curve in inner)
        return form.transform(x.view(B, n, c), *theta).reshape(B, n * c)

    return solve_volterra(forcing, curves.K, nonlinearity, sigma=form.sigma, steps=steps, levels=levels, powers=powers)


def forward_errors(states: Tensor, solution: VolterraSolution) -> Tensor:
    """Compute ``max_b ‖x^l − x(t_l)‖`` for ``1 <= l <= L``, Euclidean norms over positions and channels, shape (L,).

    The input ``x^0`` is excluded, since ``x(0) = sigma(A(0) x_0 + b(0))`` differs from it. States have shape (L + 1, B, n, c).

    Raises:
        ValueError: if ``L`` does not divide the number of steps of the solution's grid.
    """
    L, steps = len(states) - 1, len(solution.times) - 1
    if steps % L:
        raise ValueError(f"depth {L} does not divide the {steps} steps of the reference")
    expected = solution.values[steps // L :: steps // L]
    distances: Tensor = torch.linalg.vector_norm(states[1:].flatten(2) - expected, dim=2)
    return distances.amax(dim=1)
