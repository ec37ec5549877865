"""NVIDIA's GPUs as NVML reports them.

Each call may fail alone: for some GPUs, with some drivers, in some containers, for some users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dnlbench.machine.device import Device
from dnlbench.machine.memory import cpu_memory

T = TypeVar("T")

DEV = Path("/dev")
PCI = Path("/sys/bus/pci/devices")
NVIDIA = "0x10de"
DISPLAY = "0x03"
"""Beginning of the PCI classes of GPUs, with and without a display."""
ALL_GPUS = "NVIDIA GPUs"
REMEDIES = {
    "DriverNotLoaded": "load the driver (modprobe nvidia)",
    "GpuIsLost": "restart the machine",
    "LibRmVersionMismatch": "the driver was updated: restart the machine",
    "ResetRequired": "reset it (nvidia-smi --gpu-reset), or restart the machine",
}
"""What to do about NVML's errors, by the names of their classes without NVMLError_."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as the driver counts it."""

    number: int
    """The driver's, which CUDA_VISIBLE_DEVICES uses."""
    uuid: str | None = None
    devices: tuple[Device, ...] = ()
    """Where runs can be placed: the GPU itself, or its MIG instances. None if it cannot be used."""
    problem: str | None = None


def list_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """All GPUs, and why there are none if there should be some."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), _why_not_open(error)
    try:
        driver = query_or_none(lambda: str(pynvml.nvmlSystemGetDriverVersion()))
        count = int(pynvml.nvmlDeviceGetCount())
        gpus = tuple(_gpu(number, driver, alone=count == 1) for number in range(count))
        return gpus, None if gpus else "the driver is loaded, but shows no GPU"
    except pynvml.NVMLError as error:
        return (), describe(error)
    finally:
        query_or_none(pynvml.nvmlShutdown)


def query_or_none(query: Callable[[], T]) -> T | None:
    """NVML's answer to what it does not tell of every device, under every driver, or to everybody."""
    import pynvml

    try:
        return query()
    except (
        pynvml.NVMLError,
        AttributeError,
    ):  # the latter from another distribution's pynvml, which has fewer functions
        return None


def describe(error: Exception) -> str:
    """NVML's own words, and what to do."""
    message, remedy = str(error).rstrip("."), REMEDIES.get(_kind(error))
    return f"{message}; {remedy}" if remedy else message


def _kind(error: Exception) -> str:
    return type(error).__name__.removeprefix("NVMLError_")


def _why_not_open(error: Exception) -> str | None:
    """None if this machine has neither a driver nor a GPU."""
    if _kind(error) != "LibraryNotFound":
        return describe(error)
    if not _is_there():
        return None
    return (
        "there is a GPU, but not the driver's library libnvidia-ml; install the driver, or start the container with "
        "--gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
    )


def _is_there() -> bool:
    return any(_is_gpu(device) for device in PCI.glob("*")) or any(
        next(DEV.glob(pattern), None) for pattern in ("nvidia[0-9]*", "nvhost-gpu")
    )


def _is_gpu(device: Path) -> bool:
    try:
        vendor, of_class = ((device / file).read_text() for file in ("vendor", "class"))
    except OSError:
        return False
    return vendor.startswith(NVIDIA) and of_class.startswith(DISPLAY)


def _gpu(number: int, driver: str | None, *, alone: bool) -> Gpu:
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        instances = _mig_instances(handle)
        if instances is not None:
            return _divided(number, handle, [_device(instance, driver) for instance in instances])
        device = _device(handle, driver)
    except pynvml.NVMLError as error:
        return Gpu(number=number, problem=describe(error))
    if device.uuid is None and not alone:
        return Gpu(number=number, problem="the driver does not report its UUID, by which workers would select it")
    return Gpu(number=number, uuid=device.uuid, devices=(device,))


def _divided(number: int, handle: Any, instances: list[Device]) -> Gpu:
    usable = tuple(instance for instance in instances if instance.uuid)
    problem = None if usable else "MIG is enabled, but no MIG instance can be used; create one, or disable MIG"
    return Gpu(number=number, uuid=_uuid(handle), devices=usable, problem=problem)


def _mig_instances(handle: Any) -> list[Any] | None:
    """The handles of a GPU's MIG instances; None if MIG is not enabled."""
    import pynvml

    current_and_pending = query_or_none(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if not current_and_pending or not current_and_pending[0]:
        return None
    most = query_or_none(lambda: int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))) or 0
    query = pynvml.nvmlDeviceGetMigDeviceHandleByIndex
    instances = [query_or_none(partial(query, handle, index)) for index in range(most)]
    return [instance for instance in instances if instance is not None]


def _device(handle: Any, driver: str | None) -> Device:
    import pynvml

    memory_bytes, used_bytes, shared = _memory(handle)
    return Device(
        kind="cuda",
        name=query_or_none(lambda: str(pynvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
        uuid=_uuid(handle),
        memory_bytes=memory_bytes,
        memory_used_bytes=used_bytes,
        memory_shared=shared,
        driver=driver,
        utilisation=query_or_none(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
        processes=query_or_none(lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def _uuid(handle: Any) -> str | None:
    """None without one that CUDA_VISIBLE_DEVICES understands: those of some Jetsons lack the prefix and are read as numbers."""
    import pynvml

    uuid = query_or_none(lambda: str(pynvml.nvmlDeviceGetUUID(handle)))
    return uuid if uuid and uuid.startswith(("GPU-", "MIG-")) else None


def _memory(handle: Any) -> tuple[int, int | None, bool]:
    """Bytes in all, bytes in use, and whether they are the machine's, as on GB10 and Jetson, where NVML supports no answer."""
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        if _kind(error) != "NotSupported":
            raise
        return *cpu_memory(), True
    return int(memory.total), int(memory.used), False
