"""The machine and the code that ran, read without importing torch.

NVML lists CUDA devices and the platform's name reveals MPS, so the parent process never opens a GPU.
"""

from dnlbench.machine.code import PACKAGE, Code, Sources, read_code, source_hash
from dnlbench.machine.device import Device, DeviceKind, UnusableDevice, why_unusable
from dnlbench.machine.devices import Devices, cpu_device, find_devices, list_devices, usable_cores
from dnlbench.machine.environment import (
    Machine,
    Node,
    Slot,
    node_of,
    numeric_environment,
    package_versions,
    read_machine,
    short_host,
    short_model,
    torch_version,
)
from dnlbench.machine.memory import cpu_memory, oom_kills
from dnlbench.machine.telemetry import DeviceHistory, Reading, Telemetry, TelemetryLog
