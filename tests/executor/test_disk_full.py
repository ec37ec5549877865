"""A disk that is really full: a small file system in memory, mounted where only this test sees it."""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from dnlbench.events import DiskFree, DiskFull, JournalEvent, RunEnded, RunLeased, RunRequeued, RunReturned
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.scheduler import Scheduler
from dnlbench.executor.scheduler import disk as disk_module
from dnlbench.executor.scheduler.disk import RESERVE_BYTES, Journal
from dnlbench.files import LineWriter, read_lines, write_atomically
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.store import Execution, RunDir

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("small disk")]  # one process runs them all on the inside

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
LONG = ("sweep.networks=['dense-attention']", "sweep.depths=[2]", "sweep.seeds=2", "train.epochs=6")
INSIDE = "DNLBENCH_TEST_SMALL_DISK"
DISK_BYTES = 4 * 2**20


NAMESPACES = (["--user", "--map-root-user", "--mount"], ["--mount"])
"""What may allow this process to mount something: the second only root."""
MOUNT = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs"]
OUTCOME = re.compile(r"^\S+::(\w+) ([A-Z]+)", re.MULTILINE)


def on_a_small_disk(test: Callable[..., None]) -> Callable[..., None]:
    """Has a test run in a process with a mount namespace of its own, in which nothing that it mounts can stay behind."""

    @functools.wraps(test)
    def outside(*args: Any, **fixtures: Any) -> None:
        if INSIDE in os.environ:
            test(*args, **fixtures)
            return
        command, reason = _inside()
        if command is None:
            pytest.skip(f"no file system can be mounted here: {reason}")
        result, output = _outcomes(command)
        assert result.get(test.__name__) == "PASSED", output

    return outside


@functools.cache
def _inside() -> tuple[tuple[str, ...] | None, str]:
    """What runs a command where it may mount something; or why nothing does."""
    if shutil.which("unshare") is None:
        return None, "unshare(1) is not installed"
    reasons = []
    with TemporaryDirectory() as folder:
        for namespace in NAMESPACES:
            tried = subprocess.run(["unshare", *namespace, *MOUNT, folder], capture_output=True, text=True)
            if tried.returncode == 0:
                return ("unshare", *namespace), ""
            reasons.append(tried.stderr.strip())
    return None, "; ".join(reasons)


@functools.cache
def _outcomes(inside: tuple[str, ...]) -> tuple[dict[str, str], str]:
    """How all tests of this file end on the inside, by name, and all that was printed."""
    with TemporaryDirectory() as folder:
        inner = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--basetemp={folder}/pytest"]
        inner += ["--numprocesses=0", "-m", "faults"]
        done = subprocess.run(
            [*inside, *inner, __file__],
            env={**os.environ, INSIDE: "1"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    return dict(OUTCOME.findall(done.stdout)), done.stdout + done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty file system of 4 MB; outside of `on_a_small_disk` it is none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if INSIDE in os.environ:
        subprocess.run([*MOUNT, str(folder)], check=True)
        assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize == DISK_BYTES
    return folder


def fill(disk: Path) -> Path:
    """Takes all room that is left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        while True:
            try:
                file.write(b"\0" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return filler


@on_a_small_disk
def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path, disk: Path) -> None:
    checkpoints = Checkpoints(disk / "run")
    for number in (1, 2):
        checkpoints.save({"epoch": number, "x": torch.full((50_000,), float(number))})
    filler = fill(disk)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoints.save({"epoch": 3, "x": torch.zeros(50_000)})
        assert caught.value.errno == errno.ENOSPC
        state = Checkpoints(disk / "run").load()
        assert state is not None
        assert state["epoch"] == 2
        assert torch.equal(state["x"], torch.full((50_000,), 2.0))
    filler.unlink()
    checkpoints.save({"epoch": 3})
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


@on_a_small_disk
def test_a_checkpoint_may_run_out_of_room_at_any_of_its_files(tmp_path: Path, disk: Path) -> None:
    """Room for so many pages and no more: the save comes a little further each time."""
    folder, page = disk / "run", os.statvfs(disk).f_bsize
    checkpoints = Checkpoints(folder)
    for pages in range(40):
        checkpoints.clear()
        for number in (1, 2):
            checkpoints.save({"epoch": number, "x": torch.full((10_000,), float(number))})
        filler = fill(disk)
        os.truncate(filler, filler.stat().st_size - pages * page)
        try:
            checkpoints.save({"epoch": 3, "x": torch.full((10_000,), 3.0)})
            finished = True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            finished = False
        state = Checkpoints(folder).load()
        assert state is not None
        assert state["epoch"] == 3 if finished else state["epoch"] in (2, 3)
        assert torch.equal(state["x"], torch.full((10_000,), float(state["epoch"])))
        filler.unlink()
        if finished:
            assert pages > 10
            return
    pytest.fail("it never found room")


@on_a_small_disk
def test_lines_are_complete_or_absent(tmp_path: Path, disk: Path) -> None:
    path, other = disk / "lines.jsonl", disk / "other"
    writer = LineWriter(path)
    written = ["x" * 3000 + f"{number}" for number in range(3)]
    for line in written:
        writer.write(line, durable=True)
    write_atomically(other, b"as it was")
    filler = fill(disk)
    for number in range(20):  # what is left of the file's last page takes some of them
        line = f"{number} " * 200
        try:
            writer.write(line, durable=True)
            written.append(line)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        assert path.read_bytes().endswith(b"\n")
        assert read_lines(path) == [line.encode() for line in written]
    assert 3 <= len(written) < 23
    with pytest.raises(OSError, match="No space left"):
        write_atomically(other, b"and as it never was")
    assert other.read_bytes() == b"as it was"
    assert {entry.name for entry in disk.iterdir()} == {"lines.jsonl", "other", "filler"}
    filler.unlink()
    writer.write("the last one")
    writer.close()
    assert read_lines(path)[-2:] == [written[-1].encode(), b"the last one"]


@on_a_small_disk
def test_the_journal_says_so_from_its_reserve_and_keeps_the_rest_in_mind(tmp_path: Path, disk: Path) -> None:
    run_dir = RunDir(disk)
    journal = Journal(run_dir)
    assert run_dir.reserve_path.stat().st_size == RESERVE_BYTES
    filler = fill(disk)
    noted: list[JournalEvent] = [DiskFull(message="full " * 100 + str(number)) for number in range(300)]
    for number, event in enumerate(noted):
        journal.note(event)
        if number == 20:  # beyond the page that the file has begun
            assert not run_dir.reserve_path.exists()
            assert run_dir.read_journal() == noted[:21]
    on_disk = run_dir.read_journal()
    assert 21 < len(on_disk) < 300
    assert on_disk == noted[: len(on_disk)]
    assert not run_dir.has_room()
    filler.unlink()
    assert run_dir.has_room()
    journal.catch_up()
    journal.restore_reserve()
    assert run_dir.read_journal() == noted
    assert run_dir.reserve_path.stat().st_size == RESERVE_BYTES
    journal.close()
    assert not run_dir.reserve_path.exists()


class Filler:
    """Fills the disk once a run has come through an epoch, and after a while makes room again."""

    def __init__(self, run_dir: RunDir, plan: Plan, disk: Path, executor: LocalExecutor) -> None:
        self._run_dir, self._plan, self._disk, self._executor = run_dir, plan, disk, executor
        self._filler: Path | None = None
        self._polls_left = 20
        self.journal_when_full: list[JournalEvent] = []
        self.complete_when_full = 0
        """Checkpoints that could be read while the disk was full."""

    def __call__(self) -> None:
        if self._polls_left == 0:
            return
        epochs = sum(len(self._run_dir.read_history(run).epochs) for run in self._plan.runs)
        if self._filler is None and epochs >= 2:
            self._filler = fill(self._disk)
        busy = any(worker.job for worker in self._executor._workers.values())
        if self._filler is not None and not busy:
            self._polls_left -= 1
        if self._filler is not None and self._polls_left == 0:
            self.journal_when_full = self._run_dir.read_journal()
            self.complete_when_full = self._complete_checkpoints()
            self._filler.unlink()

    def _complete_checkpoints(self) -> int:
        """Of runs with an epoch behind them; each checkpoint is that of an epoch that is known, and none is damaged."""
        complete = 0
        for run in self._plan.runs:
            folder, epochs = self._run_dir.run_path(run.run_id), self._run_dir.read_history(run).epochs
            state = Checkpoints(folder).load()
            assert not list(folder.glob("*.damaged"))
            if state is not None:
                assert state["epoch"] in (len(epochs), len(epochs) - 1)
                complete += 1
        return complete


@on_a_small_disk
def test_a_sweep_waits_for_room_and_goes_on_with_the_same_bits(
    tmp_path: Path, disk: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "CHECK_S", 0.1)
    plan, run_dir = make_plan(*LONG), RunDir(disk / "rd")
    slots = [Slot(name=f"cpu/{number}", device=cpu_device(), threads=1) for number in range(2)]
    run_dir.begin(plan, HOW)
    executor = LocalExecutor(run_dir, slots, checkpoint_s=0.0)
    scheduler = Scheduler(run_dir, plan, executor, slots)
    filler = Filler(run_dir, plan, disk, executor)
    try:
        scheduler.prepare()
        assert scheduler.run(filler)
    finally:
        scheduler.stop()
        scheduler.close()

    # while the disk was full
    journal = filler.journal_when_full
    (full,) = (event for event in journal if isinstance(event, DiskFull))
    assert re.search(r"No space left on device: .*; the sweep is paused until there is room in", full.message)
    since = journal[journal.index(full) + 1 :]
    returned = [event for event in since if isinstance(event, RunReturned)]
    assert returned
    assert since == returned  # nothing was begun
    assert all(event.error is not None and "No space left" in event.error.message for event in returned)
    assert filler.complete_when_full >= 1

    # and afterwards
    assert sum(isinstance(event, DiskFull) for event in run_dir.read_journal()) == 1
    assert sum(isinstance(event, DiskFree) for event in run_dir.read_journal()) == 1
    expected = RunDir(tmp_path / "undisturbed")
    _undisturbed(expected, plan, slots[:1])
    assert curves(run_dir, plan) == curves(expected, plan)
    for run in plan.runs:
        words = run_dir.parse_events(run.run_id, read_lines(run_dir.events_path(run.run_id)))
        assert [event.status for event in words if isinstance(event, RunEnded)] == ["ok"]
        assert not [event for event in words if isinstance(event, RunRequeued)]
    attempts = sum(isinstance(event, RunLeased) for event in run_dir.read_journal())
    assert attempts == len(plan.runs) + len(returned)


def _undisturbed(run_dir: RunDir, plan: Plan, slots: list[Slot]) -> None:
    run_dir.begin(plan, HOW)
    scheduler = Scheduler(run_dir, plan, InlineExecutor(run_dir, slots, checkpoint_s=30.0), slots)
    scheduler.prepare()
    scheduler.run(lambda: None)
    scheduler.stop()
    scheduler.close()


def curves(run_dir: RunDir, plan: Plan) -> dict[str, list[tuple[int, float, float | None]]]:
    return {
        run.run_id: [(e.epoch, e.train_loss, e.value("gradient_norm_max")) for e in run_dir.read_history(run).epochs]
        for run in plan.runs
    }
