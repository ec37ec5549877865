from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from random import Random

import pytest

from dnlbench.estimates import REFIT_FRACTION, DurationEstimator, Task, first_tasks, pack, schedule
from dnlbench.events import EpochDone, RunEnded, RunEvent, RunHistory, RunStarted, fold
from dnlbench.plan import Plan, Run

MakePlan = Callable[..., Plan]
NETWORKS = {"densenet": 1.0, "dense-attention": 3.0, "dense-gaussian": 2.0, "resnet": 0.7}
SLOTS = {"a": 1.0, "b": 1.6, "c": 0.5, "d": 2.4}
LARGE = (f"sweep.networks={list(NETWORKS)}", "sweep.depths=[1,2,4,8,16,32]", "sweep.seeds=1")


def started(run: Run, time: float = 0.0, from_epoch: int = 0, from_step: int = 0) -> RunStarted:
    return RunStarted(
        time=time,
        run_id=run.run_id,
        attempt=1,
        device="cpu",
        device_name="x",
        threads=1,
        parameters=1,
        from_epoch=from_epoch,
        from_step=from_step,
    )


def epoch(run: Run, number: int, time: float, seconds: float = 1.0) -> EpochDone:
    return EpochDone(
        time=time,
        run_id=run.run_id,
        epoch=number,
        train_loss=1.0,
        seconds=seconds,
        samples_per_s=1.0,
        gradient_norm=0.0,
    )


def ended(run: Run, time: float, status: str = "ok") -> RunEnded:
    return RunEnded.model_validate({"time": time, "run_id": run.run_id, "status": status})


def history(
    run: Run, epoch_s: float, *, leased: float = 0.0, epochs: int = 2, head: float = 0.0, tail: float | None = 0.0
) -> RunHistory:
    """A run of equal epochs with ``head`` seconds before and ``tail`` seconds after them; still running if ``tail`` is None."""
    start = leased + head
    events: list[RunEvent] = [started(run, start)]
    events += [epoch(run, k, start + k * epoch_s, seconds=epoch_s) for k in range(1, epochs + 1)]
    return fold(events if tail is None else [*events, ended(run, start + epochs * epoch_s + tail)])


def learned(plan: Plan, epoch_s: Mapping[tuple[Run, str], float]) -> DurationEstimator:
    estimator = DurationEstimator(plan)
    for leased, ((run, slot), seconds) in enumerate(epoch_s.items()):
        estimator.observe(run, slot, leased, history(run, seconds, leased=leased))
    return estimator


def epoch_s(estimator: DurationEstimator, run: Run, slot: str) -> float:
    return estimator.duration_s(Task(runs=(run,), epochs=1), slot) - estimator.duration_s(
        Task(runs=(run,), epochs=0), slot
    )


def full_tasks(runs: Sequence[Run]) -> list[Task]:
    return [Task(runs=(run,), epochs=run.epochs) for run in runs]


def expected_seconds(plan: Plan, run: Run, slot: str) -> float:
    return 1e-5 * NETWORKS[run.point.network] * math.pow(plan.work[run.run_id], 0.8) * SLOTS[slot]


# Before anything is known


def test_the_plans_work_orders_the_runs_as_long_as_nothing_is_known(make_plan: MakePlan) -> None:
    plan = make_plan()
    estimator = DurationEstimator(plan)
    assert not estimator.known
    expected = [epochs * work for work, epochs in zip(plan.work.values(), [2] * 8, strict=True)]
    assert [estimator.duration_s(task, "a") for task in full_tasks(plan.runs)] == expected
    slots = [f"slot {number}" for number in range(len(plan.runs))]
    first = schedule(estimator, full_tasks(plan.runs), dict.fromkeys(slots, 0.0)).first
    assert [first[slot].runs for slot in slots] == [(run,) for run in plan.longest_first]


@pytest.mark.parametrize("events", ["", "s", "E"])
def test_a_run_without_epochs_is_not_observed(make_plan: MakePlan, events: str) -> None:
    plan = make_plan()
    run = plan.runs[0]
    kinds: dict[str, RunEvent] = {"s": started(run), "E": ended(run, 1.0, "failed")}
    estimator = DurationEstimator(plan)
    estimator.observe(run, "a", 0.0, fold(kinds[kind] for kind in events))
    assert not estimator.known


# The cost of an epoch


def test_a_single_run_is_predicted_as_it_was(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.runs[0]
    estimator = learned(plan, {(run, "a"): 4.0})
    assert estimator.known
    assert epoch_s(estimator, run, "a") == pytest.approx(4.0)
    assert epoch_s(estimator, run, "never seen") == pytest.approx(4.0), "an unseen slot is an average one"


def test_unseen_pairs_follow_from_seen_points_and_slots(make_plan: MakePlan) -> None:
    plan = make_plan(*LARGE)
    pairs = list(product(range(len(plan.runs)), range(len(SLOTS))))
    seen = {(i, j) for i, j in pairs if (i + j) % 4 in (0, 1)}
    names = list(SLOTS)
    times = {(plan.runs[i], names[j]): expected_seconds(plan, plan.runs[i], names[j]) for i, j in seen}
    estimator = learned(plan, times)
    for i, j in set(pairs) - seen:
        expected = expected_seconds(plan, plan.runs[i], names[j])
        assert epoch_s(estimator, plan.runs[i], names[j]) == pytest.approx(expected, rel=0.1)


def test_unseen_depths_follow_from_the_networks_other_depths(make_plan: MakePlan) -> None:
    plan = make_plan(*LARGE)
    seen = [run for run in plan.runs if run.point.depth in (1, 4, 16)]
    times = {(run, slot): expected_seconds(plan, run, slot) for run in seen for slot in ("a", "b", "d")}
    estimator = learned(plan, times)
    for run in plan.runs:
        assert epoch_s(estimator, run, "b") == pytest.approx(expected_seconds(plan, run, "b"), rel=0.1)


def test_a_custom_network_is_learned_too(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet','mine:unet']", "sweep.depths=[1,2,4]", "sweep.seeds=1")
    factor = {"densenet": 1.0, "mine:unet": 20.0}
    seen = [run for run in plan.runs if run.point.depth != 2]
    estimator = learned(plan, {(run, "a"): factor[run.point.network] * plan.work[run.run_id] for run in seen})
    unseen = [run for run in plan.runs if run.point.depth == 2]
    for run in unseen:
        expected = factor[run.point.network] * plan.work[run.run_id]
        assert epoch_s(estimator, run, "a") == pytest.approx(expected, rel=0.1)


def test_later_epochs_last_from_one_end_to_the_next(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.runs[0]
    estimator = DurationEstimator(plan)
    events: list[RunEvent] = [
        started(run, 99.0),
        epoch(run, 1, 103.0, 2.0),
        epoch(run, 2, 106.0, 2.0),
        epoch(run, 3, 110.0, 2.0),
    ]
    estimator.observe(run, "a", 98.0, fold(events))
    assert epoch_s(estimator, run, "a") == pytest.approx((2 + 3 + 4) / 3)


def test_only_epochs_of_the_last_attempt_count(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.runs[0]
    estimator = DurationEstimator(plan)
    before: list[RunEvent] = [started(run), epoch(run, 1, 50.0, 50.0), epoch(run, 2, 100.0, 50.0)]
    estimator.observe(run, "a", 200.0, fold(before))
    assert not estimator.known, "the attempt of that lease has not begun"
    estimator.observe(run, "a", 200.0, fold([*before, started(run, 201.0, from_epoch=1), epoch(run, 2, 206.0, 4.0)]))
    assert epoch_s(estimator, run, "a") == pytest.approx(4.0)
    assert estimator.duration_s(Task(runs=(run,), epochs=1), "a") == pytest.approx(2 + 4.0)


def test_the_latest_view_of_an_attempt_replaces_the_earlier_one(make_plan: MakePlan) -> None:
    plan = make_plan()
    one, other = plan.runs[0], plan.runs[-1]
    estimator, at_once = DurationEstimator(plan), DurationEstimator(plan)
    for epochs in range(1, 6):
        estimator.observe(one, "a", 0.0, history(one, 10.0 / epochs, epochs=epochs, tail=None))
    estimator.observe(one, "a", 0.0, history(one, 2.0, epochs=6))
    at_once.observe(one, "a", 0.0, history(one, 2.0, epochs=6))
    for run in (one, other):
        assert epoch_s(estimator, run, "a") == pytest.approx(epoch_s(at_once, run, "a"))
    estimator.observe(one, "a", 0.0, RunHistory())
    assert not estimator.known


def test_leases_add_up(make_plan: MakePlan) -> None:
    plan = make_plan()
    run, same_point = plan.runs[:2]
    estimator = DurationEstimator(plan)
    estimator.observe(run, "a", 0.0, history(run, 2.0, epochs=3))
    estimator.observe(same_point, "a", 0.0, history(same_point, 6.0, epochs=1))
    assert epoch_s(estimator, run, "a") == pytest.approx((3 * 2 + 6) / 4)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("time", [0.0, 5.0, 1e300, math.inf, math.nan])
def test_impossible_times_are_ignored(make_plan: MakePlan, seconds: float, time: float) -> None:
    plan = make_plan()
    run, other = plan.runs[0], plan.runs[-1]
    estimator = learned(plan, {(other, "a"): 1.0})
    events: list[RunEvent] = [started(run), epoch(run, 1, 3.0, seconds), epoch(run, 2, time, seconds), ended(run, time)]
    for part in (2, 3, 4):
        estimator.observe(run, "a", 0.0, fold(events[:part]))
        for task in full_tasks(plan.runs):
            assert 0 < estimator.duration_s(task, "a") < math.inf
    estimator.observe(run, "a", 0.0, RunHistory())
    assert epoch_s(estimator, other, "a") == pytest.approx(1.0, rel=1e-3)


# Overhead


def test_overhead_is_the_median_time_of_ended_runs_outside_their_epochs(make_plan: MakePlan) -> None:
    plan = make_plan()
    estimator = DurationEstimator(plan)
    for run, head in zip(plan.runs, (1.0, 2.0, 50.0), strict=False):
        estimator.observe(run, "a", 0.0, history(run, 1.0, head=head, tail=0.5))
    estimator.observe(plan.runs[3], "a", 0.0, history(plan.runs[3], 1.0, head=99.0, tail=None))
    assert estimator.duration_s(Task(runs=(plan.runs[0],), epochs=0), "a") == pytest.approx(2.5)


def test_overhead_of_running_runs_counts_until_one_has_ended(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.runs[0]
    nothing = Task(runs=(run,), epochs=0)
    estimator = DurationEstimator(plan)
    estimator.observe(run, "a", 0.0, history(run, 1.0, head=3.0, tail=None))
    assert estimator.duration_s(nothing, "a") == pytest.approx(3.0)
    broken_off = fold([started(run), epoch(run, 1, 4.0), ended(run, 400.0, "failed")])
    estimator.observe(run, "a", 0.0, broken_off)
    assert estimator.duration_s(nothing, "a") == pytest.approx(3.0), "most of the tail is half an epoch"
    estimator.observe(run, "a", 0.0, history(run, 1.0, head=3.0, tail=1.0))
    assert estimator.duration_s(nothing, "a") == pytest.approx(4.0)


def test_an_epoch_resumed_in_its_middle_has_no_known_overhead(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.runs[0]
    estimator = DurationEstimator(plan)
    estimator.observe(plan.runs[1], "a", 0.0, history(plan.runs[1], 8.0, head=5.0, tail=None))
    resumed = fold([started(run, 101.0, from_step=7), epoch(run, 1, 103.0, 8.0), ended(run, 103.0)])
    estimator.observe(run, "a", 100.0, resumed)
    assert estimator.duration_s(Task(runs=(run,), epochs=1), "a") == pytest.approx(5.0 + 8.0)


# Packs


def history_of_pack(run: Run, epoch_s: float, size: int) -> RunHistory:
    """Return the history of a run alone, with another pack size."""
    alone = history(run, epoch_s, head=1.0, tail=0.5)
    assert alone.ended is not None
    start = started(run, 1.0).model_copy(update={"pack_size": size})
    return fold([start, *(epoch(run, e.epoch, e.time, e.seconds) for e in alone.epochs), alone.ended])


def test_the_cost_of_a_pack_is_divided_among_its_runs(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=8")
    estimator = DurationEstimator(plan)
    for run in plan.runs[:4]:
        estimator.observe(run, "a", 0.0, history_of_pack(run, 6.0, 4))
    assert epoch_s(estimator, plan.runs[7], "a") == pytest.approx(1.5)
    for size in (1, 4, 8):
        task = Task(runs=plan.runs[:size], epochs=10)
        assert estimator.duration_s(task, "a") == pytest.approx(1.5 + 10 * size * 1.5), "the overhead once"
    packs = pack(full_tasks(plan.runs), 4)
    assert schedule(estimator, packs, {"a": 0.0, "b": 0.0}).seconds == pytest.approx(1.5 + 2 * 4 * 1.5)
    assert schedule(estimator, packs, {"a": 0.0}).first == {"a": packs[0]}


def test_tasks_are_packed(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[1,2]", "sweep.seeds=5")
    runs, deeper = plan.runs[:5], plan.runs[5:]
    left = [Task(runs=(run,), epochs=epochs) for run, epochs in zip(runs, (2, 1, 2, 2, 1), strict=True)]
    tasks = [left[0], Task(runs=deeper[:1], epochs=2), *left[1:]]

    def packed(size: int, *alone: Run) -> list[tuple[Run, ...]]:
        return [task.runs for task in pack(tasks, size, alone={run.run_id for run in alone})]

    assert packed(1) == [task.runs for task in tasks]
    assert packed(2) == [(runs[0], runs[2]), (deeper[0],), (runs[1], runs[4]), (runs[3],)]
    assert packed(9) == [(runs[0], runs[2], runs[3]), (deeper[0],), (runs[1], runs[4])]
    assert packed(9, runs[0]) == [(runs[0],), (deeper[0],), (runs[1], runs[4]), (runs[2], runs[3])]
    assert [task.epochs for task in pack(tasks, 9)] == [2, 2, 1]


# Scheduling


def test_no_slots_and_no_tasks(make_plan: MakePlan) -> None:
    plan = make_plan()
    estimator = DurationEstimator(plan)
    assert schedule(estimator, [], {}).seconds == 0.0
    assert schedule(estimator, full_tasks(plan.runs), {}).seconds == math.inf
    busy = schedule(estimator, [], {"a": 3.0, "b": -1.0})
    assert busy.seconds == 3.0
    assert busy.first == {}
    assert schedule(estimator, [], {"a": -1.0}).seconds == 0.0, "overdue is any moment now"


def test_equal_runs_on_equal_slots_go_in_rounds(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=10")
    estimator = DurationEstimator(plan)
    estimator.observe(plan.runs[0], "a", 0.0, history(plan.runs[0], 3.0, head=1.0))
    planned = schedule(estimator, full_tasks(plan.runs), dict.fromkeys("abcd", 0.0))
    assert planned.seconds == pytest.approx(3 * (1 + 2 * 3)), "ten runs on four slots are three rounds"
    assert [planned.first[slot].runs for slot in "abcd"] == [(run,) for run in plan.runs[:4]], "ties keep their order"
    assert schedule(estimator, full_tasks(plan.runs), {"a": 0.0, "b": 100.0}).seconds == pytest.approx(100.0)


def test_remaining_epochs_determine_the_order(make_plan: MakePlan) -> None:
    plan = make_plan()
    short, *_, long = plan.runs
    tasks = [Task(runs=(long,), epochs=0.001), Task(runs=(short,), epochs=2)]
    assert schedule(DurationEstimator(plan), tasks, {"a": 0.0}).first == {"a": tasks[1]}


def test_a_slow_slot_does_not_get_the_last_long_run(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=2")
    one, two = plan.runs
    estimator = learned(plan, {(one, "fast"): 1.0, (one, "slow"): 8.0})
    first, second = full_tasks([one, two])
    planned = schedule(estimator, [first, second], {"slow": 0.0, "fast": 0.0})
    assert planned.first == {"fast": first}
    both = 2 * estimator.duration_s(first, "fast")
    assert planned.seconds == pytest.approx(both)
    busy = schedule(estimator, [first, second], {"slow": 0.0, "fast": 50.0})
    assert busy.first == {"slow": first}, "unless the fast one is taken for long"
    assert schedule(estimator, [first], {"slow": 0.0, "fast": 1.0}).first == {"fast": first}


@pytest.mark.parametrize("seed", range(30))
def test_close_to_the_best_assignment(make_plan: MakePlan, seed: int) -> None:
    random = Random(seed)
    plan = make_plan("sweep.depths=[1,2,4,8]", "sweep.seeds=1")
    speeds = {slot: random.choice([1.0, 1.5, 4.0]) for slot in "abc"}
    times = {(run, slot): 1e-5 * plan.work[run.run_id] * speeds[slot] for run in plan.runs for slot in speeds}
    estimator = learned(plan, times)
    tasks = [Task(runs=(run,), epochs=random.uniform(0.5, 10)) for run in random.choices(plan.runs, k=6)]
    free = {slot: random.choice([0.0, random.uniform(0, 20)]) for slot in speeds}
    planned = schedule(estimator, tasks, free)
    best = min(_makespan(estimator, tasks, free, places) for places in product(free, repeat=len(tasks)))
    assert best * 0.95 <= planned.seconds <= 1.6 * best


def _makespan(
    estimator: DurationEstimator, tasks: Sequence[Task], free: Mapping[str, float], places: Sequence[str]
) -> float:
    ends = dict(free)
    for task, slot in zip(tasks, places, strict=True):
        ends[slot] += estimator.duration_s(task, slot)
    return max(ends.values())


def test_thousands_of_runs_on_hundreds_of_slots(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.depths=[1,2,3,4,5]", "sweep.seeds=300")
    random = Random(0)
    slots = {f"s{number}": math.exp(random.gauss(0, 0.5)) for number in range(300)}
    seen = random.choices(plan.runs, k=2000)
    times = {
        (run, slot): plan.work[run.run_id] * slots[slot]
        for run, slot in zip(seen, random.choices(list(slots), k=2000), strict=True)
    }
    estimator = learned(plan, times)
    tasks = full_tasks(plan.runs)
    planned = schedule(estimator, tasks, dict.fromkeys(slots, 0.0))
    assert schedule(estimator, tasks, dict.fromkeys(slots, 0.0)) == planned
    throughput = sum(1 / slots[slot] for slot in slots)
    at_best = sum(task.epochs * plan.work[task.runs[0].run_id] for task in tasks) / throughput
    assert at_best * 0.9 < planned.seconds < at_best * 1.3
    start = [planned.first[slot] for slot in sorted(planned.first, key=lambda slot: slots[slot])]
    work = [plan.work[task.runs[0].run_id] for task in start]
    assert work[0] == max(plan.work.values()), "the fastest slot begins with one of the longest runs"


def test_unseen_slots_are_scheduled_as_average_ones(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=4")
    run = plan.runs[0]
    estimator = learned(plan, {(run, "fast"): 1.0, (run, "slow"): 9.0})
    task = Task(runs=(run,), epochs=1)
    durations = [estimator.duration_s(task, slot) for slot in ("fast", "new", "slow")]
    assert all(before < after for before, after in pairwise(durations))
    assert schedule(estimator, [task], {"slow": 0.0, "new": 0.0}).first == {"new": task}


@pytest.mark.parametrize("seed", range(30))
def test_first_tasks_are_those_of_the_schedule(make_plan: MakePlan, seed: int) -> None:
    random, plan = Random(seed), make_plan("sweep.depths=[1,2,4]", "sweep.seeds=3")
    speeds = {slot: random.choice([1.0, 1.5, 4.0]) for slot in "abcdef"}
    estimator = learned(
        plan, {(run, slot): plan.work[run.run_id] * speeds[slot] for run in plan.runs for slot in speeds}
    )
    tasks = full_tasks(random.sample(plan.runs, random.randint(1, len(plan.runs))))
    free = {slot: random.choice([0.0, random.uniform(0, 1e6)]) for slot in speeds}
    asked = {slot for slot in free if free[slot] == 0.0}
    first = schedule(estimator, tasks, free).first
    assert first_tasks(estimator, tasks, free, asked) == {slot: task for slot, task in first.items() if slot in asked}


def test_a_few_observations_among_many_do_not_refit(make_plan: MakePlan) -> None:
    """With fewer than a hundred observations, each new one is used at once."""
    plan = make_plan("sweep.depths=[1,2]", "sweep.seeds=100")
    estimator, task, result = DurationEstimator(plan), Task(runs=plan.runs[:1], epochs=1), []
    for number, run in enumerate(plan.runs):
        estimator.observe(run, "a", 0.0, history(run, 1.0 + number))
        result.append((estimator.revision, estimator.duration_s(task, "a")))
    revisions = [revision for revision, _ in result]
    assert revisions[:99] == list(range(1, 100))
    assert 99 < revisions[-1] < 99 + 300 / (1 + 100 * REFIT_FRACTION)
    for (before, seconds), (after, later) in pairwise(result):
        assert (before == after) == (seconds == later)
