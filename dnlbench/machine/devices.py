"""The devices that can carry out runs, and how busy they are."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict

from dnlbench import units
from dnlbench.machine.memory import memory_limit

DeviceKind = Literal["cpu", "cuda", "mps"]
T = TypeVar("T")

BUSY_GPU = 0.1
"""Utilisation above which a GPU is busy: a display takes less."""
BUSY_CPU = 0.5
"""Utilisation above which the CPU is busy: it always has something to do."""
BUSY_MEMORY = 2**30
"""Memory in use above which a GPU is busy, together with a share of the whole; drivers and displays take less."""
BUSY_MEMORY_SHARE = 0.02


class Device(BaseModel):
    """One device that can carry out runs."""

    model_config = ConfigDict(frozen=True)

    kind: DeviceKind
    index: int = 0
    """Place among the devices of its kind that this process may use."""
    name: str
    uuid: str | None = None
    """NVML's identity of a CUDA device; None elsewhere."""
    memory_bytes: int | None = None
    """Total memory; None where the platform does not tell."""
    memory_used_bytes: int | None = None
    """Memory in use when the device was listed, by anybody."""
    driver: str | None = None
    utilisation: float | None = None
    """Share of the last moment, of the last minute for the CPU, that it was computing when it was listed, 0 to 1; None
    where the platform does not tell."""
    processes: int | None = None
    """Processes that computed on it when it was listed, by anybody; None for the CPU and where NVML does not tell."""

    @property
    def label(self) -> str:
        """What ``--device`` calls it: ``cpu``, ``mps``, ``cuda:1``."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @property
    def busy(self) -> str | None:
        """By what it was busy when it was listed, as in ``2 processes, 93 % busy, 40.1 GiB in use``; None if it was free."""
        return ", ".join(self._occupations()) or None

    def _occupations(self) -> Iterator[str]:
        if self.processes:
            yield f"{self.processes} process{'es' if self.processes > 1 else ''}"
        if (self.utilisation or 0) > (BUSY_CPU if self.kind == "cpu" else BUSY_GPU):
            yield f"{units.percent(round(self.utilisation or 0, 2))} busy"
        # Much of a machine's own memory is always in use: that says nothing about the CPU.
        allowed = BUSY_MEMORY + BUSY_MEMORY_SHARE * (self.memory_bytes or 0)
        if self.kind != "cpu" and (self.memory_used_bytes or 0) > allowed:
            yield f"{units.size(self.memory_used_bytes)} in use"


def usable_cores() -> int:
    """Physical cores that this process may run on; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def list_devices() -> tuple[Device, ...]:
    """Every device that runs could be placed on: CUDA devices first, then MPS, then the CPU."""
    return (*cuda_devices(), *_mps_devices(), cpu_device())


def cpu_device() -> Device:
    """The CPU, with the memory of the whole machine, or with the part of it that this process's container may take."""
    total, used = cpu_memory()
    return Device(
        kind="cpu", name=cpu_name(), memory_bytes=total, memory_used_bytes=used, utilisation=_cpu_utilisation()
    )


def cpu_memory() -> tuple[int, int | None]:
    """Bytes of the whole machine and those in use; with a container's limit that limit, of whose use nobody tells."""
    memory, limit = psutil.virtual_memory(), memory_limit()
    if limit is not None and limit < memory.total:
        return limit, None
    return memory.total, memory.total - memory.available


def cuda_devices() -> tuple[Device, ...]:
    """CUDA devices that NVML shows and ``CUDA_VISIBLE_DEVICES`` allows, numbered as a child process would see them."""
    devices = tuple(_nvml_devices())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return devices
    chosen = _visible(devices, [part.strip() for part in allowed.split(",") if part.strip()])
    return tuple(device.model_copy(update={"index": index}) for index, device in enumerate(chosen))


def _visible(devices: tuple[Device, ...], names: list[str]) -> Iterator[Device]:
    """The devices named by index or by the beginning of a UUID; as in CUDA, the first unknown name ends the list."""
    for name in names:
        match = [
            device
            for device in devices
            if (name.isdigit() and device.index == int(name)) or (device.uuid or "").startswith(name)
        ]
        if len(match) != 1:
            return
        yield match[0]


def _nvml_devices() -> Iterator[Device]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, no library: no CUDA device
        return
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        for index in range(pynvml.nvmlDeviceGetCount()):
            yield _nvml_device(index, driver)
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _nvml_device(index: int, driver: str) -> Device:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Device(
        kind="cuda",
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        memory_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        driver=driver,
        utilisation=if_told(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
        processes=if_told(lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def if_told(query: Callable[[], T]) -> T | None:
    """NVML's answer to what it does not tell of every device, under every driver, or to everybody."""
    import pynvml

    try:
        return query()
    except pynvml.NVMLError:
        return None


def _mps_devices() -> Iterator[Device]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        yield Device(kind="mps", name=f"{cpu_name()} GPU", memory_bytes=psutil.virtual_memory().total)


def _cpu_utilisation() -> float | None:
    """Of all its logical cores over the last minute, from the number of processes that wanted one."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no such figure
        return None
    return min(1.0, load / (psutil.cpu_count() or 1))


def cpu_name() -> str:
    """The processor's model as the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
