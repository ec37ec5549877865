"""The machine, its slots, and the software that results depend on."""

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
"""Packages besides torch that compute results."""
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
"""Environment variables that affect precision or instructions of torch and its libraries."""

_NOISE = re.compile(r"\((R|TM)\)|^(NVIDIA|AMD|Intel)\b|\bGeForce\b|\b\d+-Core\b|\b(Processor|CPU)\b|@.*", re.IGNORECASE)
"""Parts of a model name that can be omitted."""


class Machine(BaseModel):
    """The machine on which results were measured."""

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
    """Hash of processor, cores and device models. Timings are comparable if it is equal. Software, utilization and the number
    of equal devices are not part of the hash."""

    @property
    def title(self) -> str:
        """The hashed properties as text: ``AMD EPYC 9654, 16 cores, NVIDIA H200``."""
        models = sorted({device.name for device in self.devices if device.kind != "cpu"})
        return ", ".join([self.cpu, f"{self.cores} core{'' if self.cores == 1 else 's'}", *models])


def torch_version() -> str:
    """Return the version of the installed torch from its package metadata."""
    return package_version("torch") or "none"


def read_machine() -> Machine:
    """Read the machine's current state."""
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
    """A machine of a cluster, with the properties that results depend on."""

    model_config = ConfigDict(frozen=True)

    name: str
    """The machine's name in the cluster."""
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str
    fingerprint: str
    """Fingerprint like that of `Machine`: timings are comparable if it is equal."""


def node_of(machine: Machine, name: str) -> Node:
    """Return this machine as a node of a cluster."""
    return Node(name=name, **machine.model_dump(include=set(Node.model_fields)))


class Slot(BaseModel):
    """A slot, on which one worker process executes one run or pack at a time."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Device and number: ``cpu/0``, ``cuda:1/0``."""
    device: Device
    threads: int
    jobs: int = 1
    """Number of slots on the device, including this one."""
    shared: bool = False
    """True if the slots share the device, or use more CPU cores than there are. The throughput of a run is then not that of a
    run alone."""
    node: Node | None = None
    """The cluster machine that the slot is on; None on this machine, and before Ray has placed it."""


def package_version(name: str) -> str:
    """Return a package's version from its metadata, without importing it; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that compute results."""
    return {name: package_version(name) for name in COMPUTING}


def numeric_environment() -> dict[str, str]:
    """Return the relevant environment variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def short_model(name: str) -> str:
    """Shorten a model name to its distinctive part: ``EPYC 9654``. Return the full name if nothing else is left."""
    return " ".join(_NOISE.sub(" ", name).split()) or name


def short_host(name: str) -> str:
    """Remove the domain from a host name. Addresses stay as they are."""
    return name if re.fullmatch(r"[\d.]+|.*:.*", name) else name.partition(".")[0] or name
