"""What a measurement was made on, and by what it may be held against another."""

from __future__ import annotations

import hashlib
import json
import platform

import psutil
from pydantic import BaseModel, ConfigDict

from dnlbench.machine.device import Device, UnusableDevice
from dnlbench.machine.devices import cpu_name, find_devices, usable_cores
from dnlbench.machine.software import package_version


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
    unusable: tuple[UnusableDevice, ...] = ()
    """GPUs that could not be used; empty in profiles of versions before 0.8."""
    fingerprint: str
    """Hash of processor, cores and device models: equal where timings may be held against each other. Software is listed,
    not hashed, and which of several equal devices are visible, or how busy they were, does not matter."""

    @property
    def title(self) -> str:
        """All that tells machines with other fingerprints apart: ``AMD EPYC 9654, 16 cores, NVIDIA H200``."""
        models = sorted({device.name for device in self.devices if device.kind != "cpu"})
        return ", ".join([self.cpu, f"{self.cores} core{'' if self.cores == 1 else 's'}", *models])


def torch_version() -> str:
    """The installed torch's version, from its package metadata."""
    return package_version("torch") or "none"


def read_machine() -> Machine:
    """The machine as it is now."""
    found = find_devices()
    facts = {
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": torch_version(),
    }
    hardware = {
        "cpu": facts["cpu"],
        "cores": facts["cores"],
        "devices": sorted({f"{device.kind} {device.name}" for device in found.usable}),
    }
    fingerprint = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:16]
    return Machine.model_validate(
        {**facts, "devices": found.usable, "unusable": found.unusable, "fingerprint": fingerprint}
    )
