"""What the training steps of an epoch leave behind, on the device, so that no step waits for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Losses and gradient norms of the epoch under way, of S networks that train side by side."""

    total_losses: Tensor
    """Sums over the samples seen, shape (S,)."""
    gradient_norms: Tensor
    """Euclidean norm of each training step's gradient, shape (steps, S)."""
    row: Tensor
    """Row of the next step, shape (1,). A tensor, since a CUDA graph repeats every Python number."""

    @staticmethod
    def start(device: torch.device, size: int, steps: int = 1) -> Tally:
        """Of an epoch that has not begun; in double precision where the device has it."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Tally(
            total_losses=torch.zeros(size, dtype=dtype, device=device),
            gradient_norms=torch.zeros(steps, size, dtype=dtype, device=device),
            row=torch.zeros(1, dtype=torch.int64, device=device),
        )

    def add(self, losses: Tensor, norms: Tensor) -> None:
        """One more step: sums of losses over its batch and norms of its gradient, both of shape (S,)."""
        self.total_losses.add_(losses)
        self.gradient_norms.index_copy_(0, self.row, norms.to(self.gradient_norms.dtype).unsqueeze(0))
        self.row.add_(1).remainder_(len(self.gradient_norms))

    def clear(self) -> None:
        for values in (self.total_losses, self.gradient_norms, self.row):
            values.zero_()
