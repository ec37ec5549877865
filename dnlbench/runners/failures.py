"""What an exception that ended a run means."""

from __future__ import annotations

import torch

from dnlbench.events import RunStatus

_ALLOCATION_FAILURES = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")


def classify(error: BaseException) -> RunStatus:
    """``oom`` if device or host memory ran out, ``failed`` otherwise."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "oom"
    text = str(error).lower()
    if isinstance(error, RuntimeError | OSError) and any(phrase in text for phrase in _ALLOCATION_FAILURES):
        return "oom"
    return "failed"
