r"""Weights that converge to the identity, :math:`W_k = g I + P_k` with :math:`\|P_k\|_2 = s k^{-a}`, and biases to 0.

.. math:: P_k = s \, k^{-a} \, U_k, \qquad b_k = s' \, k^{-a'} \, v_k, \qquad \|U_k\|_2 = \|v_k\|_2 = 1.

The directions ``U_k`` and ``v_k`` are random: independent from layer to layer, or the same in all layers. A state has
``positions`` × ``channels`` numbers, position after position. ``dense`` directions are normal matrices over their norm.
Those of a convolution over the positions are the matrices of normal filters over their operator norm; the bias is one number
per channel.

The first ``n`` layers do not depend on the number of layers, so a deep network extends a shallow one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.architecture import Direction, Padding, WeightKind
from dnlbench.dnl.relu import ReluNetwork

_BLOCK = 64
"""Layers drawn by one generator. The numbers of a generator depend on how many are drawn at once."""


@dataclass(frozen=True, kw_only=True)
class LayerForm:
    """The form of all layers of a network."""

    kind: WeightKind
    positions: int
    channels: int
    filter_size: int = 3
    """Size of the centered filters: weight ``k`` reads the position at the distance ``k − filter_size // 2``."""
    padding: Padding = "zeros"
    """The values beyond the ends: zeros, or the other end."""

    @property
    def width(self) -> int:
        """The width ``d``."""
        return self.positions * self.channels

    @property
    def parameters(self) -> int:
        """Number of parameters of a layer."""
        if self.kind == "dense":
            return self.width * (self.width + 1)
        return self.channels * (self.filter_size * self.channels + 1)


@dataclass(frozen=True, kw_only=True)
class Directions:
    """The directions ``U_k`` and ``v_k``, ``1 <= k <= n``, of norm 1."""

    U: Tensor
    """Shape (n, d, d)."""
    v: Tensor
    """Shape (n, d)."""


def convolution_matrices(filters: Tensor, positions: int, padding: Padding) -> Tensor:
    """Return the matrices of convolutions over ``n`` positions: filters (m, out, in, size) to (m, n · out, n · in)."""
    m, out, channels, filter_size = filters.shape
    n = torch.arange(positions, device=filters.device)
    reads = n[:, None] + torch.arange(filter_size, device=filters.device) - filter_size // 2  # (n, size)
    if padding == "circular":
        reads = reads % positions
    shifts = (reads[..., None] == n).to(filters)  # (n, size, n): zero beyond the ends
    matrices = torch.einsum("moct,ptq->mpoqc", filters, shifts)
    return matrices.reshape(m, positions * out, positions * channels)


def draw_directions(form: LayerForm, direction: Direction, *, layers: int, seed: int) -> Directions:
    """Draw random directions for a number of layers, equal for equal arguments on every machine; float64, on the CPU."""
    count = 1 if direction == "fixed" else layers
    weights, biases = [], []
    for block in range(-(-count // _BLOCK)):
        generator = torch.Generator().manual_seed(seed + block)
        weights.append(_matrices(form, generator))
        biases.append(_vectors(form, generator))
    U, v = torch.cat(weights)[:count], torch.cat(biases)[:count]
    U = U / torch.linalg.matrix_norm(U, ord=2)[:, None, None]
    v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return Directions(U=U.expand(layers, -1, -1), v=v.expand(layers, -1))


def _matrices(form: LayerForm, generator: torch.Generator) -> Tensor:
    if form.kind == "dense":
        return _normal(generator, form.width, form.width)
    filters = _normal(generator, form.channels, form.channels, form.filter_size)
    return convolution_matrices(filters, form.positions, form.padding)


def _vectors(form: LayerForm, generator: torch.Generator) -> Tensor:
    if form.kind == "dense":
        return _normal(generator, form.width)
    return _normal(generator, form.channels).repeat(1, form.positions)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(_BLOCK, *shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Decay:
    """The norms ``scale k^-exponent`` of a sequence."""

    scale: float
    exponent: float

    def norms(self, layers: int) -> Tensor:
        """Return the norms for ``k = 1 … layers``, float64."""
        return self.scale * torch.arange(1, layers + 1, dtype=torch.float64) ** -self.exponent

    @property
    def effective_exponent(self) -> float:
        """The exponent; infinite for a scale of 0."""
        return self.exponent if self.scale else float("inf")


def near_identity(directions: Directions, *, weights: Decay, biases: Decay, gain: float = 1.0) -> ReluNetwork:
    """Build ``W_k = gain I + P_k`` and ``b_k`` with the given norms."""
    n, d = directions.v.shape
    eye = gain * torch.eye(d).to(directions.U)
    P = weights.norms(n).to(directions.U)[:, None, None] * directions.U
    return ReluNetwork(W=eye + P, b=biases.norms(n).to(directions.v)[:, None] * directions.v)
