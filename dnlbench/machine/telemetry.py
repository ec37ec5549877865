"""Telemetry of this machine's devices: utilization, memory, temperature and power."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import psutil

from dnlbench.machine.device import Device
from dnlbench.machine.devices import list_devices
from dnlbench.machine.memory import cpu_memory
from dnlbench.machine.nvml import query_or_none

RAPL = Path("/sys/class/powercap")
KEPT_READINGS = 300
"""Number of readings kept for each device: five minutes at one per second."""
REOPEN_S = 30.0
"""Seconds between two attempts to reload a driver that disappeared; each may take a while."""
LONGEST_GAP_S = 60.0
"""Seconds after which the processor's energy counter may have wrapped around more than once."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The state of a device at one moment. Values that the machine does not report are None."""

    time: float
    """Seconds since the epoch."""
    label: str
    """Name for ``--device``: ``cpu``, ``mps``, ``cuda:1``."""
    name: str
    utilization: float | None = None
    """Fraction of time, 0 to 1, that the device was computing since the last reading; for a GPU, during NVML's last sample."""
    memory_used_bytes: int | None = None
    """Bytes used by all processes."""
    memory_bytes: int | None = None
    temperature_c: float | None = None
    """Degrees Celsius, of the hottest CPU package."""
    power_w: float | None = None
    power_limit_w: float | None = None


DeviceHistory = Mapping[str, tuple[Reading, ...]]
"""Readings by device label, the oldest first."""


class Telemetry:
    """Read the devices of this machine, as listed by `list_devices` when this object is created.

    Only one thread may read at a time. A reading takes milliseconds, but a broken driver may block: read in a separate
    thread.
    """

    def __init__(self, rapl: Path = RAPL) -> None:
        self._devices = list_devices()
        self._nvml = _Nvml()
        self._clock = _CpuClock()
        self._rapl = _Rapl(rapl)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._nvml.close()

    def read(self, now: float) -> tuple[Reading, ...]:
        """Read every device at the time ``now``, in seconds since the epoch, in the order of `list_devices`."""
        readings = tuple(self._read(device, now) for device in self._devices)
        gpus = [pair for pair in zip(self._devices, readings, strict=True) if pair[0].kind == "cuda"]
        if gpus and not any(_has_values(*pair) for pair in gpus):
            self._nvml.reopen(now)
        return readings

    def _read(self, device: Device, now: float) -> Reading:
        if device.kind == "cuda":
            return _read_gpu(device, self._nvml.handle(device), now)
        if device.kind == "cpu":
            return self._read_cpu(device, now)
        return Reading(time=now, label=device.label, name=device.name, memory_bytes=device.memory_bytes)

    def _read_cpu(self, device: Device, now: float) -> Reading:
        total, used = cpu_memory()
        power_w = self._rapl.power_w(now)
        return Reading(
            time=now,
            label=device.label,
            name=device.name,
            utilization=self._clock.utilization(),
            memory_used_bytes=used,
            memory_bytes=total,
            temperature_c=_cpu_temperature_c(),
            power_w=power_w,
            power_limit_w=None if power_w is None else self._rapl.limit_w(),
        )


class TelemetryLog:
    """The most recent readings of each device."""

    def __init__(self, keep: int = KEPT_READINGS) -> None:
        self._keep = keep
        self._readings: dict[str, deque[Reading]] = {}

    def add(self, readings: Iterable[Reading]) -> None:
        for reading in readings:
            self._readings.setdefault(reading.label, deque(maxlen=self._keep)).append(reading)

    def snapshot(self) -> DeviceHistory:
        """Return a copy of all readings that later additions do not change."""
        return MappingProxyType({label: tuple(readings) for label, readings in self._readings.items()})


class _Nvml:
    """The NVML library, initialized once, and its handles of the GPUs."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._tried_at: float | None = None
        self._closed = False
        self._is_open = self._open()

    def _open(self) -> bool:
        import pynvml

        return query_or_none(lambda: (pynvml.nvmlInit(), True)) is not None

    def handle(self, device: Device) -> Any:
        import pynvml

        if device.label not in self._handles and self._is_open:
            handle = query_or_none(
                lambda: (
                    pynvml.nvmlDeviceGetHandleByUUID(device.uuid)
                    if device.uuid
                    else pynvml.nvmlDeviceGetHandleByIndex(device.index)
                )
            )
            if handle is None:  # a lost GPU may come back
                return None
            self._handles[device.label] = handle
        return self._handles.get(device.label)

    def reopen(self, now: float) -> None:
        """Initialize NVML again, at most every `REOPEN_S` seconds. Old handles are invalid after the driver was reloaded."""
        if not self._closed and (self._tried_at is None or now - self._tried_at >= REOPEN_S):
            self._tried_at = now
            self._shut_down()
            self._is_open = self._open()

    def close(self) -> None:
        """Close permanently. A concurrent reading in another thread gets no values."""
        self._closed = True
        self._shut_down()

    def _shut_down(self) -> None:
        import pynvml

        self._handles.clear()
        if self._is_open:
            self._is_open = False
            query_or_none(pynvml.nvmlShutdown)


def _read_gpu(device: Device, handle: Any, now: float) -> Reading:
    import pynvml

    if handle is None:
        return Reading(time=now, label=device.label, name=device.name)
    total, used = _gpu_memory(device, handle)
    return Reading(
        time=now,
        label=device.label,
        name=device.name,
        utilization=query_or_none(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
        memory_used_bytes=used,
        memory_bytes=total,
        temperature_c=query_or_none(
            lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
        ),
        power_w=query_or_none(lambda: int(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1e3),
        power_limit_w=query_or_none(lambda: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / 1e3),
    )


def _gpu_memory(device: Device, handle: Any) -> tuple[int | None, int | None]:
    import pynvml

    if device.memory_shared:
        return cpu_memory()
    memory = query_or_none(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return (None, None) if memory is None else (int(memory.total), int(memory.used))


def _has_values(device: Device, reading: Reading) -> bool:
    """Return True if the driver reported any value, not counting shared memory, which does not come from the driver."""
    memory_bytes = None if device.memory_shared else reading.memory_bytes
    values = (reading.utilization, memory_bytes, reading.temperature_c, reading.power_w)
    return any(value is not None for value in values)


class _CpuClock:
    """Utilization of all logical cores. The interval of psutil's own function is per thread, so it cannot be used."""

    def __init__(self) -> None:
        self._last = _busy_and_all_s()

    def utilization(self) -> float | None:
        """Return the utilization since the last call; None if no time has passed."""
        (busy_before, all_before), self._last = self._last, _busy_and_all_s()
        busy, everything = self._last[0] - busy_before, self._last[1] - all_before
        return min(1.0, max(0.0, busy / everything)) if everything > 0 else None


def _busy_and_all_s() -> tuple[float, float]:
    times = psutil.cpu_times()._asdict()
    for part_of_user_time in ("guest", "guest_nice"):
        times.pop(part_of_user_time, None)
    everything = sum(times.values())
    return everything - times["idle"] - times.get("iowait", 0.0), everything


def _cpu_temperature_c() -> float | None:
    """Return the temperature of the hottest package, or else of the hottest sensor, ignoring implausible values."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    for chip in ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal"):
        entries = [entry for entry in sensors.get(chip, ()) if 0 < entry.current < 150]
        # On some AMD models Tctl is the temperature plus an offset for the fan; those also report Tdie.
        for beginning in ("Package", "Tdie", "Tctl", ""):
            chosen = [float(entry.current) for entry in entries if entry.label.startswith(beginning)]
            if chosen:
                return max(chosen)
    return None


class _Rapl:
    """Power of the processor's packages from their energy counters, which many systems show only to root."""

    def __init__(self, root: Path) -> None:
        self._packages = sorted(_packages(root))
        self._last: tuple[float, list[int]] | None = None

    def power_w(self, now: float) -> float | None:
        """Return the mean power since the last call; None if it is unavailable, or after a long gap."""
        energies_uj = [_integer(package / "energy_uj") for package in self._packages]
        known = [energy for energy in energies_uj if energy is not None]
        if not known or len(known) < len(energies_uj):
            self._last = None
            return None
        last, self._last = self._last, (now, known)
        if last is None or not 0 < now - last[0] <= LONGEST_GAP_S:
            return None
        used_uj = [_used_uj(*each) for each in zip(self._packages, last[1], known, strict=True)]
        return sum(used_uj) / 1e6 / (now - last[0]) if min(used_uj) >= 0 else None

    def limit_w(self) -> float | None:
        """Return the sustained power limit of all packages; None if one does not report it."""
        limits_uw = [_integer(package / "constraint_0_power_limit_uw") for package in self._packages]
        known = [limit for limit in limits_uw if limit]
        return sum(known) / 1e6 if known and len(known) == len(limits_uw) else None


def _used_uj(package: Path, before: int, after: int) -> int:
    """Return the energy used; negative if the counter wrapped around at an unknown value."""
    return after - before + (0 if after >= before else _integer(package / "max_energy_range_uj") or 0)


def _packages(root: Path) -> Iterator[Path]:
    """Yield the packages, without their parts (cores, memory) and without the platform, which contains a package."""
    for zone in root.glob("intel-rapl:*"):  # also used for AMD
        try:
            name = (zone / "name").read_text()
        except OSError:
            continue
        if name.startswith("package"):
            yield zone


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
