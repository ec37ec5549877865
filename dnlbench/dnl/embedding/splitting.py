r"""Splitting of neurons and channels: the linear isometric map ``S`` from the weights of a network to those of a wider one.

Copy ``a`` of a channel ``p(a)`` has a coefficient ``c_a >= 0``, with ``sum c_a² = 1`` over the copies of each channel. The
filter that computes the channel and the weights of all layers that consume it are both scaled by it. With
``E_{aj} = c_a [p(a) = j]``, one such matrix for each state and the identity for input and output,

.. math:: S(W) = E_{target} \, W \, E_{sources}^T, \qquad E^T E = 1,

so ``S`` is linear with ``S^T S = 1``. As ``relu(c z) = c relu(z)`` for ``c >= 0``, ``f_wide(S theta; x) = f(theta; x)`` and
``∇L_wide(S theta) = S ∇L(theta)``: descent that starts at ``S theta_0`` stays at ``S theta_k``.

Source: the abstract of arXiv 2505.12419. The full text was not available; the map is derived from the abstract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dnlbench.dnl.embedding.networks import Network

SPHERE_TOLERANCE = 1e-12
"""Allowed rounding of the sum of the squared coefficients of a channel, which is 1."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The splitting of the channels of one state, each into its own number of copies."""

    parents: Tensor
    """``p(a)``: the channel of each copy, shape (wide,), integers."""
    coefficients: Tensor
    """``c_a``, shape (wide,), float64."""

    def __post_init__(self) -> None:
        if self.parents.shape != self.coefficients.shape:
            raise ValueError(
                f"{len(self.parents)} copies have {len(self.coefficients)} coefficients: each copy needs one"
            )
        if not bool((self.coefficients >= 0).all()):
            raise ValueError(
                f"a coefficient is {float(self.coefficients.min())}: ReLU is homogeneous only for non-negative factors"
            )
        sums = self.squares()
        worst = int((sums - 1).abs().argmax())
        if not bool(((sums - 1).abs() <= SPHERE_TOLERANCE).all()):
            raise ValueError(
                f"the squares of the coefficients of channel {worst} add up to {float(sums[worst])}, not to 1: the "
                "copies do not reproduce the channel"
            )

    @property
    def channels(self) -> int:
        return int(self.parents.max()) + 1

    def squares(self) -> Tensor:
        """Compute ``sum c_a²`` over the copies of each channel, shape (channels,)."""
        sums = torch.zeros(self.channels).to(self.coefficients)
        return sums.index_add_(0, self.parents, self.coefficients**2)


def split_alike(channels: int, coefficients: Tensor) -> Split:
    """Split each channel into as many copies as there are coefficients; shape (m,) for all channels, or (channels, m)."""
    every = coefficients.expand(channels, coefficients.shape[-1])
    return Split(
        parents=torch.arange(channels, device=every.device).repeat_interleave(every.shape[1]),
        coefficients=every.reshape(-1),
    )


def on_the_sphere(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw coefficients uniformly on the non-negative part of the unit sphere (the last axis), float64."""
    normal = torch.randn(*shape, generator=generator, dtype=torch.float64).abs()
    norms: Tensor = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    return torch.div(normal, norms)


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """The map ``S`` of one network."""

    network: Network
    splits: Mapping[str, Split]
    """Splits by hidden state; missing states stay unchanged."""

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
        """Return the split of the concatenation of some states."""
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
        """Index into ``theta`` and factor of each entry of ``eta``, both of shape (wide P,)."""
        indices, factors = [], []
        for layer, index in self.network.weights(torch.arange(self.network.parameters)):
            rows, columns = self.of_concatenation((layer.target,)), self.of_concatenation(layer.sources)
            copied = index[rows.parents][:, columns.parents]
            both = torch.outer(rows.coefficients, columns.coefficients)
            indices.append(copied.flatten())
            factors.append(both.view(*both.shape, *[1] * (copied.ndim - 2)).expand(copied.shape).flatten())
        return torch.cat(indices), torch.cat(factors)

    def embed(self, theta: Tensor) -> Tensor:
        """Compute ``S theta``, shape (wide P,), of ``theta``, shape (P,)."""
        indices, factors = self._entries
        return theta[indices.to(theta.device)] * factors.to(theta.device)

    def project(self, eta: Tensor) -> Tensor:
        """Compute ``S^T eta``, shape (P,): the inverse of ``S`` on its range; ``S S^T`` is the orthogonal projection."""
        indices, factors = self._entries
        scaled = eta * factors.to(eta.device)
        return eta.new_zeros(self.network.parameters).index_add(0, indices.to(eta.device), scaled)
