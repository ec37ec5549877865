"""The machine and the software that results depend on, and the places on it where runs are executed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from importlib import metadata

import psutil
from pydantic import BaseModel, ConfigDict

from dnlbench.machine.device import Device, UnusableDevice
from dnlbench.machine.devices import cpu_name, find_devices, usable_cores

COMPUTING = ("numba", "numpy", "scipy")
"""Packages beside torch that results are computed with."""
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATION_STRATEGY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "PYTORCH_MPS_FAST_MATH",
    "PYTORCH_MPS_PREFER_METAL",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_BLAS_PREFER_HIPBLASLT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED",
)
"""Environment variables by which torch and its libraries choose precision or instructions."""

_NOISE = re.compile(r"\((R|TM)\)|^(NVIDIA|AMD|Intel)\b|\bGeForce\b|\b\d+-Core\b|\b(Processor|CPU)\b|@.*", re.IGNORECASE)
"""What a model's name is as clear without."""


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
    devices = find_devices()
    fields = {
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": torch_version(),
    }
    hardware = {
        "cpu": fields["cpu"],
        "cores": fields["cores"],
        "devices": sorted({f"{device.kind} {device.name}" for device in devices.usable}),
    }
    fingerprint = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:16]
    return Machine.model_validate(
        {**fields, "devices": devices.usable, "unusable": devices.unusable, "fingerprint": fingerprint}
    )


class Node(BaseModel):
    """A machine of a cluster, as far as results depend on it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What it calls itself."""
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str
    fingerprint: str
    """As of `Machine`: equal where timings may be held against each other."""


def node_of(machine: Machine, name: str) -> Node:
    """This machine as one of a cluster's."""
    return Node(name=name, **machine.model_dump(include=set(Node.model_fields)))


class Slot(BaseModel):
    """A place where one run at a time is carried out, by one worker process."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Such as ``cpu/0`` or ``cuda:1/0``: the device and the place on it."""
    device: Device
    threads: int
    jobs: int = 1
    """Slots that use the device side by side, this one included."""
    shared: bool = False
    """Whether they share the device, or more CPU cores than there are, so that a throughput is not that of a run alone."""
    node: Node | None = None
    """The machine of a cluster that the place is on; None on this machine, and where that is not known yet."""


def package_version(name: str) -> str:
    """From the package's metadata, without importing it; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def package_versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    return {name: package_version(name) for name in COMPUTING}


def numeric_environment() -> dict[str, str]:
    """The variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def short_model(name: str) -> str:
    """A model without what all models of its maker are called: ``EPYC 9654``; the whole name if nothing else is left."""
    return " ".join(_NOISE.sub(" ", name).split()) or name


def short_host(name: str) -> str:
    """A host without its domain; an address has none."""
    return name if re.fullmatch(r"[\d.]+|.*:.*", name) else name.partition(".")[0] or name
