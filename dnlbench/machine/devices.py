"""The devices that can execute runs, and their utilization."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from dnlbench.machine.device import Device, UnusableDevice
from dnlbench.machine.memory import cpu_memory
from dnlbench.machine.nvml import ALL_GPUS, Gpu, list_gpus

HIDE_ALL = ("", "-1", "NoDevFiles")
"""Values that hide all GPUs; Slurm sets the last one for a job without GPUs."""
KFD = Path("/dev/kfd")
"""Device node of AMD's GPUs for computing."""


def usable_cores() -> int:
    """Return the number of physical cores available to this process; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices of this machine."""

    usable: tuple[Device, ...]
    """CUDA devices first, then MPS, then the CPU."""
    unusable: tuple[UnusableDevice, ...]


def find_devices() -> Devices:
    """Find all devices that can execute runs, and GPUs that exist but cannot be used. Never raises."""
    cuda, unusable = _cuda_devices()
    if not cuda:  # with a usable NVIDIA GPU, an integrated AMD GPU does not matter
        unusable = (*unusable, *_amd_gpus())
    return Devices(usable=(*cuda, *_mps_devices(), cpu_device()), unusable=unusable)


def list_devices() -> tuple[Device, ...]:
    """List all devices that can execute runs: CUDA devices first, then MPS, then the CPU."""
    return find_devices().usable


def cpu_device() -> Device:
    """Return the CPU with the machine's memory, or with the limit of this process's container."""
    total, used = cpu_memory()
    return Device(
        kind="cpu", name=cpu_name(), memory_bytes=total, memory_used_bytes=used, utilisation=_cpu_utilization()
    )


def _cuda_devices() -> tuple[tuple[Device, ...], tuple[UnusableDevice, ...]]:
    """Return the GPUs visible to a child process, numbered as there, and those that cannot be used."""
    gpus, problem = list_gpus()
    unusable = [UnusableDevice(name=ALL_GPUS, reason=problem)] if problem else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not problem:
        gpus, wrong = select_visible(gpus, visible)
        unusable += [wrong] if wrong else []
    unusable += [UnusableDevice(name=f"GPU {gpu.number}", reason=gpu.problem) for gpu in gpus if gpu.problem]
    devices = [device for gpu in gpus for device in gpu.devices]
    return tuple(device.model_copy(update={"index": index}) for index, device in enumerate(devices)), tuple(unusable)


def select_visible(gpus: Sequence[Gpu], value: str) -> tuple[tuple[Gpu, ...], UnusableDevice | None]:
    """Select the GPUs or MIG instances that a value of ``CUDA_VISIBLE_DEVICES`` lists, by CUDA's rules.

    Returns:
        The selected GPUs, and the problem with the rest of the value. An unknown name ends the list; a repeated name hides all
        GPUs.
    """
    setting = f"CUDA_VISIBLE_DEVICES={value}"
    if value.strip() in HIDE_ALL:
        hidden = UnusableDevice(name=ALL_GPUS, reason=f'hidden by CUDA_VISIBLE_DEVICES="{value}"', hidden=True)
        return (), hidden if gpus else None
    chosen: list[Gpu] = []
    for name in value.rstrip(", ").split(","):
        matches = list(_named(gpus, name.strip()))
        if len(matches) != 1:
            which = f"{len(matches)} GPUs match" if matches else "no NVIDIA GPU matches"
            reason = f"{which} {name.strip()!r}, and CUDA ignores the rest; nvidia-smi -L lists numbers and UUIDs"
            return tuple(chosen), UnusableDevice(name=setting, reason=reason)
        if matches[0] in chosen:
            reason = f"{name.strip()!r} lists a GPU twice, which makes CUDA hide all of them; list each GPU once"
            return (), UnusableDevice(name=setting, reason=reason)
        chosen += matches
    return tuple(chosen), None


def _named(gpus: Sequence[Gpu], name: str) -> Iterator[Gpu]:
    for gpu in gpus:
        if name == str(gpu.number) or (name and (gpu.uuid or "").startswith(name)):
            yield gpu
        elif name.startswith("MIG-"):
            for device in gpu.devices:
                if (device.uuid or "").startswith(name):
                    yield replace(gpu, devices=(device,))


def _amd_gpus() -> Iterator[UnusableDevice]:
    """Report AMD's GPUs as unusable. Builds of torch for ROCm call them CUDA devices, but NVML does not list them."""
    if KFD.exists():
        yield UnusableDevice(name="AMD GPUs", reason="dnlbench does not support ROCm; use the CPU or an NVIDIA GPU")


def _mps_devices() -> Iterator[Device]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        yield Device(kind="mps", name=f"{cpu_name()} GPU", memory_bytes=psutil.virtual_memory().total)


def _cpu_utilization() -> float | None:
    """Return the load average of the last minute, divided by the number of logical cores."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # not available on Windows
        return None
    return min(1.0, load / (psutil.cpu_count() or 1))


def cpu_name() -> str:
    """Return the processor's model name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
