"""Runs that train together: on made-up devices in virtual time, and in real worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, get_args

import pytest

from dnlbench.events import (
    Command,
    RunEnded,
    RunLeased,
    RunPaused,
    RunRequeued,
    RunReturned,
    RunStarted,
    SlotDisabled,
)
from dnlbench.executor.base import Cause
from dnlbench.executor.scheduler import loop
from dnlbench.executor.scheduler.retry import RETRIES
from dnlbench.plan import title
from dnlbench.store import RunDir
from dnlbench.watch import SweepView, Watcher

if TYPE_CHECKING:
    from tests.executor.conftest import Fate, Lab

MakeLab = Callable[..., "Lab"]
POINT = ("sweep.networks=['densenet']", "sweep.depths=[1]", "train.epochs=6")


def seeds_of(lab: Lab) -> list[str]:
    """The seeds that were begun together, in order: ``012`` for a pack of three."""
    return ["".join(str(lab.plan.by_id[run_id].seed) for run_id in pack) for pack in lab.packs]


def ids(lab: Lab, *seeds: int) -> tuple[str, ...]:
    return tuple(run.run_id for run in lab.plan.runs if run.seed in seeds)


def commands(action: str, *run_ids: str) -> Command:
    return Command.model_validate({"action": action, "run_ids": run_ids})


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """Four runs of one point."""
    return make_lab(*POINT, "sweep.seeds=4")


# Forming packs


@pytest.mark.parametrize(
    ("size", "packs"),
    [(1, ["0", "1", "2", "3", "4"]), (2, ["01", "23", "4"]), (3, ["012", "34"]), (5, ["01234"]), (99, ["01234"])],
)
def test_runs_of_a_point_train_together(make_lab: MakeLab, size: int, packs: list[str]) -> None:
    lab = make_lab(*POINT, "sweep.seeds=5")
    lab.run_sweep(1, pack_size=size)
    assert seeds_of(lab) == packs
    assert lab.statuses() == {"ok": 5}
    for run_ids in lab.packs:
        for run_id in run_ids:
            (started,) = [event for event in lab.events(run_id) if isinstance(event, RunStarted)]
            assert started.pack_size == len(run_ids)


def test_runs_of_different_points_do_not(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.depths=[1,2]", "sweep.seeds=3")
    lab.run_sweep(2, pack_size=4)
    assert lab.statuses() == {"ok": 12}
    assert Counter(seeds_of(lab)) == {"012": 4}
    for run_ids in lab.packs:
        assert len({lab.plan.by_id[run_id].point for run_id in run_ids}) == 1


def test_only_runs_with_equally_many_epochs_left_train_together(lab: Lab) -> None:
    ahead = ids(lab, 0, 2)
    lab.run_sweep(1, lambda slot, run_id, attempt: "failed@1" if run_id in ahead else "failed@0")
    lab.run_sweep(1, pack_size=4)
    assert seeds_of(lab)[4:] == ["13", "02"], "the longest first"
    assert lab.statuses() == {"ok": 4}


def test_a_paused_run_is_left_out_and_goes_on_by_itself(lab: Lab) -> None:
    script = {0.0: commands("pause", *ids(lab, 1)), 200.0: commands("resume", *ids(lab, 1))}
    lab.run_sweep(1, script=script, pack_size=4)
    assert seeds_of(lab) == ["0123", "023", "1"], "it was leased when the command came"
    assert lab.statuses() == {"ok": 4}


# Packs that come to grief


@pytest.mark.parametrize("error", ["oom@0", "failed@1", "failed"])
def test_runs_of_a_pack_that_fails_are_tried_again_one_by_one(lab: Lab, error: str) -> None:
    """The one that is to blame fails then, and disturbs no other."""
    bad = ids(lab, 2)[0]
    lab.run_sweep(1, lambda slot, run_id, attempt: error if run_id == bad else "", pack_size=4)
    assert seeds_of(lab) == ["0123", "0", "1", "2", "3"]
    assert lab.statuses() == {"ok": 3, error.partition("@")[0]: 1}
    assert Counter(event.run_id for event in lab.journal(RunReturned)) == dict.fromkeys(lab.plan.by_id, 1)
    assert {event.error.message for event in lab.journal(RunReturned) if event.error} == {"lost by pack"}
    assert not lab.journal(SlotDisabled)
    for run_id in ids(lab, 0, 1, 3):
        assert [event.status for event in lab.events(run_id) if isinstance(event, RunEnded)] == ["ok"]


def test_a_failing_pack_is_charged_to_none_of_its_runs(lab: Lab) -> None:
    """Each has all its tries left."""
    fates = ["pack@0", *["killed@0"] * RETRIES["killed"], ""]
    lab.run_sweep(1, lambda slot, run_id, attempt: fates[attempt - 1], pack_size=4)
    assert lab.statuses() == {"ok": 4}


@pytest.mark.parametrize("cause", ["process", "killed", "device", "host-memory", "heartbeat", "no-final-event"])
def test_runs_of_a_pack_that_is_lost_are_tried_again_one_by_one(lab: Lab, cause: str) -> None:
    bad = ids(lab, 1)[0]
    lab.run_sweep(
        1,
        lambda slot, run_id, attempt: f"{cause}@1" if (run_id, attempt) == (bad, 1) else "",
        pack_size=4,
        heartbeat_timeout_s=5,
    )
    assert seeds_of(lab) == ["0123", "0", "1", "2", "3"]
    assert lab.statuses() == {"ok": 4}
    for run in lab.plan.runs:
        starts = [event for event in lab.events(run.run_id) if isinstance(event, RunStarted)]
        assert [(event.pack_size, event.from_epoch) for event in starts] == [(4, 0), (1, 1)], "from where it was"


@pytest.mark.parametrize("cause", [cause for cause in RETRIES if cause != "heartbeat"])
def test_a_loss_with_a_pack_counts_for_each_of_its_runs(make_lab: MakeLab, cause: Cause) -> None:
    lab = make_lab(*POINT, "sweep.seeds=2")
    lab.run_sweep(1, lambda slot, run_id, attempt: f"{cause}@0", pack_size=2)
    assert lab.statuses() == {"oom" if cause == "host-memory" else "failed": 2}
    assert Counter(start.run_id for start in lab.starts) == dict.fromkeys(lab.plan.by_id, 1 + RETRIES[cause])


def test_a_worker_that_is_killed_before_it_begins_parts_nobody(lab: Lab) -> None:
    lab.run_sweep(1, lambda slot, run_id, attempt: "killed" if attempt <= 3 else "", pack_size=4)
    assert seeds_of(lab) == ["0123"] * 4
    assert lab.statuses() == {"ok": 4}


def test_a_full_disk_parts_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDir, "has_room", lambda run_dir: True)
    lab.run_sweep(1, lambda slot, run_id, attempt: "disk@1" if attempt == 1 else "", pack_size=4)
    assert seeds_of(lab) == ["0123"] * 2
    assert lab.statuses() == {"ok": 4}


def test_a_slot_is_not_disabled_for_one_failed_pack(make_lab: MakeLab) -> None:
    """Though that is two runs at once, of a point that works."""
    lab = make_lab(*POINT, "sweep.seeds=6")
    bad = ids(lab, 2)[0]
    lab.run_sweep(1, lambda slot, run_id, attempt: "device" if (run_id, attempt) == (bad, 1) else "", pack_size=2)
    assert seeds_of(lab) == ["01", "23", "45", "2", "3"]
    assert lab.statuses() == {"ok": 6}
    assert not lab.journal(SlotDisabled)


def test_a_slot_with_one_failed_pack_after_another_is_disabled(make_lab: MakeLab) -> None:
    lab = make_lab(*POINT, "sweep.seeds=8")
    lab.run_sweep(2, lambda slot, run_id, attempt: "device" if slot == "fake:1/0" else "", pack_size=2)
    assert lab.statuses() == {"ok": 8}
    assert [event.slot for event in lab.journal(SlotDisabled)] == ["fake:1/0"]


# Members that end early


def test_a_run_that_diverges_ends_early_and_the_others_go_on(lab: Lab) -> None:
    bad = ids(lab, 2)[0]
    others = [run_id for run_id in lab.plan.by_id if run_id != bad]
    watcher = Watcher(lab.run_dir, lab.plan)
    seen: list[SweepView] = []

    def observe() -> None:
        if lab.ended(bad) is not None and not seen:
            seen.append(watcher.poll(lab.clock()))
            assert Watcher(lab.run_dir, lab.plan).poll(lab.clock()).leased == seen[0].leased

    lab.run_sweep(1, lambda slot, run_id, attempt: "diverged@1" if run_id == bad else "", tick=observe, pack_size=4)
    assert lab.statuses() == {"ok": 3, "diverged": 1}
    assert len(lab.packs) == 1
    assert not lab.journal(RunReturned)
    (view,) = seen
    assert view.leased == dict.fromkeys(others, "fake:0/0")
    assert [run.run_id for run in view.not_ok] == [bad]
    assert title(view.jobs["fake:0/0"]) == "densenet L=1 seeds 0, 1, 3"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("slots", [1, 2])
def test_a_run_that_diverged_is_tried_again_while_its_pack_goes_on(lab: Lab, slots: int, named: bool) -> None:
    bad = ids(lab, 2)[0]
    others = set(lab.plan.by_id) - {bad}
    away, asked, seen = Watcher(lab.run_dir, lab.plan), list[float](), list[SweepView]()
    away.poll(lab.clock())

    def ask() -> None:
        if lab.ended(bad) is not None and not asked:
            asked.append(lab.clock())
            lab.leave(commands("retry", *([bad] if named else [])))
        elif asked and not seen and lab.answers():
            seen.append(Watcher(lab.run_dir, lab.plan).poll(lab.clock()))
            assert away.poll(lab.clock()).leased == seen[0].leased

    lab.run_sweep(
        slots,
        lambda slot, run_id, attempt: "diverged@1" if (run_id, attempt) == (bad, 1) else "",
        tick=ask,
        pack_size=4,
    )
    assert lab.answers() == ["will be retried: densenet L=1 seed 2"]
    assert lab.statuses() == {"ok": 4}
    assert seeds_of(lab) == ["0123", "2"]
    first, second = (start for start in lab.starts if start.run_id == bad)
    assert (second.time - asked[0] < 1.0) == (slots == 2), "at once where there is a slot, else after its pack"
    assert (second.slot != first.slot) == (slots == 2)
    assert seen[0].leased.keys() - {bad} == others
    assert (bad in seen[0].leased) == (slots == 2)
    assert [type(event) for event in lab.events(bad) if event.event != "epoch-done"] == [
        RunStarted,
        RunEnded,
        RunRequeued,
        RunStarted,
        RunEnded,
    ]
    assert [event.error for event in lab.journal(RunReturned)] == [None]


def test_a_run_that_ended_early_does_not_come_back_with_the_pack(lab: Lab) -> None:
    """Neither when the pack is lost, nor when it is put aside, nor when another one of it is cancelled."""
    bad, cancelled = ids(lab, 2)[0], ids(lab, 0)[0]
    ends: list[str] = []

    def next_step() -> None:
        if lab.ended(bad) is None or len(ends) == 2:
            return
        if not ends:
            ends.append("paused")
            lab.leave(commands("pause"))
        elif not lab.executor.running:
            ends.append("resumed")
            lab.leave(commands("resume"))
            lab.leave(commands("cancel", cancelled))

    def fate(slot: str, run_id: str, attempt: int) -> str:
        return "diverged@1" if run_id == bad else "process@1" if attempt == 2 else ""

    lab.run_sweep(1, fate, tick=next_step, pack_size=4)
    assert lab.statuses() == {"ok": 2, "diverged": 1, "cancelled": 1}
    assert seeds_of(lab) == ["0123", "13", "1", "3"]


# Steering


def test_a_run_of_a_pack_is_cancelled_and_the_others_go_on(lab: Lab) -> None:
    bad = ids(lab, 1)[0]
    watcher, seen = Watcher(lab.run_dir, lab.plan), list[SweepView]()
    see: Callable[[], None] = lambda: seen.append(watcher.poll(lab.clock()))  # noqa: E731
    lab.run_sweep(1, script={20.0: commands("cancel", bad), 20.5: see}, pack_size=4)
    assert lab.statuses() == {"ok": 3, "cancelled": 1}
    assert seeds_of(lab) == ["0123", "023"]
    assert lab.executor.ends == [("fake:0/0", ids(lab, 0)[0])]
    ended = lab.ended(bad)
    assert ended is not None
    assert ended.requested
    returned = lab.journal(RunReturned)
    assert {event.run_id for event in returned} == set(ids(lab, 0, 2, 3))
    assert all(event.error is None for event in returned)
    assert seen[0].leased.keys() == set(ids(lab, 0, 2, 3))
    assert not seen[0].lost
    for run_id in ids(lab, 0, 2, 3):
        again = [event for event in lab.events(run_id) if isinstance(event, RunStarted)][1]
        assert again.pack_size == 3
        assert again.from_epoch > 0


def test_some_runs_of_a_pack_are_cancelled_with_one_command(lab: Lab) -> None:
    lab.run_sweep(1, script={20.0: commands("cancel", *ids(lab, 0, 3))}, pack_size=4)
    assert lab.statuses() == {"ok": 2, "cancelled": 2}
    assert seeds_of(lab) == ["0123", "12"]


def test_pausing_one_run_of_a_pack_suspends_the_pack_and_the_others_resume(lab: Lab) -> None:
    held = ids(lab, 3)[0]
    lab.run_sweep(1, script={20.0: commands("pause", held), 22.0: commands("resume", held)}, pack_size=4)
    assert lab.statuses() == {"ok": 4}
    assert seeds_of(lab) == ["0123", "012", "3"]
    assert len(lab.executor.asides) == 1
    assert not lab.executor.ends
    for run in lab.plan.runs:
        kinds = [event.event for event in lab.events(run.run_id) if event.event != "epoch-done"]
        assert kinds == ["run-started", "run-paused", "run-started", "run-ended"]
        paused = next(event for event in lab.events(run.run_id) if isinstance(event, RunPaused))
        again = [event for event in lab.events(run.run_id) if isinstance(event, RunStarted)][1]
        assert (again.from_epoch, again.from_step) == (paused.epoch, paused.step) != (0, 0)


def test_a_paused_sweep_goes_on_in_the_same_packs(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.depths=[1,2]", "sweep.seeds=3")
    lab.run_sweep(2, script={20.0: commands("pause"), 60.0: commands("resume")}, pack_size=3)
    assert lab.statuses() == {"ok": 12}
    assert Counter(seeds_of(lab)) == {"012": 6}


def test_a_cancelled_sweep_ends_all_runs_of_its_packs_and_the_next_engine_goes_on(lab: Lab) -> None:
    assert not lab.run_sweep(1, script={20.0: commands("cancel")}, pack_size=4)
    assert lab.statuses() == {"cancelled": 4}
    assert lab.run_sweep(1, pack_size=4)
    assert seeds_of(lab) == ["0123"] * 2
    assert lab.statuses() == {"ok": 4}


# Foresight


@pytest.mark.parametrize("size", [1, 3, 4])
def test_the_end_is_estimated(make_lab: MakeLab, size: int) -> None:
    """Of the sweep and of what is under way, as soon as the first epochs have been seen."""
    lab = make_lab("sweep.networks=['densenet']", "sweep.depths=[1,2]", "sweep.seeds=10", "train.epochs=6")
    watcher, seen = Watcher(lab.run_dir, lab.plan), list[tuple[float, SweepView]]()
    lab.run_sweep(2, tick=lambda: seen.append((lab.clock(), watcher.poll(lab.clock()))), pack_size=size)
    assert lab.statuses() == {"ok": 20}
    end, ends = lab.clock(), {run_id: e.time for run_id in lab.plan.by_id if (e := lab.ended(run_id))}
    for fraction in (1 / 3, 2 / 3):
        now, view = next(entry for entry in seen if entry[1].fraction_done >= fraction)
        assert view.time_left.sweep_s == pytest.approx(end - now, rel=0.15)
        assert len(view.jobs) == 2
        for run_id, left_s in view.time_left.runs_s.items():
            assert left_s == pytest.approx(ends[run_id] - now, rel=0.15, abs=2.0)


def test_waiting_runs_are_estimated_in_packs(make_lab: MakeLab) -> None:
    """Three packs on two slots are two rounds, though twelve runs would go evenly."""
    lab = make_lab(*POINT, "sweep.seeds=12")
    watcher, seen = Watcher(lab.run_dir, lab.plan), list[tuple[float, SweepView]]()
    lab.run_sweep(2, tick=lambda: seen.append((lab.clock(), watcher.poll(lab.clock()))), pack_size=4)
    now, view = next(entry for entry in seen if entry[1].fraction_done >= 1 / 3)
    assert len(view.leased) == 8
    assert view.time_left.sweep_s == pytest.approx(lab.clock() - now, rel=0.1)


def test_packs_keep_the_slots_busy(make_lab: MakeLab) -> None:
    lab = make_lab("sweep.depths=[1,2,3]", "sweep.seeds=8", "train.epochs=6")
    slots = {"a/0": 1.0, "b/0": 2.0, "c/0": 3.0}
    lab.run_sweep(slots, pack_size=2)
    assert lab.statuses() == {"ok": 48}
    assert lab.passed_s < 1.25 * sum(lab.base_s(run) for run in lab.plan.runs) / sum(slots.values())


# Anything at all


def random_fate(random: Random, fraction: float) -> Fate:
    kinds = [*get_args(Cause), "no-final-event", "failed", "oom", "diverged", "diverged", "disk"]
    return lambda slot, run_id, attempt: (
        random.choice(kinds) + random.choice(["", "@0", "@1"]) if random.random() < fraction else ""
    )


@pytest.mark.parametrize("block", range(4))
def test_under_random_failures_every_run_is_done_once_or_ends_with_a_reason(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(loop, "POLL_S", 0.5)
    for seed in range(25 * block, 25 * block + 25):
        random = Random(seed)
        lab = make_lab("sweep.depths=[1,2]", "sweep.seeds=4", "sweep.networks=['densenet']")
        monkeypatch.setattr(RunDir, "has_room", lambda run_dir, random=random: random.random() < 0.5)
        watcher = Watcher(lab.run_dir, lab.plan)

        def observe(lab: Lab = lab, watcher: Watcher = watcher, random: Random = random) -> None:
            if random.random() < 0.05:
                leased = {run_id: slot for slot, job in lab.executor.running.items() for run_id in job.left}
                assert watcher.poll(lab.clock()).leased == leased
                assert Watcher(lab.run_dir, lab.plan).poll(lab.clock()).leased == leased

        script: dict[float, Command | Callable[[], None]] = {}
        for _ in range(random.randrange(16)):
            runs = tuple(run.run_id for run in random.sample(lab.plan.runs, random.randrange(3)))
            device = random.choice([None, None, "fake:0", "fake:1"]) if not runs else None
            action = random.choice(["pause", "pause", "resume", "cancel" if runs else "resume", "retry", "retry"])
            script[random.uniform(0, 60)] = Command.model_validate(
                {"action": action, "run_ids": runs, "device": device if action in ("pause", "resume") else None}
            )
        script |= {70.0: commands("resume"), 71.0: commands("resume")}
        size, slots = random.choice([2, 3, 4]), {"fake:0/0": 1.0, "fake:1/0": 2.0}
        fate = random_fate(random, random.choice([0.1, 0.3]))
        back_s = random.choice([0.0, 0.3])
        observe_if_exact = observe if not back_s else lambda: None
        lab.run_sweep(
            slots,
            fate,
            script,
            observe_if_exact,
            complete_script=False,
            heartbeat_timeout_s=5.0,
            back_s=back_s,
            pack_size=size,
        )
        assert max(map(len, lab.packs)) <= size, seed
        assert all(len({lab.plan.by_id[run_id].point for run_id in pack}) == 1 for pack in lab.packs), seed
        unfit = {event.slot for event in lab.journal(SlotDisabled)}
        for run in lab.plan.runs:
            ended = lab.ended(run.run_id)
            assert (ended is not None) or unfit == set(slots), seed
            assert ended is None or ended.status == "ok" or ended.error is not None, seed
            leases = sum(lease.run_id == run.run_id for lease in lab.journal(RunLeased))
            assert leases >= sum(event.run_id == run.run_id for event in lab.journal(RunReturned)), seed
        assert lab.run_sweep(slots, pack_size=size), seed
        assert all(lab.run_dir.read_history(run).done for run in lab.plan.runs), seed
