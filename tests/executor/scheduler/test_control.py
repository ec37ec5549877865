"""What people ask of a sweep: judged, obeyed in mid-sweep on made-up devices, and answered in the journal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dnlbench.events import (
    Command,
    CommandDone,
    DiskFree,
    DiskFull,
    EngineStarted,
    EpochDone,
    PauseState,
    RunEnded,
    RunPaused,
    RunRequeued,
    RunReturned,
    RunStarted,
)
from dnlbench.executor.base import SlotFreed
from dnlbench.executor.scheduler import loop
from dnlbench.executor.scheduler.control import RunState, check_command
from dnlbench.executor.scheduler.disk import Records
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir, send_command
from dnlbench.store.control import ControlFile
from dnlbench.store.state import fold_journal
from dnlbench.watch import SweepView, Watcher

if TYPE_CHECKING:
    from tests.executor.conftest import Lab

MakePlan = Callable[..., Plan]
PLACES = ("cuda:0/0", "cuda:1/0", "cuda:1/1", "cpu/0")
TWO_DEVICES = {"fake:0/0": 1.0, "fake:1/0": 1.0, "fake:1/1": 1.0}


def pause(*run_ids: str, device: str | None = None) -> Command:
    return Command(action="pause", run_ids=run_ids, device=device)


def resume(*run_ids: str, device: str | None = None) -> Command:
    return Command(action="resume", run_ids=run_ids, device=device)


# Judging


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"action": "pause"}, "the sweep is paused"),
        ({"action": "resume"}, "the sweep is resumed"),
        ({"action": "cancel"}, "the sweep is cancelled"),
        ({"action": "pause", "device": "cuda:1"}, "cuda:1 is paused"),
        ({"action": "pause", "device": "cuda:1/1"}, "cuda:1/1 is paused"),
        ({"action": "release", "device": "cpu"}, "cpu is released"),
        ({"action": "resume", "device": "cpu/0"}, "cpu/0 is resumed"),
        ({"action": "release"}, "no: release needs a device; use pause for runs and sweeps"),
        ({"action": "cancel", "device": "cpu"}, "no: a device can only be paused, released or resumed; specify either"),
        ({"action": "retry", "device": "cpu"}, "no: a device can only be paused, released or resumed; specify either"),
        (
            {"action": "pause", "device": "cuda:2"},
            "no: no device 'cuda:2' in this sweep; available: cuda:0, cuda:1, cpu, ",
        ),
        ({"action": "pause", "device": "cuda:1/2"}, "no: no device 'cuda:1/2' in this sweep"),
        ({"action": "pause", "device": "cuda"}, "no: no device 'cuda' in this sweep"),
        ({"action": "pause", "device": ""}, "no: no device '' in this sweep"),
        ({"action": "retry"}, "no: no run has failed"),
    ],
)
def test_what_a_command_comes_to(make_plan: MakePlan, fields: dict[str, Any], answer: str) -> None:
    result = check_command(Command.model_validate(fields), make_plan(), PLACES, lambda run: "waiting")
    assert ("no: " * result.refused + result.answer).startswith(answer)
    assert result.runs == ()


@pytest.mark.parametrize(
    ("action", "states", "answer", "count"),
    [
        ("pause", ["waiting"], "paused: densenet L=1 seed 0", 1),
        ("pause", ["running", "waiting"], "paused: densenet L=1 seed 0, densenet L=1 seed 1", 2),
        ("resume", ["running"], "resumed: densenet L=1 seed 0", 1),
        ("cancel", ["waiting"] * 5, "cancelled: 5 runs", 5),
        ("cancel", ["waiting", "ok"], "no: densenet L=1 seed 1 has already ended", 0),
        ("pause", ["not ok"], "no: densenet L=1 seed 0 has already ended", 0),
        ("retry", ["not ok"], "will be retried: densenet L=1 seed 0", 1),
        (
            "retry",
            ["not ok", "ok"],
            "no: densenet L=1 seed 1 has succeeded; to run it again, use another --run-dir",
            0,
        ),
        ("retry", ["running"], "no: densenet L=1 seed 0 is running", 0),
        ("retry", ["waiting"], "no: densenet L=1 seed 0 is waiting", 0),
    ],
)
def test_commands_about_runs(make_plan: MakePlan, action: str, states: list[RunState], answer: str, count: int) -> None:
    plan = make_plan()
    state_of = dict(zip(plan.runs, states, strict=False))
    command = Command.model_validate({"action": action, "run_ids": [run.run_id for run in state_of] * 2})
    result = check_command(command, plan, PLACES, lambda run: state_of[run])
    assert "no: " * result.refused + result.answer == answer
    assert result.runs == plan.runs[:count], "each once, in order"


def test_without_names_retry_is_about_all_that_ended_badly(make_plan: MakePlan) -> None:
    plan = make_plan()
    states: dict[Run, RunState] = dict.fromkeys(plan.runs, "ok")
    states[plan.runs[1]] = states[plan.runs[6]] = "not ok"
    states[plan.runs[2]] = "running"
    result = check_command(Command(action="retry"), plan, PLACES, lambda run: states[run])
    assert result.runs == (plan.runs[1], plan.runs[6])


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry"])
def test_an_unknown_run_is_refused_with_the_nearest_name(make_plan: MakePlan, action: str) -> None:
    plan = make_plan()
    known = plan.runs[0].run_id
    command = Command.model_validate({"action": action, "run_ids": [known, known[:-1] + "x"]})
    result = check_command(command, plan, PLACES, lambda run: "not ok")
    assert result.refused
    assert result.answer == f"no run {known[:-1] + 'x'!r} in this sweep; did you mean {known!r}?"
    nothing_like_it = check_command(Command(action="pause", run_ids=("?",)), plan, PLACES, lambda run: "ok")
    assert nothing_like_it.answer == "no run '?' in this sweep"


# What is paused


def done(command: Command, refused: bool = False) -> CommandDone:
    return CommandDone(command=command, refused=refused, answer="")


def release(device: str) -> Command:
    return Command(action="release", device=device)


def test_pauses_add_up_and_are_lifted() -> None:
    pause_state = fold_journal(
        [done(pause("a", "b")), done(pause(device="cuda:1")), done(release("cpu/0"))]
    ).pause_state
    assert pause_state == PauseState(runs=frozenset("ab"), devices={"cuda:1": "pause", "cpu/0": "release"})
    assert [pause_state.of_slot(slot) for slot in PLACES] == [None, "pause", "pause", "release"]
    assert pause_state.is_paused("a", "cuda:0/0")
    assert pause_state.is_paused("c", "cuda:1/1")
    assert not pause_state.is_paused("c", "cuda:0/0")
    assert not pause_state.all_paused
    assert pause_state.after(done(resume("a", "x"))).runs == frozenset("b")
    assert pause_state.after(done(resume(device="cuda:1"))).devices == {"cpu/0": "release"}
    assert pause_state.after(done(resume(device="cpu"))).devices == {"cuda:1": "pause"}, "a device is all of its slots"
    assert pause_state.after(done(pause(device="cpu/0"))).of_slot("cpu/0") == "pause"


def test_the_sweeps_resume_lifts_everything_but_a_full_disk() -> None:
    pause_state = fold_journal(
        [done(pause()), done(pause("a")), done(release("cpu")), DiskFull(message="full")]
    ).pause_state
    assert pause_state.sweep
    assert pause_state.all_paused
    assert pause_state.after(done(resume())) == PauseState(disk="full")
    assert pause_state.after(done(resume())).all_paused
    assert fold_journal([done(pause()), DiskFull(message="x"), DiskFree()]).pause_state == PauseState(sweep=True)


def test_rejected_commands_and_those_to_an_earlier_engine_pause_nothing(lab: Lab) -> None:
    assert (
        fold_journal(
            [done(pause(), refused=True), done(Command(action="cancel")), done(Command(action="retry"))]
        ).pause_state
        == PauseState()
    )
    lab.run_sweep(16)
    (started,) = lab.journal(EngineStarted)
    assert (
        fold_journal([done(pause()), DiskFull(message="x"), done(release("cpu")), started]).pause_state == PauseState()
    )


def test_a_release_of_the_device_counts_for_a_slot_that_was_paused() -> None:
    assert (
        fold_journal([done(pause(device="cuda:1/0")), done(release("cuda:1"))]).pause_state.of_slot("cuda:1/0")
        == "release"
    )


def test_a_slot_can_be_resumed_by_itself() -> None:
    """Or it would have to be refused: the answer is that it is resumed."""
    pause_state = fold_journal([done(pause(device="cuda:1")), done(resume(device="cuda:1/0"))]).pause_state
    assert (pause_state.of_slot("cuda:1/0"), pause_state.of_slot("cuda:1/1")) == (None, "pause")


# The control file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_steer(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "control.jsonl"
    before = os.umask(umask)
    try:
        path.touch(0o666)  # one that an earlier engine left, or somebody else
        ControlFile(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    send_command(path, pause())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_command_is_read_once_and_junk_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    with pytest.raises(FileNotFoundError):
        send_command(path, pause())
    command = pause("a", device=None)
    with closing(ControlFile(path)) as control:
        send_command(path, command)
        with path.open("ab") as file:
            file.write(b'\n\xff\xfe\nnull\n[[[[\n{"action": "explode"}\n{"action": "pause", "more": 1}\n{"action"')
        assert control.read() == [command]
        with path.open("ab") as file:
            file.write(b': "resume"}\r\n')
        assert [command.action for command in control.read()] == ["resume"], "a torn line is whole now"
        assert control.read() == []


def test_a_replaced_control_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    with closing(ControlFile(path)) as control:
        path.unlink()
        path.touch()
        send_command(path, pause())
        assert control.read() == []


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_command_that_the_journal_could_not_keep_is_passed_over(tmp_path: Path, time: str) -> None:
    with closing(ControlFile(tmp_path / "control.jsonl")) as control:
        with (tmp_path / "control.jsonl").open("a") as file:
            print(f'{{"action": "pause", "time": {time}}}', file=file)
        assert control.read() == []


# In mid-sweep


def test_a_paused_sweep_begins_nothing_and_goes_on_where_it_was(lab: Lab) -> None:
    lab.run_sweep(3, script={10.0: pause(), 15.0: resume(), 20.0: pause(), 60.0: resume()})
    assert lab.statuses() == {"ok": 16}
    start_times = [start.time - lab.start_time for start in lab.starts]
    assert not [at for at in start_times if 10.0 < at < 15.0 or 20.0 < at < 60.0]
    assert (
        len([at for at in start_times if 15.0 <= at < 16.0])
        == len([at for at in start_times if 60.0 <= at < 61.0])
        == 3
    )
    returned = lab.journal(RunReturned)
    assert len(returned) == len(lab.executor.asides) == 6
    assert all(event.error is None for event in returned)
    again = [e for run in lab.plan.runs for e in lab.events(run.run_id) if isinstance(e, RunStarted) and e.attempt > 1]
    paused = [e for run in lab.plan.runs for e in lab.events(run.run_id) if isinstance(e, RunPaused)]
    assert sorted((e.from_epoch, e.from_step) for e in again) == sorted((e.epoch, e.step) for e in paused)
    assert any(event.from_step for event in again)
    assert not lab.executor.ends
    assert lab.answers() == ["the sweep is paused", "the sweep is resumed"] * 2


def test_a_pause_costs_only_itself(make_lab: Callable[..., Lab]) -> None:
    undisturbed, disturbed = (make_lab("sweep.networks=['densenet']", "sweep.seeds=3") for _ in range(2))
    undisturbed.run_sweep(1)
    disturbed.run_sweep(1, script={20.0: pause(), 60.0: resume()})
    assert 39 < disturbed.passed_s - undisturbed.passed_s < 42


def test_a_failure_during_suspension_counts_as_a_failure(lab: Lab) -> None:
    run_id = lab.find("dense-gaussian-L4-s0")
    script = {5.0: pause(run_id), 30.0: resume(run_id)}
    lab.run_sweep(3, lambda slot, name, attempt: "process@2" if name == run_id and attempt == 1 else "", script)
    assert lab.statuses() == {"ok": 16}
    (returned,) = lab.journal(RunReturned)
    assert returned.error is not None
    assert returned.error.message == "lost by process"


def test_slots_that_are_paused_are_not_counted_on(lab: Lab) -> None:
    watcher = Watcher(lab.run_dir, lab.plan)
    seen: list[float] = []
    observe = lambda: seen.append(watcher.poll(lab.clock()).time_left.sweep_s or 0.0)  # noqa: E731
    lab.run_sweep(
        TWO_DEVICES, script={30.0: observe, 30.5: pause(device="fake:1"), 35.0: observe, 36.0: resume(device="fake:1")}
    )
    assert seen[1] > 2 * seen[0]


def test_a_paused_sweep_expects_no_end(lab: Lab) -> None:
    watcher = Watcher(lab.run_dir, lab.plan)
    seen: list[SweepView] = []
    observe = {at: (lambda: seen.append(watcher.poll(lab.clock()))) for at in (19.0, 30.0, 70.0)}
    lab.run_sweep(3, script={20.0: pause(), 60.0: resume(), **observe})
    assert [view.time_left.sweep_s is None for view in seen] == [False, True, False]
    assert [view.pause_state.sweep for view in seen] == [False, True, False]
    assert [len(view.leased) for view in seen] == [3, 0, 3]
    assert not seen[1].lost, "put aside is not lost"


def test_one_run_can_be_paused(lab: Lab) -> None:
    run_id = lab.find("dense-gaussian-L4-s0")  # under way from the beginning on
    lab.run_sweep(3, script={5.0: pause(run_id), 60.0: resume(run_id)})
    assert lab.statuses() == {"ok": 16}
    first, second = (start.time - lab.start_time for start in lab.starts if start.run_id == run_id)
    assert first == 0.0
    assert 60.0 <= second < 75.0
    assert [at for start in lab.starts if 5.0 < (at := start.time - lab.start_time) < 6.0], (
        "its slot goes on with another one"
    )
    assert [slot_and_run[1] for slot_and_run in lab.executor.asides] == [run_id]


def test_a_sweep_waits_for_its_last_run_to_be_resumed(lab: Lab) -> None:
    run_id = lab.find("densenet-L1-s0")
    lab.run_sweep(3, script={0.0: pause(run_id), 400.0: resume(run_id)})
    assert lab.statuses() == {"ok": 16}
    assert lab.starts[-1].time - lab.start_time >= 400.0


@pytest.mark.parametrize(("device", "concerned"), [("fake:1", {"fake:1/0", "fake:1/1"}), ("fake:1/0", {"fake:1/0"})])
def test_a_device_or_a_slot_of_it_can_be_paused(lab: Lab, device: str, concerned: set[str]) -> None:
    lab.run_sweep(TWO_DEVICES, script={20.0: pause(device=device), 90.0: resume(device=device)})
    assert lab.statuses() == {"ok": 16}
    between = {start.slot for start in lab.starts if 20.1 < start.time - lab.start_time < 90.0}
    assert between == set(TWO_DEVICES) - concerned
    assert {slot for slot, _ in lab.executor.asides} == concerned
    assert {start.slot for start in lab.starts if start.time - lab.start_time >= 90.0} >= concerned
    assert not lab.executor.ends, "paused workers stay"


@pytest.mark.parametrize(("device", "concerned"), [("fake:1", {"fake:1/0", "fake:1/1"}), ("fake:1/0", {"fake:1/0"})])
def test_a_released_device_loses_its_workers_once_their_runs_are_suspended(
    lab: Lab, device: str, concerned: set[str]
) -> None:
    script = {20.0: release(device), 90.0: resume(device=device)}
    lab.run_sweep(TWO_DEVICES, script=script)
    assert lab.statuses() == {"ok": 16}
    assert sorted(lab.executor.ends) == sorted((slot, None) for slot in concerned), "none of them in mid-run"
    between = {start.slot for start in lab.starts if 20.1 < start.time - lab.start_time < 90.0}
    assert between == set(TWO_DEVICES) - concerned
    assert {start.slot for start in lab.starts if start.time - lab.start_time >= 90.0} >= concerned
    assert all(event.error is None for event in lab.journal(RunReturned))
    assert {event.slot for event in lab.journal(RunReturned)} == concerned


def test_a_waiting_run_can_be_cancelled(lab: Lab) -> None:
    run_id = lab.find("densenet-L1-s0")
    watcher = Watcher(lab.run_dir, lab.plan)
    views: list[SweepView] = []
    see: Callable[[], None] = lambda: views.append(watcher.poll(lab.clock()))  # noqa: E731
    lab.run_sweep(3, script={5.0: Command(action="cancel", run_ids=(run_id,)), 6.0: see})
    assert lab.statuses() == {"ok": 15, "cancelled": 1}
    (ended,) = lab.events(run_id)
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.requested) == ("cancelled", True)
    assert [run.run_id for run in views[0].not_ok] == [run_id]
    lab.run_sweep(3)
    assert not lab.executor.starts
    assert lab.answers() == ["cancelled: densenet L=1 seed 0"]


def test_a_running_run_can_be_cancelled(lab: Lab) -> None:
    run_id = lab.find("dense-gaussian-L4-s0")
    lab.run_sweep(3, script={5.0: Command(action="cancel", run_ids=(run_id,))})
    assert lab.statuses() == {"ok": 15, "cancelled": 1}
    (start,) = [start for start in lab.starts if start.run_id == run_id]
    assert lab.executor.ends == [(start.slot, run_id)]
    ended = lab.ended(run_id)
    assert ended is not None
    assert ended.requested
    assert [other for other in lab.starts if other.slot == start.slot and other.run_id != run_id], "its slot goes on"
    lab.run_sweep(3)
    assert not lab.executor.starts


def test_a_run_that_has_just_ended_is_not_cancelled(lab: Lab) -> None:
    """Its last event is written, but its slot has not been freed yet."""
    reported: list[str] = []

    def cancel_what_has_ended() -> None:
        for attempt in lab.executor.running.values():
            run_id = attempt.run.run_id
            if run_id not in reported and lab.ended(run_id) is not None:
                reported.append(run_id)
                lab.leave(Command(action="cancel", run_ids=(run_id,)))

    lab.run_sweep(3, tick=cancel_what_has_ended, back_s=0.5)
    assert len(reported) == 16
    assert lab.statuses() == {"ok": 16}
    assert all(answer.endswith("has already ended") for answer in lab.answers())


def test_a_run_that_ends_while_it_is_being_cancelled_has_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last event is written after the command was judged, and before its worker is ended."""
    run_id = lab.find("dense-gaussian-L4-s0")

    def end_in_time() -> None:
        end = lab.executor.end

        def write_and_end(slot: Slot) -> None:
            for _, event in lab.executor.running[slot.name].script:
                if not isinstance(event, SlotFreed):
                    lab.executor._write(event.model_copy(update={"time": lab.clock()}))
            end(slot)

        monkeypatch.setattr(lab.executor, "end", write_and_end)
        lab.leave(Command(action="cancel", run_ids=(run_id,)))

    lab.run_sweep(3, script={5.0: end_in_time})
    assert lab.statuses() == {"ok": 16}


def test_a_run_that_ends_while_the_sweep_is_cancelled_has_ended(lab: Lab) -> None:
    at_the_end: list[str] = []

    def cancel_before_the_last_event() -> None:
        for attempt in lab.executor.running.values():
            waits_for_its_end = not any(isinstance(event, EpochDone) for _, event in attempt.script)
            if waits_for_its_end and not at_the_end:
                at_the_end.append(attempt.run.run_id)
                lab.leave(Command(action="cancel"))

    assert not lab.run_sweep(3, tick=cancel_before_the_last_event, overhead_s=20.0)
    ended = lab.ended(at_the_end[0])
    assert ended is not None
    assert ended.status == "ok"
    assert lab.statuses()["cancelled"] == 2


def test_a_cancelled_sweep_stops_at_once_and_the_next_engine_goes_on(lab: Lab) -> None:
    assert not lab.run_sweep(3, script={30.0: Command(action="cancel")})
    assert lab.passed_s < 31
    result = lab.statuses()
    assert (result["cancelled"], result["ok"] + result[None]) == (3, 13)
    ends = [end for run in lab.plan.runs if (end := lab.ended(run.run_id)) and end.status == "cancelled"]
    assert all(not end.requested and end.error and end.error.type == "Interrupted" for end in ends)
    first = lab.executor
    assert [run_id for _, run_id in first.asides] == [start.run_id for start in first.starts[-3:]]
    assert lab.run_sweep(3)
    assert lab.statuses() == {"ok": 16}
    again = [event for end in ends for event in lab.events(end.run_id) if isinstance(event, RunStarted)][1::2]
    assert any((event.from_epoch, event.from_step) != (0, 0) for event in again), "from where they were put aside"
    assert len(lab.starts) == 16 + 3


def test_nothing_begins_once_the_sweep_is_cancelled(lab: Lab) -> None:
    """Not even on a slot that is free at that moment."""

    def resume_and_cancel() -> None:
        lab.leave(resume())
        lab.leave(Command(action="cancel"))

    lab.run_sweep(3, script={10.0: pause(), 20.0: resume_and_cancel})
    assert not [start for start in lab.starts if start.time - lab.start_time >= 10.0]


def test_a_cancelled_sweep_does_not_wait_for_a_worker_that_hangs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STOP_TIMEOUT_S", 0.05)
    hung = lab.find("dense-gaussian-L4-s0")
    script = {30.0: Command(action="cancel")}
    assert not lab.run_sweep(3, lambda slot, run_id, attempt: "heartbeat@0" if run_id == hung else "", script)
    assert lab.executor.left == [lab.starts[0].slot]
    ended = lab.ended(hung)
    assert ended is not None
    assert (ended.status, ended.requested) == ("cancelled", False)


@pytest.mark.parametrize("status", ["failed", "oom", "diverged"])
@pytest.mark.parametrize("named", [True, False])
def test_a_run_that_ended_badly_can_be_tried_again(lab: Lab, status: str, named: bool) -> None:
    bad = lab.find("dense-gaussian-L3-s1")
    retry = Command(action="retry", run_ids=(bad,) if named else ())
    lab.run_sweep(
        3, lambda slot, run_id, attempt: f"{status}@1" if run_id == bad and attempt == 1 else "", script={90.0: retry}
    )
    assert lab.statuses() == {"ok": 16}
    kinds = [event.event for event in lab.events(bad)]
    assert kinds == [
        "run-started",
        "epoch-done",
        "run-ended",
        "run-requeued",
        "run-started",
        *["epoch-done"] * 2,
        "run-ended",
    ]
    assert lab.answers() == ["will be retried: dense-gaussian L=3 seed 1"]


def test_a_run_that_waits_to_be_tried_again_is_not_under_way(lab: Lab) -> None:
    """To somebody who comes just then, and to somebody who has been away meanwhile."""
    bad = lab.find("dense-gaussian-L4-s0")
    away = Watcher(lab.run_dir, lab.plan)
    seen: list[float] = []

    def observe() -> None:
        if lab.ended(bad) is not None:
            lab.leave(Command(action="retry", run_ids=(bad,)))
        elif lab.journal(CommandDone) and not seen and lab.executor.starts[-1].run_id != bad:
            seen.append(lab.clock())
            leased = {attempt.run.run_id: slot for slot, attempt in lab.executor.running.items()}
            assert len(leased) == 3
            assert Watcher(lab.run_dir, lab.plan).poll(lab.clock()).leased == leased
            assert away.poll(lab.clock()).leased == leased

    away.poll(lab.clock())
    # it is put back behind others, which have begun in the meantime
    lab.run_sweep(3, lambda slot, run_id, attempt: "failed@1" if run_id == bad and attempt == 1 else "", tick=observe)
    assert seen
    assert lab.statuses() == {"ok": 16}


def test_a_run_that_is_tried_again_has_all_its_tries_again(lab: Lab) -> None:
    bad = lab.find("dense-gaussian-L3-s1")
    asked: list[Command] = []

    def ask_once_it_has_failed() -> None:
        if not asked and lab.ended(bad) is not None:
            asked.append(Command(action="retry", run_ids=(bad,)))
            lab.leave(asked[0])

    lab.run_sweep(
        3,
        lambda slot, run_id, attempt: "process@0" if run_id == bad and attempt <= 5 else "",
        tick=ask_once_it_has_failed,
    )
    assert lab.statuses() == {"ok": 16}
    assert sum(start.run_id == bad for start in lab.starts) == 3 + 3


def test_a_cancelled_run_can_be_tried_again_in_the_same_sweep_and_by_a_later_one(lab: Lab) -> None:
    run_ids = lab.find("densenet-L1-s0"), lab.find("densenet-L1-s1")
    script = {5.0: Command(action="cancel", run_ids=run_ids), 10.0: Command(action="retry", run_ids=run_ids[:1])}
    lab.run_sweep(3, script=script)
    assert lab.statuses() == {"ok": 15, "cancelled": 1}
    writer = lab.run_dir.events_writer(run_ids[1])  # as `dnlbench retry` does it while no engine is at work
    writer.write(RunRequeued(run_id=run_ids[1]).model_dump_json())
    writer.close()
    lab.run_sweep(3)
    assert [start.run_id for start in lab.executor.starts] == [run_ids[1]]
    assert lab.statuses() == {"ok": 16}


def test_a_run_that_was_cancelled_while_it_was_paused_is_tried_again(lab: Lab) -> None:
    run_id = lab.find("densenet-L1-s0")
    commands = [
        Command.model_validate({"action": action, "run_ids": [run_id]}) for action in ("pause", "cancel", "retry")
    ]
    lab.run_sweep(3, script=dict(zip((5.0, 6.0, 7.0), commands, strict=True)), limit_s=1000)
    assert lab.statuses() == {"ok": 16}


def test_refusals_are_answered_and_change_nothing(lab: Lab) -> None:
    ended, waiting = lab.find("dense-gaussian-L4-s0"), lab.find("densenet-L1-s0")
    commands = [
        pause("nobody"),
        pause(ended),
        Command(action="cancel", run_ids=(waiting, ended)),
        Command(action="retry", run_ids=(ended,)),
        Command(action="retry", run_ids=(waiting,)),
        Command(action="retry"),
        Command(action="release"),
        pause(device="fake:9"),
        Command(action="cancel", device="fake:0"),
    ]

    def leave_all() -> None:
        assert lab.ended(ended) is not None
        for command in commands:
            lab.leave(command)
        with lab.run_dir.control_path.open("ab") as file:
            file.write(b"junk\n")

    lab.run_sweep(3, script={70.0: leave_all})
    assert lab.statuses() == {"ok": 16}
    assert [done.command for done in lab.journal(CommandDone)] == commands
    assert [answer.split(";")[0] for answer in lab.answers()] == [
        "no: no run 'nobody' in this sweep",
        "no: dense-gaussian L=4 seed 0 has already ended",
        "no: dense-gaussian L=4 seed 0 has already ended",
        "no: dense-gaussian L=4 seed 0 has succeeded",
        "no: densenet L=1 seed 0 is waiting",
        "no: no run has failed",
        "no: release needs a device",
        "no: no device 'fake:9' in this sweep",
        "no: a device can only be paused, released or resumed",
    ]
    assert lab.run_dir.read_state().pause_state == PauseState()


def test_a_command_for_an_earlier_engine_is_not_obeyed(lab: Lab) -> None:
    lab.run_sweep(3, script={30.0: Command(action="cancel")})
    lab.leave(Command(action="cancel"))
    lab.leave(pause())
    assert lab.run_sweep(3)
    assert lab.statuses() == {"ok": 16}
    assert lab.answers() == ["the sweep is cancelled"]
    assert stat.S_IMODE(lab.run_dir.control_path.stat().st_mode) == 0o600


@pytest.mark.parametrize("beginning", ["densenet-L1-s0", "dense-gaussian-L4-s0"])
def test_a_cancel_on_a_full_disk_is_not_forgotten(lab: Lab, monkeypatch: pytest.MonkeyPatch, beginning: str) -> None:
    """The answer that it is cancelled has to come true, or it has to be another answer."""
    run_id, full = lab.find(beginning), False
    append = Records.append

    def append_if_there_is_room(self: Records, event: Any) -> bool:
        if full:
            self.disk_is_full("no room")
            return False
        return append(self, event)

    def fill() -> None:
        nonlocal full
        full = True

    def free() -> None:
        nonlocal full
        full = False

    monkeypatch.setattr(Records, "append", append_if_there_is_room)
    monkeypatch.setattr(RunDir, "has_room", lambda run_dir: not full)
    lab.run_sweep(3, script={5.0: fill, 6.0: Command(action="cancel", run_ids=(run_id,)), 20.0: free})
    (answer,) = lab.journal(CommandDone)
    result = lab.statuses()
    assert result == ({"ok": 16} if answer.refused else {"ok": 15, "cancelled": 1})


# Turns


def test_start_paused_nothing_starts_before_it_is_resumed(lab: Lab) -> None:
    runs = [run.run_id for run in lab.plan.runs]
    resumed = [runs[8:10], runs[:1], *([run] for run in runs[1:8] + runs[10:])]
    times = {50.0 + 100.0 * number: turn for number, turn in enumerate(resumed)}
    script = {time: resume(*turn) for time, turn in times.items()}
    assert lab.run_sweep(2, script=script, start_paused=True)
    started = {start.run_id: start.time - lab.start_time for start in lab.starts}
    assert [start.run_id for start in lab.starts] == [run for turn in resumed for run in turn]
    for time, turn in times.items():
        assert all(0 <= started[run] - time < 1 for run in turn)
    first = lab.journal(CommandDone)[0]
    assert (first.command.action, first.command.run_ids) == ("pause", tuple(runs))


def test_start_paused_a_finished_run_does_not_wait(lab: Lab) -> None:
    assert lab.run_sweep()
    done = len(lab.journal(CommandDone))
    assert lab.run_sweep(start_paused=True)
    assert len(lab.journal(CommandDone)) == done
    assert len(lab.starts) == len(lab.plan.runs)


def test_start_paused_runs_resumed_together_are_packed(lab: Lab) -> None:
    points: dict[object, list[str]] = {}
    for run in lab.plan.runs:
        points.setdefault(run.point, []).append(run.run_id)
    script = {10.0 + 100.0 * number: resume(*turn) for number, turn in enumerate(points.values())}
    assert lab.run_sweep(1, script=script, start_paused=True, pack_size=2)
    assert lab.packs == [tuple(turn) for turn in points.values()]


def test_start_paused_resuming_the_sweep_resumes_no_run(lab: Lab) -> None:
    runs = [run.run_id for run in lab.plan.runs]
    script = {10.0: pause(), 20.0: resume(runs[0]), 30.0: resume(), 200.0: Command(action="cancel", run_ids=(runs[1],))}
    script |= {300.0 + 100.0 * number: resume(run) for number, run in enumerate(runs[2:])}
    assert lab.run_sweep(3, script=script, start_paused=True)
    times = {start.run_id: start.time - lab.start_time for start in lab.starts}
    assert 30 <= times[runs[0]] < 31
    assert runs[1] not in times
    assert all(0 <= times[run] - (300 + 100 * number) < 1 for number, run in enumerate(runs[2:]))


def test_start_paused_a_run_cannot_be_retried(lab: Lab) -> None:
    runs = [run.run_id for run in lab.plan.runs]
    script = {10.0: resume(runs[0]), 200.0: Command(action="retry"), 300.0: resume(*runs[1:])}
    assert lab.run_sweep(3, lambda slot, run_id, attempt: "failed@1" * (run_id == runs[0]), script, start_paused=True)
    assert any(answer.startswith("no: its runs are paired") for answer in lab.answers())
    assert lab.statuses() == {"ok": len(runs) - 1, "failed": 1}
