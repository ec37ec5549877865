"""How far a training run has come, to the training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Progress:
    """Epochs that are complete, and how much of the epoch after."""

    total_loss: Tensor
    """Sum over the samples of the epoch under way, on the device, so that no training step waits for it."""
    epoch: int = 0
    step: int = 0
    """Training steps of the epoch under way."""
    seconds: float = 0.0
    """Of these steps."""

    @staticmethod
    def start(device: torch.device) -> Progress:
        """Of a run that has not begun."""
        return Progress(total_loss=_zero(device))

    def end_epoch(self) -> None:
        """The next epoch begins."""
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.total_loss = torch.zeros_like(self.total_loss)

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, "total_loss": self.total_loss.cpu()}

    @staticmethod
    def restore(state: Mapping[str, Any], device: torch.device) -> Progress:
        """What `state` gave."""
        return Progress(
            epoch=int(state["epoch"]),
            step=int(state["step"]),
            seconds=float(state["seconds"]),
            total_loss=state["total_loss"].to(device),
        )


def _zero(device: torch.device) -> Tensor:
    """In double precision where the device has it."""
    return torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
