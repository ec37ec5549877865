"""NVIDIA GPUs as reported by NVML.

Each call may fail independently: for some GPUs, drivers, containers or users.
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
"""Prefix of the PCI classes of GPUs, with and without a display."""
ALL_GPUS = "NVIDIA GPUs"
REMEDIES = {
    "DriverNotLoaded": "load the driver (modprobe nvidia)",
    "GpuIsLost": "restart the machine",
    "LibRmVersionMismatch": "the driver was updated: restart the machine",
    "ResetRequired": "reset it (nvidia-smi --gpu-reset), or restart the machine",
}
"""Remedies for NVML errors, by class name without the prefix NVMLError_."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as numbered by the driver."""

    number: int
    """The driver's number, which CUDA_VISIBLE_DEVICES uses."""
    uuid: str | None = None
    devices: tuple[Device, ...] = ()
    """The GPU itself or its MIG instances; empty if it cannot be used."""
    problem: str | None = None


def list_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """List all GPUs. The second value is the reason if there are none although there should be some."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), _why_not_open(error)
    try:
        driver = query_or_none(lambda: str(pynvml.nvmlSystemGetDriverVersion()))
        count = int(pynvml.nvmlDeviceGetCount())
        gpus = tuple(_gpu(number, driver, alone=count == 1) for number in range(count))
        return gpus, None if gpus else "the driver is loaded, but reports no GPU"
    except pynvml.NVMLError as error:
        return (), describe(error)
    finally:
        query_or_none(pynvml.nvmlShutdown)


def query_or_none(query: Callable[[], T]) -> T | None:
    """Return the result of an NVML query, or None if the device, the driver or the user's permissions do not support it."""
    import pynvml

    try:
        return query()
    except (pynvml.NVMLError, AttributeError):  # some distributions' pynvml lacks functions
        return None


def describe(error: Exception) -> str:
    """Return NVML's message and a remedy if one is known."""
    message, remedy = str(error).rstrip("."), REMEDIES.get(_kind(error))
    return f"{message}; {remedy}" if remedy else message


def _kind(error: Exception) -> str:
    return type(error).__name__.removeprefix("NVMLError_")


def _why_not_open(error: Exception) -> str | None:
    """Return the reason why NVML does not work; None if this machine has neither a driver nor a GPU."""
    if _kind(error) != "LibraryNotFound":
        return describe(error)
    if not _is_there():
        return None
    return (
        "there is a GPU, but the driver's library libnvidia-ml is missing; install the driver, or start the container with "
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
        return Gpu(number=number, problem="the driver does not report its UUID, which workers need to select it")
    return Gpu(number=number, uuid=device.uuid, devices=(device,))


def _divided(number: int, handle: Any, instances: list[Device]) -> Gpu:
    usable = tuple(instance for instance in instances if instance.uuid)
    problem = None if usable else "MIG is enabled, but no MIG instance can be used; create one, or disable MIG"
    return Gpu(number=number, uuid=_uuid(handle), devices=usable, problem=problem)


def _mig_instances(handle: Any) -> list[Any] | None:
    """Return the handles of a GPU's MIG instances; None if MIG is disabled."""
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
    """Return the UUID; None if CUDA_VISIBLE_DEVICES would not accept it, since some Jetsons' UUIDs lack the prefix."""
    import pynvml

    uuid = query_or_none(lambda: str(pynvml.nvmlDeviceGetUUID(handle)))
    return uuid if uuid and uuid.startswith(("GPU-", "MIG-")) else None


def _memory(handle: Any) -> tuple[int, int | None, bool]:
    """Return total and used bytes. The third value is True if they are the machine's, as on GB10 and Jetson."""
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        if _kind(error) != "NotSupported":
            raise
        return *cpu_memory(), True
    return int(memory.total), int(memory.used), False
