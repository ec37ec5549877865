"""The executor on a cluster that is played: what it asks of Ray, whatever becomes of remote workers."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dnlbench.errors import EngineError
from dnlbench.events import DataInfo, Prepared
from dnlbench.executor.ray import executor as ray_executor
from dnlbench.executor.ray.executor import RayExecutor
from dnlbench.executor.ray.failures import MAX_BACKOFF_S, MAX_DEATHS, STARVED_S
from dnlbench.executor.ray.inventory import ClusterNode
from dnlbench.executor.ray.messages import Placement, Report, WorkerConfig
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.machine import Machine, Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir

ray = pytest.importorskip("ray")

HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
MACHINE = Machine(
    os="x", cpu="x", cores=1, memory_bytes=1, python="3", torch="2", devices=(cpu_device(),), fingerprint="0"
)
PREPARED = Prepared(
    data=DataInfo(name="none", sha256="", samples=1, input_shape=(1, 8, 8), classes=2), torch="none", device_name="x"
)
SLOTS = tuple(Slot(name=f"ray/{number}", device=cpu_device(), threads=1) for number in range(30))


@dataclass(eq=False)
class Answer:
    """In place of Ray's reference."""

    method: str
    value: object = None
    is_there: bool = False

    def be(self, value: object) -> None:
        self.value, self.is_there = value, True


@dataclass(eq=False)
class Actor:
    """In place of Ray's handle."""

    config: WorkerConfig
    slot: Slot
    claim: dict[str, Any]
    asked: list[Answer] = field(default_factory=list)
    is_killed: bool = False

    def __getattr__(self, method: str) -> Any:
        return _Method(self, method)

    def answer(self, method: str, value: object) -> None:
        next(answer for answer in self.asked if answer.method == method and not answer.is_there).be(value)

    def die(self, error: Exception) -> None:
        for answer in self.asked:
            if not answer.is_there:
                answer.be(error)


@dataclass
class _Method:
    actor: Actor
    name: str

    def options(self, **_: object) -> _Method:
        return self

    def remote(self, *_: object) -> Answer:
        self.actor.asked.append(Answer(self.name))
        return self.actor.asked[-1]


class Cluster:
    """Has room where a test says so."""

    def __init__(self) -> None:
        self.actors: list[Actor] = []

    def options(self, **claim: object) -> Any:
        cluster = self

        class _Maker:
            @staticmethod
            def remote(config: WorkerConfig, slot: Slot) -> Actor:
                cluster.actors.append(Actor(config, slot, dict(claim)))
                return cluster.actors[-1]

        return _Maker

    def of(self, slot: Slot) -> Actor:
        return next(actor for actor in reversed(self.actors) if actor.slot.name == slot.name)

    def answer_placed(self, slot: Slot) -> Actor:
        actor = self.of(slot)
        actor.answer("describe", Placement(slot=slot, sees_run_dir=False))
        return actor


def wait(answers: list[Answer], *, num_returns: int, timeout: float) -> tuple[list[Answer], list[Answer]]:
    there = [answer for answer in answers if answer.is_there][:num_returns]
    return there, [answer for answer in answers if answer not in there]


def get(answer: Answer) -> object:
    if isinstance(answer.value, Exception):
        raise answer.value
    return answer.value


def kill(actor: Actor, *, no_restart: bool) -> None:
    actor.is_killed = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name, played in (("wait", wait), ("get", get), ("kill", kill), ("put", lambda config: config)):
        monkeypatch.setattr(ray, name, played)
    return Cluster()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How much later it is than at the beginning: time stands still but where a test moves it on."""
    later, start = [0.0], float(int(time.monotonic()))
    monkeypatch.setattr(time, "monotonic", lambda: start + later[0])
    return later


@pytest.fixture
def run_dir(tmp_path: Any, make_plan: Callable[..., Plan]) -> RunDir:
    result = RunDir(tmp_path / "run-dir")
    result.begin(make_plan("sweep.seeds=4"), HOW)
    return result


@pytest.fixture
def executor(run_dir: RunDir, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> RayExecutor:
    monkeypatch.setattr(ray_executor, "POLL_INTERVAL_S", 0.0)
    node = ClusterNode(node_id="0", name="n", cpus=30, gpus=0, memory_bytes=2**36, machine=MACHINE)
    executor = RayExecutor(run_dir, SLOTS, checkpoint_s=30.0, plan=run_dir.read_plan(), pack_size=1, nodes=[node])
    executor._actors.__dict__["_class"] = cluster
    executor.warm_up(SLOTS[0])
    cluster.answer_placed(SLOTS[0])
    executor.wait(0.0)
    cluster.of(SLOTS[0]).answer("prepare", PREPARED)
    executor.prepare()
    executor.wait(0.0)
    return executor


def report() -> Report:
    return Report(time=time.time(), is_warm=True, is_ready=True, heartbeat_age_s=0.0)


def lost(*, in_init: bool = False) -> Exception:
    cause = ray.exceptions.RayTaskError("__init__", "a traceback\nof it", ValueError("of it"))
    result: Exception = ray.exceptions.ActorDiedError(cause) if in_init else ray.exceptions.ActorDiedError()
    return result


def open_all(executor: RayExecutor, cluster: Cluster, *, heard: bool = True) -> None:
    for slot in SLOTS:
        executor.warm_up(slot)
        if not executor.is_open(slot):
            cluster.answer_placed(slot)
    executor.wait(0.0)
    executor.wait(0.0)
    if heard:
        for slot in SLOTS:
            cluster.of(slot).answer("poll", report())
        executor.wait(0.0)


def test_a_machine_that_takes_many_remote_workers_with_it_does_not_end_the_sweep(
    executor: RayExecutor, cluster: Cluster, run_dir: RunDir
) -> None:
    open_all(executor, cluster)
    executor.wait(0.0)
    runs = run_dir.read_plan().runs[: len(SLOTS)]
    for slot, run in zip(SLOTS, runs, strict=False):
        executor.start(slot, {run.run_id: 1})
    for slot in SLOTS[1:]:
        cluster.of(slot).die(lost())
    assert len(SLOTS) - 1 > MAX_DEATHS
    freed = executor.wait(0.0)
    assert [each.slot.name for each in freed] == [slot.name for slot in SLOTS[1 : len(runs)]]
    assert {each.failure.cause for each in freed if each.failure} == {"killed"}


def test_remote_workers_that_die_before_they_say_anything_end_it_in_the_end(
    executor: RayExecutor, cluster: Cluster, clock: list[float]
) -> None:
    executor.end(SLOTS[0])  # while another slot has one, all goes on with that
    for _ in range(MAX_DEATHS):
        executor.warm_up(SLOTS[1])
        cluster.of(SLOTS[1]).die(lost(in_init=True))
        executor.wait(0.0)
        clock[0] += MAX_BACKOFF_S + 1
    executor.warm_up(SLOTS[1])
    cluster.of(SLOTS[1]).die(lost(in_init=True))
    with pytest.raises(EngineError, match="before they reported anything"):
        executor.wait(0.0)


def test_the_backoff_of_a_slot_grows_with_each_death(
    executor: RayExecutor, cluster: Cluster, clock: list[float]
) -> None:
    for seconds in (0.5, 1.0, 2.0, 4.0):
        executor.warm_up(SLOTS[1])
        cluster.of(SLOTS[1]).die(lost(in_init=True))
        executor.wait(0.0)
        cluster.of(SLOTS[0]).answer("poll", report())
        executor.wait(0.0)
        count = len(cluster.actors)
        clock[0] += seconds - 0.25
        executor.warm_up(SLOTS[1])
        assert len(cluster.actors) == count
        clock[0] += 0.25


def test_remote_workers_with_nothing_to_do_make_room_for_runs_that_wait(
    executor: RayExecutor, cluster: Cluster, clock: list[float], run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that needs more than its remote worker has gives that up, and what it needs may be with those."""
    open_all(executor, cluster)
    executor.wait(0.0)
    first, second = run_dir.read_plan().runs[:2]
    executor.start(SLOTS[1], {first.run_id: 1})
    monkeypatch.setattr(ray_executor, "claim_fits", lambda claimed, needed: False)
    executor.start(SLOTS[0], {second.run_id: 1})
    waiting = cluster.of(SLOTS[0])
    assert not executor.is_open(SLOTS[0])
    executor.wait(0.0)
    assert executor.is_open(SLOTS[2]), "it may have a place in a moment"
    clock[0] += STARVED_S + 1
    executor.wait(0.0)
    assert not waiting.is_killed
    assert executor.is_open(SLOTS[1]), "that has work"
    assert all(cluster.of(slot).is_killed for slot in SLOTS[2:])
    count = len(cluster.actors)
    executor.warm_up(SLOTS[2])
    assert len(cluster.actors) == count, "it would take the room that it left"
    cluster.answer_placed(SLOTS[0])
    executor.wait(0.0)
    executor.wait(0.0)
    executor.warm_up(SLOTS[2])
    assert len(cluster.actors) == count + 1


def test_runs_that_wait_for_room_are_returned_when_they_are_suspended(
    executor: RayExecutor, cluster: Cluster, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_dir.read_plan().runs[0]
    monkeypatch.setattr(ray_executor, "claim_fits", lambda claimed, needed: False)
    executor.start(SLOTS[0], {run.run_id: 1})
    executor.suspend(SLOTS[0])
    (freed,) = executor.wait(0.0)
    assert (freed.slot, freed.run_ids, freed.failure) == (SLOTS[0], (run.run_id,), None)
    assert cluster.of(SLOTS[0]).is_killed


def test_a_disk_that_is_full_as_a_run_begins_is_no_fault_of_the_run(
    executor: RayExecutor, cluster: Cluster, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: EventReplica, attempts: object, now: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventReplica, "begin", full)
    run = run_dir.read_plan().runs[0]
    executor.start(SLOTS[0], {run.run_id: 1})
    (freed,) = executor.wait(0.0)
    assert freed.run_ids == (run.run_id,)
    assert freed.failure is not None
    assert freed.failure.cause == "disk"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (lost, "killed"),
        (lambda: lost(in_init=True), "device"),
        (lambda: ray.exceptions.ObjectLostError("00", "", ""), "killed"),
        (lambda: _raised(ValueError("a bug")), "process"),
        (lambda: _raised(OSError(errno.ENOSPC, "No space left on device")), "device"),
    ],
)
def test_a_run_is_blamed_only_for_what_its_worker_raises(
    executor: RayExecutor, cluster: Cluster, run_dir: RunDir, error: Callable[[], Exception], cause: str
) -> None:
    run = run_dir.read_plan().runs[0]
    executor.start(SLOTS[0], {run.run_id: 1})
    cluster.of(SLOTS[0]).die(error())
    (freed,) = executor.wait(0.0)
    assert freed.failure is not None
    assert freed.failure.cause == cause


def _raised(cause: Exception) -> Exception:
    result: Exception = ray.exceptions.RayTaskError("poll", "a traceback\nof it", cause).as_instanceof_cause()
    return result


def test_no_run_starts_on_a_worker_that_has_not_checked_the_plan(executor: RayExecutor, cluster: Cluster) -> None:
    executor.warm_up(SLOTS[1])
    cluster.answer_placed(SLOTS[1])
    executor.wait(0.0)
    executor.wait(0.0)
    assert not executor.is_open(SLOTS[1])
    cluster.of(SLOTS[1]).answer("poll", Report(time=time.time(), is_warm=True, is_ready=False, heartbeat_age_s=0.0))
    executor.wait(0.0)
    assert not executor.is_open(SLOTS[1])
    executor.wait(0.0)
    cluster.of(SLOTS[1]).answer("poll", report())
    executor.wait(0.0)
    assert executor.is_open(SLOTS[1])


def test_a_machine_that_never_works_is_asked_less_and_less_often(
    executor: RayExecutor, cluster: Cluster, clock: list[float]
) -> None:
    rests = []
    for _ in range(4):
        while not [actor for actor in cluster.actors if actor.slot == SLOTS[1] and not actor.is_killed]:
            executor.warm_up(SLOTS[1])
            clock[0] += 0.5
        cluster.answer_placed(SLOTS[1])
        executor.wait(0.0)
        executor.wait(0.0)
        unwell = Report(time=time.time(), is_warm=True, is_ready=False, heartbeat_age_s=0.0)
        cluster.of(SLOTS[1]).answer("poll", unwell)  # it lives, and that is all
        executor.wait(0.0)
        executor.wait(0.0)
        cluster.of(SLOTS[1]).die(lost())
        executor.wait(0.0)
        rests.append(executor._backoff.remaining_s("ray/1"))
    assert rests == [0.5, 1.0, 2.0, 4.0]
    log = executor._run_dir.slot_log_path("ray/1").read_text()
    assert log.count("ray/1") == 4
