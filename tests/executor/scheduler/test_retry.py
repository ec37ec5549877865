"""What a worker failure means for runs and slots, and when a worker counts as silent, without a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.events import RunError, RunHistory, RunLeased
from dnlbench.executor.base import Cause, WorkerFailure
from dnlbench.executor.scheduler.health import STALL_S, Heartbeats, SlotHealth
from dnlbench.executor.scheduler.retry import MAX_DEATHS_AT_START, RETRIES, Decision, RetryPolicy
from dnlbench.plan import Plan
from dnlbench.store import RunDir
from tests.benchmarks.simulated_cluster import make_slots
from tests.test_estimates import history

MakePlan = Callable[..., Plan]
NOT_STARTED = RunHistory()


def failure(cause: Cause, *, started: bool = True) -> WorkerFailure:
    return WorkerFailure(cause=cause, error=RunError(type="Fake", message=cause), started=started)


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=2")


@pytest.fixture
def retries(tmp_path: Path, plan: Plan) -> RetryPolicy:
    return RetryPolicy(RunDir(tmp_path), plan, SlotHealth())


def leases(plan: Plan) -> tuple[RunLeased, ...]:
    return tuple(RunLeased(run_id=run.run_id, attempt=1, slot="a/0", time=0.0) for run in plan.runs)


def started(plan: Plan) -> dict[RunLeased, RunHistory]:
    result = zip(leases(plan), plan.runs, strict=True)
    return {lease: history(run, 1.0, epochs=0, tail=None) for lease, run in result}


@pytest.mark.parametrize("cause", ["disk", "pack"])
def test_what_no_run_is_to_blame_for_is_not_charged(retries: RetryPolicy, plan: Plan, cause: Cause) -> None:
    for _ in range(10):
        assert retries.decide(failure(cause), "a/0", started(plan)) == Decision()
    assert not retries.failed
    assert retries.alone == ({run.run_id for run in plan.runs} if cause == "pack" else set())


@pytest.mark.parametrize("cause", ["process", "killed", "heartbeat", "host-memory", "device"])
def test_runs_are_given_up_after_their_retries_unless_forgiven(retries: RetryPolicy, plan: Plan, cause: Cause) -> None:
    first, second = leases(plan)
    for _ in range(RETRIES[cause]):
        assert retries.decide(failure(cause), "a/0", started(plan)).give_up == ()
    assert retries.failed == retries.alone == {first.run_id, second.run_id}
    retries.forgive([first.run_id])
    assert retries.decide(failure(cause), "b/0", started(plan)).give_up == (second,)
    assert retries.failed == {first.run_id, second.run_id}


def test_workers_killed_before_they_start_disable_their_slot_once(retries: RetryPolicy, plan: Plan) -> None:
    histories = dict.fromkeys(leases(plan), NOT_STARTED)
    dead = failure("killed", started=False)
    for _ in range(MAX_DEATHS_AT_START):
        assert retries.decide(dead, "a/0", histories) == Decision()
    assert retries.decide(dead, "a/0", histories) == Decision(disable_slot=True)
    assert retries.decide(dead, "a/0", histories) == Decision()
    assert not retries.failed


def test_an_engine_that_was_stopped_listens_for_a_while_first() -> None:
    now, heartbeat_age_s = [0.0], [0.0]

    class Executor:
        def heartbeat_age_s(self, slot: object) -> float:
            return heartbeat_age_s[0]

    executor: Any = Executor()
    heartbeats, slots = Heartbeats(60.0, lambda: now[0]), make_slots(2)
    assert list(heartbeats.expired(executor, slots)) == []
    now[0], heartbeat_age_s[0] = now[0] + 600.0, 600.0
    assert list(heartbeats.expired(executor, slots)) == []
    while now[0] < 660.0:
        now[0] += STALL_S
        assert list(heartbeats.expired(executor, slots)) == []
    now[0] += STALL_S
    assert list(heartbeats.expired(executor, slots)) == list(slots)
