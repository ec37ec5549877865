r"""Coordinates in which the regularizer is the square of the Euclidean norm.

``R_L`` of Eq. (5) is a quadratic form whose condition number grows like :math:`L^2`, so gradient methods need more steps for
deeper networks. It is diagonal in a cosine basis. With the orthonormal DCT-II over the index of depth,
:math:`\hat p_m = \sum_l C_{ml} p^l`, :math:`\hat K_{mn} = \sum_{l,k} C_{ml} C_{nk} \tilde K^{l,k}`, and
:math:`\lambda_m = 2 - 2 \cos(\pi m / L)`,

.. math::

    r_1(p) = \sum_m \Big( \tau + \frac{\lambda_m}{\tau} \Big) |\hat p_m|^2, \qquad
    r_2(K) = \sum_{m,n} ( \tau^2 + \lambda_m + \lambda_n ) |\hat K_{mn}|^2 .

The coordinates are these coefficients times the roots of their weights; for :math:`\hat K`, which is symmetric in ``m`` and
``n`` like the flipped :math:`\tilde K`, the pairs ``n <= m``, with those off the diagonal counted twice. Steepest descent in
them is descent in :math:`H^1`, whose convergence does not depend on the mesh (Neuberger, Sobolev Gradients and Differential
Equations, 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dnlbench.dnl.parameters import Arrays, pack, packed_pairs, unpack


@dataclass(frozen=True)
class SobolevCoordinates:
    """Coordinates ``z`` with ``|z|² = R_L`` for arrays with the shapes of ``like``: a linear map and its inverse."""

    like: Arrays

    def flatten(self, arrays: Arrays) -> Tensor:
        """Compute ``z = (mu_m^½ p^_m, …, nu_mn^½ K^_mn)``, shape (N,), for arrays with the shapes of ``like``."""
        one_index = [self._rotate(p) * _along(self._sequence_weights, p) for _, p in arrays.one_index()]
        square = self._rotate(self._rotate(unpack(arrays.K)).transpose(0, 1))
        K = pack(square.transpose(0, 1)) * _along(self._square_weights, arrays.K)
        return torch.cat([part.flatten() for part in (*one_index, K)])

    def unflatten(self, z: Tensor) -> Arrays:
        """Return the arrays with the coordinates ``z``, shape (N,); differentiable."""
        named = [*self.like.one_index(), ("K", self.like.K)]
        parts = torch.split(z, [p.numel() for _, p in named])
        shaped = {name: part.view(p.shape) for (name, p), part in zip(named, parts, strict=True)}
        K = shaped.pop("K")
        square = self._back(self._back(unpack(K / _along(self._square_weights, K))).transpose(0, 1))
        one_index = {name: self._back(part / _along(self._sequence_weights, part)) for name, part in shaped.items()}
        return Arrays(**one_index, K=pack(square))

    def _rotate(self, values: Tensor) -> Tensor:
        return (self._cosines @ values.flatten(1)).view(values.shape)

    def _back(self, values: Tensor) -> Tensor:
        return (self._cosines.mT @ values.flatten(1)).view(values.shape)

    @cached_property
    def _cosines(self) -> Tensor:
        """The matrix ``C``, shape (L, L)."""
        L = self.like.depth
        m = torch.arange(L, dtype=torch.float64)
        C = torch.cos(math.pi / L * m[:, None] * (m + 0.5)) * math.sqrt(2 / L)
        C[0] /= math.sqrt(2)
        return C.to(self.like.b)

    @cached_property
    def _differences(self) -> Tensor:
        """The eigenvalues ``lambda_m``, shape (L,)."""
        L = self.like.depth
        return 2 - 2 * torch.cos(math.pi * torch.arange(L, dtype=torch.float64) / L)

    @cached_property
    def _sequence_weights(self) -> Tensor:
        L = self.like.depth
        return (1 / L + L * self._differences).sqrt().to(self.like.b)

    @cached_property
    def _square_weights(self) -> Tensor:
        """The packed weights, shape (L (L + 1) / 2,)."""
        L = self.like.depth
        m, n = packed_pairs(L)
        twice = torch.where(m == n, 1.0, 2.0)
        return (twice * (1 / L**2 + self._differences[m] + self._differences[n])).sqrt().to(self.like.b)


def _along(weights: Tensor, values: Tensor) -> Tensor:
    """Reshape weights of the first index for a product with ``values``."""
    return weights.view(-1, *[1] * (values.dim() - 1))
