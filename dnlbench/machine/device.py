"""Devices that can run a worker, and devices that cannot, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dnlbench import units

DeviceKind = Literal["cpu", "cuda", "mps"]

BUSY_GPU = 0.1
"""Utilization above which a GPU counts as busy; a display causes less."""
BUSY_CPU = 0.5
"""Utilization above which the CPU counts as busy; some load is normal."""
BUSY_MEMORY = 2**30
"""Memory in use above which a GPU counts as busy, plus a fraction of its memory. Drivers and displays use less."""
BUSY_MEMORY_FRACTION = 0.02


class Device(BaseModel):
    """A device that can execute runs."""

    model_config = ConfigDict(frozen=True)

    kind: DeviceKind
    index: int = 0
    """Index among the devices of its kind that are visible to this process."""
    name: str
    uuid: str | None = None
    """UUID of a CUDA device or MIG instance, for CUDA_VISIBLE_DEVICES. None for other devices, and for a machine's only GPU if
    the driver does not report a UUID."""
    memory_bytes: int | None = None
    """Total memory; None if the platform does not report it."""
    memory_used_bytes: int | None = None
    """Memory used by all processes when the device was listed."""
    memory_shared: bool = False
    """True if a GPU shares the machine's memory; both values then are those of the machine."""
    driver: str | None = None
    utilisation: float | None = None
    """Fraction of time, 0 to 1, that the device was computing just before it was listed; for the CPU, during the last minute.
    None if the platform does not report it."""
    processes: int | None = None
    """Number of processes of all users that computed on the device when it was listed. None for the CPU and if NVML does not
    report it."""

    @property
    def label(self) -> str:
        """Name for ``--device``: ``cpu``, ``mps``, ``cuda:1``."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @property
    def in_host_memory(self) -> bool:
        """True if its runs use the machine's memory. The system kills processes when that runs out."""
        return self.kind == "cpu" or self.memory_shared

    @property
    def busy(self) -> str | None:
        """The load when the device was listed, such as ``2 processes, 93 % busy, 40.1 GiB in use``; None if it was idle."""
        return ", ".join(self._occupations()) or None

    def _occupations(self) -> Iterator[str]:
        if self.processes:
            yield f"{self.processes} process{'es' if self.processes > 1 else ''}"
        if (self.utilisation or 0) > (BUSY_CPU if self.kind == "cpu" else BUSY_GPU):
            yield f"{units.percent(round(self.utilisation or 0, 2))} busy"
        # Usage of the machine's memory is ignored: much of it is always in use.
        allowed = BUSY_MEMORY + BUSY_MEMORY_FRACTION * (self.memory_bytes or 0)
        if not self.in_host_memory and (self.memory_used_bytes or 0) > allowed:
            yield f"{units.size(self.memory_used_bytes)} in use"


class UnusableDevice(BaseModel):
    """A GPU that runs cannot use, or several for the same reason."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``GPU 1``, ``NVIDIA GPUs``, or a value of CUDA_VISIBLE_DEVICES that matches no GPU."""
    reason: str
    hidden: bool = False

    @property
    def text(self) -> str:
        """Name and reason: ``GPU 1: GPU is lost; restart the machine``."""
        return f"{self.name}: {self.reason}"


def why_unusable(devices: Iterable[UnusableDevice]) -> str:
    """Return a sentence to append to an error message; empty if there are no such devices."""
    texts = [device.text for device in devices]
    return f". Not usable: {'. '.join(texts)}" if texts else ""
