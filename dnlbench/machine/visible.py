"""``CUDA_VISIBLE_DEVICES``, read as CUDA reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnlbench.machine.device import UnusableDevice
from dnlbench.machine.nvml import ALL_GPUS, Gpu

HIDING = ("", "-1", "NoDevFiles")
"""Values that are meant to hide all GPUs; the last is Slurm's for a job that did not ask for one."""


def select_visible(gpus: Sequence[Gpu], value: str) -> tuple[tuple[Gpu, ...], UnusableDevice | None]:
    """The GPUs, or single MIG instances of them, that a value of ``CUDA_VISIBLE_DEVICES`` names, in its order.

    Returns:
        Those that CUDA takes, and what is wrong with the rest. The first name that is not understood ends the list; one
        that is there twice leaves no GPU at all.
    """
    setting = f"CUDA_VISIBLE_DEVICES={value}"
    if value.strip() in HIDING:
        hidden = UnusableDevice(name=ALL_GPUS, reason=f'hidden by CUDA_VISIBLE_DEVICES="{value}"', hidden=True)
        return (), hidden if gpus else None
    chosen: list[Gpu] = []
    for name in value.rstrip(", ").split(","):
        found = list(_named(gpus, name.strip()))
        if len(found) != 1:
            which = f"{len(found)} GPUs match" if found else "no NVIDIA GPU matches"
            reason = f"{which} {name.strip()!r}, and CUDA ignores the rest; nvidia-smi -L lists numbers and UUIDs"
            return tuple(chosen), UnusableDevice(name=setting, reason=reason)
        if found[0] in chosen:
            reason = f"{name.strip()!r} names a GPU for the second time, and CUDA then shows none; name each once"
            return (), UnusableDevice(name=setting, reason=reason)
        chosen += found
    return tuple(chosen), None


def _named(gpus: Sequence[Gpu], name: str) -> Iterator[Gpu]:
    """By number, or by the beginning of a UUID."""
    for gpu in gpus:
        if name == str(gpu.number) or (name and (gpu.uuid or "").startswith(name)):
            yield gpu
        elif name.startswith("MIG-"):
            for device in gpu.devices:
                if (device.uuid or "").startswith(name):
                    yield replace(gpu, devices=(device,))
