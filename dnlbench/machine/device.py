"""A device that can run a worker, or that cannot, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dnlbench import units

DeviceKind = Literal["cpu", "cuda", "mps"]

BUSY_GPU = 0.1
"""Utilisation above which a GPU is busy: a display takes less."""
BUSY_CPU = 0.5
"""Utilisation above which the CPU is busy: it always has something to do."""
BUSY_MEMORY = 2**30
"""Memory in use above which a GPU is busy, together with a share of the whole; drivers and displays take less."""
BUSY_MEMORY_FRACTION = 0.02


class Device(BaseModel):
    """One device that can carry out runs."""

    model_config = ConfigDict(frozen=True)

    kind: DeviceKind
    index: int = 0
    """Place among the devices of its kind that this process may use."""
    name: str
    uuid: str | None = None
    """The UUID of a CUDA device, or of a MIG instance, for CUDA_VISIBLE_DEVICES; None elsewhere, and for a machine's only
    GPU if the driver does not report it."""
    memory_bytes: int | None = None
    """Total memory; None where the platform does not tell."""
    memory_used_bytes: int | None = None
    """Memory in use when the device was listed, by anybody."""
    memory_shared: bool = False
    """Whether a GPU has no memory of its own, so that both values are those of the machine."""
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
    def in_host_memory(self) -> bool:
        """Whether its runs take the machine's memory, where the system ends processes if that runs out."""
        return self.kind == "cpu" or self.memory_shared

    @property
    def busy(self) -> str | None:
        """By what it was busy when it was listed, as in ``2 processes, 93 % busy, 40.1 GiB in use``; None if it was free."""
        return ", ".join(self._occupations()) or None

    def _occupations(self) -> Iterator[str]:
        if self.processes:
            yield f"{self.processes} process{'es' if self.processes > 1 else ''}"
        if (self.utilisation or 0) > (BUSY_CPU if self.kind == "cpu" else BUSY_GPU):
            yield f"{units.percent(round(self.utilisation or 0, 2))} busy"
        # Much of a machine's own memory is always in use: that says nothing about the device.
        allowed = BUSY_MEMORY + BUSY_MEMORY_FRACTION * (self.memory_bytes or 0)
        if not self.in_host_memory and (self.memory_used_bytes or 0) > allowed:
            yield f"{units.size(self.memory_used_bytes)} in use"


class UnusableDevice(BaseModel):
    """A GPU that runs cannot use, or several for the same reason."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``GPU 1``, ``NVIDIA GPUs``, or a value of CUDA_VISIBLE_DEVICES that names no GPU."""
    reason: str
    hidden: bool = False

    @property
    def text(self) -> str:
        """``GPU 1: GPU is lost; restart the machine``."""
        return f"{self.name}: {self.reason}"


def why_unusable(devices: Iterable[UnusableDevice]) -> str:
    """A sentence to append to an error message; empty if there are none."""
    texts = [device.text for device in devices]
    return f". Not usable: {'. '.join(texts)}" if texts else ""
