r"""Deep ReLU networks of fixed width, their activation domains and their explicit form on a domain.

.. math:: x_k = \mathrm{ReLU}(W_k x_{k-1} + b_k), \qquad 1 \le k \le n.

On an *activation domain*, a set of inputs that activate the same units in every layer, each ReLU is a product with a diagonal
matrix of zeros and ones, the activation matrix :math:`D_k`, and the network is the affine map

.. math:: x_n = (D_n W_n \cdots D_1 W_1) \, x_0 + \sum_{i=1}^{n} (D_n W_n \cdots D_{i+1} W_{i+1}) \, D_i b_i.

The network therefore converges as :math:`n \to \infty` if the infinite products of matrices do. Conditions, with
:math:`W_k = I + P_k`:

*necessary*: :math:`W_k \to I` and :math:`b_k \to 0`; *sufficient*: :math:`\sum \|P_k\| < \infty` and
:math:`\sum \|b_k\| < \infty`.

Source: Xu and Zhang, *Convergence of Deep ReLU Networks*, arXiv 2107.12530, of which only the abstract was available. The
necessary conditions do not hold for every network: one with all biases below a negative number ends at 0 for any weights, and
``W_k = I / 2`` without biases converges to 0. They hold if the products converge to a limit of full rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dnlbench.architecture import Direction

Condition = Literal["excluded", "possible", "guaranteed"]


@dataclass(frozen=True, kw_only=True)
class ReluNetwork:
    """The parameters ``W_k`` and ``b_k`` of the layers ``1 … n``."""

    W: Tensor
    """Shape (n, d, d)."""
    b: Tensor
    """Shape (n, d)."""


@dataclass(frozen=True, kw_only=True)
class Domains:
    """The activation domains of a set of points."""

    of_point: Tensor
    """Index of the domain, over all layers, of each point, shape (B,)."""
    count: Tensor
    """Number of domains of the first ``k`` layers, ``1 <= k <= n``, shape (n,): at least 1, and non-decreasing in ``k``."""


def states(network: ReluNetwork, x0: Tensor) -> Tensor:
    """Compute ``x_k = ReLU(W_k x_{k-1} + b_k)``: inputs (B, d) to the states ``x_0 … x_n``, shape (n + 1, B, d)."""
    x = x0.new_empty(len(network.b) + 1, *x0.shape)
    x[0] = x0
    for k, (weights, bias) in enumerate(zip(network.W, network.b, strict=True)):
        torch.addmm(bias, x[k], weights.mT, out=x[k + 1]).relu_()
    return x


def activations(x: Tensor) -> Tensor:
    """Return the diagonals of the activation matrices ``D_k`` at each point: states (n + 1, B, d) to booleans (n, B, d).

    A unit is active if its state is positive. For ``W x + b = 0`` both values of ``D`` give the same network.
    """
    return x[1:] > 0


def explicit_states(
    network: ReluNetwork, active: Tensor, domains: Domains, x0: Tensor, *, at_once: int = 2**18
) -> Tensor:
    """Compute ``x_n = (D_n W_n ⋯ D_1 W_1) x_0 + sum_i (D_n W_n ⋯ D_{i+1} W_{i+1}) D_i b_i`` without intermediate states.

    The affine maps of the layers are composed in pairs, pairs of pairs and so on, once for each domain, so rounding grows like
    the logarithm of ``n``. Only the activation matrices are shared with the recursion.

    Args:
        network: ``W`` and ``b``.
        active: the diagonals of ``D``, shape (n, B, d).
        domains: the domains of the points.
        x0: the points, shape (B, d).
        at_once: maximum size of the matrices of the domains computed at once; at least one domain is.

    Returns:
        Shape (B, d).
    """
    point_of = {which: index for index, which in enumerate(domains.of_point.tolist())}  # any point of a domain
    points = [point_of[which] for which in range(len(point_of))]
    few = max(1, at_once // network.W.numel())
    maps = [_compose(network, active[:, points[i : i + few]]) for i in range(0, len(points), few)]
    matrices, vectors = (torch.cat(parts) for parts in zip(*maps, strict=True))
    mine = domains.of_point
    x: Tensor = (matrices[mine] @ x0[..., None])[..., 0] + vectors[mine]
    return x


def _compose(network: ReluNetwork, active: Tensor) -> tuple[Tensor, Tensor]:
    """Return the affine map of all layers: activation matrices (n, m, d) to a matrix (m, d, d) and a vector (m, d)."""
    D = active.to(network.W).transpose(0, 1)  # (m, n, d)
    matrices, vectors = D[..., None] * network.W, (D * network.b)[..., None]
    while matrices.shape[1] > 1:
        pairs = matrices.shape[1] // 2 * 2
        first, second = slice(0, pairs, 2), slice(1, pairs, 2)
        rest = slice(pairs, None)  # the last one of an odd number
        vectors = torch.cat([matrices[:, second] @ vectors[:, first] + vectors[:, second], vectors[:, rest]], dim=1)
        matrices = torch.cat([matrices[:, second] @ matrices[:, first], matrices[:, rest]], dim=1)
    return matrices[:, 0], vectors[:, 0, :, 0]


def find_domains(active: Tensor) -> Domains:
    """Group the points that activate the same units in all layers, and count the groups after each layer.

    In lexicographic order the patterns that agree in the first ``k`` layers are contiguous, so each pair of neighbors that
    first differs in layer ``k`` adds a domain.

    ``active`` has shape (n, B, d), booleans.
    """
    n, B, d = active.shape
    patterns, of_point = torch.unique(
        active.transpose(0, 1).reshape(B, n * d).to(torch.uint8), dim=0, return_inverse=True
    )
    first = (patterns[1:] != patterns[:-1]).to(torch.uint8).argmax(dim=1) // d  # the layer, from 0
    return Domains(of_point=of_point, count=1 + torch.bincount(first, minlength=n).cumsum(0))


def stable_fraction(active: Tensor) -> float:
    """Return the fraction of units, over all points, with the same activation in all given layers, (m, B, d)."""
    return float((active == active[0]).all(dim=0).double().mean())


def condition(weights: float, biases: float, *, gain: float = 1.0) -> Condition:
    """Apply the conditions to ``W_k = gain I + P_k``, ``‖P_k‖ ~ k^-weights``, ``‖b_k‖ ~ k^-biases``; exponent ∞: all 0.

    *guaranteed*: both sums are finite. *excluded*: ``W_k`` does not converge to ``I``, or ``b_k`` not to 0. *possible*:
    otherwise.
    """
    slowest = min(weights, biases)
    if gain != 1 or slowest <= 0:
        return "excluded"
    return "guaranteed" if slowest > 1 else "possible"


def expected_order(weights: float, biases: float, direction: Direction, *, gain: float = 1.0) -> float | None:
    """Return ``p`` in ``|x_2n − x_n| ~ n^-p`` for the exponents of `condition`; None if there is no such order.

    ``x_2n − x_n`` is a sum of ``n`` terms of size ``n^-a``, where ``a`` is the smaller exponent. Terms of one *fixed* direction
    add up: ``p = a − 1`` if ``a > 1``. *Independent* terms with mean 0 form a random walk, whose variance is a sum of ``n``
    terms of size ``n^-2a``: ``p = a − 1/2`` if ``a > 1/2``. Such a network converges with probability 1 if the sum of the
    squares is finite. For smaller ``a`` the result depends on the growth of the states.
    """
    order = min(weights, biases) - (1.0 if direction == "fixed" else 0.5)
    return order if gain == 1 and 0 < order < math.inf else None
