"""What waits, and who has what, kept up to date step by step as they would be if they were made up anew each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from dnlbench.estimates import DurationEstimator, Task, pack
from dnlbench.events import RunLeased
from dnlbench.executor.scheduler.assignments import Assignment, Assignments
from dnlbench.executor.scheduler.health import SlotHealth
from dnlbench.executor.scheduler.queue import Queue
from dnlbench.executor.scheduler.retry import RetryPolicy
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir
from tests.benchmarks.simulated_cluster import make_slots
from tests.test_estimates import history

MakePlan = Callable[..., Plan]


def anew(
    runs: Mapping[str, Task], held: frozenset[str], estimator: DurationEstimator, retries: RetryPolicy, size: int
) -> list[Task]:
    """The definition."""
    tasks = [task for run_id, task in runs.items() if run_id not in held]
    tasks = [task for task in tasks if task.runs[0].run_id not in retries.failed] or tasks
    return sorted(pack(tasks, size, alone=retries.alone), key=lambda task: -estimator.duration_s(task, ""))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_tasks_equal_those_of_a_new_queue(make_plan: MakePlan, tmp_path: Path, seed: int, size: int) -> None:
    random, plan = Random(seed), make_plan("sweep.depths=[1,2,3]", "sweep.seeds=5")
    estimator, retries = DurationEstimator(plan), RetryPolicy(RunDir(tmp_path), plan, SlotHealth())
    queue = Queue(estimator, retries, size)
    runs: dict[str, Task] = {}
    held = frozenset[str]()

    def add(run: Run) -> None:
        epochs = random.choice([1, 2, 2])
        queue.add(run, history(run, 1.0, epochs=run.epochs - epochs, tail=None))
        runs[run.run_id] = Task(runs=(run,), epochs=epochs)

    for run in plan.runs:
        add(run)
    for step in range(60):
        away = [run for run in plan.runs if run.run_id not in runs]
        match random.choice(["take", "take", "take", "add", "fail", "drop", "hold", "learn"]):
            case "take":
                for task in list(queue.longest_first(held))[: random.randint(1, 3)]:
                    queue.take(task)
                    for run in task.runs:
                        del runs[run.run_id]
            case "add" if away:
                add(random.choice(away))
            case "fail" if away:
                run = random.choice(away)
                retries.failed.add(run.run_id)
                retries.alone.add(run.run_id)
                add(run)
            case "drop" if runs:
                run_id = random.choice(list(runs))
                queue.drop(run_id)
                del runs[run_id]
            case "hold":
                held = frozenset(random.sample([run.run_id for run in plan.runs], random.choice([0, 0, 5])))
            case "learn":
                run = random.choice(plan.runs)
                estimator.observe(run, "a", float(step), history(run, random.uniform(0.1, 9.0), leased=float(step)))
        assert list(queue.longest_first(held)) == anew(runs, held, estimator, retries, size)
        assert list(queue) == list(runs)
        assert len(queue) == len(runs)


@pytest.mark.parametrize("seed", range(20))
def test_assignments_are_indexed_by_slot_and_by_run(make_plan: MakePlan, seed: int) -> None:
    random, slots = Random(seed), make_slots(7)
    task = Task(runs=make_plan().runs[:1], epochs=1)
    assignments, leases = Assignments(slots), dict[str, tuple[RunLeased, ...]]()
    for step in range(60):
        slot = random.choice(slots)
        if slot.name not in leases:
            names = [f"r{step}-{number}" for number in range(random.randint(1, 3))]
            leases[slot.name] = tuple(RunLeased(run_id=name, attempt=1, slot=slot.name, time=1.0) for name in names)
            assignments.give(Assignment(slot=slot, task=task, start_time=1.0, leases=leases[slot.name]))
        elif len(leases[slot.name]) > 1 and random.random() < 0.5:
            first, *others = leases[slot.name]
            assignments.remove_run(first)
            leases[slot.name] = tuple(others)
            assert assignments.lease_of(first.run_id) is None
        else:
            taken = assignments.take(slot.name)
            assert taken is not None
            assert taken.leases == leases.pop(slot.name)
            assert assignments.take(slot.name) is None, "it is free"
        assert assignments.free == [slot for slot in slots if slot.name not in leases]
        assert [(each.slot, each.leases) for each in assignments.busy] == [
            (slot, leases[slot.name]) for slot in slots if slot.name in leases
        ]
        assert len(assignments) == len(leases)
        assert all(assignments.lease_of(lease.run_id) is lease for each in assignments.busy for lease in each.leases)
        for slot in slots:
            result = assignments.assignment_of(slot.name)
            assert (result.leases if result else None) == leases.get(slot.name)
