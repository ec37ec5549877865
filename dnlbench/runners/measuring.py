"""Runs that consist of a single measurement, without epochs and checkpoints."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Generic, Self, TypeVar, cast

import torch
from torch import Tensor

from dnlbench.errors import SpecError
from dnlbench.events import DataInfo, Measured, Prepared, RunEnded, RunError, RunEvent, RunPaused
from dnlbench.machine import Slot, Sources
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import CHECKPOINT_S, Job, Member
from dnlbench.runners.device import device_name, make_repeatable, open_device, run_started
from dnlbench.studies import StudySpec

Measurements = Mapping[str, float | tuple[float, ...]]
Check = Callable[[], None]
"""Raises `RunSuspendedError` if the run should be suspended."""
Spec = TypeVar("Spec", bound=StudySpec)


class RunSuspendedError(Exception):
    """The run was suspended before its measurement was complete."""


class MeasuringRunner(Generic[Spec]):
    """Base of runners whose runs are one measurement each, in float64 on a slot's device.

    A suspended run starts from the beginning when it resumes. Only results that a subclass caches are reused.
    """

    def __init__(self, plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> None:
        self.plan = plan
        self.spec = cast(Spec, plan.spec)
        self.slot = slot
        self.device = open_device(slot)
        make_repeatable(self.device, slot.threads)

    @cached_property
    def data(self) -> DataInfo:
        raise NotImplementedError

    def measure(self, run: Run, check: Check) -> Measurements:
        """Measure the quantities of a run. Call ``check`` from time to time.

        Raises:
            RunSuspendedError: if ``check`` raises it.
        """
        raise NotImplementedError

    def prepare(self) -> Prepared:
        if self.device.type == "mps":
            raise SpecError(f"study = {self.plan.spec.study!r}: computes in float64, which mps devices do not have")
        return Prepared(data=self.data, torch=str(torch.__version__), device_name=device_name(self.device, self.slot))

    @property
    def data_info(self) -> DataInfo:
        return self.data

    def take_over(self, other: Self) -> None:
        pass

    def code_changes(self, recorded: Sources) -> Sequence[str]:
        return ()

    def run(self, job: Job) -> Iterator[RunEvent]:
        for member in job.members:
            yield from self._run_one(member, job)

    def _run_one(self, member: Member, job: Job) -> Iterator[RunEvent]:
        parameters = self.plan.estimate(member.run.point).parameters
        assert parameters is not None, "the sizes of vector networks are known"
        yield run_started(member, self.slot, self.device, pack_size=len(job.members), parameters=parameters)
        yield from measured(member.run, job, self.measure, main=self.plan.study.quantities[0].name)


def measured(run: Run, job: Job, measure: Callable[[Run, Check], Measurements], *, main: str) -> Iterator[RunEvent]:
    """Measure a run that has started, and yield its events to the end. It diverged if the main quantity is not finite."""

    def check() -> None:
        if job.should_suspend():
            raise RunSuspendedError

    start = time.perf_counter()
    try:
        measurements = measure(run, check)
    except RunSuspendedError:
        yield RunPaused(run_id=run.run_id, epoch=0, step=0)
        return
    yield Measured(run_id=run.run_id, seconds=time.perf_counter() - start, measurements=dict(measurements))
    yield _ended(run.run_id, main, measurements)


def _ended(run_id: str, main: str, measurements: Measurements) -> RunEnded:
    value = measurements[main]
    if isinstance(value, float) and math.isfinite(value):
        return RunEnded(run_id=run_id, status="ok")
    return RunEnded(run_id=run_id, status="diverged", error=RunError(type="Diverged", message=f"{main} is {value}"))


def derived_seed(seed: int, stream: str) -> int:
    """Derive the seed of one of a run's independent random streams."""
    return int.from_bytes(hashlib.sha256(f"{stream} {seed}".encode()).digest()[:7], "big")


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw normal random numbers in float64. They depend only on the seed and the version of torch."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tensors_sha256(*tensors: Tensor) -> str:
    """Hash the concatenated values of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
