"""How far a training job has come, to the training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dnlbench.runners.training.tally import Tally


@dataclass(kw_only=True)
class Progress:
    """Epochs that are complete, and how much of the epoch after; the same for all networks that train side by side."""

    tally: Tally
    """Of the epoch under way."""
    epoch: int = 0
    step: int = 0
    """Training steps of the epoch under way."""
    seconds: float = 0.0
    """Of these steps."""

    @staticmethod
    def start(device: torch.device, size: int, steps: int) -> Progress:
        """Of runs that have not begun, with so many training steps an epoch."""
        return Progress(tally=Tally.start(device, size, steps))

    def end_epoch(self) -> None:
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.tally.clear()

    def states(self) -> list[dict[str, Any]]:
        """As plain values for a checkpoint of each run."""
        common = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}
        losses, norms = self.tally.total_losses.cpu(), self.tally.gradient_norms.T.cpu()
        return [
            {**common, "total_loss": loss.clone(), "gradient_norms": own.clone()}
            for loss, own in zip(losses, norms, strict=True)
        ]

    @staticmethod
    def restore(states: Sequence[Mapping[str, Any]], device: torch.device) -> Progress:
        """What `states` gave; runs that have come equally far."""
        first = states[0]
        tally = Tally(
            total_losses=torch.stack([state["total_loss"] for state in states]).to(device),
            gradient_norms=torch.stack([state["gradient_norms"] for state in states], dim=1).to(device),
            row=torch.tensor([int(first["step"])], device=device),
        )
        return Progress(
            tally=tally,
            epoch=int(first["epoch"]),
            step=int(first["step"]),
            seconds=float(first["seconds"]),
        )


def place_of(state: Mapping[str, Any] | None) -> tuple[int, int]:
    """Epoch and step that a checkpoint stands at; the beginning without one."""
    return (int(state["epoch"]), int(state["step"])) if state else (0, 0)
