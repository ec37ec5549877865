"""The scheduler with an executor whose slots work, lose runs or die at once, as the test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dnlbench.events import DataInfo, EpochDone, Prepared, RunEnded, RunError, RunLeased, RunStarted, SlotSetAside
from dnlbench.executor import health
from dnlbench.executor.base import SlotFreed
from dnlbench.executor.health import SlotHealth
from dnlbench.executor.scheduler import RETRIES, Scheduler
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.store import Execution, RunDir
from dnlbench.studies import Point

MakePlan = Callable[..., Plan]
SLOTS = [Slot(name=f"fake/{n}", device=cpu_device(), threads=1) for n in range(3)]
LOST = RunError(type="WorkerLost", message="the fake is gone")
Behaviour = Callable[[Slot, str, int], bool]
"""Slot, run and attempt: whether the run goes well."""


class FakeExecutor:
    """Ends every run at the next look: well, with its events, or lost without any."""

    def __init__(self, run_dir: RunDir, goes_well: Behaviour) -> None:
        self._run_dir = run_dir
        self._goes_well = goes_well
        self._running: dict[str, tuple[Slot, str, int]] = {}
        self.log: list[tuple[str, str]] = []

    def prepare(self) -> Prepared:
        data = DataInfo(name="none", sha256="", samples=1, input_shape=(1, 1, 1), classes=2)
        return Prepared(data=data, torch="none", device_name="fake")

    def start(self, slot: Slot, run_id: str, attempt: int) -> None:
        assert slot.name not in self._running, "a slot does one run at a time"
        self._running[slot.name] = slot, run_id, attempt
        self.log.append((slot.name, run_id))

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        freed = [self._finish(*running) for running in self._running.values()]
        self._running.clear()
        return freed

    def _finish(self, slot: Slot, run_id: str, attempt: int) -> SlotFreed:
        if not self._goes_well(slot, run_id, attempt):
            return SlotFreed(slot=slot, run_id=run_id, lost=LOST)
        writer = self._run_dir.events_writer(run_id)
        for event in (
            RunStarted(run_id=run_id, attempt=attempt, device="fake", device_name="fake", threads=1, parameters=1),
            EpochDone(run_id=run_id, epoch=1, train_loss=1.0, seconds=1.0, samples_per_s=1.0, gradient_norm=1.0),
            RunEnded(run_id=run_id, status="ok"),
        ):
            writer.write(event.model_dump_json())
        writer.close()
        return SlotFreed(slot=slot, run_id=run_id)

    def close(self) -> None:
        self._running.clear()


@pytest.fixture
def carry_out(
    tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Plan, RunDir, FakeExecutor]]:
    monkeypatch.setattr(health, "REST_S", 0.0)

    def run(goes_well: Behaviour, slots: Sequence[Slot] = SLOTS) -> tuple[Plan, RunDir, FakeExecutor]:
        plan, run_dir = make_plan("sweep.seeds=4", "sweep.depths=[1,2,3]"), RunDir(tmp_path / "rd")
        execution = Execution(device_kind="cpu", threads=1, pack_size=1, torch="", machine="", source="")
        run_dir.begin(plan, execution)
        executor = FakeExecutor(run_dir, goes_well)
        scheduler = Scheduler(run_dir, plan, executor, slots)
        scheduler.carry_out(lambda: None)
        scheduler.stop()
        scheduler.close()
        return plan, run_dir, executor

    return run


def statuses(plan: Plan, run_dir: RunDir) -> Counter[str | None]:
    ends = [run_dir.read_history(run.run_id).ended for run in plan.runs]
    return Counter(end.status if end else None for end in ends)


def test_each_run_is_done_once_longest_first(carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]]) -> None:
    plan, run_dir, executor = carry_out(lambda slot, run_id, attempt: True)
    assert statuses(plan, run_dir) == {"ok": 24}
    assert [run_id for _, run_id in executor.log] == [run.run_id for run in plan.longest_first]
    leases = [event for event in run_dir.read_journal() if isinstance(event, RunLeased)]
    assert {lease.attempt for lease in leases} == {1}


def test_a_run_that_loses_its_workers_is_given_up_after_a_few_tries(
    carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]],
) -> None:
    plan, run_dir, executor = carry_out(lambda slot, run_id, attempt: not run_id.startswith("densenet-L2-s1"))
    assert statuses(plan, run_dir) == {"ok": 23, "failed": 1}
    (bad,) = [run.run_id for run in plan.runs if run.run_id.startswith("densenet-L2-s1")]
    assert sum(run_id == bad for _, run_id in executor.log) == 1 + RETRIES
    ended = run_dir.read_history(bad).ended
    assert ended is not None
    assert ended.error == LOST
    assert not [event for event in run_dir.read_journal() if isinstance(event, SlotSetAside)]


def test_a_run_that_is_lost_once_is_done_at_the_next_try(
    carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]],
) -> None:
    plan, run_dir, _ = carry_out(lambda slot, run_id, attempt: attempt == 2 or "-s3-" not in run_id)
    assert statuses(plan, run_dir) == {"ok": 24}
    lost_once = [run for run in plan.runs if run.seed == 3]
    for run in lost_once:
        started = run_dir.read_history(run.run_id).started
        assert started is not None
        assert started.attempt == 2


def test_a_broken_slot_is_set_aside_and_does_not_drain_the_queue(
    carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]],
) -> None:
    plan, run_dir, executor = carry_out(lambda slot, run_id, attempt: slot.name != "fake/1")
    assert statuses(plan, run_dir) == {"ok": 24}
    (set_aside,) = [event for event in run_dir.read_journal() if isinstance(event, SlotSetAside)]
    assert (set_aside.slot, set_aside.reason) == ("fake/1", "the fake is gone")
    assert sum(slot == "fake/1" for slot, _ in executor.log) == 2


def test_a_network_that_always_dies_does_not_cost_the_slots(
    carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]],
) -> None:
    plan, run_dir, _ = carry_out(lambda slot, run_id, attempt: not run_id.startswith("densenet-L3"), SLOTS[:1])
    assert statuses(plan, run_dir) == {"ok": 20, "failed": 4}


def test_without_a_slot_left_the_rest_waits_for_another_day(
    carry_out: Callable[..., tuple[Plan, RunDir, FakeExecutor]],
) -> None:
    order: list[str] = []

    def first_three_only(slot: Slot, run_id: str, attempt: int) -> bool:
        order.append(run_id)
        return len(order) <= 3

    plan, run_dir, _ = carry_out(first_three_only, SLOTS[:2])
    found = statuses(plan, run_dir)
    assert found["ok"] == 3
    assert found[None] > 0
    assert len([event for event in run_dir.read_journal() if isinstance(event, SlotSetAside)]) == 2


def test_a_slot_rests_longer_after_each_loss_and_is_forgiven_after_a_success() -> None:
    now = 0.0
    slots = SlotHealth(clock=lambda: now)
    a, again, b = (Run(run_id=n, point=Point(network=n[0], depth=1), seed=0) for n in ("a0", "a1", "b0"))
    assert not slots.lost_at_once("x", a, proven=False)
    assert not slots.ready("x")
    now = 1.0
    assert slots.ready("x")
    assert not slots.lost_at_once("x", again, proven=False)
    now = 2.9
    assert not slots.ready("x")
    now = 3.0
    assert slots.ready("x")
    slots.well("x")
    assert not slots.lost_at_once("x", a, proven=True)
    assert not slots.lost_at_once("x", a, proven=True)
    assert slots.lost_at_once("x", b, proven=False)
    assert not slots.fit("x")
