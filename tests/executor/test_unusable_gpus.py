"""What is said of devices when a sweep begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dnlbench.engine.placement import Placement
from dnlbench.engine.run import _unusable_devices
from dnlbench.executor.ray.inventory import ClusterNode
from dnlbench.machine import Device, Slot, UnusableDevice
from dnlbench.plan import Plan
from dnlbench.profiles import read_profile
from tests.conftest import MACHINE, request_for

LOST = UnusableDevice(name="GPU 1", reason="GPU is lost; restart the machine")
HIDDEN = UnusableDevice(name="NVIDIA GPUs", reason="hidden", hidden=True)
SLOTS = {
    kind: (Slot(name=f"{kind}/0", device=Device(kind=kind, name="A device"), threads=1),) for kind in ("cpu", "cuda")
}
ON_CPU = "GPU 1: GPU is lost; restart the machine; runs use the CPU (--device cpu does so without this warning)"
ON_OTHERS = "GPU 1: GPU is lost; restart the machine; runs use the other GPUs"


@pytest.mark.parametrize(
    ("device", "kind", "expected"),
    [
        ("auto", "cpu", [ON_CPU]),
        ("cpu", "cpu", []),
        ("auto", "cuda", [ON_OTHERS]),
        ("cuda", "cuda", [ON_OTHERS]),
        ("cuda:0", "cuda", []),
    ],
)
def test_gpus_that_cannot_be_used_are_told_at_the_outset(
    make_plan: Callable[..., Plan], device: str, kind: str, expected: list[str]
) -> None:
    request = request_for(make_plan(), device=device)
    machine = MACHINE.model_copy(update={"unusable": (LOST, HIDDEN)})
    placement = Placement(machine=machine, slots=SLOTS[kind], pack_size=1)
    assert list(_unusable_devices(request, placement, SLOTS[kind])) == expected
    node = ClusterNode(node_id="1", name="box", cpus=2.0, gpus=0.0, memory_bytes=0, machine=machine)
    elsewhere = replace(placement, machine=MACHINE, nodes=(node,))
    assert list(_unusable_devices(request, elsewhere, SLOTS[kind])) == [f"box: {text}" for text in expected]


def test_a_sweep_warns_and_its_profile_keeps_the_reason(
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    spec_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NVMLError_LibRmVersionMismatch(Exception):  # noqa: N801, N818
        """Known by its name."""

    def fail() -> None:
        raise NVMLError_LibRmVersionMismatch("NVML/RM version mismatch.")

    nvml = SimpleNamespace(NVMLError=NVMLError_LibRmVersionMismatch, nvmlInit=fail)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    small = ("--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]", "--set", "sweep.seeds=1")
    done = run_cli("run", spec_file, *small, "--executor=inline", "--threads=1", "--out=out.json")
    assert done.returncode == 0, done.stderr
    reason = "NVML/RM version mismatch; the driver was updated: restart the machine"
    assert f"NVIDIA GPUs: {reason}; runs use the CPU (--device cpu does so without this warning)\n" in done.stderr
    (unusable,) = read_profile(tmp_path / "out.json").machine.unusable
    assert (unusable.name, unusable.reason) == ("NVIDIA GPUs", reason)
