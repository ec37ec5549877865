r"""Maps between curves and arrays: sampling, cell averages, extension and prolongation, and the norms of differences.

With :math:`t_l = l / L`,

- sampling (Corollary 5): :math:`p^l = p(t_l)`, :math:`K^{l,k} = K(t_l, t_k)`;
- cell averages (Lemma 12): :math:`K^{l,k} = L^2 \int_{t_l}^{t_{l+1}} \int_{t_k}^{t_{k+1}} K(t, s) \, ds \, dt`;
- extension (Definitions 3 and 4): to piecewise constant functions, or to piecewise linear and bilinear ones through the
  values at :math:`t_l`, constant beyond :math:`t_{L-1}`. Connection weights are flipped across the diagonal first.

Limits of one-index parameters are measured in the sup norm, those of ``K`` in :math:`L^2([0, 1]^2)`.

Source: arXiv 2510.02049, sections 3 and 4. The displayed formulas were not legible in the text at hand; these forms were
rebuilt from its words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dnlbench.dnl.curves import SNAP, Curve, Curves, Surface
from dnlbench.dnl.parameters import Arrays, pack, unpack
from dnlbench.dnl.regularizer import flip

CELL_POINTS = 3
"""Quadrature points in each cell and direction."""
ROWS = 32
"""Rows of the square in memory at a time."""


def grid(depth: int) -> Tensor:
    """Return ``t_l = l / L`` for ``0 <= l < L``, shape (L,), float64."""
    return torch.arange(depth, dtype=torch.float64) / depth


def sample_one_index(curves: Curves, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the samples ``p^l = p(t_l)`` of each one-index parameter, shape (L, ...)."""
    for name, curve in curves.one_index():
        yield name, curve(grid(depth))


def sample(curves: Curves, depth: int) -> Arrays:
    """Sample ``p^l = p(t_l)`` and ``K^{l,k} = K(t_l, t_k)``, ``0 <= k <= l < L`` (Corollary 5).

    Sampling the result of `extend` at its own depth returns the arrays, bit-equal. `dnlbench.dnl.vector.states` samples curves
    itself, without storing all of ``K``.
    """
    t = grid(depth)
    return Arrays(**dict(sample_one_index(curves, depth)), K=pack(curves.K(t[:, None], t)))


def average(curves: Curves, depth: int) -> Arrays:
    """Average ``p^l = L ∫ p(t) dt`` over cell ``l`` and ``K^{l,k} = L² ∫∫ K~(t, s) ds dt`` over cell ``(l, k)`` (Lemma 12).

    ``K~`` is ``K`` flipped across the diagonal. The means differ from the samples at ``t_l`` by ``O(1/L)`` for smooth curves.

    The integrals are Gaussian quadratures with 3 points in each direction: exact for polynomials of degree 5 and of order 6
    for smooth curves. On the cells of the diagonal the flipped ``K`` has a kink, and the error is of order 1.
    """
    t, weights = _gauss(depth, CELL_POINTS)
    means = torch.kron(torch.eye(depth, dtype=t.dtype), depth * weights[:CELL_POINTS])  # (L, L · points)
    square = flip(curves.K(t[:, None], t))
    K = torch.einsum("lg,kh,gh...->lk...", means.to(square), means.to(square), square)
    one_index = {name: curve(t) for name, curve in curves.one_index()}
    return Arrays(**{name: torch.tensordot(means.to(p), p, dims=1) for name, p in one_index.items()}, K=pack(K))


@dataclass(frozen=True, kw_only=True)
class ExtendedCurve:
    """The piecewise constant or linear function through ``p^l`` at ``t_l`` (Definition 3)."""

    values: Tensor
    """(L, ...)."""
    linear: bool

    def __call__(self, t: Tensor) -> Tensor:
        return _between(self.values, t, dim=0, linear=self.linear)


@dataclass(frozen=True, kw_only=True)
class ExtendedSurface:
    """The piecewise constant or bilinear function through ``K^{l,k}`` at ``(t_l, t_k)`` (Definition 4)."""

    square: Tensor
    """(L, L, ...), flipped."""
    linear: bool

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        values, directions = self.square, [(0, t.flatten()), (1, s)]
        for dim, times in sorted(directions, key=lambda direction: len(direction[1])):  # fewer times first: less work
            values = _between(values, times, dim=dim, linear=self.linear)
        return values


def extend(arrays: Arrays, *, linear: bool = True) -> Curves:
    """Extend arrays to curves: ``p(t) = p^l`` on ``[t_l, t_{l+1})``, or linear through ``p^l`` at ``t_l``; ``K~`` likewise.

    See Definitions 3 and 4. Beyond ``t_{L-1}`` both are constant. For samples of a smooth curve the error in the sup norm is
    ``O(1/L)`` for the constant extension, and for the linear one ``O(1/L²)`` before ``t_{L-1}`` and ``O(1/L)`` beyond, if the
    curve is not flat there.
    """
    one_index = {name: ExtendedCurve(values=values, linear=linear) for name, values in arrays.one_index()}
    return Curves(**one_index, K=ExtendedSurface(square=unpack(arrays.K), linear=linear))


def prolong(arrays: Arrays) -> Arrays:
    """Return ``p^{2l} = p^l``, ``p^{2l+1} = (p^l + p^{l+1}) / 2``, ``K~`` likewise in both indices: arrays of depth ``2 L``.

    They are samples of the piecewise linear extension and have the same extension, so all `distances` between the two are 0.
    """
    return sample(extend(arrays), 2 * arrays.depth)


def _between(values: Tensor, t: Tensor, *, dim: int, linear: bool) -> Tensor:
    """Interpolate L samples along ``dim`` at m times: constant from the last ``t_l``, or linear."""
    last = values.shape[dim] - 1
    position = (t * (last + 1)).to(values.device)
    nearest = position.round()
    position = torch.where((position - nearest).abs() < SNAP, nearest, position).clamp(
        0, last + 1
    )  # t_l L is not always l
    below = position.long().clamp(max=last)
    before = values.index_select(dim, below)
    if not linear:
        return before
    after = values.index_select(dim, (below + 1).clamp(max=last))
    fraction = (position - below).to(values.dtype).view(-1, *[1] * (values.dim() - 1 - dim))
    return torch.lerp(before, after, fraction)


def sup_norm(curve: Curve, points: int = 1025) -> float:
    """Compute ``max_t ‖p(t)‖`` over equidistant times, with the Euclidean norm of vectors and the spectral norm of matrices.

    Exact for piecewise linear functions with their breaks among the times.
    """
    values = curve(torch.linspace(0, 1, points, dtype=torch.float64))
    matrices = values.dim() == 3
    norms = torch.linalg.matrix_norm(values, ord=2) if matrices else values.reshape(points, -1).norm(dim=1)
    return float(norms.max())


def l2_norm(surface: Surface, cells: int = 256) -> float:
    """Compute ``(∫∫ |K(t, s)|² ds dt)^(1/2)`` over the unit square, with the Frobenius norm ``|·|``.

    Gaussian quadrature with 2 points per cell and direction: of order 4, and exact for functions that are bilinear on each
    cell.
    """
    t, weights = _gauss(cells, 2)
    total = 0.0
    for rows, row_weights in zip(torch.split(t, ROWS), torch.split(weights, ROWS), strict=True):  # to save memory
        squares = surface(rows[:, None], t).square().reshape(len(rows), len(t), -1).sum(dim=2)
        total += float(row_weights.to(squares) @ squares @ weights.to(squares))
    return math.sqrt(total)


def distances(coarse: Arrays, fine: Arrays) -> dict[str, float]:
    """Compute ``max_t ‖p(t) − q(t)‖`` by one-index parameter and ``‖K − K'‖`` in L² of the square, for linear extensions.

    Theorem 1 states the convergence of minimizers in these norms. Exact if the larger depth is a multiple of the smaller one.

    Raises:
        ValueError: if only one of the two has a parameter.
    """
    ours, theirs = extend(coarse), extend(fine)
    cells = max(coarse.depth, fine.depth)

    def difference(p: Curve, q: Curve) -> Curve:
        return lambda t: p(t) - q(t)

    norms = {
        name: sup_norm(difference(p, q), cells + 1)
        for (name, p), (_, q) in zip(ours.one_index(), theirs.one_index(), strict=True)
    }
    return {**norms, "K": l2_norm(lambda t, s: ours.K(t, s) - theirs.K(t, s), cells)}


def _gauss(cells: int, points: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the Gauss–Legendre rule on ``cells`` equal parts of [0, 1], both (cells · points,)."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(points))
    t = (torch.arange(cells, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / cells
    return t.flatten(), (weights / (2 * cells)).repeat(cells)
