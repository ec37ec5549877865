"""Real worker processes that are stopped and killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from dnlbench.events import RunEnded, RunLeased, SlotDisabled
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.scheduler import Scheduler
from dnlbench.executor.scheduler.retry import RETRIES
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
LONG = ("sweep.networks=['dense-attention']", "sweep.depths=[3]", "sweep.seeds=2", "train.epochs=12")


def slots(count: int) -> list[Slot]:
    return [Slot(name=f"cpu/{n}", device=cpu_device(), threads=1) for n in range(count)]


def curves(run_dir: RunDir, plan: Plan) -> dict[str, list[float]]:
    return {run.run_id: [e.train_loss for e in run_dir.read_history(run).epochs] for run in plan.runs}


def undisturbed(folder: Path, plan: Plan) -> dict[str, list[float]]:
    run_dir = RunDir(folder)
    run_dir.begin(plan, HOW)
    scheduler = Scheduler(run_dir, plan, InlineExecutor(run_dir, slots(1), checkpoint_s=30.0), slots(1))
    scheduler.prepare()
    scheduler.run(lambda: None)
    scheduler.stop()
    scheduler.close()
    return curves(run_dir, plan)


class Saboteur:
    """Sends each worker that has come through an epoch a signal, a few times in all."""

    def __init__(
        self, run_dir: RunDir, plan: Plan, executor: LocalExecutor, number: signal.Signals, times: int
    ) -> None:
        self._run_dir, self._plan, self._executor, self._number, self.left = run_dir, plan, executor, number, times
        self._next = 0.0

    def __call__(self) -> None:
        for worker in self._executor._workers.values():
            runs = [self._plan.by_id[run_id] for run_id in worker.job or ()]
            started = bool(runs) and all(self._run_dir.read_history(run).epochs for run in runs)
            if self.left and started and time.monotonic() > self._next:
                os.kill(worker.process.pid, self._number)
                self.left -= 1
                self._next = time.monotonic() + 0.3


def disturbed(folder: Path, plan: Plan, number: signal.Signals, times: int, heartbeat_timeout_s: float) -> RunDir:
    run_dir = RunDir(folder)
    run_dir.begin(plan, HOW)
    executor = LocalExecutor(run_dir, slots(2), checkpoint_s=30.0)
    scheduler = Scheduler(run_dir, plan, executor, slots(2), heartbeat_timeout_s=heartbeat_timeout_s)
    saboteur = Saboteur(run_dir, plan, executor, number, times)
    try:
        scheduler.prepare()
        scheduler.run(saboteur)
    finally:
        scheduler.stop()
        scheduler.close()
    assert saboteur.left == 0
    return run_dir


def check(run_dir: RunDir, plan: Plan, expected: dict[str, list[float]]) -> None:
    assert curves(run_dir, plan) == expected
    for run in plan.runs:
        history = run_dir.read_history(run)
        assert [epoch.epoch for epoch in history.epochs] == list(range(1, 13))
        assert isinstance(history.ended, RunEnded)
        assert history.ended.status == "ok"
    assert sum(len(run_dir.read_history(run).attempts) for run in plan.runs) > len(plan.runs)
    assert not [event for event in run_dir.read_journal() if isinstance(event, SlotDisabled)]


@pytest.mark.faults
def test_killed_workers_runs_go_on_with_the_same_bits(tmp_path: Path, make_plan: MakePlan) -> None:
    plan = make_plan(*LONG)
    run_dir = disturbed(tmp_path / "killed", plan, signal.SIGKILL, times=2, heartbeat_timeout_s=60)
    check(run_dir, plan, undisturbed(tmp_path / "undisturbed", plan))


@pytest.mark.faults
def test_stopped_workers_are_ended_and_their_runs_go_on(tmp_path: Path, make_plan: MakePlan) -> None:
    plan = make_plan(*LONG)
    run_dir = disturbed(tmp_path / "stopped", plan, signal.SIGSTOP, times=1, heartbeat_timeout_s=4)
    check(run_dir, plan, undisturbed(tmp_path / "undisturbed", plan))


@pytest.mark.faults
def test_a_run_whose_workers_are_killed_for_memory_is_oom(
    tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killing is real, the system's count of processes that it ended for memory is not."""
    ended_so_far = count()
    monkeypatch.setattr("dnlbench.executor.local.oom_kills", lambda: next(ended_so_far))
    plan, run_dir = make_plan(*LONG, "sweep.seeds=[0]", "train.epochs=1000"), RunDir(tmp_path / "rd")
    run_dir.begin(plan, HOW)
    executor = LocalExecutor(run_dir, slots(1), checkpoint_s=1000.0)
    scheduler = Scheduler(run_dir, plan, executor, slots(1))

    def kill_at_once() -> None:
        started = run_dir.read_history(plan.runs[0]).started
        for worker in executor._workers.values():
            if started is not None and worker.job == {started.run_id: started.attempt}:
                worker.kill()

    try:
        scheduler.prepare()
        scheduler.run(kill_at_once)
    finally:
        scheduler.stop()
        scheduler.close()
    ended = run_dir.read_history(plan.runs[0]).ended
    assert ended is not None
    assert ended.status == "oom"
    assert ended.error is not None
    assert (ended.error.type, "fewer --jobs" in ended.error.message) == ("HostOutOfMemory", True)
    leases = [event for event in run_dir.read_journal() if isinstance(event, RunLeased)]
    assert len(leases) == 1 + RETRIES["host-memory"]
