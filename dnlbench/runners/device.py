"""The torch device of a slot, and the settings that make its results reproducible."""

from __future__ import annotations

from typing import Any

import threadpoolctl
import torch

from dnlbench.errors import DeviceError
from dnlbench.events import RunStarted
from dnlbench.machine import Slot
from dnlbench.runners.base import Member


def open_device(slot: Slot) -> torch.device:
    """Return the torch device of a slot. A CUDA worker sees only this device, as ``cuda:0``.

    Raises:
        DeviceError: if the installed torch cannot use the device.
    """
    kind = slot.device.kind
    unusable = (kind == "cuda" and not torch.cuda.is_available()) or (
        kind == "mps" and not torch.backends.mps.is_available()
    )
    if unusable:
        raise DeviceError(
            f"{slot.name}: torch {torch.__version__} cannot use {slot.device.name}. "
            f"Install a torch build for {kind}, or run with --device cpu"
        )
    return torch.device(kind, 0) if kind == "cuda" else torch.device(kind)


def make_repeatable(device: torch.device, threads: int) -> None:
    """Fix the settings besides the seed that the bits of a result depend on: number of threads and choice of algorithms."""
    torch.set_num_threads(threads)
    # The order of summation in SciPy's BLAS depends on its number of threads, which torch does not control. The environment
    # variable is not enough: BLAS may be loaded already, as in the inline executor.
    threadpoolctl.threadpool_limits(threads, user_api="blas")
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        # The parent sets CUBLAS_WORKSPACE_CONFIG. Operations without a deterministic implementation warn in the run's log
        # instead of failing: those of custom networks, and the backward pass of attention on some devices.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def set_float32_precision(precision: str) -> None:
    """Allow CUDA to round the factors of float32 products to TF32's 10-bit mantissa only for the precision ``tf32``."""
    setting = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = setting
    torch.backends.cudnn.conv.fp32_precision = setting  # type: ignore[attr-defined]


def device_name(device: torch.device, slot: Slot) -> str:
    """Return the device's name as torch reports it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else slot.device.name


def run_started(member: Member, slot: Slot, device: torch.device, **more: Any) -> RunStarted:
    """Create the start event of a run on a slot. ``more`` contains the fields that do not follow from the slot."""
    return RunStarted(
        run_id=member.run.run_id,
        attempt=member.attempt,
        device=slot.device.label,
        device_name=device_name(device, slot),
        node=slot.node,
        threads=slot.threads,
        jobs=slot.jobs,
        shared_device=slot.shared,
        **more,
    )
