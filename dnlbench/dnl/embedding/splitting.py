r"""Splitting of neurons and channels: the linear isometric map ``S`` from the weights of a network to those of a wider one.

Copy ``a`` of a channel ``p(a)`` has a coefficient ``c_a >= 0``, with ``sum c_a² = 1`` over the copies of each channel. The
filter that makes the channel and the weights of everybody who consumes it are both scaled by it. With
``E_{aj} = c_a [p(a) = j]``, one such matrix for each state and the identity for input and output,

.. math:: S(W) = E_{made} \, W \, E_{read}^T, \qquad E^T E = 1,

so ``S`` is linear with ``S^T S = 1``. As ``relu(c z) = c relu(z)`` for ``c >= 0``, ``f_wide(S theta; x) = f(theta; x)`` and
``∇L_wide(S theta) = S ∇L(theta)``: descent that begins at ``S theta_0`` stays at ``S theta_k``.

Source: the abstract of arXiv 2505.12419, whose text was not at hand; the map was rebuilt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dnlbench.dnl.embedding.networks import Network

SPHERE_TOLERANCE = 1e-12
"""So much may the squares of a channel's coefficients be off 1, which is their rounding."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How the channels of one state are split, each in a number of copies of its own."""

    parents: Tensor
    """``p(a)``: the channel that each wide one is a copy of, shape (wide,), integers."""
    coefficients: Tensor
    """``c_a``, shape (wide,), float64."""

    def __post_init__(self) -> None:
        if self.parents.shape != self.coefficients.shape:
            raise ValueError(f"{len(self.parents)} copies have {len(self.coefficients)} coefficients: each has one")
        if not bool((self.coefficients >= 0).all()):
            raise ValueError(
                f"a coefficient is {float(self.coefficients.min())}: ReLU is homogeneous for factors from 0 on only"
            )
        sums = self.squares()
        worst = int((sums - 1).abs().argmax())
        if not bool(((sums - 1).abs() <= SPHERE_TOLERANCE).all()):
            raise ValueError(
                f"the squares of the coefficients of channel {worst} add up to {float(sums[worst])}, not to 1: its copies "
                "do not add up to it"
            )

    @property
    def channels(self) -> int:
        return int(self.parents.max()) + 1

    def squares(self) -> Tensor:
        """``sum c_a²`` over the copies of each channel, shape (channels,)."""
        sums = torch.zeros(self.channels).to(self.coefficients)
        return sums.index_add_(0, self.parents, self.coefficients**2)


def split_alike(channels: int, coefficients: Tensor) -> Split:
    """Each channel into as many copies as there are coefficients; shape (m,) for all alike, or (channels, m)."""
    every = coefficients.expand(channels, coefficients.shape[-1])
    return Split(
        parents=torch.arange(channels, device=every.device).repeat_interleave(every.shape[1]),
        coefficients=every.reshape(-1),
    )


def on_the_sphere(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random coefficients, uniform on the part of the unit sphere without negative coordinates (the last axis), float64."""
    normal = torch.randn(*shape, generator=generator, dtype=torch.float64).abs()
    norms: Tensor = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    return torch.div(normal, norms)


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """``S`` of one network."""

    network: Network
    splits: Mapping[str, Split]
    """By hidden state; those that are left out stay as they are."""

    def __post_init__(self) -> None:
        for state, split in self.splits.items():
            if state not in self.network.hidden:
                raise ValueError(f"{state}: not a hidden state; {', '.join(self.network.hidden)} can be split")
            if split.channels != self.network.widths[state]:
                raise ValueError(f"{state} has {self.network.widths[state]} channels, and {split.channels} are split")

    @property
    def wide(self) -> Network:
        return self.network.with_widths({state: len(split.parents) for state, split in self.splits.items()})

    def of_concatenation(self, states: tuple[str, ...]) -> Split:
        """How the concatenation of some states is split."""
        parts = [
            self.splits.get(state) or split_alike(self.network.widths[state], torch.ones(1, dtype=torch.float64))
            for state in states
        ]
        starts = [sum(part.channels for part in parts[:index]) for index in range(len(parts))]
        return Split(
            parents=torch.cat([start + part.parents for start, part in zip(starts, parts, strict=True)]),
            coefficients=torch.cat([part.coefficients for part in parts]),
        )

    @cached_property
    def _entries(self) -> tuple[Tensor, Tensor]:
        """For each entry of ``eta`` that of ``theta`` that it is a copy of, and its factor; both of shape (wide P,)."""
        indices, factors = [], []
        for layer, index in self.network.weights(torch.arange(self.network.parameters)):
            rows, columns = self.of_concatenation((layer.target,)), self.of_concatenation(layer.sources)
            copied = index[rows.parents][:, columns.parents]
            both = torch.outer(rows.coefficients, columns.coefficients)
            indices.append(copied.flatten())
            factors.append(both.view(*both.shape, *[1] * (copied.ndim - 2)).expand(copied.shape).flatten())
        return torch.cat(indices), torch.cat(factors)

    def embed(self, theta: Tensor) -> Tensor:
        """``S theta``, shape (wide P,), of ``theta``, shape (P,)."""
        indices, factors = self._entries
        return theta[indices.to(theta.device)] * factors.to(theta.device)

    def project(self, eta: Tensor) -> Tensor:
        """``S^T eta``, shape (P,): the inverse of ``S`` on its range; ``S S^T`` is the orthogonal projection onto that."""
        indices, factors = self._entries
        scaled = eta * factors.to(eta.device)
        return eta.new_zeros(self.network.parameters).index_add(0, indices.to(eta.device), scaled)
