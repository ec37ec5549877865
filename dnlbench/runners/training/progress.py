"""How far a training job has come, to the training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Progress:
    """Epochs that are complete, and how much of the epoch after; the same for all networks that train side by side."""

    total_losses: Tensor
    """Sums over the samples of the epoch under way, shape (S,), on the device, so that no training step waits for them."""
    epoch: int = 0
    step: int = 0
    """Training steps of the epoch under way."""
    seconds: float = 0.0
    """Of these steps."""

    @staticmethod
    def start(device: torch.device, size: int) -> Progress:
        """Of runs that have not begun; sums in double precision where the device has it."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Progress(total_losses=torch.zeros(size, dtype=dtype, device=device))

    def end_epoch(self) -> None:
        """The next epoch begins."""
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.total_losses.zero_()

    def states(self) -> list[dict[str, Any]]:
        """As plain values for a checkpoint of each run."""
        common = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}
        return [{**common, "total_loss": loss.clone()} for loss in self.total_losses.cpu()]

    @staticmethod
    def restore(states: Sequence[Mapping[str, Any]], device: torch.device) -> Progress:
        """What `states` gave; runs that have come equally far."""
        first = states[0]
        return Progress(
            epoch=int(first["epoch"]),
            step=int(first["step"]),
            seconds=float(first["seconds"]),
            total_losses=torch.stack([state["total_loss"] for state in states]).to(device),
        )


def place_of(state: Mapping[str, Any] | None) -> tuple[int, int]:
    """Epoch and step that a checkpoint stands at; the beginning without one."""
    return (int(state["epoch"]), int(state["step"])) if state else (0, 0)
