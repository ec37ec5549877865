"""Classification of exceptions, and retries of the runs that they end."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dnlbench.errors import DeviceError
from dnlbench.events import DiskFree, DiskFull, RunEnded, RunLeased, RunReturned, RunStatus, SlotDisabled
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.scheduler import Scheduler, disk, health, retry
from dnlbench.executor.scheduler.retry import RETRIES
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.runners.failures import Blame, blame, classify
from dnlbench.store import Execution, RunDir

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
MEANINGS: dict[str, tuple[BaseException, Blame | None, RunStatus]] = {
    "no room": (OSError(errno.ENOSPC, "No space left on device"), "disk", "failed"),
    "no room for this user": (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk", "failed"),
    "no such file": (FileNotFoundError(errno.ENOENT, "No such file or directory"), None, "failed"),
    "a bug": (LookupError("a bug of the user's"), None, "failed"),
    "a bug that speaks of devices": (ValueError("CUDA error: says a value"), None, "failed"),
    "shapes": (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), None, "failed"),
    "illegal access": (RuntimeError("CUDA error: an illegal memory access was encountered"), "device", "failed"),
    "lost device": (torch.AcceleratorError("CUDA error: unspecified launch failure"), "device", "failed"),
    "any accelerator's": (torch.AcceleratorError("the device is gone"), "device", "failed"),
    "cudnn": (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device", "failed"),
    "cublas": (
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa)`"),
        "device",
        "failed",
    ),
    "not there": (DeviceError("cuda/0: torch cannot use it"), "device", "failed"),
    "cublas without memory": (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        None,
        "oom",
    ),
    "cudnn without memory": (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), None, "oom"),
    "device without memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), None, "oom"),
    "device without memory, unnamed": (torch.AcceleratorError("CUDA error: out of memory"), None, "oom"),
    "host without memory": (MemoryError(), None, "oom"),
    "host without memory, torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None, "oom"),
    "host without memory, system": (OSError(errno.ENOMEM, "Cannot allocate memory"), None, "oom"),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_exceptions_are_classified(name: str) -> None:
    error, at_fault, status = MEANINGS[name]
    assert blame(error) == at_fault
    if at_fault is None:
        assert classify(error) == status


def test_messages_of_the_system_for_a_full_disk() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    with full.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left") as caught:
        file.write(b"x")
    assert blame(caught.value) == "disk"


CUSTOM_CODE = """
import errno
from pathlib import Path
import torch
from torch import nn

class Troubled(nn.Sequential):
    '''Has an incident in each training step, as often as it is told to in all processes together.'''

    def forward(self, x):
        # not where operations are counted, nor in the trial before the sweep
        if self.training and torch.is_grad_enabled() and len(x) > 3:
            tally = Path("incidents")
            incidents = len(tally.read_bytes()) if tally.exists() else 0
            if incidents < self.times:
                tally.write_bytes(b"x" * (incidents + 1))
                raise self.error
        return super().forward(x)

def build(classes, times, error):
    network = Troubled(nn.Flatten(), nn.Linear(64, classes))
    network.times, network.error = times, error
    return network

def broken_device(depth, input_shape, classes, network):
    return build(classes, 10**9, RuntimeError("CUDA error: an illegal memory access was encountered"))

def full_disk(depth, input_shape, classes, network):
    return build(classes, 2, OSError(errno.ENOSPC, "No space left on device"))

def bug(depth, input_shape, classes, network):
    return build(classes, 10**9, LookupError("a bug of the user's"))
"""


@pytest.fixture
def run_network(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Plan, RunDir]]:
    """Run a sweep with a single run of a failing network in a worker process."""
    (tmp_path / "troubled.py").write_text(CUSTOM_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(health, "BACKOFF_S", 0.0)
    monkeypatch.setattr(disk, "CHECK_S", 0.1)
    monkeypatch.setattr(retry, "RETRIES", dict.fromkeys(RETRIES, 1))  # a new worker takes seconds

    def run(network: str) -> tuple[Plan, RunDir]:
        plan = make_plan(f"sweep.networks=['troubled:{network}']", "sweep.depths=[1]", "sweep.seeds=1")
        run_dir, slots = RunDir(tmp_path / "rd"), [Slot(name="cpu/0", device=cpu_device(), threads=1)]
        run_dir.begin(plan, HOW)
        scheduler = Scheduler(run_dir, plan, LocalExecutor(run_dir, slots, checkpoint_s=30.0), slots)
        try:
            scheduler.prepare()
            scheduler.run(lambda: None)
        finally:
            scheduler.stop()
            scheduler.close()
        return plan, run_dir

    return run


def end_of(plan: Plan, run_dir: RunDir) -> RunEnded:
    (run,) = plan.runs
    ended = run_dir.read_history(run).ended
    assert ended is not None
    return ended


def count(run_dir: RunDir, kind: type) -> int:
    return sum(isinstance(event, kind) for event in run_dir.read_journal())


def messages(run_dir: RunDir) -> Sequence[str]:
    """Return the reasons why the run was returned."""
    return [event.error.message for event in run_dir.read_journal() if isinstance(event, RunReturned) and event.error]


@pytest.mark.faults
def test_a_run_on_a_broken_device_is_tried_again_and_then_failed(
    run_network: Callable[[str], tuple[Plan, RunDir]],
) -> None:
    plan, run_dir = run_network("broken_device")
    ended = end_of(plan, run_dir)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.type == "RuntimeError"
    assert ended.error.message == "CUDA error: an illegal memory access was encountered"
    assert count(run_dir, RunLeased) == 2
    assert messages(run_dir) == [ended.error.message]
    assert count(run_dir, SlotDisabled) == 0  # one run alone says nothing about the slot


@pytest.mark.faults
def test_a_full_disk_is_waited_for_without_limit(run_network: Callable[[str], tuple[Plan, RunDir]]) -> None:
    plan, run_dir = run_network("full_disk")
    assert end_of(plan, run_dir).status == "ok"
    assert len(run_dir.read_history(plan.runs[0]).epochs) == plan.spec.epochs
    assert len(messages(run_dir)) == 2  # more than the tries that other causes have here
    assert all("No space left on device" in message for message in messages(run_dir))
    assert count(run_dir, DiskFull) == count(run_dir, DiskFree) == 2


@pytest.mark.faults
def test_a_bug_is_not_tried_again(run_network: Callable[[str], tuple[Plan, RunDir]]) -> None:
    plan, run_dir = run_network("bug")
    ended = end_of(plan, run_dir)
    assert ended.status == "failed"
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("LookupError", "a bug of the user's")
    assert ended.error.log is not None
    assert "troubled.py" in ended.error.log  # with its traceback
    assert count(run_dir, RunLeased) == 1
    assert not messages(run_dir)
