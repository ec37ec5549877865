from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

import dnlbench
from dnlbench.cli.devices import devices as devices_command
from dnlbench.machine import (
    Device,
    Machine,
    cpu_device,
    cuda_devices,
    list_devices,
    oom_kills,
    read_code,
    read_machine,
    source_hash,
)
from dnlbench.machine import code as code_module

GIB = 2**30
IDLE = {"used": 0.4 * GIB, "utilisation": 0, "processes": 0}
BUSY = {"used": 40.1 * GIB, "utilisation": 93, "processes": 2}
SILENT = {"used": 0.4 * GIB, "utilisation": None, "processes": None}


class FakeNvmlError(Exception):
    """Not a subclass of anything that is caught by accident."""


def fake_nvml(gpus: list[dict[str, Any]]) -> ModuleType:
    """NVML with these GPUs, whose place in the list is their handle; what is None there is not told."""

    def told(index: int, key: str) -> Any:
        if gpus[index][key] is None:
            raise FakeNvmlError("Not Supported")
        return gpus[index][key]

    module = ModuleType("pynvml")
    answers: dict[str, Any] = {
        "NVMLError": FakeNvmlError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetCount": lambda: len(gpus),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(total=80 * GIB, used=told(index, "used")),
        "nvmlDeviceGetName": lambda index: "NVIDIA H200",
        "nvmlDeviceGetUUID": lambda index: f"GPU-{index}932f937-d72d-4106-c12f-20bd9faed9f6",
        "nvmlDeviceGetUtilizationRates": lambda index: SimpleNamespace(gpu=told(index, "utilisation"), memory=1),
        "nvmlDeviceGetComputeRunningProcesses": lambda index: [object()] * told(index, "processes"),
    }
    for name, answer in answers.items():
        setattr(module, name, answer)
    return module


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([IDLE, BUSY, SILENT]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (4.56, 8.0, 8.0), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 4)


@pytest.mark.usefixtures("three_gpus")
def test_gpus_tell_how_busy_they_are_as_far_as_nvml_does() -> None:
    found = [(device.utilisation, device.processes, device.busy) for device in cuda_devices()]
    assert found == [(0.0, 0, None), (0.93, 2, "2 processes, 93 % busy, 40.1 GiB in use"), (None, None, None)]


@pytest.mark.usefixtures("three_gpus")
def test_cuda_visible_devices_chooses_busy_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1932f937,0")
    assert [(device.label, device.processes) for device in cuda_devices()] == [("cuda:0", 2), ("cuda:1", 0)]


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FakeNvmlError("Driver Not Loaded")

    nvml = fake_nvml([IDLE])
    monkeypatch.setattr(nvml, "nvmlInit", fail)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert cuda_devices() == ()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"utilisation": 0.1, "processes": 0, "memory_used_bytes": int(2.6 * GIB)}, None),
        ({"utilisation": 0.11}, "11 % busy"),
        ({"processes": 1, "utilisation": 0.0}, "1 process"),
        ({"memory_used_bytes": int(2.7 * GIB)}, "2.7 GiB in use"),
        ({"memory_used_bytes": int(1.1 * GIB), "memory_bytes": None}, "1.1 GiB in use"),
        ({"kind": "cpu", "utilisation": 0.5, "memory_used_bytes": 70 * GIB}, None),
        ({"kind": "cpu", "utilisation": 0.5678}, "57 % busy"),
        ({"kind": "mps"}, None),
    ],
)
def test_by_what_a_device_is_busy(facts: dict[str, Any], expected: str | None) -> None:
    device = Device.model_validate({"kind": "cuda", "name": "A GPU", "memory_bytes": 80 * GIB, **facts})
    assert device.busy == expected


@pytest.mark.usefixtures("load")
def test_the_cpus_utilisation_is_its_load_by_logical_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_device().utilisation == pytest.approx(0.57)
    assert cpu_device().busy == "57 % busy"
    monkeypatch.setattr(os, "getloadavg", lambda: (40.0, 0.0, 0.0))
    assert cpu_device().utilisation == 1
    monkeypatch.delattr(os, "getloadavg")
    assert cpu_device().utilisation is None


def test_the_fingerprint_is_not_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = set()
    for gpu, load in ((IDLE, 0.0), (BUSY, 0.0), (SILENT, 1e3)):
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([gpu]))
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load), raising=False)
        fingerprints.add(read_machine().fingerprint)
    assert len(fingerprints) == 1


@pytest.mark.usefixtures("three_gpus")
def test_machines_written_before_devices_told_how_busy_they_are_still_read() -> None:
    machine = read_machine()
    content = machine.model_dump(mode="json")
    assert Machine.model_validate(content) == machine
    for device in content["devices"]:
        del device["utilisation"], device["processes"]
    assert {device.utilisation for device in Machine.model_validate(content).devices} == {None}


@pytest.mark.usefixtures("three_gpus", "load")
def test_the_table_of_devices_shows_which_are_busy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dnlbench.cli.output.PIPE_WIDTH", 80)
    monkeypatch.setattr("dnlbench.machine.devices.cpu_name", lambda: "AMD EPYC 9654 96-Core Processor")
    devices_command()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for label, busy, identity in (
        ("cuda:0", "no: 0 %", "GPU-0932f937"),
        ("cuda:1", "yes: 2 processes", "GPU-1932f937"),
        ("cuda:2", "no", "GPU-2932f937"),
        ("cpu", "yes: 57 %", " cores"),
    ):
        (line,) = (line for line in lines if line.startswith(label))
        assert f"  {busy}" in line
        assert identity in line


@pytest.mark.usefixtures("three_gpus")
def test_gpus_come_before_the_cpu() -> None:
    assert [device.label for device in list_devices()[:3]] == ["cuda:0", "cuda:1", "cuda:2"]
    assert list_devices()[-1].label == "cpu"


def test_the_source_hash_is_of_the_whole_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Path(dnlbench.__file__).resolve().parent == code_module.PACKAGE
    assert read_code().source == source_hash()
    monkeypatch.setattr(code_module, "PACKAGE", tmp_path)
    (tmp_path / "cli").mkdir()
    hashes = {source_hash()}
    for name, text in (("a.py", "1"), ("a.py", "2"), ("cli/a.py", "1")):
        (tmp_path / name).write_text(text)
        hashes.add(source_hash())
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("vmstat", "events", "expected"),
    [
        (None, None, 0),
        ("pgfault 12\noom_kill 3\nthp_fault 0\n", None, 3),
        (None, "low 0\noom 9\noom_kill 2\noom_group_kill 7\n", 2),
        ("oom_kill 3\n", "oom_kill 2\n", 2),  # the others are not ours
        ("oom_kill 1\n", "oom_kill 2\n", 2),
        ("oom_kill\n", "oom_kill many\n", 0),
    ],
)
def test_kills_for_memory_are_counted(tmp_path: Path, vmstat: str | None, events: str | None, expected: int) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    own = cgroups / "user.slice" / "a scope"
    for folder in (proc / "self", own):
        folder.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:memory:/elsewhere\n0::/user.slice/a scope\n")
    if vmstat is not None:
        (proc / "vmstat").write_text(vmstat)
    if events is not None:
        (own / "memory.events").write_text(events)
    assert oom_kills(proc, cgroups) == expected


def test_kills_for_memory_where_nothing_is_told(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == 0
    assert oom_kills() >= 0
