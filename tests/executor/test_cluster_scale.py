"""The scheduler on more slots than a machine has, as the benchmark of its scale simulates them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnlbench.events import RunEnded, RunLeased, RunReturned
from dnlbench.executor.scheduler import Scheduler
from dnlbench.files import read_lines
from dnlbench.store import RunDir
from tests.benchmarks.cluster_scale import HOW, Case, limit, make_plan
from tests.benchmarks.simulated_cluster import OVERHEAD_S, Clock, DurationModel, SimulatedCluster, make_slots

CASE = Case(slots=100, runs=500, epochs=6)
MODEL = DurationModel(lost=0.1)


Sweep = tuple[RunDir, SimulatedCluster, float]
pytestmark = pytest.mark.xdist_group("simulated cluster")


def executed(folder: Path) -> Sweep:
    """A run directory whose sweep has come to its end, how, and the virtual seconds that it took."""
    plan, clock, slots = make_plan(CASE), Clock(), make_slots(CASE.slots)
    run_dir = RunDir(folder)
    run_dir.begin(plan, HOW)
    cluster = SimulatedCluster(run_dir, plan, slots, clock, MODEL)
    scheduler, start = Scheduler(run_dir, plan, cluster, slots, clock=clock), clock()
    assert scheduler.run()
    took = clock() - start
    assert not cluster.busy, "all slots are free at the end"
    scheduler.stop()
    scheduler.close()
    return run_dir, cluster, took


@pytest.fixture(scope="module", autouse=True)
def no_fsync() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return executed(tmp_path_factory.mktemp("once"))


def test_every_result_is_there_once(sweep: Sweep) -> None:
    run_dir, cluster, _ = sweep
    plan = make_plan(CASE)
    assert len(plan.runs) == 500
    returned = Counter(event.run_id for event in run_dir.read_journal() if isinstance(event, RunReturned))
    assert 25 < returned.total() < 100, "a tenth of the runs is lost"
    for run in plan.runs:
        events = run_dir.parse_events(run.run_id, read_lines(run_dir.events_path(run.run_id)))
        assert [event.status for event in events if isinstance(event, RunEnded)] == ["ok"]
        history = run_dir.read_history(run)
        assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4, 5, 6]
        assert cluster.attempts[run.run_id] == len(history.attempts) == 1 + returned[run.run_id]


def test_no_slot_idles_while_something_waits(sweep: Sweep) -> None:
    """That they have one run at a time the simulation itself sees to."""
    run_dir, cluster, took = sweep
    leases = [event for event in run_dir.read_journal() if isinstance(event, RunLeased)]
    assert {lease.slot for lease in leases} == {slot.name for slot in make_slots(CASE.slots)}
    histories = [run_dir.read_history(run) for run in make_plan(CASE).runs]
    run_s = [sum(epoch.seconds for epoch in history.epochs) for history in histories]
    work_s = sum(run_s) + OVERHEAD_S * len(leases)
    assert took <= MODEL.opening_s + work_s / CASE.slots + max(run_s) + 1.0, "Graham's bound for a list of tasks"
    assert cluster.meter.began == len(leases)


def test_the_simulation_can_be_repeated(sweep: Sweep, tmp_path: Path) -> None:
    again, *_ = executed(tmp_path / "again")
    assert again.read_journal() == sweep[0].read_journal()


def test_the_limit_lies_where_the_load_reaches_one() -> None:
    assert limit([(10, 0.01), (100, 0.1), (1000, 10.0)]) == "316 slots"
    assert limit([(10, 0.1), (100, 0.5)]).startswith("about 200 slots")
    assert limit([(10, 2.0)]) == "fewer slots"
