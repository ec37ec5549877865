r"""Weights that go to the identity: :math:`W_k = g I + P_k` with :math:`\|P_k\|_2 = s k^{-a}`, and biases that go to 0 alike.

.. math:: P_k = s \, k^{-a} \, U_k, \qquad b_k = s' \, k^{-a'} \, v_k, \qquad \|U_k\|_2 = \|v_k\|_2 = 1.

The directions ``U_k`` and ``v_k`` are random: independent from layer to layer, or the same in all layers. A state has
``positions`` × ``channels`` numbers, position after position. ``dense`` directions are normal matrices over their norm.
Those of a convolution over the positions are the matrices of normal filters, over their norm as operators; the bias is one
number a channel, as usual.

The first ``n`` layers are the same however many are drawn, so a deep network is a shallow one continued.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.architecture import Direction, Padding, WeightKind
from dnlbench.dnl.relu import ReluNetwork

_BLOCK = 64
"""Layers whose numbers come from one generator. A generator gives others where it is asked for more at once."""


@dataclass(frozen=True, kw_only=True)
class LayerForm:
    """What all layers of a network have in common."""

    kind: WeightKind
    positions: int
    channels: int
    filter_size: int = 3
    """Of a filter, centred: tap ``k`` reads the position at the distance ``k − filter_size // 2``."""
    padding: Padding = "zeros"
    """What a filter reads beyond the ends: nothing, or the other end."""

    @property
    def width(self) -> int:
        """``d``."""
        return self.positions * self.channels

    @property
    def parameters(self) -> int:
        """Of one layer."""
        if self.kind == "dense":
            return self.width * (self.width + 1)
        return self.channels * (self.filter_size * self.channels + 1)


@dataclass(frozen=True, kw_only=True)
class Directions:
    """``U_k`` and ``v_k``, ``1 <= k <= n``, of norm 1."""

    U: Tensor
    """Shape (n, d, d)."""
    v: Tensor
    """Shape (n, d)."""


def convolution_matrices(filters: Tensor, positions: int, padding: Padding) -> Tensor:
    """The matrices of convolutions over ``n`` positions, filters of shape (m, out, in, taps) to (m, n · out, n · in)."""
    m, out, channels, filter_size = filters.shape
    n = torch.arange(positions, device=filters.device)
    reads = n[:, None] + torch.arange(filter_size, device=filters.device) - filter_size // 2  # (n, taps)
    if padding == "circular":
        reads = reads % positions
    shifts = (reads[..., None] == n).to(filters)  # (n, taps, n): beyond the ends no position is read
    matrices = torch.einsum("moct,ptq->mpoqc", filters, shifts)
    return matrices.reshape(m, positions * out, positions * channels)


def draw_directions(form: LayerForm, direction: Direction, *, layers: int, seed: int) -> Directions:
    """Random directions of so many layers, equal for equal arguments on every machine; float64, on the CPU."""
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
    """``scale k^-exponent``, the norms of a sequence."""

    scale: float
    exponent: float

    def norms(self, layers: int) -> Tensor:
        """For ``k = 1 … layers``, float64."""
        return self.scale * torch.arange(1, layers + 1, dtype=torch.float64) ** -self.exponent

    @property
    def effective_exponent(self) -> float:
        """Infinite where all is 0."""
        return self.exponent if self.scale else float("inf")


def near_identity(directions: Directions, *, weights: Decay, biases: Decay, gain: float = 1.0) -> ReluNetwork:
    """``W_k = gain I + P_k`` and ``b_k`` with norms as given."""
    n, d = directions.v.shape
    eye = gain * torch.eye(d).to(directions.U)
    P = weights.norms(n).to(directions.U)[:, None, None] * directions.U
    return ReluNetwork(W=eye + P, b=biases.norms(n).to(directions.v)[:, None] * directions.v)
