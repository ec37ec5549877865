"""The machine and the code that ran, read without importing torch.

Devices are listed through NVML (CUDA) and the platform's name (MPS), so the parent process never opens a GPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

from dnlbench import __version__

DeviceKind = Literal["cpu", "cuda", "mps"]


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

    @property
    def label(self) -> str:
        """What ``--device`` calls it: ``cpu``, ``mps``, ``cuda:1``."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


class Slot(BaseModel):
    """A place where one run at a time is carried out, by one worker process."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Such as ``cpu/0`` or ``cuda:1/0``: the device and the place on it."""
    device: Device
    threads: int
    """Threads of one run's CPU work."""
    jobs: int = 1
    """Slots that use the device side by side, this one included."""
    shared: bool = False
    """Whether they share the device, or more CPU cores than there are, so that a throughput is not that of a run alone."""


class Machine(BaseModel):
    """What a measurement was made on."""

    model_config = ConfigDict(frozen=True)

    os: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str
    devices: tuple[Device, ...]
    fingerprint: str
    """Hash of processor, cores and device models: equal where timings may be held against each other. Software is listed,
    not hashed, and which of several equal devices are visible does not matter."""


class Code(BaseModel):
    """Which dnlbench ran."""

    model_config = ConfigDict(frozen=True)

    version: str
    git: str | None = None
    """Commit of the working tree that dnlbench was imported from; None when it is installed as a package."""
    dirty: bool | None = None
    """Whether that tree had uncommitted changes; None without one."""
    source: str | None = None
    """Hash of the package's Python files as they ran; None in profiles that do not tell."""


def usable_cores() -> int:
    """Physical cores that this process may run on; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def torch_version() -> str:
    """The installed torch's version, from its package metadata."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "none"


def list_devices() -> tuple[Device, ...]:
    """Every device that runs could be placed on: CUDA devices first, then MPS, then the CPU."""
    return (*cuda_devices(), *_mps_devices(), cpu_device())


def cpu_device() -> Device:
    """The CPU, with the memory of the whole machine."""
    memory = psutil.virtual_memory()
    return Device(
        kind="cpu", name=_cpu_name(), memory_bytes=memory.total, memory_used_bytes=memory.total - memory.available
    )


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
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            yield Device(
                kind="cuda",
                index=index,
                name=str(pynvml.nvmlDeviceGetName(handle)),
                uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
                memory_bytes=int(memory.total),
                memory_used_bytes=int(memory.used),
                driver=driver,
            )
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _mps_devices() -> Iterator[Device]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        yield Device(kind="mps", name=f"{_cpu_name()} GPU", memory_bytes=psutil.virtual_memory().total)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read_machine() -> Machine:
    """The machine as it is now."""
    devices = list_devices()
    facts = {
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": torch_version(),
    }
    hardware = {
        "cpu": facts["cpu"],
        "cores": facts["cores"],
        "devices": sorted({f"{device.kind} {device.name}" for device in devices}),
    }
    fingerprint = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:16]
    return Machine.model_validate({**facts, "devices": devices, "fingerprint": fingerprint})


def read_code() -> Code:
    """The version of dnlbench and, in a working tree, its commit."""
    package = Path(__file__).resolve().parent
    commit = _git(package, "rev-parse", "HEAD") if (package.parent / ".git").exists() else None
    dirty = bool(_git(package, "status", "--porcelain", "--", str(package))) if commit else None
    return Code(version=__version__, git=commit, dirty=dirty, source=source_hash())


def source_hash() -> str:
    """Hash of the package's Python files, by which two states of one version can be told apart."""
    package, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
