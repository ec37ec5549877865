"""Time of training on a device."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds of training: it runs only between `start` and `stop`, each of which waits for the device's queue."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = 0.0

    def start(self) -> None:
        self._synchronise()
        self._started = time.perf_counter()

    def stop(self) -> float:
        self._synchronise()
        return time.perf_counter() - self._started

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
