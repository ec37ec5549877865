"""Progress of a training run: its epoch and step, and the losses, gradient norms and seconds of the current epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class Stopwatch:
    """Measures seconds of training between `start` and `stop`. Both wait for the device's queue."""

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
    """Losses and gradient norms of the current epoch, for S networks that train together."""

    total_losses: Tensor
    """Sums over the samples seen, shape (S,)."""
    gradient_norms: Tensor
    """Euclidean norm of each training step's gradient, shape (steps, S)."""
    row: Tensor
    """Row of the next step, shape (1,). It is a tensor because a CUDA graph would record a Python number as a constant."""

    @staticmethod
    def start(device: torch.device, size: int, steps: int = 1) -> Tally:
        """Create the tally of a new epoch, in double precision if the device supports it."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Tally(
            total_losses=torch.zeros(size, dtype=dtype, device=device),
            gradient_norms=torch.zeros(steps, size, dtype=dtype, device=device),
            row=torch.zeros(1, dtype=torch.int64, device=device),
        )

    def add(self, losses: Tensor, norms: Tensor) -> None:
        """Add a training step: sums of losses over its batch and gradient norms, both of shape (S,)."""
        self.total_losses.add_(losses)
        self.gradient_norms.index_copy_(0, self.row, norms.to(self.gradient_norms.dtype).unsqueeze(0))
        self.row.add_(1).remainder_(len(self.gradient_norms))

    def clear(self) -> None:
        for values in (self.total_losses, self.gradient_norms, self.row):
            values.zero_()


@dataclass(kw_only=True)
class Progress:
    """Completed epochs, and completed steps of the current epoch. All networks of a pack share it."""

    tally: Tally
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    """Seconds of these steps."""

    @staticmethod
    def start(device: torch.device, size: int, steps: int) -> Progress:
        """Create the progress of new runs with ``steps`` training steps per epoch."""
        return Progress(tally=Tally.start(device, size, steps))

    def end_epoch(self) -> None:
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.tally.clear()

    def states(self) -> list[dict[str, Any]]:
        common = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}
        losses, norms = self.tally.total_losses.cpu(), self.tally.gradient_norms.T.cpu()
        return [
            {**common, "total_loss": loss.clone(), "gradient_norms": norm.clone()}
            for loss, norm in zip(losses, norms, strict=True)
        ]

    @staticmethod
    def restore(states: Sequence[Mapping[str, Any]], device: torch.device) -> Progress:
        """Restore the progress from the result of `states`. All runs must be at the same step."""
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
    """Return epoch and step of a checkpoint; (0, 0) without one."""
    return (int(state["epoch"]), int(state["step"])) if state else (0, 0)
