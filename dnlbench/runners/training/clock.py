"""Time and memory of training on a device."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Stopwatch:
    """Seconds of training: it runs only between `start` and `stop`, each of which waits for the device's queue."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = 0.0

    def start(self) -> None:
        """Begins to count."""
        self._synchronise()
        self._started = time.perf_counter()

    def stop(self) -> float:
        """Seconds since `start`."""
        self._synchronise()
        return time.perf_counter() - self._started

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()


class MemoryMeter:
    """The most memory that a run holds beyond what was there when the meter was made.

    On CUDA that is what torch's allocator handed out. On the CPU it is the process's resident memory, whose high-water mark
    Linux lets be reset; it is coarser, since the allocator keeps some of what is freed. Elsewhere nothing is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._base = self._reset()

    def _reset(self) -> int | None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device)
        if self._device.type == "cpu" and sys.platform == "linux":
            _give_free_memory_back()
            try:
                _CLEAR.write_text("5")  # resets VmHWM to VmRSS; see proc(5)
            except OSError:
                return None
            return _status_bytes("VmRSS")
        return None

    def peak_bytes(self) -> int | None:
        """The peak so far; None where it is not measured."""
        if self._base is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._base
        return max(0, _status_bytes("VmHWM") - self._base)


def _give_free_memory_back() -> None:
    """Without it the C library would hand one run's freed memory to the next, whose peak would look too small."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_bytes(field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
