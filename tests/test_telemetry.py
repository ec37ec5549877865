from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from dnlbench.machine import Device, Reading, Telemetry, TelemetryLog, cpu_device
from dnlbench.machine import telemetry as telemetry_module

GIB = 2**30
CpuTimes = namedtuple("CpuTimes", "user system idle iowait guest")
Sensor = namedtuple("Sensor", "label current high critical")


class FakeNvmlError(Exception):
    """Not a subclass of anything that is caught by accident."""


class NVMLError_NotSupported(FakeNvmlError):  # noqa: N801, N818
    """Known by its name."""


class FakeNvml(ModuleType):
    """NVML with two GPUs, whose UUIDs are their handles; it can be unloaded, and what is in ``silent`` is not told."""

    NVMLError = FakeNvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.opened = 0
        self.attempts = 0
        self.unloaded = False
        self.unsupported: set[str] = set()
        self.lost: set[str] = set()
        """The first characters of UUIDs of GPUs none of whose calls succeeds."""

    def _query(self, what: str, value: Any) -> Any:
        if self.unloaded or not self.opened or what in self.unsupported:
            raise NVMLError_NotSupported("Not Supported")
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        self.attempts += 1
        if self.unloaded:
            raise FakeNvmlError("Driver Not Loaded")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: f"GPU-{index}932f937",
            "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
            "nvmlDeviceGetMemoryInfo": lambda uuid: SimpleNamespace(total=139 * GIB, used=(31 + int(uuid[4])) * GIB),
            "nvmlDeviceGetName": lambda uuid: "NVIDIA H200",
            "nvmlDeviceGetUUID": lambda uuid: uuid,
            "nvmlDeviceGetUtilizationRates": lambda uuid: SimpleNamespace(gpu=94, memory=1),
            "nvmlDeviceGetComputeRunningProcesses": lambda uuid: [],
            "nvmlDeviceGetTemperature": lambda uuid, sensor: 61,
            "nvmlDeviceGetPowerUsage": lambda uuid: 548_250,
            "nvmlDeviceGetEnforcedPowerLimit": lambda uuid: 700_000,
        }
        if name not in answers:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            answer = answers[name](*arguments)
            if any(str(each)[:5] in self.lost for each in (*arguments, answer)):
                raise FakeNvmlError("GPU is lost")
            return self._query(name, answer)

        return call


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def package(root: Path, device: str, name: str, energy_uj: int | None, limit_uw: int | None = None) -> Path:
    zone = root / f"intel-rapl:{device}"
    zone.mkdir(parents=True, exist_ok=True)
    fields = {"name": name, "energy_uj": energy_uj, "constraint_0_power_limit_uw": limit_uw}
    for file, value in fields.items():
        if value is not None:
            (zone / file).write_text(f"{value}\n")
    (zone / "max_energy_range_uj").write_text("1000000000\n")
    return zone / "energy_uj"


def of_cpu(telemetry: Telemetry, now: float) -> Reading:
    return telemetry.read(now)[-1]


def test_all_values_of_a_gpu(nvml: FakeNvml) -> None:
    with Telemetry() as telemetry:
        first, second, cpu = telemetry.read(5.0)
        telemetry.read(6.0)
        assert nvml.opened == 1
    assert nvml.opened == 0
    assert first == Reading(
        time=5.0,
        label="cuda:0",
        name="NVIDIA H200",
        utilization=0.94,
        memory_used_bytes=31 * GIB,
        memory_bytes=139 * GIB,
        temperature_c=61.0,
        power_w=548.25,
        power_limit_w=700.0,
    )
    assert second == replace(first, label="cuda:1", memory_used_bytes=32 * GIB)
    assert (cpu.label, cpu.name, cpu.memory_bytes) == ("cpu", cpu_device().name, cpu_device().memory_bytes)


@pytest.mark.usefixtures("nvml")
def test_gpus_are_numbered_as_a_run_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    with Telemetry() as telemetry:
        found = {reading.label: reading.memory_used_bytes for reading in telemetry.read(0.0)[:2]}
    assert found == {"cuda:0": 32 * GIB, "cuda:1": 31 * GIB}


def test_unavailable_values_of_a_gpu_are_none(nvml: FakeNvml) -> None:
    with Telemetry() as telemetry:
        nvml.unsupported = {"nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature"}
        reading = telemetry.read(0.0)[0]
    assert reading == Reading(time=0.0, label="cuda:0", name="NVIDIA H200", utilization=0.94, power_w=548.25)


def test_gpus_that_cannot_be_listed_leave_the_cpu(nvml: FakeNvml) -> None:
    nvml.unsupported = {"nvmlDeviceGetHandleByIndex"}
    with Telemetry() as telemetry:
        assert [reading.label for reading in telemetry.read(0.0)] == ["cpu"]


def test_a_gpu_with_shared_memory_reads_the_memory_of_the_machine(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry_module, "cpu_memory", lambda: (120 * GIB, 50 * GIB))
    nvml.unsupported = {"nvmlDeviceGetMemoryInfo"}
    with Telemetry() as telemetry:
        reading = telemetry.read(0.0)[0]
        assert (reading.utilization, reading.memory_bytes, reading.memory_used_bytes) == (0.94, 120 * GIB, 50 * GIB)
        nvml.unloaded = True
        telemetry.read(1.0)
        attempts = nvml.attempts
        telemetry.read(2.0 + telemetry_module.REOPEN_S)
        assert nvml.attempts == attempts + 1, "the machine's memory is no answer of the driver"


def test_a_gpu_without_a_uuid_is_read_by_its_number(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_module, "list_devices", lambda: (Device(kind="cuda", index=1, name="Orin"),))
    with Telemetry() as telemetry:
        assert telemetry.read(0.0)[0].memory_used_bytes == 32 * GIB


def test_one_gpu_may_be_lost_in_mid_sweep_and_come_back(nvml: FakeNvml) -> None:
    with Telemetry() as telemetry:
        telemetry.read(0.0)
        nvml.lost = {"GPU-1"}
        first, second, _ = telemetry.read(1.0)
        assert (first.utilization, second) == (0.94, Reading(time=1.0, label="cuda:1", name="NVIDIA H200"))
        nvml.lost = set()
        assert telemetry.read(2.0)[1].utilization == 0.94


def test_a_gpu_that_is_missing_at_first_is_retried(nvml: FakeNvml) -> None:
    with Telemetry() as telemetry:
        nvml.lost = {"GPU-1"}
        assert telemetry.read(0.0)[1].utilization is None
        nvml.lost = set()
        assert telemetry.read(1.0)[1].utilization == 0.94


TELEMETRY_CALLS = (
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
)


@pytest.mark.parametrize("call", TELEMETRY_CALLS)
def test_any_call_of_nvml_may_begin_to_fail(nvml: FakeNvml, call: str) -> None:
    with Telemetry() as telemetry:
        nvml.unsupported = {call}
        assert [reading.label for reading in telemetry.read(0.0)] == ["cuda:0", "cuda:1", "cpu"]


def test_a_driver_may_go_away_and_come_back(nvml: FakeNvml) -> None:
    lost = Reading(time=0.0, label="cuda:0", name="NVIDIA H200")
    with Telemetry() as telemetry:
        nvml.unloaded = True
        attempts = nvml.attempts
        for now in (1.0, 2.0, 3.0):
            assert telemetry.read(now)[0] == replace(lost, time=now)
        assert nvml.attempts == attempts + 1
        nvml.unloaded = False
        telemetry.read(4.0 + telemetry_module.REOPEN_S)
        assert telemetry.read(5.0 + telemetry_module.REOPEN_S)[0].utilization == 0.94
    assert nvml.opened == 0


def test_after_it_was_closed_nothing_is_opened_again(nvml: FakeNvml) -> None:
    telemetry = Telemetry()
    telemetry.close()
    telemetry.close()
    assert telemetry.read(0.0)[0].utilization is None
    assert nvml.opened == 0


def test_without_nvml_there_is_the_cpu(nvml: FakeNvml) -> None:
    nvml.unloaded = True
    with Telemetry() as telemetry:
        assert [reading.label for reading in telemetry.read(0.0)] == ["cpu"]


def test_cpu_utilization_is_since_the_last_reading(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.unloaded = True
    times = iter([(10, 0, 90, 0, 5), (10, 0, 90, 0, 5), (13, 1, 100, 2, 5), (14, 1, 100, 1, 9)])
    monkeypatch.setattr(psutil, "cpu_times", lambda: CpuTimes(*next(times)))
    with Telemetry() as telemetry:
        assert of_cpu(telemetry, 0.0).utilization is None  # no time has passed
        assert of_cpu(telemetry, 1.0).utilization == pytest.approx(4 / 16)
        assert of_cpu(telemetry, 2.0).utilization is None  # a clock that goes back


@pytest.mark.parametrize(
    ("sensors", "expected"),
    [
        ({}, None),
        ({"nvme": [("Composite", 40)]}, None),
        ({"coretemp": [("Package id 0", 55), ("Package id 1", 61), ("Core 0", 70)], "nvme": [("", 90)]}, 61.0),
        ({"k10temp": [("Tctl", 82), ("Tdie", 62), ("Tccd1", 70)]}, 62.0),
        ({"k10temp": [("Tctl", 64.5), ("Tccd1", 70)]}, 64.5),
        ({"cpu_thermal": [("", 48.7)]}, 48.7),
        ({"coretemp": [("Package id 0", 0), ("Core 0", 47)]}, 47.0),
    ],
)
def test_the_temperature_is_that_of_the_package(
    nvml: FakeNvml,
    monkeypatch: pytest.MonkeyPatch,
    sensors: dict[str, list[tuple[str, float]]],
    expected: float | None,
) -> None:
    nvml.unloaded = True
    found = {chip: [Sensor(*entry, None, None) for entry in entries] for chip, entries in sensors.items()}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found, raising=False)
    with Telemetry() as telemetry:
        assert of_cpu(telemetry, 0.0).temperature_c == expected


def test_systems_without_sensors(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.unloaded = True
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    with Telemetry() as telemetry:
        assert of_cpu(telemetry, 0.0).temperature_c is None


def test_power_is_the_energy_of_the_packages_by_the_time(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.unloaded = True
    energy = [package(tmp_path, f"{device}", f"package-{device}", 10_000_000, 150_000_000) for device in (0, 1)]
    core = package(tmp_path, "0:0", "core", 0, 150_000_000)
    psys = package(tmp_path, "2", "psys", 0)
    with Telemetry(tmp_path) as telemetry:
        assert (of_cpu(telemetry, 0.0).power_w, of_cpu(telemetry, 0.0).power_limit_w) == (None, None)
        for path in (*energy, core, psys):
            path.write_text("90000000\n")
        reading = of_cpu(telemetry, 2.0)
        assert (reading.power_w, reading.power_limit_w) == (80.0, 300.0)
        energy[0].write_text("10000000\n")  # after 1000 J it begins anew
        assert of_cpu(telemetry, 6.0).power_w == pytest.approx(920 / 4)
        assert of_cpu(telemetry, 6.0).power_w is None
        assert of_cpu(telemetry, 7 + telemetry_module.LONGEST_GAP_S).power_w is None
        energy[1].unlink()
        assert of_cpu(telemetry, 8 + telemetry_module.LONGEST_GAP_S).power_w is None


def test_a_counter_that_begins_anew_without_saying_where(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.unloaded = True
    energy = package(tmp_path, "0", "package-0", 10_000_000)
    (energy.parent / "max_energy_range_uj").unlink()
    with Telemetry(tmp_path) as telemetry:
        of_cpu(telemetry, 0.0)
        energy.write_text("1\n")
        assert of_cpu(telemetry, 1.0).power_w is None
        energy.write_text("1000001\n")
        assert (of_cpu(telemetry, 2.0).power_w, of_cpu(telemetry, 2.0).power_limit_w) == (1.0, None)


def test_the_log_keeps_the_last_readings_and_hands_out_what_does_not_change() -> None:
    log = TelemetryLog(keep=2)
    assert dict(log.snapshot()) == {}
    for now in (1.0, 2.0, 3.0):
        before = log.snapshot()
        log.add([Reading(time=now, label="cuda:0", name="A GPU"), Reading(time=now, label="cpu", name="A CPU")])
    assert [reading.time for reading in before["cuda:0"]] == [1.0, 2.0]
    assert [reading.time for reading in log.snapshot()["cpu"]] == [2.0, 3.0]
    assert list(log.snapshot()) == ["cuda:0", "cpu"]
    with pytest.raises(TypeError):
        log.snapshot()["cpu"] = ()  # type: ignore[index]
