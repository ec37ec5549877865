"""How far a training run has come: its epoch, what the steps of the epoch gave, and the seconds they took."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class Stopwatch:
    """Seconds of training: it runs only between `start` and `stop`, each of which waits for the device's queue."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = 0.0

    def start(self) -> None:
        self._synchronize()
        self._started = time.perf_counter()

    def stop(self) -> float:
        self._synchronize()
        return time.perf_counter() - self._started

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()


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


@dataclass(kw_only=True)
class Progress:
    """Epochs that are complete, and how much of the epoch after; the same for all networks that train side by side."""

    tally: Tally
    epoch: int = 0
    step: int = 0
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


def position_of(state: Mapping[str, Any] | None) -> tuple[int, int]:
    """Epoch and step that a checkpoint stands at; the beginning without one."""
    return (int(state["epoch"]), int(state["step"])) if state else (0, 0)
