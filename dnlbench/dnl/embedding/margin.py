r"""Margins of a trained network, and its distance from a KKT point of the maximum-margin problem.

.. math:: \min_\theta \tfrac12 \|\theta\|^2 \quad \text{subject to} \quad y_m f(\theta; x_m) \ge 1 \text{ for all } m

A KKT point has multipliers :math:`\lambda_m \ge 0` with :math:`\theta = \sum_m \lambda_m y_m \nabla f(\theta; x_m)`
(stationarity) and :math:`\lambda_m (y_m f(\theta; x_m) - 1) = 0` (complementary slackness). Gradient descent on separable data
drives homogeneous networks toward the direction of a KKT point (Lyu & Li 2020). The splitting ``S`` maps KKT points to
KKT points, with the same multipliers (arXiv 2505.12419).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from dnlbench.dnl.embedding.descent import Samples, largest
from dnlbench.dnl.embedding.networks import Network

MOST_DOUBLINGS = 60
"""Maximum number of doublings of the factor that scales a network to margin 1."""


@dataclass(frozen=True, kw_only=True)
class KKT:
    """Distance of a network from a KKT point at margin 1; 0 at a KKT point, and independent of the scale of theta."""

    stationarity: float
    """``min over lambda >= 0 of ‖theta − sum_m lambda_m y_m ∇f(theta; x_m)‖ / ‖theta‖``, between 0 and 1."""
    slackness: float
    """``sum_m lambda_m (y_m f(theta; x_m) − 1) / ‖theta‖²`` for these lambda; non-negative."""
    multipliers: tuple[float, ...]
    """The multipliers lambda of the samples at margin 1."""

    @property
    def parts(self) -> tuple[float, float]:
        return self.stationarity, self.slackness

    @property
    def residual(self) -> float:
        """The larger of stationarity and slackness."""
        return largest(self.parts)


def normalized_margins(network: Network, theta: Tensor, samples: Samples) -> Tensor:
    """Compute ``y_m f(theta / ‖theta‖; x_m)`` for each sample, shape (M,); the minimum is the normalized margin.

    For a network of degree ``n`` it equals ``y_m f(theta; x_m) / ‖theta‖^n``; this form needs no degree.
    """
    return _margins(network, theta / theta.norm(), samples)


def kkt(network: Network, theta: Tensor, samples: Samples) -> KKT | None:
    """Compute the distance of a network from a KKT point; None if it does not separate the samples.

    The network is first scaled to margin 1: to ``a theta`` with ``min_m y_m f(a theta; x_m) = 1``, ``a > 0``. The multipliers
    minimize the residual of stationarity, by non-negative least squares (Lawson & Hanson); the slackness follows from them.
    Both values are relative to ``theta``, so they are equal for every multiple of it. For a homogeneous network of degree
    ``n`` they do not depend on the scaling either, and ``sum lambda_m = ‖theta‖² / n`` at a KKT point.
    """
    factor = factor_to_margin_1(network, theta, samples)
    if factor is None:
        return None
    scaled = factor * theta
    point: NDArray[np.float64] = scaled.cpu().numpy()
    gradients, margins = _gradients(network, scaled, samples)  # (M, P), (M,)
    Q, R = np.linalg.qr(gradients.T)
    multipliers, _ = optimize.nnls(R, Q.T @ point)
    size = float(np.linalg.norm(point))
    return KKT(
        stationarity=float(np.linalg.norm(point - gradients.T @ multipliers)) / size,
        slackness=float(multipliers @ (margins - 1).clip(min=0)) / size**2,
        multipliers=tuple(multipliers.tolist()),
    )


def factor_to_margin_1(network: Network, theta: Tensor, samples: Samples) -> float | None:
    """Return ``a > 0`` with ``min_m y_m f(a theta; x_m) = 1``; None if the samples are not separated, or no root is found.

    If the network is not homogeneous, the margin need not grow with ``a``; the root is one at which it does.
    """

    def excess(exponent: float) -> float:
        return float(_margins(network, 2.0**exponent * theta, samples).min()) - 1

    if not excess(0.0) > -1:
        return None
    low = high = 0.0
    while excess(low) > 0 and low > -MOST_DOUBLINGS:
        low -= 1
    while excess(high) < 0 and high < MOST_DOUBLINGS:
        high += 1
    if excess(low) > 0 or not excess(high) >= 0:
        return None
    return 2.0 ** float(optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-15)) if low < high else 1.0


@torch.no_grad()
def _margins(network: Network, theta: Tensor, samples: Samples) -> Tensor:
    """Compute the margins ``y_m f(theta; x_m)``, shape (M,)."""
    return samples.y * network(theta, samples.x)


def _gradients(network: Network, theta: Tensor, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute ``y_m ∇f(theta; x_m)``, shape (M, P), and ``y_m f(theta; x_m)``."""
    leaf = theta.detach().requires_grad_()
    margins = samples.y * network(leaf, samples.x)
    rows = torch.stack([torch.autograd.grad(margin, leaf, retain_graph=True)[0] for margin in margins])
    return rows.cpu().numpy(), margins.detach().cpu().numpy()
