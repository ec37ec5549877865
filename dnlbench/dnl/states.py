"""The states of a block, and how layers read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class States(Protocol):
    """States that are added one after the other. Layers can read them as soon as they are added."""

    def add(self, state: Tensor) -> None:
        """Add the next state, shape (B, c, H, W)."""
        ...

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        """Apply batch norm, ReLU and convolution to the concatenation of some states, in the order of their indices.

        Args:
            states: indices of the states.
            norm: the batch norm, with as many channels as the states have together.
            filters: shape (out, c, k, k), ``k`` odd, of a convolution that keeps the image size; None: no convolution.

        Returns:
            Shape (B, out, H, W); without filters (B, c, H, W).
        """
        ...


class SeparateStates:
    """States as separate tensors. Reading concatenates them, and autograd stores the results."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        """The states in the order in which they were added."""

    def add(self, state: Tensor) -> None:
        self.kept.append(state)

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        parts = [self.kept[k] for k in states]
        rectified = functional.relu(norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)))
        return rectified if filters is None else functional.conv2d(rectified, filters, padding=filters.shape[-1] // 2)
