"""Kills at many random moments. Minutes, so only with ``-m long``; with ``-s`` they tell what the kills hit."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from dnlbench.events import EpochDone, RunEnded, RunEvent, RunStarted
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.scheduler import Scheduler
from dnlbench.files import read_lines
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.store import Execution, RunDir

pytestmark = [pytest.mark.long, pytest.mark.faults]

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
RUNS = (
    "sweep.networks=['dense-attention','densenet']",
    "sweep.depths=[3]",
    "sweep.seeds=7",
    "train.epochs=16",
    "train.optimizer=adamw",
    "train.schedule=cosine",
)
KILLS = 20
WITHIN_S = 1.0
"""A worker is killed at most so long after its attempt has begun to train."""
SAVES = 200
EPOCHS_OF_A_SAVE = 400_000
"""Numbers in a state that is saved: about 1.6 MB."""


class Leftovers:
    """Tells by what is left in a run's folder whether a kill hit a save."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()

    def caught_in_a_save(self, folder: Path) -> bool:
        """Whether the files are those that a save leaves only if it does not come to its end."""
        torn = set(folder.glob(".checkpoint.*.tmp"))
        new, self._seen = torn - self._seen, self._seen | torn  # those of earlier kills stay
        current, record = folder / "checkpoint.pt", folder / "checkpoint.pt.sha256"
        if new or (folder / "checkpoint.new.pt").exists() or not current.exists():
            return True
        return hashlib.sha256(current.read_bytes()).hexdigest() != record.read_text()


class Killer:
    """Kills workers with SIGKILL, each a random while after it began to train, at most three times in one run."""

    def __init__(self, run_dir: RunDir, plan: Plan, executor: LocalExecutor, chance: random.Random, kills: int) -> None:
        self._run_dir, self._plan, self._executor, self._chance = run_dir, plan, executor, chance
        self.left = kills
        self.in_a_save = 0
        self._leftovers = Leftovers()
        self.of_run: Counter[str] = Counter()
        self._due: dict[tuple[str, int], float] = {}

    def __call__(self) -> None:
        for worker in list(self._executor._workers.values()):
            if not self.left or worker.job is None or worker.process.poll() is not None:
                continue
            ((run_id, attempt),) = worker.job.items()
            run = self._plan.by_id[run_id]
            started = self._run_dir.read_history(run).started
            if started is None or started.attempt != attempt or self.of_run[run_id] >= 3:
                continue
            due = self._due.setdefault((run_id, attempt), time.monotonic() + self._chance.uniform(0, WITHIN_S))
            if time.monotonic() < due:
                continue
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            self.left -= 1
            self.of_run[run_id] += 1
            self.in_a_save += self._leftovers.caught_in_a_save(self._run_dir.run_path(run_id))


def slots(count: int) -> list[Slot]:
    return [Slot(name=f"cpu/{n}", device=cpu_device(), threads=1) for n in range(count)]


def undisturbed(folder: Path, plan: Plan) -> RunDir:
    run_dir = RunDir(folder)
    run_dir.begin(plan, HOW)
    scheduler = Scheduler(run_dir, plan, InlineExecutor(run_dir, slots(1), checkpoint_s=30.0), slots(1))
    scheduler.prepare()
    scheduler.run(lambda: None)
    scheduler.stop()
    scheduler.close()
    return run_dir


def events_of(run_dir: RunDir, run: Run) -> list[RunEvent]:
    return run_dir.parse_events(run.run_id, read_lines(run_dir.events_path(run.run_id)))


def weights(run_dir: RunDir, run: Run) -> dict[str, torch.Tensor]:
    state = Checkpoints(run_dir.run_path(run.run_id)).load()
    assert state is not None
    assert state["epoch"] == run.epochs
    result: dict[str, torch.Tensor] = state["network"]
    return result


def check_epochs(run_dir: RunDir, run: Run) -> None:
    """That no epoch is missing or counts twice, and that each attempt takes up where one before has been."""
    history = run_dir.read_history(run)
    assert [epoch.epoch for epoch in history.epochs] == list(range(1, run.epochs + 1))
    come = (0, 0)
    for event in events_of(run_dir, run):
        match event:
            case RunStarted(from_epoch=epoch, from_step=step):
                assert epoch <= come[0]
                come = (epoch, step)
            case EpochDone(epoch=epoch):
                assert epoch == come[0] + 1
                come = (epoch, 0)


@pytest.mark.timeout(1500)
def test_workers_killed_at_twenty_random_moments(tmp_path: Path, make_plan: MakePlan) -> None:
    plan, chance = make_plan(*RUNS), random.Random(20)
    run_dir, left, engines, in_a_save = RunDir(tmp_path / "killed"), KILLS, 0, 0
    run_dir.begin(plan, HOW)
    while not all(run_dir.read_history(run).done for run in plan.runs):
        engines += 1
        assert engines <= KILLS
        executor = LocalExecutor(run_dir, slots(2), checkpoint_s=0.0)
        scheduler = Scheduler(run_dir, plan, executor, slots(2))
        killer = Killer(run_dir, plan, executor, chance, left)
        try:
            scheduler.prepare()
            scheduler.run(killer)
        finally:
            scheduler.stop()
            scheduler.close()
        left, in_a_save = killer.left, in_a_save + killer.in_a_save
    assert left == 0, "the runs were over before the kills were"
    expected = undisturbed(tmp_path / "undisturbed", plan)
    attempts, in_mid_epoch = 0, 0
    for run in plan.runs:
        history, undone = run_dir.read_history(run), expected.read_history(run)
        assert isinstance(history.ended, RunEnded)
        assert history.ended.status == "ok"
        check_epochs(run_dir, run)
        assert [(e.train_loss, e.value("gradient_norm_max")) for e in history.epochs] == [
            (e.train_loss, e.value("gradient_norm_max")) for e in undone.epochs
        ]
        there, here = weights(expected, run), weights(run_dir, run)
        assert there.keys() == here.keys()
        assert all(torch.equal(there[name], here[name]) for name in there)
        attempts += len(history.attempts)
        in_mid_epoch += sum(attempt.started.from_step > 0 for attempt in history.attempts)
    assert attempts >= len(plan.runs) + KILLS
    print(
        f"\n{KILLS} kills: {in_a_save} in the middle of a save; {attempts} attempts at {len(plan.runs)} runs, "
        f"{in_mid_epoch} of them taken up in the middle of an epoch; {engines} engines"
    )


def save_without_end(folder: Path, number: int, done: Connection) -> None:
    """Saves state after state; says after each one that it is there."""
    checkpoints = Checkpoints(folder)
    while True:
        number += 1
        checkpoints.save({"number": number, "x": torch.full((EPOCHS_OF_A_SAVE,), float(number))})
        done.send(number)


@pytest.mark.timeout(1500)
def test_two_hundred_saves_killed_at_random_moments(tmp_path: Path) -> None:
    """Each one goes on in the folder as the one before it left it."""
    context, chance = multiprocessing.get_context("forkserver"), random.Random(200)
    context.set_forkserver_preload(["dnlbench.runners.checkpoint"])
    saved, in_a_save, leftovers = 0, 0, Leftovers()
    for repetition in range(SAVES):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=save_without_end, args=(tmp_path, saved, sender))
        child.start()
        sender.close()
        last = receiver.recv()  # it is at work
        time.sleep(chance.uniform(0.001, 0.050))
        child.kill()
        child.join()
        while True:
            try:
                last = receiver.recv()
            except EOFError:
                break
        receiver.close()
        in_a_save += leftovers.caught_in_a_save(tmp_path)
        state = Checkpoints(tmp_path).load()
        assert state is not None, repetition
        assert state["number"] in (last, last + 1), repetition
        assert torch.equal(state["x"], torch.full((EPOCHS_OF_A_SAVE,), float(state["number"]))), repetition
        assert not list(tmp_path.glob("*.damaged")), repetition
        saved = state["number"]
    print(f"\n{SAVES} kills: 0 states unreadable, {in_a_save} kills in the middle of a save; {saved} saves in all")
    Checkpoints(tmp_path).keep_last()
    assert len(list(tmp_path.glob("*.pt"))) == 1, (
        "the last one, or the one before if its save was the one that was cut off"
    )
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["number"] == saved
