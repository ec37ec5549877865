"""A remote worker in this process, with a real worker: what it does is what a worker does here, and all of it is reported."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dnlbench.errors import ConfigurationError, DataError, DeviceError
from dnlbench.events import DataInfo, Prepared, RunEnded, RunEvent, RunPaused, RunStarted
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.processes import environment_of
from dnlbench.executor.ray import remote_worker as remote_worker_module
from dnlbench.executor.ray.messages import Report, SharedCheckpoint, WorkerConfig
from dnlbench.executor.ray.remote_worker import NEW_S, PREFIX, RemoteWorker, _RunWatcher
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.executor.scheduler import Scheduler
from dnlbench.files import LineFollower, LineWriter, read_lines
from dnlbench.machine import Device, Devices, Slot, UnusableDevice, cpu_device, usable_cores
from dnlbench.plan import Plan, Run
from dnlbench.store import CheckpointFiles, Execution, RunDir
from dnlbench.store.sweep_file import write_sweep
from tests.cli.conftest import OWN, Gate
from tests.cli.conftest import _wait_until as wait_until

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
SECRET = "this very directory"
CPU = Slot(name="ray/0", device=cpu_device(), threads=1)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(tmp_path)  # it goes where its engine is
    return folder


class Site:
    """A run directory with one remote worker at a time."""

    def __init__(self, root: Path, plan: Plan, *, shared: bool = False) -> None:
        self.run_dir, self.plan = RunDir(root), plan
        self.run_dir.begin(plan, HOW)
        if shared:
            (root / "cluster.secret").write_text(SECRET)
        self.replica = EventReplica(self.run_dir)
        self.reports: list[Report] = []

    def worker(self, slot: Slot = CPU, **others: Any) -> RemoteWorker:
        config = WorkerConfig(
            sweep=self.run_dir.sweep_path.read_bytes(),
            slots=8,
            checkpoint_s=0.05,
            folder=Path.cwd(),
            run_dir=self.run_dir.root,
            secret=SECRET,
            names={},
        )
        return RemoteWorker(replace(config, **others), slot, name="somewhere", cpus=4.0)

    def start(self, worker: RemoteWorker, attempt: int = 1) -> Run:
        run = self.plan.runs[0]
        self.replica.begin({run.run_id: attempt}, time.time())
        shared = worker.describe().sees_run_dir
        worker.start({run.run_id: attempt}, self.replica.resume_states({run.run_id: attempt}, shared=shared))
        return run

    def listen(
        self, worker: RemoteWorker, until: Callable[[], bool] = lambda: False, gate: Gate | None = None
    ) -> Report:
        """Until the run is let go of, or something else holds; the gate is turned by one step at each look."""

        def has_come() -> bool:
            if gate is not None:
                gate.turn()
            self.reports.append(worker.poll(0.05))
            for updates in self.reports[-1].updates:
                self.replica.take(updates, ahead_s=0.0)
            return self.reports[-1].freed is not None or until()

        wait_until(has_come)
        return self.reports[-1]

    def last_event(self, run: Run) -> RunEvent:
        return self.run_dir.parse_events(run.run_id, read_lines(self.run_dir.events_path(run.run_id)))[-1]


def curve(run_dir: RunDir, run: Run) -> list[float]:
    return [epoch.train_loss for epoch in run_dir.read_history(run).epochs]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / ".gate")


@pytest.fixture
def long_plan(make_plan: MakePlan, tmp_path: Path, scratch: Path) -> Plan:
    """A run that takes as long as the gate has it."""
    (tmp_path / "own.py").write_text(OWN)
    return make_plan("sweep.networks=['own:gated']", "sweep.depths=[1]", "sweep.seeds=[3]", "train.epochs=24")


@pytest.fixture
def expected(tmp_path: Path, long_plan: Plan, gate: Gate) -> list[float]:
    """The losses in this process."""
    gate.open()
    run_dir, slot = RunDir(tmp_path / "here"), Slot(name="cpu/0", device=cpu_device(), threads=1)
    run_dir.begin(long_plan, HOW)
    scheduler = Scheduler(run_dir, long_plan, InlineExecutor(run_dir, [slot], checkpoint_s=30.0), [slot])
    scheduler.prepare()
    scheduler.run()
    scheduler.stop()
    scheduler.close()
    gate.close()
    return curve(run_dir, long_plan.runs[0])


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, long_plan: Plan) -> Site:
    return Site(tmp_path / "run-dir", long_plan, shared=getattr(request, "param", False))


@pytest.fixture
def workers(site: Site) -> Iterator[Callable[[], RemoteWorker]]:
    created: list[RemoteWorker] = []

    def make() -> RemoteWorker:
        created.append(site.worker())
        return created[-1]

    yield make
    for worker in created:
        worker.close()


@pytest.mark.faults
@pytest.mark.parametrize("site", [False, True], ids=["apart", "shared"], indirect=True)
def test_a_run_that_changes_remote_workers_twice_ends_with_the_same_bits(
    site: Site, workers: Callable[[], RemoteWorker], expected: list[float], scratch: Path, gate: Gate
) -> None:
    first = workers()
    prepared = first.prepare()
    assert isinstance(prepared, Prepared)
    run = site.start(first)
    files = CheckpointFiles(site.run_dir.run_path(run.run_id))
    site.listen(first, lambda: len(curve(site.run_dir, run)) >= 2 and files.last() is not None, gate)
    first.close()  # with its worker, in the middle of an epoch

    second = workers()
    second.take_over(prepared)
    site.start(second, attempt=2)
    site.listen(second, lambda: len(curve(site.run_dir, run)) >= 5, gate)
    second.suspend({run.run_id: 1})  # an attempt that is no more: nothing happens
    known = len(curve(site.run_dir, run))
    site.listen(second, lambda: len(curve(site.run_dir, run)) > known, gate)
    second.suspend({run.run_id: 2})
    assert site.listen(second, gate=gate).freed == (run.run_id,)
    assert isinstance(site.last_event(run), RunPaused)
    second.close()
    assert list(scratch.glob(f"{PREFIX}*")) == []

    third = workers()
    third.take_over(prepared)
    site.start(third, attempt=3)
    gate.open()
    report = site.listen(third)
    assert (report.freed, report.failure) == ((run.run_id,), None)
    assert curve(site.run_dir, run) == expected
    history = site.run_dir.read_history(run)
    assert [attempt.started.attempt for attempt in history.attempts] == [1, 2, 3]
    assert all(attempt.started.from_epoch or attempt.started.from_step for attempt in history.attempts[1:])
    assert files.last() is not None
    third.poll(0.0)
    assert third.poll(0.0).is_warm, "the worker has nothing to do and waits for the next run"


def test_a_request_to_stop_may_come_before_the_run(site: Site, workers: Callable[[], RemoteWorker], gate: Gate) -> None:
    """It takes another way than the run itself, on which nothing is before it. With the run its machine is told."""
    worker = workers()
    slot = worker.describe().slot
    assert (slot.name, slot.jobs, slot.shared) == ("ray/0", 4, usable_cores() < 4)
    worker.prepare()
    run = site.plan.runs[0]
    worker.suspend({run.run_id: 1})
    site.start(worker)
    assert site.listen(worker, gate=gate).freed == (run.run_id,)
    assert isinstance(site.last_event(run), RunPaused)
    started = site.run_dir.read_history(run).started
    assert isinstance(started, RunStarted)
    assert started.node is not None
    assert started.node.name == "somewhere"
    assert started.device_name == cpu_device().name


@pytest.mark.parametrize("shared", [False, True])
def test_the_end_of_a_run_is_reported_with_its_last_checkpoint(
    tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """Which may be written, and the run end, after it was looked for and before events are."""
    there, here = RunDir(tmp_path / "there"), RunDir(tmp_path / "here")
    run_id = make_plan().runs[0].run_id
    files = CheckpointFiles(there.run_path(run_id))
    files.save(b"before")
    here.run_path(run_id).mkdir(parents=True)
    watched = _RunWatcher(there, here if shared else None, run_id, 1, log=False)
    read = LineFollower.read

    def too_late(self: LineFollower) -> list[bytes]:
        files.save(b"last")
        writer = LineWriter(there.events_path(run_id))
        writer.write(RunEnded(run_id=run_id, status="ok").model_dump_json())
        writer.close()
        return read(self)

    monkeypatch.setattr(LineFollower, "read", too_late)
    updates = watched.poll(last=False)
    assert updates is not None
    assert len(updates.lines) == 1
    if shared:
        assert isinstance(updates.checkpoint, SharedCheckpoint)
        assert updates.checkpoint.path.read_bytes() == b"last"
    else:
        assert updates.checkpoint == b"last"


def test_a_checkpoint_that_the_shared_directory_does_not_take_goes_to_the_engine(
    tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has to write it itself then, and knows what to do about a disk that is full."""
    there, here = RunDir(tmp_path / "there"), RunDir(tmp_path / "here")
    run_id = make_plan().runs[0].run_id
    watched = _RunWatcher(there, here, run_id, 1, log=False)
    CheckpointFiles(there.run_path(run_id)).save(b"state")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("dnlbench.executor.ray.remote_worker.write_atomically", full)
    updates = watched.poll(last=False)
    assert updates is not None
    assert updates.checkpoint == b"state"


def test_errors_of_the_plan_are_reported(tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LocalExecutor) -> Prepared:
        raise DataError("nowhere")

    monkeypatch.setattr(LocalExecutor, "prepare", refuse)
    worker = Site(tmp_path / "run-dir", make_plan()).worker()
    try:
        result = worker.prepare()
    finally:
        worker.close()
    assert result == {"refused": {"type": "DataError", "message": "nowhere"}}


def test_a_gpu_is_the_one_that_was_given_to_it(
    tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Device(kind="cuda", index=0, name="A GPU", uuid="GPU-3")
    monkeypatch.setattr(
        remote_worker_module, "find_devices", lambda: Devices(usable=(given, cpu_device()), unusable=())
    )
    values = Slot(name="ray/5", device=Device(kind="cuda", name="A GPU, another GPU"), threads=1)
    result = Site(tmp_path / "run-dir", make_plan()).worker(slot=values)
    try:
        slot = result.describe().slot
    finally:
        result.close()
    assert (slot.name, slot.device, slot.jobs, slot.shared) == ("ray/5", given, 1, False)
    assert environment_of(slot)["CUDA_VISIBLE_DEVICES"] == "GPU-3"


def test_an_assigned_gpu_that_cannot_be_used_is_reported_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = UnusableDevice(name="GPU 3", reason="GPU is lost; restart the machine")
    monkeypatch.setattr(remote_worker_module, "find_devices", lambda: Devices(usable=(cpu_device(),), unusable=(lost,)))
    with pytest.raises(
        DeviceError, match=r"^box: was assigned a GPU, but has no usable one\. Not usable: GPU 3: GPU is lost"
    ):
        remote_worker_module._device_here("cuda", "box")


def test_a_machine_without_the_data_is_detected_before_it_gets_a_run(tmp_path: Path, make_plan: MakePlan) -> None:
    """Other machines of the sweep may have them."""
    site = Site(tmp_path / "run-dir", make_plan("data.dataset=svhn", "data.root=nowhere", "data.limit=150"))
    data = DataInfo(name="svhn", sha256="0", samples=150, input_shape=(3, 32, 32), classes=10)
    worker = site.worker()
    try:
        worker.take_over(Prepared(data=data, torch="2", device_name="x"))
        reports: list[Report] = []
        with pytest.raises(DataError, match="nowhere"):
            wait_until(lambda: reports.append(worker.poll(0.5)))
    finally:
        worker.close()
    assert not any(report.is_ready for report in reports)


def test_the_complete_output_of_an_attempt_is_reported(tmp_path: Path, make_plan: MakePlan) -> None:
    (tmp_path / "wordy.py").write_text(
        "from torch import nn\n"
        "class Wordy(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if self.training and x.shape[0] == 22:\n"
        "            print('no more ' * 100_000)\n"
        "            raise ValueError('as it was asked to')\n"
        "        return super().forward(x)\n"
        "def network(depth, input_shape, classes, network):\n"
        "    return Wordy(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    site = Site(tmp_path / "run-dir", make_plan("sweep.networks=['wordy:network']", "sweep.seeds=[0]"))
    worker = site.worker()
    try:
        assert isinstance(worker.prepare(), Prepared)
        run = site.start(worker)
        site.listen(worker)
    finally:
        worker.close()
    ended = site.run_dir.read_history(run).ended
    assert isinstance(ended, RunEnded)
    assert ended.status == "failed"
    log = site.run_dir.log_path(run.run_id, 1).read_text()
    assert log.count("no more ") == 100_000
    assert log.rstrip().endswith("ValueError: as it was asked to")


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"source": "another"}, "somewhere cannot join the sweep: dnlbench's own code is not the same"),
        ({"torch": "1.0"}, r"torch is 1\.0 there and \S+ here\. Install the same versions on both machines\."),
        ({"packages": {"numpy": "1.0"}}, r"numpy is 1\.0 there and \S+ here"),
        ({"environment": {"NVIDIA_TF32_OVERRIDE": "1"}}, "NVIDIA_TF32_OVERRIDE is 1 there and not set here"),
    ],
)
def test_a_machine_with_other_software_takes_no_part(
    tmp_path: Path, make_plan: MakePlan, scratch: Path, there: dict[str, Any], message: str
) -> None:
    """It may have joined the cluster after all machines were asked."""
    site = Site(tmp_path / "run-dir", make_plan())
    write_sweep(site.run_dir.sweep_path, site.plan, HOW.model_copy(update=there))
    with pytest.raises(ConfigurationError, match=message):
        site.worker()
    assert list(scratch.iterdir()) == []


def test_folders_of_other_users_are_not_touched(
    tmp_path: Path, make_plan: MakePlan, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that all users write to: nobody else's folder is touched, and no link followed."""
    dear = tmp_path / "dear"
    dear.mkdir()
    (scratch / f"{PREFIX}link").symlink_to(dear)
    os.utime(scratch / f"{PREFIX}link", (0, 0), follow_symlinks=False)
    os.utime(dear, (0, 0))
    Site(tmp_path / "run-dir", make_plan()).worker().close()
    assert list(dear.iterdir()) == []
    (dear / "file").write_text("content")
    (scratch / f"{PREFIX}trap").mkdir()
    (scratch / f"{PREFIX}trap" / "lock").symlink_to(dear / "file")
    os.utime(scratch / f"{PREFIX}trap", (0, 0))
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    Site(tmp_path / "run-dir", make_plan()).worker().close()
    assert (dear / "file").read_text() == "content"
    assert (scratch / f"{PREFIX}trap").exists()


def test_folders_of_remote_workers_that_were_killed_are_removed(
    tmp_path: Path, make_plan: MakePlan, scratch: Path
) -> None:
    left, new = scratch / f"{PREFIX}left", scratch / f"{PREFIX}new"
    for folder in (left, new):
        (folder / "runs").mkdir(parents=True)
    os.utime(left, (time.time() - NEW_S - 1,) * 2)
    site = Site(tmp_path / "run-dir", make_plan())
    first = site.worker()
    (in_use,) = set(scratch.iterdir()) - {left, new}
    os.utime(in_use, (time.time() - NEW_S - 1,) * 2)
    second = site.worker()
    try:
        assert not left.exists()
        assert new.exists()
        assert in_use.exists(), "another process holds its lock"
    finally:
        first.close()
        second.close()
