"""States of a block, as layers read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class States(Protocol):
    """States that are added one after the other, and read by layers as soon as they are there."""

    def add(self, state: Tensor) -> None:
        """Adds the next state, shape (B, c, H, W)."""
        ...

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        """Batch norm, ReLU and convolution of some states side by side, in the order of their indices.

        Args:
            states: indices of those that are read.
            norm: with as many channels as they have together.
            filters: shape (made, c, k, k), ``k`` odd, of a convolution that keeps the size; None for no convolution.

        Returns:
            Shape (B, made, H, W); without filters (B, c, H, W).
        """
        ...


class SeparateStates:
    """Each on its own; a reader concatenates what it reads, and autograd keeps what it makes."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        """As they were added."""

    def add(self, state: Tensor) -> None:
        self.kept.append(state)

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        parts = [self.kept[k] for k in states]
        rectified = functional.relu(norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)))
        return rectified if filters is None else functional.conv2d(rectified, filters, padding=filters.shape[-1] // 2)
