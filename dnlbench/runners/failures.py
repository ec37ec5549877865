"""Classification of the exceptions that end runs."""

from __future__ import annotations

from typing import Literal

import torch

from dnlbench.errors import DeviceError
from dnlbench.events import RunStatus
from dnlbench.files import is_disk_full

Blame = Literal["disk", "device", "pack"]

_ALLOCATION_FAILURES = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
_OUT_OF_DEVICE_MEMORY = (*_ALLOCATION_FAILURES, "alloc_failed")
_DEVICE_FAILURES = (
    "cuda error",
    "_status_execution_failed",
    "_status_internal_error",
    "_status_not_initialized",
    "nvml",
)
_NETWORK_FAILURES = ("device-side assert",)
"""Errors that the device reports but the network causes, such as an index out of range."""


class PackError(Exception):
    """Runs of a pack cannot continue together. Each is resumed alone, which shows if one of them caused the error."""


def blame(error: BaseException) -> Blame | None:
    """Return the cause of an error if it lies outside the run: a retry later, elsewhere or alone may succeed.

    None means that the run itself is the cause.
    """
    if isinstance(error, PackError):
        return "pack"
    if is_disk_full(error):
        return "disk"
    if classify(error) == "oom":
        return None
    text = str(error).lower()
    if any(sign in text for sign in _NETWORK_FAILURES):
        return None
    if isinstance(error, torch.AcceleratorError | DeviceError):
        return "device"
    return "device" if isinstance(error, RuntimeError) and any(sign in text for sign in _DEVICE_FAILURES) else None


def classify(error: BaseException) -> RunStatus:
    """Return ``oom`` if device or host memory ran out, ``failed`` otherwise."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "oom"
    text = str(error).lower()
    if isinstance(error, RuntimeError | OSError) and any(phrase in text for phrase in _OUT_OF_DEVICE_MEMORY):
        return "oom"
    return "failed"
