"""The scheduler on made-up devices in virtual time: placement, foresight, losses, a full disk."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, pairwise
from random import Random
from statistics import median
from typing import TYPE_CHECKING, get_args

import pytest

from dnlbench.events import (
    Command,
    DiskFree,
    DiskFull,
    EpochDone,
    RunEnded,
    RunLeased,
    RunReturned,
    RunStarted,
    SlotDisabled,
)
from dnlbench.executor.base import Cause
from dnlbench.executor.scheduler import loop
from dnlbench.executor.scheduler.disk import CHECK_S
from dnlbench.executor.scheduler.health import SlotHealth
from dnlbench.executor.scheduler.retry import MAX_DEATHS_AT_START, RETRIES, deaths_at_start
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir
from dnlbench.studies import Point
from dnlbench.watch import SweepView, Watcher

if TYPE_CHECKING:
    from tests.executor.conftest import Fate, Lab

MakeLab = Callable[..., "Lab"]
MakePlan = Callable[..., Plan]
LARGE = ("sweep.networks=['densenet', 'dense-gaussian', 'resnet']", "train.epochs=6")
MANY = (*LARGE, "sweep.depths=[1,2,3,4]", "sweep.seeds=8")
DEEP = (*LARGE, "sweep.depths=[1,2,4,8,16]", "sweep.seeds=5")


def speeds(order: int) -> Mapping[str, float]:
    """Eight slots, the fastest eight times as fast as the slowest, in some order."""
    return {f"fake:{number}/0": float(number) for number in Random(order).sample(range(1, 9), 8)}


def least_s(lab: Lab, runs: Sequence[Run], slots: Mapping[str, float]) -> float:
    """No schedule can be done sooner."""
    return sum(lab.base_s(run) for run in runs) / sum(slots.values())


def naive_s(lab: Lab, runs: Sequence[Run], slots: Mapping[str, float]) -> float:
    """When all would be done if each slot that is free took the longest run that is left."""
    free = [(0.0, number, speed) for number, speed in enumerate(slots.values())]
    for seconds in sorted((lab.base_s(run) for run in runs), reverse=True):
        at, number, speed = heapq.heappop(free)
        heapq.heappush(free, (at + seconds / speed, number, speed))
    return max(free)[0]


# Placement


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("noise", [0.0, pytest.param(0.05, marks=pytest.mark.statistics)])
def test_slots_of_unknown_speed_are_kept_busy(make_lab: MakeLab, order: int, noise: float) -> None:
    """A slow slot whose last run happens to be a slow one ends late: with noise it is the median that counts."""
    ratios = []
    for luck in range(9 if noise else 1):
        lab, slots = make_lab(*MANY), speeds(order)
        assert lab.run_sweep(slots, noise=noise, luck=luck)
        assert lab.statuses() == {"ok": 96}
        assert Counter(start.run_id for start in lab.starts) == {run.run_id: 1 for run in lab.plan.runs}
        ratios.append(lab.passed_s / least_s(lab, lab.plan.runs, slots))
    print(f"makespan / bound = {min(ratios):.3f} … {max(ratios):.3f}, median {median(ratios):.3f}")
    assert median(ratios) < 1.25
    assert max(ratios) < 1.5


@pytest.mark.parametrize("settings", [MANY, DEEP], ids=["many", "deep"])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_no_slow_slot_begins_a_long_run_once_speeds_are_known(
    make_lab: MakeLab, make_plan: MakePlan, settings: tuple[str, ...], noise: float
) -> None:
    lab, slots = make_lab(*LARGE, "sweep.depths=[1,2]", "sweep.seeds=4"), speeds(3)
    lab.run_sweep(slots, noise=noise)
    lab.widen(make_plan(*settings))
    left = [run for run in lab.plan.runs if lab.ended(run.run_id) is None]
    assert lab.run_sweep(slots, noise=noise)
    assert lab.statuses() == {"ok": len(lab.plan.runs)}
    least = least_s(lab, left, slots)
    print(f"makespan / bound = {lab.passed_s / least:.3f}, naive {naive_s(lab, left, slots) / least:.3f}")
    assert lab.passed_s < 1.25 * least
    assert lab.passed_s < 0.95 * naive_s(lab, left, slots)


def test_the_order_is_longest_first_by_what_was_learned(make_lab: MakeLab, make_plan: MakePlan) -> None:
    lab = make_lab(*LARGE, "sweep.depths=[1,2,3,4]", "sweep.seeds=1")
    lab.run_sweep(2)
    seen = {run.run_id for run in lab.plan.runs}
    lab.widen(make_plan(*LARGE, "sweep.depths=[1,2,3,4]", "sweep.seeds=4"))
    lab.run_sweep(2)
    order = [lab.base_s(lab.plan.by_id[start.run_id]) for start in lab.executor.starts]
    assert order == sorted(order, reverse=True)
    assert [start.run_id for start in lab.executor.starts] != [
        run.run_id for run in lab.plan.longest_first if run.run_id not in seen
    ], "the order of the plan would have been another one"


def test_while_nothing_is_known_the_plan_orders_the_runs(lab: Lab) -> None:
    lab.run_sweep(16)
    assert [start.run_id for start in lab.starts] == [run.run_id for run in lab.plan.longest_first]


def test_a_slot_stays_idle_rather_than_begin_what_a_fast_one_will_have_done_sooner(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=12", "train.epochs=2")
    lab.run_sweep({"slow/0": 1.0, "fast/0": 20.0})
    assert Counter(start.slot for start in lab.starts) == {"slow/0": 1, "fast/0": 11}


@pytest.mark.parametrize("hangs", [False, True])
def test_nothing_waits_for_a_run_that_is_overdue(make_lab: MakeLab, hangs: bool) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=5", "train.epochs=2")
    late, beside, last = (run.run_id for run in lab.plan.runs[2:])  # the first two tell how long a run takes
    lab.run_sweep(
        2,
        lambda slot, run_id, attempt: "heartbeat@0" if hangs and (run_id, attempt) == (late, 1) else "",
        stretch=lambda run_id, attempt: 30.0 if run_id == late and not hangs else 1.0,
    )
    assert lab.statuses() == {"ok": 5}
    start_times = {start.run_id: start.time for start in reversed(lab.starts)}
    assert start_times[late] == start_times[beside]
    assert start_times[last] - start_times[beside] < lab.base_s(lab.plan.runs[0]) + 1


# Foresight


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_end_is_estimated_after_a_third_of_the_work(make_lab: MakeLab, order: int, noise: float) -> None:
    lab = make_lab(*MANY)
    watcher, seen = Watcher(lab.run_dir, lab.plan), []

    def observe() -> None:
        view = watcher.poll(lab.clock())
        if view.time_left.sweep_s is not None:
            seen.append((view.fraction_done, lab.clock(), view.time_left.sweep_s))

    lab.run_sweep(speeds(order), tick=observe, noise=noise)
    end = lab.clock()
    errors = {}
    for fraction in (1 / 3, 1 / 2, 3 / 4):
        _, now, left_s = next(entry for entry in seen if entry[0] >= fraction)
        errors[fraction] = (now + left_s - end) / (end - now)
    print("errors of the time left:", {f"{fraction:.2f}": f"{error:+.1%}" for fraction, error in errors.items()})
    assert abs(errors[1 / 3]) < 0.2
    assert max(abs(errors[1 / 2]), abs(errors[3 / 4])) < 0.15


def test_the_time_left_of_a_sweep_grows_while_its_last_run_is_overdue(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=6", "train.epochs=4")
    late = lab.plan.runs[5].run_id
    watcher = Watcher(lab.run_dir, lab.plan)
    seen: list[tuple[float, float]] = []

    def observe() -> None:
        view = watcher.poll(lab.clock())
        if view.leased.keys() == {late} and view.time_left.sweep_s is not None:
            seen.append((lab.clock(), view.time_left.sweep_s))

    lab.run_sweep(1, tick=observe, stretch=lambda run_id, attempt: 10.0 if run_id == late else 1.0)
    usual_s, start_times = lab.base_s(lab.plan.runs[0]) / 4, seen[0][0]
    overdue = [(now - start_times, left_s) for now, left_s in seen if 5 * usual_s < now - start_times < 9 * usual_s]
    assert len(overdue) > 10
    assert all(left_s > 2 * since_s for since_s, left_s in overdue), (
        "three more epochs take as long as the first, or longer"
    )


# Slots that are broken


@pytest.mark.parametrize("cause", ["process", "device", "no-final-event"])
def test_a_broken_slot_is_disabled_and_does_not_drain_the_queue(lab: Lab, cause: str) -> None:
    lab.run_sweep(3, lambda slot, run_id, attempt: cause if slot == "fake:1/0" else "")
    assert lab.statuses() == {"ok": 16}
    (event,) = lab.journal(SlotDisabled)
    assert event.slot == "fake:1/0"
    assert event.reason == (
        "the run came back without its last event" if cause == "no-final-event" else f"lost by {cause}"
    )
    mine = [start.run_id for start in lab.starts if start.slot == "fake:1/0"]
    assert len(mine) == len(set(mine)) == 2
    assert not lab.executor.left
    watcher = Watcher(lab.run_dir, lab.plan)
    view = watcher.poll(lab.clock())
    assert (view.leased, dict(view.disabled_slots)) == ({}, {"fake:1/0": event.reason})


def test_a_slot_that_breaks_later_is_disabled_then(lab: Lab) -> None:
    lab.run_sweep(3, lambda slot, run_id, attempt: "device" if slot == "fake:1/0" and lab.passed_s > 30 else "")
    assert lab.statuses() == {"ok": 16}
    (event,) = lab.journal(SlotDisabled)
    broken = [start for start in lab.starts if start.slot == "fake:1/0" and start.time - lab.start_time > 30]
    assert (event.slot, len(broken)) == ("fake:1/0", 2)


def test_a_slot_that_comes_through_an_epoch_now_and_then_is_kept(lab: Lab) -> None:
    lab.run_sweep(2, lambda slot, run_id, attempt: "process@1" if slot == "fake:1/0" and attempt == 1 else "")
    assert lab.statuses() == {"ok": 16}
    assert not lab.journal(SlotDisabled)


def test_a_slot_is_forgiven_a_loss_by_the_run_that_comes_through(lab: Lab) -> None:
    def every_other(slot: str, run_id: str, attempt: int) -> str:
        return "process" if slot == "fake:1/0" and sum(start.slot == slot for start in lab.starts) % 2 else ""

    lab.run_sweep(2, every_other)
    assert lab.statuses() == {"ok": 16}
    assert not lab.journal(SlotDisabled)
    assert sum(start.slot == "fake:1/0" for start in lab.starts) > 6


def test_a_machine_that_is_out_of_memory_is_no_broken_slot(lab: Lab) -> None:
    lab.run_sweep(3, lambda slot, run_id, attempt: "host-memory" if slot == "fake:1/0" and attempt == 1 else "")
    assert lab.statuses() == {"ok": 16}
    assert not lab.journal(SlotDisabled)


def test_a_broken_slot_is_distinguished_from_a_broken_network(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=12")
    lab.run_sweep(2, lambda slot, run_id, attempt: "process" if slot == "fake:1/0" else "")
    assert lab.statuses() == {"ok": 12}
    assert [event.slot for event in lab.journal(SlotDisabled)] == ["fake:1/0"]
    assert sum(start.slot == "fake:1/0" for start in lab.starts) <= 4


def test_without_a_slot_left_the_rest_waits_for_another_day(lab: Lab) -> None:
    lab.run_sweep(2, lambda slot, run_id, attempt: "device" if len(lab.starts) > 3 else "")
    result = lab.statuses()
    assert (result["ok"], result["failed"]) == (3, 0)
    assert {event.slot for event in lab.journal(SlotDisabled)} == {"fake:0/0", "fake:1/0"}
    lab.run_sweep(2)
    assert lab.statuses() == {"ok": 16}


def test_a_slot_that_waits_for_a_machine_gets_no_run_until_it_has_one(lab: Lab) -> None:
    def move(*names: str) -> Callable[[], None]:
        return lambda: lab.executor.homeless.symmetric_difference_update(names)

    lab.run_sweep(3, script={0.0: move("fake:0/0", "fake:1/0"), 4.0: move("fake:0/0"), 9.0: move("fake:2/0")})
    assert lab.statuses() == {"ok": 16}
    start_times: dict[str, list[float]] = {}
    for start in lab.starts:
        start_times.setdefault(start.slot, []).append(start.time - lab.start_time)
    assert start_times["fake:1/0"] == [0.0]  # before anybody could say so
    assert start_times["fake:0/0"][0] == 0.0
    assert start_times["fake:0/0"][1] >= 4.0
    assert max(start_times["fake:2/0"]) < 9.0 < max(start_times["fake:0/0"])


def test_a_network_that_always_dies_does_not_cost_the_slots(lab: Lab) -> None:
    lab.run_sweep(1, lambda slot, run_id, attempt: "process" if run_id.startswith("densenet-L3") else "")
    assert lab.statuses() == {"ok": 14, "failed": 2}
    assert not lab.journal(SlotDisabled)


def test_a_slot_does_not_rest_for_hours(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "POLL_S", 1.0)
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=5")
    lab.run_sweep(1, lambda slot, run_id, attempt: "process", limit_s=3600)
    assert lab.statuses() == {"failed": 5}
    assert lab.passed_s < 900


def test_a_slot_rests_longer_after_each_loss_and_is_forgiven_after_a_success() -> None:
    now = 0.0
    slots = SlotHealth(clock=lambda: now)
    a, again, b = (Run(run_id=n, point=Point(network=n[0], depth=1), seed=0, epochs=1) for n in ("a0", "a1", "b0"))
    assert not slots.failed_at_once("x", a, proven=False)
    assert not slots.ready("x")
    now = 1.0
    assert slots.ready("x")
    assert not slots.failed_at_once("x", again, proven=False)
    now = 2.9
    assert not slots.ready("x")
    now = 3.0
    assert slots.ready("x")
    slots.succeeded("x")
    assert not slots.failed_at_once("x", a, proven=True)
    assert not slots.failed_at_once("x", a, proven=True)
    assert slots.failed_at_once("x", b, proven=False)
    assert not slots.is_enabled("x")


# Runs that are lost


def test_a_run_is_not_charged_with_workers_that_were_killed_before_they_began_it(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=2")
    bad = lab.find("densenet-L1-s1")
    lab.run_sweep(1, lambda slot, run_id, attempt: "killed" if run_id == bad and attempt <= MAX_DEATHS_AT_START else "")
    assert lab.statuses() == {"ok": 2}
    assert not lab.journal(SlotDisabled)


def test_a_run_that_no_worker_lives_to_begin_is_given_up_at_last(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=1")
    lab.run_sweep(1, lambda slot, run_id, attempt: "killed")
    assert lab.statuses() == {"failed": 1}
    assert len(lab.starts) == MAX_DEATHS_AT_START + 1 + RETRIES["killed"]


@pytest.mark.parametrize("cause", ["killed", "process", "host-memory"])
def test_no_run_is_charged_where_every_worker_dies_before_it_begins(make_lab: MakeLab, cause: Cause) -> None:
    """However often: with the slot that is to blame set aside, the sweep ends and can be resumed."""
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=3")
    lab.run_sweep(1, lambda slot, run_id, attempt: f"not-started-{cause}")
    assert lab.statuses() == {None: 3}
    assert len(lab.starts) <= 1 + deaths_at_start(cause)
    (disabled,) = lab.journal(SlotDisabled)
    assert disabled.reason == f"lost by {cause}"
    lab.run_sweep(1)
    assert lab.statuses() == {"ok": 3}


@pytest.mark.parametrize("cause", ["killed", "process"])
def test_runs_whose_workers_die_at_the_start_move_to_another_slot(lab: Lab, cause: Cause) -> None:
    bad = "cpu/0"
    lab.run_sweep(2, lambda slot, run_id, attempt: f"not-started-{cause}" if slot == bad else "")
    assert lab.statuses() == {"ok": 16}
    assert {event.slot for event in lab.journal(SlotDisabled)} <= {bad}


def test_deaths_at_the_start_count_in_a_row(make_lab: MakeLab) -> None:
    """A worker that begins clears its slot; more deaths in all than one slot may have in a row set nothing aside."""
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=4")
    fates = cycle([*["not-started-killed"] * MAX_DEATHS_AT_START, ""])
    lab.run_sweep(1, lambda slot, run_id, attempt: next(fates))
    assert lab.statuses() == {"ok": 4}
    assert len(lab.starts) == 4 * (MAX_DEATHS_AT_START + 1)
    assert not lab.journal(SlotDisabled)


@pytest.mark.parametrize("epochs", ["", "@0", "@1"])
@pytest.mark.parametrize("cause", list(RETRIES))
def test_a_run_that_loses_its_workers_is_given_up_after_a_few_tries(lab: Lab, cause: Cause, epochs: str) -> None:
    bad = lab.find("densenet-L2-s1")
    later = "@0" if cause == "killed" else ""  # of a worker that was killed before it began the run is not to blame

    def fate(slot: str, run_id: str, attempt: int) -> str:
        return cause + ((epochs or later) if attempt == 1 else later) if run_id == bad else ""

    lab.run_sweep(3, fate, heartbeat_timeout_s=5)
    status = "oom" if cause == "host-memory" else "failed"
    assert lab.statuses() == {"ok": 15, status: 1}
    assert sum(start.run_id == bad for start in lab.starts) == 1 + RETRIES[cause]
    returned = [event for event in lab.journal(RunReturned) if event.run_id == bad]
    assert len(returned) == RETRIES[cause]
    ended = lab.ended(bad)
    assert ended is not None
    assert ended.error is not None
    message = "the worker on fake:0/0 sent no heartbeat for 5 s" if cause == "heartbeat" else f"lost by {cause}"
    assert all(event.error and event.error.message[-25:] == message[-25:] for event in returned)
    assert ended.error.message[-25:] == message[-25:]
    assert not ended.requested
    assert not lab.journal(SlotDisabled)


def test_each_cause_has_a_separate_bound(lab: Lab) -> None:
    bad = lab.find("densenet-L2-s1")
    causes = ["device@0", "process@0", "host-memory@0", "device@0", "process@0", "heartbeat@0", "device@0", ""]
    lab.run_sweep(3, lambda slot, run_id, attempt: causes[attempt - 1] if run_id == bad else "", heartbeat_timeout_s=5)
    assert lab.statuses() == {"ok": 16}
    assert sum(start.run_id == bad for start in lab.starts) == len(causes)


def test_a_run_that_failed_by_itself_is_done_again_by_the_next_engine_only(lab: Lab) -> None:
    ends = {
        lab.find("densenet-L1-s0"): "failed",
        lab.find("densenet-L1-s1"): "oom",
        lab.find("densenet-L2-s0"): "diverged",
    }
    lab.run_sweep(3, lambda slot, run_id, attempt: ends[run_id] + "@1" if run_id in ends else "")
    assert lab.statuses() == {"ok": 13, "failed": 1, "oom": 1, "diverged": 1}
    assert len(lab.starts) == 16
    lab.run_sweep(3)
    assert [start.run_id for start in lab.executor.starts] == [lab.find("densenet-L1-s0")]
    assert lab.statuses() == {"ok": 14, "oom": 1, "diverged": 1}


def test_a_run_goes_on_where_it_was_lost(lab: Lab) -> None:
    lab.run_sweep(3, lambda slot, run_id, attempt: "process@2" if attempt == 1 and "-s1-" in run_id else "")
    assert lab.statuses() == {"ok": 16}
    for run in lab.plan.runs:
        kinds = [type(event) for event in lab.events(run.run_id)]
        again = [RunStarted] if run.seed == 1 else []
        assert kinds == [RunStarted, EpochDone, EpochDone, *again, EpochDone, RunEnded]


def test_a_worker_without_heartbeat_is_killed_and_its_run_retried(lab: Lab) -> None:
    bad = lab.find("dense-gaussian-L2-s0")
    lab.run_sweep(
        3, lambda slot, run_id, attempt: "heartbeat@1" if run_id == bad and attempt == 1 else "", heartbeat_timeout_s=20
    )
    assert lab.statuses() == {"ok": 16}
    first, second = (start for start in lab.starts if start.run_id == bad)
    assert lab.executor.ends == [(first.slot, bad)]
    (returned,) = lab.journal(RunReturned)
    assert returned.error is not None
    assert returned.error.message == f"the worker on {first.slot} sent no heartbeat for 20 s"
    last_heartbeat = next(event.time for event in lab.events(bad) if isinstance(event, EpochDone))
    assert second.time > last_heartbeat + 20
    assert [event.from_epoch for event in lab.events(bad) if isinstance(event, RunStarted)] == [0, 1]


def test_a_worker_that_never_says_a_last_word_does_not_go_on_for_ever(lab: Lab) -> None:
    bad = lab.find("dense-gaussian-L2-s0")
    lab.run_sweep(3, lambda slot, run_id, attempt: f"no-final-event@{2 - min(attempt, 2)}" if run_id == bad else "")
    assert lab.statuses() == {"ok": 15, "failed": 1}
    assert sum(start.run_id == bad for start in lab.starts) in (1 + RETRIES["process"], 2 + RETRIES["process"])
    ended = lab.ended(bad)
    assert ended is not None
    assert ended.error == loop.NO_FINAL_EVENT.error


def test_a_run_that_comes_a_little_further_each_time_is_let_go_on(make_lab: MakeLab) -> None:
    lab = make_lab("train.epochs=9")
    lab.run_sweep(2, lambda slot, run_id, attempt: "process@1" if attempt < 9 else "")
    assert lab.statuses() == {"ok": 8}
    assert len(lab.starts) == 8 * 9


def test_progress_of_an_earlier_attempt_does_not_excuse_the_losses_after_it(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=1", "train.epochs=4")
    lab.run_sweep(1, lambda slot, run_id, attempt: {1: "process@1", 2: "process@0"}.get(attempt, "process"))
    assert lab.statuses() == {"failed": 1}
    assert len(lab.starts) == 4


def test_a_checkpoint_within_an_epoch_is_progress(lab: Lab) -> None:
    bad = lab.find("densenet-L2-s1")

    def lost_after_a_checkpoint(slot: str, run_id: str, attempt: int) -> str:
        if run_id != bad or attempt > 9:
            return ""
        if attempt < 7:
            path = lab.run_dir.run_path(bad) / "checkpoint.pt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (lab.clock() + 0.1,) * 2)
        return "process@0"

    lab.run_sweep(3, lost_after_a_checkpoint)
    assert lab.statuses() == {"ok": 15, "failed": 1}
    assert sum(start.run_id == bad for start in lab.starts) == 6 + RETRIES["process"], (
        "the last checkpoint forgives all"
    )


def test_the_time_between_two_engines_is_not_taken_for_work(
    make_lab: MakeLab, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "STOP_TIMEOUT_S", 0.05)
    settings = ("sweep.networks=['densenet']", "train.epochs=4")
    lab = make_lab(*settings, "sweep.depths=[2]", "sweep.seeds=4")
    lab.run_sweep(4, lambda slot, run_id, attempt: "heartbeat@1", {5.0: Command(action="cancel")})
    lab.clock.now += 36000
    lab.widen(make_plan(*settings, "sweep.depths=[1,2]", "sweep.seeds=4"))
    estimates: list[float] = []

    def observe() -> None:
        """Somebody who comes when the runs of the first engine have ended."""
        if not estimates and lab.statuses()["ok"] >= 4:
            left_s = Watcher(lab.run_dir, lab.plan).poll(lab.clock()).time_left.sweep_s
            estimates.append(lab.clock() + (left_s or 0.0))

    lab.run_sweep(4, tick=observe)
    assert lab.statuses() == {"ok": 8}
    assert abs(estimates[0] - lab.clock()) < 0.2 * lab.passed_s


# A full disk


def test_a_full_disk_is_nobodys_fault(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    room = False
    check_times: list[float] = []

    def has_room(run_dir: RunDir) -> bool:
        check_times.append(lab.passed_s)
        return room

    def free() -> None:
        nonlocal room
        room = True

    monkeypatch.setattr(RunDir, "has_room", has_room)
    full = "dense-gaussian-L4-s0"
    lab.run_sweep(
        3,
        lambda slot, run_id, attempt: "disk@1" if run_id.startswith(full) and not room else "",
        script={100.0: free},
    )
    assert lab.statuses() == {"ok": 16}
    (disk_full,), (freed,) = lab.journal(DiskFull), lab.journal(DiskFree)
    assert disk_full.message == f"lost by disk; the sweep is paused until there is room in {lab.run_dir.root}"
    kinds = [event.event for event in lab.run_dir.read_journal()]
    between = kinds[kinds.index("disk-full") : kinds.index("disk-free")]
    assert "run-leased" not in between
    assert freed.event == "disk-free"
    gaps = [after - before for before, after in pairwise(check_times)]
    assert all(CHECK_S <= gap < CHECK_S + 1 for gap in gaps)
    start_times = [start.time - lab.start_time for start in lab.starts]
    assert not [at for at in start_times if check_times[0] - CHECK_S < at < 100.0]


def test_a_disk_that_is_full_again_and_again_counts_against_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDir, "has_room", lambda run_dir: True)
    lab.run_sweep(2, lambda slot, run_id, attempt: "disk" if attempt <= 6 else "")
    assert lab.statuses() == {"ok": 16}
    assert len(lab.starts) == 7 * 16
    assert len(lab.journal(DiskFull)) == len(lab.journal(DiskFree)) > 1
    assert not lab.journal(SlotDisabled)


# Anything at all


def random_fate(random: Random, fraction: float) -> Fate:
    kinds = [*get_args(Cause), "no-final-event", "failed", "oom", "diverged", "disk"]
    return lambda slot, run_id, attempt: (
        random.choice(kinds) + random.choice(["", "@0", "@1"]) if random.random() < fraction else ""
    )


def random_script(random: Random, lab: Lab) -> dict[float, Command | Callable[[], None]]:
    devices = ["fake:0", "fake:1", "fake:1/0", "fake:1/1", "fake:2"]
    script: dict[float, Command | Callable[[], None]] = {}
    for _ in range(random.randrange(12)):
        runs = tuple(run.run_id for run in random.sample(lab.plan.runs, random.randrange(3)))
        device = random.choice([None, None, *devices]) if not runs else None
        action = random.choice(["pause", "pause", "resume", "cancel" if runs else "resume", "retry", "release"])
        script[random.uniform(0, 40)] = Command.model_validate({"action": action, "run_ids": runs, "device": device})
    for at in (50.0, 51.0):
        script[at] = Command(action="resume")
    return script


@pytest.mark.parametrize("block", range(8))
def test_under_random_failures_every_run_is_done_once_or_ends_with_a_reason(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(loop, "POLL_S", 0.5)
    for seed in range(25 * block, 25 * block + 25):
        random = Random(seed)
        lab = make_lab("sweep.depths=[1,2]", "sweep.seeds=2")
        monkeypatch.setattr(RunDir, "has_room", lambda run_dir, random=random: random.random() < 0.5)
        slots = {"fake:0/0": 1.0, "fake:1/0": random.choice([0.5, 3.0]), "fake:1/1": 2.0}
        lab.run_sweep(
            slots,
            random_fate(random, random.choice([0.1, 0.3, 0.6])),
            random_script(random, lab),
            complete_script=False,
            heartbeat_timeout_s=5.0,
            back_s=random.choice([0.0, 0.3]),
            noise=0.3,
        )
        unfit = {event.slot for event in lab.journal(SlotDisabled)}
        for run in lab.plan.runs:
            ended = lab.ended(run.run_id)
            assert (ended is not None) or unfit == set(slots), seed
            assert ended is None or ended.status == "ok" or ended.error is not None, seed
            starts = sum(lease.run_id == run.run_id for lease in lab.journal(RunLeased))
            returns = [event for event in lab.journal(RunReturned) if event.run_id == run.run_id]
            assert starts >= len(returns), seed
        done = {run.run_id for run in lab.plan.runs if lab.run_dir.read_history(run).done}
        assert lab.run_sweep(slots)
        assert {start.run_id for start in lab.executor.starts} == set(lab.plan.by_id) - done, seed
        assert len(lab.executor.starts) == len(lab.plan.runs) - len(done), seed
        assert all(lab.run_dir.read_history(run).done for run in lab.plan.runs), seed


def test_a_watcher_that_follows_sees_what_one_that_comes_late_sees(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens, and however seldom it looks."""
    monkeypatch.setattr(loop, "POLL_S", 0.5)
    monkeypatch.setattr(RunDir, "has_room", lambda run_dir: True)
    for seed in range(40):
        random = Random(seed)
        lab = make_lab("sweep.depths=[1,2]", "sweep.seeds=2")
        watcher = Watcher(lab.run_dir, lab.plan)

        def observe(lab: Lab = lab, watcher: Watcher = watcher, random: Random = random) -> None:
            if random.random() < 0.05:
                leased = {attempt.run.run_id: slot for slot, attempt in lab.executor.running.items()}
                assert watcher.poll(lab.clock()).leased == leased
                assert fields(watcher.poll(lab.clock())) == fields(Watcher(lab.run_dir, lab.plan).poll(lab.clock()))

        slots = {"fake:0/0": 1.0, "fake:1/0": 3.0, "fake:1/1": 2.0}
        lab.run_sweep(
            slots,
            random_fate(random, 0.3),
            random_script(random, lab),
            observe,
            complete_script=False,
            heartbeat_timeout_s=5.0,
        )


def fields(view: SweepView) -> tuple[object, ...]:
    return (
        view.histories,
        view.leased,
        view.slots,
        view.disabled_slots,
        view.lost,
        view.pause_state,
        view.fraction_done,
        [run.run_id for run in view.ended],
        [run.run_id for run in view.not_ok],
    )


def test_a_lost_run_goes_on_where_it_can_begin_at_once(make_lab: MakeLab) -> None:
    """And does not wait for the slot that lost it to have rested."""
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=1")
    lab.run_sweep({"bad:0/0": 1.0, "good:0/0": 1.0}, lambda slot, run_id, attempt: "device" * slot.startswith("bad"))
    assert [start.slot for start in lab.starts] == ["bad:0/0", "good:0/0"]
    assert lab.starts[1].time - lab.starts[0].time < 1.0


def test_an_engine_that_was_stopped_itself_listens_before_it_takes_workers_for_lost(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab("sweep.depths=[1]")

    def stop_and_go_on() -> None:
        """Nobody was heard in the meantime; a second later everybody is."""
        lab.clock.now += 300.0
        back = lab.clock()
        monkeypatch.setattr(lab.engines[-1], "heartbeat_age_s", lambda slot: 300.0 if lab.clock() < back + 1.0 else 0.0)

    lab.run_sweep(2, script={3.0: stop_and_go_on})
    assert lab.statuses() == {"ok": len(lab.plan.runs)}
    assert not lab.journal(RunReturned)
