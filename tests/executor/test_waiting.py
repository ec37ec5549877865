"""What waits, and who has what, kept up to date step by step as they would be if they were made up anew each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import pytest

from dnlbench.events import RunLeased
from dnlbench.executor.leases import Job, Leases
from dnlbench.executor.losses import Losses
from dnlbench.executor.waiting import Waiting
from dnlbench.forecast import Forecast, Task, pack
from dnlbench.plan import Plan, Run
from tests.benchmarks.simulated_cluster import make_slots
from tests.test_forecast import history

MakePlan = Callable[..., Plan]


def anew(
    runs: Mapping[str, Task], held: frozenset[str], lost: set[str], forecast: Forecast, losses: Losses, size: int
) -> list[Task]:
    """The definition."""
    tasks = [task for run_id, task in runs.items() if run_id not in held]
    tasks = [task for task in tasks if task.runs[0].run_id not in lost] or tasks
    return sorted(pack(tasks, size, alone=losses.alone), key=lambda task: -forecast.duration_s(task, ""))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_tasks_are_those_of_a_list_made_up_anew(make_plan: MakePlan, seed: int, size: int) -> None:
    random, plan = Random(seed), make_plan("sweep.depths=[1,2,3]", "sweep.seeds=5")
    forecast, losses = Forecast(plan), Losses()
    waiting = Waiting(forecast, losses, size)
    runs: dict[str, Task] = {}
    held, lost = frozenset[str](), set[str]()

    def add(run: Run) -> None:
        epochs = random.choice([1, 2, 2])
        waiting.add(run, epochs)
        runs[run.run_id] = Task(runs=(run,), epochs=epochs)

    for run in plan.runs:
        add(run)
    for step in range(60):
        away = [run for run in plan.runs if run.run_id not in runs]
        match random.choice(["take", "take", "take", "add", "lose", "drop", "hold", "learn"]):
            case "take":
                for task in list(waiting.longest_first(held))[: random.randint(1, 3)]:
                    waiting.take(task)
                    for run in task.runs:
                        del runs[run.run_id]
            case "add" if away:
                add(random.choice(away))
            case "lose" if away:
                run = random.choice(away)
                losses.add(run, "process")
                lost.add(run.run_id)
                add(run)
            case "drop" if runs:
                run_id = random.choice(list(runs))
                waiting.drop(run_id)
                del runs[run_id]
            case "hold":
                held = frozenset(random.sample([run.run_id for run in plan.runs], random.choice([0, 0, 5])))
            case "learn":
                run = random.choice(plan.runs)
                forecast.observe(run, "a", float(step), history(run, random.uniform(0.1, 9.0), leased=float(step)))
        assert list(waiting.longest_first(held)) == anew(runs, held, lost, forecast, losses, size)
        assert list(waiting) == list(runs)
        assert len(waiting) == len(runs)


@pytest.mark.parametrize("seed", range(20))
def test_leases_are_found_by_slot_and_by_run(seed: int) -> None:
    random, slots = Random(seed), make_slots(7)
    leases, jobs = Leases(slots), dict[str, Job]()
    for step in range(60):
        slot = random.choice(slots)
        if slot.name not in jobs:
            names = [f"r{step}-{number}" for number in range(random.randint(1, 3))]
            jobs[slot.name] = tuple(RunLeased(run_id=name, attempt=1, slot=slot.name, time=1.0) for name in names)
            leases.give(slot, jobs[slot.name])
        elif len(jobs[slot.name]) > 1 and random.random() < 0.5:
            first, *others = jobs[slot.name]
            leases.part(first)
            jobs[slot.name] = tuple(others)
            assert leases.of_run(first.run_id) is None
        else:
            assert leases.take(slot.name) == jobs.pop(slot.name)
            assert leases.take(slot.name) == (), "it is free"
        assert list(leases) == [lease for job in jobs.values() for lease in job]
        assert leases.free == [slot for slot in slots if slot.name not in jobs]
        assert list(leases.busy) == [slot for slot in slots if slot.name in jobs]
        assert len(leases) == len(jobs)
        assert all(leases.of_run(lease.run_id) is lease for lease in leases)
        assert all(leases.of_slot(slot.name) == jobs.get(slot.name) for slot in slots)
        assert [leases.slot(slot.name) for slot in slots] == slots
