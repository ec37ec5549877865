"""The choice of the slots that a sweep runs on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from dnlbench.errors import DeviceError
from dnlbench.machine import Device, Slot, UnusableDevice, why_unusable


def choose_slots(
    devices: Sequence[Device],
    cores: int,
    *,
    device: str = "auto",
    jobs: int | None = None,
    threads: int | None = None,
    tasks: int | None = None,
    unusable: Sequence[UnusableDevice] = (),
) -> tuple[Slot, ...]:
    """Return slots for ``jobs`` runs or packs at a time.

    On CPUs there is one slot per core with one thread each, because small networks gain little from a second thread. On
    CUDA and MPS there is one slot per device. If there are more jobs than devices, the devices are shared in turn.

    Args:
        devices: devices of the machine.
        cores: physical cores to divide among the slots.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` for all CUDA devices, or some of them, such as ``cuda:0,2``.
        jobs: number of slots.
        threads: CPU threads of one run; ``cores / jobs`` by default.
        tasks: number of runs or packs; there are never more slots than tasks.
        unusable: devices that cannot be used, for the error message.

    Raises:
        DeviceError: if the device does not exist or its name is invalid.
    """
    chosen = _choose_devices(devices, device, unusable)
    by_default = max(1, cores // (threads or 1)) if chosen[0].kind == "cpu" else len(chosen)
    count = jobs or by_default
    each = threads or max(1, cores // count)
    count = min(count, tasks or count)
    assigned = [chosen[number % len(chosen)] for number in range(count)]
    jobs_per_device = Counter(device.label for device in assigned)
    return tuple(
        Slot(
            name=f"{device.label}/{number // len(chosen)}",
            device=device,
            threads=each,
            jobs=jobs_per_device[device.label],
            shared=count * each > cores if device.kind == "cpu" else jobs_per_device[device.label] > 1,
        )
        for number, device in enumerate(assigned)
    )


def _choose_devices(devices: Sequence[Device], wanted: str, unusable: Sequence[UnusableDevice]) -> list[Device]:
    if wanted == "auto":
        kind = devices[0].kind  # the list is sorted by preference
        return [device for device in devices if device.kind == kind]
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+(?:,\d+)*))?", wanted)
    if not match or (match[2] and match[1] != "cuda"):
        raise DeviceError(f"--device {wanted}: write auto, cpu, mps, cuda, or CUDA devices by number as in cuda:0,1")
    available = {str(device.index): device for device in devices if device.kind == match[1]}
    if not available:
        names = ", ".join(f"{device.label} ({device.name})" for device in devices)
        raise DeviceError(
            f"--device {wanted}: this machine has no such device. Available: {names}{why_unusable(unusable)}"
        )
    if not match[2]:
        return list(available.values())
    numbers = list(dict.fromkeys(match[2].split(",")))
    missing = [number for number in numbers if number not in available]
    if missing:
        present = ", ".join(device.label for device in available.values())
        raise DeviceError(
            f"--device {wanted}: no CUDA device {', '.join(missing)}. Available: {present}{why_unusable(unusable)}"
        )
    return [available[number] for number in numbers]
