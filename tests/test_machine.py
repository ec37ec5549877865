from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
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
    find_devices,
    list_devices,
    oom_kills,
    read_code,
    read_machine,
    source_hash,
)
from dnlbench.machine import code as code_module
from dnlbench.machine import devices as devices_module
from dnlbench.machine import nvml as nvml_module

GIB = 2**30
IDLE = {"used": 0.4 * GIB, "utilisation": 0, "processes": 0}
BUSY = {"used": 40.1 * GIB, "utilisation": 93, "processes": 2}
UNSUPPORTED = {"used": 0.4 * GIB, "utilisation": None, "processes": None}


class FakeNvmlError(Exception):
    """Not a subclass of anything that is caught by accident."""


def nvml_error(kind: str) -> FakeNvmlError:
    return type(f"NVMLError_{kind}", (FakeNvmlError,), {})(f"message of {kind}")  # type: ignore[no-any-return]


def fake_nvml(gpus: list[dict[str, Any]], failing: Mapping[tuple[str, object], Exception] | None = None) -> ModuleType:
    """NVML with these GPUs, whose place in the list is their handle; what is None there is not told.

    A GPU with ``mig`` is divided into instances with these UUIDs. Calls fail with the exception given for their name and
    first argument, or for their name and None.
    """

    def _reported(index: int, key: str) -> Any:
        if gpus[index][key] is None:
            raise FakeNvmlError("Not Supported")
        return gpus[index][key]

    def mig_mode(index: int) -> list[int]:
        if "mig" not in gpus[index]:
            raise nvml_error("NotSupported")
        return [1, 1]

    def mig_handle(index: int, device: int) -> str:
        if device >= len(gpus[index]["mig"]):
            raise nvml_error("NotFound")
        return str(gpus[index]["mig"][device])

    def of_gpu_only(answer: Callable[[int], Any]) -> Callable[[Any], Any]:
        def call(handle: Any) -> Any:
            if isinstance(handle, str):  # a MIG instance
                raise nvml_error("NotSupported")
            return answer(handle)

        return call

    def may_fail(name: str, answer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            for key in ((name, arguments[0] if arguments else None), (name, None)):
                if failing and key in failing:
                    raise failing[key]
            return answer(*arguments)

        return call if name.startswith("nvml") else answer

    def memory(handle: Any) -> SimpleNamespace:
        instance = SimpleNamespace(total=10 * GIB, used=0)
        return instance if isinstance(handle, str) else SimpleNamespace(total=80 * GIB, used=_reported(handle, "used"))

    def uuid(handle: Any) -> str:
        return handle if isinstance(handle, str) else f"GPU-{handle}932f937-d72d-4106-c12f-20bd9faed9f6"

    module = ModuleType("pynvml")
    answers: dict[str, Any] = {
        "NVMLError": FakeNvmlError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetCount": lambda: len(gpus),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetName": lambda handle: "NVIDIA H200 MIG 1g.18gb" if isinstance(handle, str) else "NVIDIA H200",
        "nvmlDeviceGetUUID": uuid,
        "nvmlDeviceGetUtilizationRates": of_gpu_only(
            lambda index: SimpleNamespace(gpu=_reported(index, "utilisation"))
        ),
        "nvmlDeviceGetComputeRunningProcesses": of_gpu_only(lambda index: [object()] * _reported(index, "processes")),
        "nvmlDeviceGetMigMode": mig_mode,
        "nvmlDeviceGetMaxMigDeviceCount": lambda index: 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": mig_handle,
    }
    for name, answer in answers.items():
        setattr(module, name, may_fail(name, answer))
    return module


@pytest.fixture(autouse=True)
def no_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module, name in ((nvml_module, "PCI"), (nvml_module, "DEV"), (devices_module, "KFD")):
        monkeypatch.setattr(module, name, tmp_path / name)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


Nvml = Callable[..., None]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """Installs a fake NVML."""

    def install(*gpus: dict[str, Any], failing: Mapping[tuple[str, object], Exception] | None = None) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(list(gpus), failing))

    return install


def cuda_devices() -> tuple[Device, ...]:
    return tuple(device for device in find_devices().usable if device.kind == "cuda")


def unusable() -> dict[str, str]:
    return {device.name: device.reason for device in find_devices().unusable}


@pytest.fixture
def three_gpus(nvml: Nvml) -> None:
    nvml(IDLE, BUSY, UNSUPPORTED)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (4.56, 8.0, 8.0), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 4)


@pytest.mark.usefixtures("three_gpus")
def test_utilization_of_gpus_comes_from_nvml() -> None:
    found = [(device.utilisation, device.processes, device.busy) for device in cuda_devices()]
    assert found == [(0.0, 0, None), (0.93, 2, "2 processes, 93 % busy, 40.1 GiB in use"), (None, None, None)]


@pytest.mark.usefixtures("three_gpus")
def test_cuda_visible_devices_chooses_busy_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1932f937,0")
    assert [(device.label, device.processes) for device in cuda_devices()] == [("cuda:0", 2), ("cuda:1", 0)]


NVML_CALLS = sorted(name for name in vars(fake_nvml([])) if name.startswith("nvml"))
TWO_SLICES = {**IDLE, "mig": ["MIG-11111111-0", "MIG-22222222-0"]}


OF_ALL_GPUS = ("nvmlInit", "nvmlShutdown", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount")


@pytest.mark.parametrize("gpu", [IDLE, TWO_SLICES], ids=["GPU", "MIG"])
@pytest.mark.parametrize(
    "error", [nvml_error("Unknown"), nvml_error("NotSupported"), nvml_error("GpuIsLost")], ids=repr
)
@pytest.mark.parametrize("call", NVML_CALLS)
def test_any_call_of_nvml_may_fail_alone(nvml: Nvml, call: str, error: Exception, gpu: dict[str, Any]) -> None:
    """Every GPU is in one list or the other; with MIG its instances stand for it, and may be one less."""
    handles = (None,) if call in OF_ALL_GPUS else (1, "MIG-11111111-0")
    nvml(IDLE, gpu, UNSUPPORTED, failing={(call, handle): error for handle in handles})
    found = find_devices()
    assert found.usable[-1].kind == "cpu"
    uuids = {(device.uuid or "")[:5] for device in found.usable[:-1]}
    if {device.name for device in found.unusable} == {"NVIDIA GPUs"}:
        assert call in ("nvmlInit", "nvmlDeviceGetCount")
        assert uuids == set()
        return
    assert uuids >= {"GPU-0", "GPU-2"}
    assert ({device.name for device in found.unusable} == {"GPU 1"}) is (not uuids & {"GPU-1", "MIG-1", "MIG-2"})
    assert [device.index for device in found.usable[:-1]] == list(range(len(found.usable) - 1))


@pytest.mark.parametrize("call", ["nvmlDeviceGetMigMode", "nvmlDeviceGetUtilizationRates"])
def test_another_pynvml_may_lack_functions(nvml: Nvml, call: str) -> None:
    nvml(IDLE, failing={(call, 0): AttributeError(call)})
    assert [device.label for device in cuda_devices()] == ["cuda:0"]


def test_one_lost_gpu_leaves_the_others(nvml: Nvml) -> None:
    nvml(IDLE, BUSY, IDLE, failing={("nvmlDeviceGetHandleByIndex", 1): nvml_error("GpuIsLost")})
    assert [(device.label, device.uuid) for device in cuda_devices()] == [
        ("cuda:0", "GPU-0932f937-d72d-4106-c12f-20bd9faed9f6"),
        ("cuda:1", "GPU-2932f937-d72d-4106-c12f-20bd9faed9f6"),
    ]
    assert unusable() == {"GPU 1": "message of GpuIsLost; restart the machine"}


def test_a_gpu_with_shared_memory_reports_the_memory_of_the_machine(
    nvml: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnlbench.machine.nvml.cpu_memory", lambda: (120 * GIB, 50 * GIB))
    nvml(IDLE, failing={("nvmlDeviceGetMemoryInfo", 0): nvml_error("NotSupported")})
    (gpu,) = cuda_devices()
    assert (gpu.memory_bytes, gpu.memory_used_bytes, gpu.memory_shared) == (120 * GIB, 50 * GIB, True)
    assert gpu.busy is None, "other programs' memory says nothing about the GPU"
    assert unusable() == {}


def test_a_uuid_that_cuda_would_read_as_a_number_is_not_used(nvml: Nvml) -> None:
    module = fake_nvml([IDLE])
    nvml(IDLE)
    sys.modules["pynvml"].nvmlDeviceGetUUID = lambda handle: "54b0f0ac-aaaa"  # type: ignore[attr-defined]
    (gpu,) = cuda_devices()
    assert (gpu.index, gpu.uuid) == (0, None)
    nvml(IDLE, IDLE, failing={("nvmlDeviceGetUUID", 1): nvml_error("NotSupported")})
    assert [device.uuid for device in cuda_devices()] == [module.nvmlDeviceGetUUID(0)]
    assert unusable() == {"GPU 1": "the driver does not report its UUID, which workers need to select it"}


@pytest.mark.parametrize(
    ("kind", "pci", "reason"),
    [
        ("LibRmVersionMismatch", {}, "message of LibRmVersionMismatch; the driver was updated: restart the machine"),
        ("DriverNotLoaded", {}, "message of DriverNotLoaded; load the driver (modprobe nvidia)"),
        ("Unknown", {}, "message of Unknown"),
        ("LibraryNotFound", {}, None),
        ("LibraryNotFound", {"vendor": "0x10de\n", "class": "0x040300\n"}, None),  # its sound
        ("LibraryNotFound", {"vendor": "0x8086\n", "class": "0x030000\n"}, None),
        ("LibraryNotFound", {"vendor": "0x10de\n"}, None),
        (
            "LibraryNotFound",
            {"vendor": "0x10de\n", "class": "0x030200\n"},
            "there is a GPU, but the driver's library",
        ),
    ],
)
def test_a_driver_that_cannot_be_used(
    nvml: Nvml, tmp_path: Path, kind: str, pci: dict[str, str], reason: str | None
) -> None:
    for file, text in pci.items():
        path = tmp_path / "PCI" / "0000:01:00.0" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    nvml(IDLE, failing={("nvmlInit", None): nvml_error(kind)})
    assert cuda_devices() == ()
    found = unusable()
    assert list(found) == (["NVIDIA GPUs"] if reason else [])
    assert found.get("NVIDIA GPUs", "").startswith(reason or "")


@pytest.mark.parametrize("node", ["nvidia0", "nvidia12", "nvhost-gpu"])
def test_a_gpu_without_the_library_is_known_by_its_node(nvml: Nvml, tmp_path: Path, node: str) -> None:
    (tmp_path / "DEV").mkdir()
    (tmp_path / "DEV" / "nvidia-caps").touch()
    nvml(failing={("nvmlInit", None): nvml_error("LibraryNotFound")})
    assert unusable() == {}
    (tmp_path / "DEV" / node).touch()
    assert list(unusable()) == ["NVIDIA GPUs"]


def test_a_driver_without_gpus(nvml: Nvml) -> None:
    nvml()
    assert unusable() == {"NVIDIA GPUs": "the driver is loaded, but reports no GPU"}


def test_amd_gpus_are_named(nvml: Nvml, tmp_path: Path) -> None:
    (tmp_path / "KFD").touch()
    nvml(failing={("nvmlInit", None): nvml_error("LibraryNotFound")})
    assert unusable() == {"AMD GPUs": "dnlbench does not support ROCm; use the CPU or an NVIDIA GPU"}
    nvml(IDLE)
    assert unusable() == {}


def test_a_gpu_in_mig_mode_is_its_instances(nvml: Nvml) -> None:
    nvml(TWO_SLICES, IDLE)
    assert [(device.label, device.name, device.uuid, device.memory_bytes) for device in cuda_devices()] == [
        ("cuda:0", "NVIDIA H200 MIG 1g.18gb", "MIG-11111111-0", 10 * GIB),
        ("cuda:1", "NVIDIA H200 MIG 1g.18gb", "MIG-22222222-0", 10 * GIB),
        ("cuda:2", "NVIDIA H200", "GPU-1932f937-d72d-4106-c12f-20bd9faed9f6", 80 * GIB),
    ]
    nvml({**IDLE, "mig": []})
    assert cuda_devices() == ()
    assert unusable() == {"GPU 0": "MIG is enabled, but no MIG instance can be used; create one, or disable MIG"}


LISTS = "and CUDA ignores the rest; nvidia-smi -L lists numbers and UUIDs"


@pytest.mark.parametrize(
    ("value", "expected", "reason"),
    [
        ("2, 0", ["GPU-2", "GPU-0"], None),
        ("0,", ["GPU-0"], None),
        ("GPU-1", ["GPU-1"], None),
        ("GPU-1,2", ["GPU-1", "GPU-2"], None),
        ("MIG-1", ["MIG-1"], None),
        ("MIG-2,MIG-1,0", ["MIG-2", "MIG-1", "GPU-0"], None),
        ("3", ["MIG-1", "MIG-2"], None),
        ("4", [], None),  # lost, and told as such
        ("1,4,0", ["GPU-1", "GPU-0"], None),
        ("1,7,0", ["GPU-1"], f"no NVIDIA GPU matches '7', {LISTS}"),
        ("1,-1,0", ["GPU-1"], f"no NVIDIA GPU matches '-1', {LISTS}"),
        ("1,,0", ["GPU-1"], f"no NVIDIA GPU matches '', {LISTS}"),
        ("²", [], f"no NVIDIA GPU matches '²', {LISTS}"),
        ("all", [], f"no NVIDIA GPU matches 'all', {LISTS}"),
        ("9" * 5000, [], f"no NVIDIA GPU matches '{'9' * 5000}', {LISTS}"),
        ("MIG-377e0049", [], f"no NVIDIA GPU matches 'MIG-377e0049', {LISTS}"),
        ("0,GPU-", ["GPU-0"], f"4 GPUs match 'GPU-', {LISTS}"),
        ("MIG-", [], f"2 GPUs match 'MIG-', {LISTS}"),
        ("1,0,1", [], "'1' lists a GPU twice, which makes CUDA hide all of them; list each GPU once"),
        ("GPU-1,1", [], "'1' lists a GPU twice, which makes CUDA hide all of them; list each GPU once"),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does(
    nvml: Nvml, monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str], reason: str | None
) -> None:
    lost = {("nvmlDeviceGetHandleByIndex", 4): nvml_error("GpuIsLost")}
    nvml(IDLE, IDLE, IDLE, TWO_SLICES, IDLE, failing=lost)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert [(device.index, (device.uuid or "")[:5]) for device in cuda_devices()] == list(enumerate(expected))
    _reported = unusable()
    _reported.pop("GPU 4", None)
    assert _reported == ({f"CUDA_VISIBLE_DEVICES={value}": reason} if reason else {})


@pytest.mark.parametrize("value", ["", " ", "-1", "NoDevFiles"])
def test_gpus_may_be_hidden_on_purpose(nvml: Nvml, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    nvml(IDLE, BUSY)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    (device,) = find_devices().unusable
    assert (device.hidden, device.text) == (True, f'NVIDIA GPUs: hidden by CUDA_VISIBLE_DEVICES="{value}"')
    assert cuda_devices() == ()
    nvml(failing={("nvmlInit", None): nvml_error("LibraryNotFound")})
    assert find_devices().unusable == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
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
def test_what_occupies_a_device(fields: dict[str, Any], expected: str | None) -> None:
    device = Device.model_validate({"kind": "cuda", "name": "A GPU", "memory_bytes": 80 * GIB, **fields})
    assert device.busy == expected


@pytest.mark.usefixtures("load")
def test_cpu_utilization_is_the_load_divided_by_logical_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_device().utilisation == pytest.approx(0.57)
    assert cpu_device().busy == "57 % busy"
    monkeypatch.setattr(os, "getloadavg", lambda: (40.0, 0.0, 0.0))
    assert cpu_device().utilisation == 1
    monkeypatch.delattr(os, "getloadavg")
    assert cpu_device().utilisation is None


def test_the_fingerprint_is_not_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = set()
    for gpu, load in ((IDLE, 0.0), (BUSY, 0.0), (UNSUPPORTED, 1e3)):
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([gpu]))
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load), raising=False)
        fingerprints.add(read_machine().fingerprint)
    assert len(fingerprints) == 1


@pytest.mark.usefixtures("three_gpus")
def test_machines_without_utilization_are_still_read() -> None:
    machine = read_machine()
    content = machine.model_dump(mode="json")
    assert Machine.model_validate(content) == machine
    del content["unusable"]
    for device in content["devices"]:
        del device["utilisation"], device["processes"], device["memory_shared"]
    assert {device.utilisation for device in Machine.model_validate(content).devices} == {None}


@pytest.mark.usefixtures("three_gpus", "load")
def test_the_table_of_devices_shows_which_are_busy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dnlbench.report.console.PIPE_WIDTH", 80)
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


@pytest.mark.usefixtures("load")
def test_unusable_devices_are_listed_with_the_reason(nvml: Nvml, capsys: pytest.CaptureFixture[str]) -> None:
    memory = ("nvmlDeviceGetMemoryInfo", 0)
    lost = ("nvmlDeviceGetHandleByIndex", 1)
    nvml(IDLE, IDLE, failing={memory: nvml_error("NotSupported"), lost: nvml_error("GpuIsLost")})
    devices_command()
    lines = capsys.readouterr().out.splitlines()
    (gpu,) = (line for line in lines if line.startswith("cuda:0"))
    assert "GiB shared" in gpu
    assert "Not usable" in lines
    assert lines[-1].split("   ") == ["GPU 1", "message of GpuIsLost; restart the machine"]


@pytest.mark.usefixtures("three_gpus")
def test_gpus_come_before_the_cpu() -> None:
    assert [device.label for device in list_devices()[:3]] == ["cuda:0", "cuda:1", "cuda:2"]
    assert list_devices()[-1].label == "cpu"


def test_the_source_hash_covers_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    cgroup = cgroups / "user.slice" / "a scope"
    for folder in (proc / "self", cgroup):
        folder.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:memory:/elsewhere\n0::/user.slice/a scope\n")
    if vmstat is not None:
        (proc / "vmstat").write_text(vmstat)
    if events is not None:
        (cgroup / "memory.events").write_text(events)
    assert oom_kills(proc, cgroups) == expected


def test_kills_for_memory_are_zero_where_unknown(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == 0
    assert oom_kills() >= 0
