"""More seeds, depths or epochs than last time: what is there is gone on with, and what was asked for is what one gets."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.cli.progress import create_progress
from dnlbench.engine.placement import find_run_dir
from dnlbench.engine.run import run_sweep
from dnlbench.errors import RunDirError, SpecError
from dnlbench.events import (
    EpochDone,
    RunEnded,
    RunEvent,
    RunHistory,
    RunPaused,
    RunRequeued,
    RunStarted,
    RunStatus,
    fold,
)
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile
from dnlbench.store import RunDir
from tests.conftest import request_for

MakePlan = Callable[..., Plan]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = ("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=[0,1]")
STEPPED = ("train.schedule=step", "train.step_epochs=2")
COSINE = ("train.schedule=cosine",)
OWN = """
import torch
from torch import nn

def dropping(depth, input_shape, classes, network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.Linear(32, classes))

class Failing(nn.Sequential):
    # Its logits are no numbers from its eleventh training step on, the first one of the third epoch.
    def __init__(self, *layers):
        super().__init__(*layers)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) + torch.where(self.steps > 10, torch.nan, 0.0)

def diverging(depth, input_shape, classes, network):
    return Failing(nn.Flatten(), nn.Linear(64, classes))
"""


def history_of(epochs: int, status: RunStatus | None = None, **facts: Any) -> RunHistory:
    """Of one attempt of so many epochs, the last of which has no finite loss if the run diverged."""
    last = math.nan if status == "diverged" else 0.5
    events: list[RunEvent] = [
        RunStarted(run_id="r", attempt=1, device="cpu", device_name="x", threads=1, parameters=1),
        *(
            EpochDone(
                run_id="r",
                epoch=number,
                train_loss=last if number == epochs else 1 / number,
                seconds=1.0,
                samples_per_s=10.0 * number,
                gradient_norm=0.0,
            )
            for number in range(1, epochs + 1)
        ),
    ]
    if status is not None:
        events.append(RunEnded(run_id="r", status=status, peak_memory_bytes=7, **facts))
    return fold(events)


@pytest.mark.parametrize(
    ("epochs", "status", "asked", "epochs_then", "status_then", "done"),
    [
        (0, None, 2, 0, None, False),
        (2, None, 2, 2, None, False),  # its last word is still to come
        (2, None, 1, 1, None, False),
        (2, "ok", 2, 2, "ok", True),
        (4, "ok", 2, 2, "ok", True),
        (2, "ok", 4, 2, None, False),
        (3, "diverged", 3, 3, "diverged", True),
        (3, "diverged", 2, 2, "ok", True),
        (3, "diverged", 9, 3, "diverged", True),
        (0, "oom", 2, 0, "oom", True),
        (1, "oom", 2, 1, "oom", True),
        (3, "oom", 2, 2, None, False),
        (1, "failed", 2, 1, "failed", False),
        (3, "failed", 2, 2, None, False),
        (1, "cancelled", 2, 1, "cancelled", False),
        (3, "cancelled", 2, 2, None, False),
    ],
)
def test_a_run_answers_for_other_numbers_of_epochs(
    epochs: int, status: RunStatus | None, asked: int, epochs_then: int, status_then: RunStatus | None, done: bool
) -> None:
    whole = history_of(epochs, status)
    then = whole.for_epochs(asked)
    assert then.epochs == whole.epochs[:epochs_then]
    assert (then.ended.status if then.ended else None) == status_then
    assert then.done is done
    assert then.attempts == whole.attempts
    assert then.for_epochs(asked) == then


def test_a_divergence_that_was_not_asked_for_leaves_no_trace() -> None:
    whole = history_of(3, "diverged", error={"type": "Diverged", "message": "the loss is nan"})
    then = whole.for_epochs(2)
    assert then.ended is not None
    assert then.ended.error is None
    assert then.ended.peak_memory_bytes == 7
    assert then.last_loss == 0.5
    assert then.samples_per_s == 15.0


def test_a_run_that_was_cancelled_on_request_stays_so_for_as_many_epochs_or_more() -> None:
    whole = history_of(3, "cancelled", requested=True)
    assert whole.for_epochs(3).done
    assert whole.for_epochs(4).done
    earlier = whole.for_epochs(2)  # all of it is there: it has only to be looked at again
    assert earlier.ended is None
    assert not earlier.done


def test_a_run_that_was_requeued_is_to_be_done_again_and_keeps_its_epochs() -> None:
    for status in ("failed", "oom", "diverged", "cancelled"):
        history = history_of(2, status, requested=status == "cancelled").after(RunRequeued(run_id="r"))
        assert history.ended is None
        assert not history.done
        assert len(history.epochs) == 2
        last = history.attempts[-1].last
        assert isinstance(last, RunEnded)  # that attempt did end so
        assert last.status == status


def test_a_run_that_was_put_aside_has_not_ended() -> None:
    paused = RunPaused(run_id="r", epoch=2, step=3)
    history = history_of(2).after(paused)
    assert history.ended is None
    assert not history.done
    assert history.attempts[-1].last == paused
    started = RunStarted(
        run_id="r", attempt=2, device="cpu", device_name="x", threads=1, parameters=1, from_epoch=2, from_step=3
    )
    again = history.after(started)
    assert len(again.epochs) == 2
    assert [attempt.last for attempt in again.attempts] == [paused, None]


def test_an_engine_may_have_the_last_word_on_a_run_that_was_put_aside() -> None:
    ended = RunEnded(run_id="r", status="cancelled")
    history = history_of(2).after(RunPaused(run_id="r", epoch=2, step=3)).after(ended)
    assert history.ended == ended
    assert [attempt.last for attempt in history.attempts] == [ended]


@pytest.mark.parametrize("schedule", [(), STEPPED, COSINE])
def test_ids_do_not_depend_on_the_axes(make_plan: MakePlan, schedule: tuple[str, ...]) -> None:
    small = make_plan(*schedule, *SMALL)
    for axes in ("sweep.networks=['resnet','densenet']", "sweep.depths=[7,1]", "sweep.seeds=9"):
        large = make_plan(*schedule, *SMALL, axes)
        assert large.settings_hash == small.settings_hash
        assert set(small.by_id) < set(large.by_id)
        assert large.spec_hash != small.spec_hash


@pytest.mark.parametrize(("schedule", "shared"), [((), True), (STEPPED, True), (COSINE, False)])
def test_ids_depend_on_the_epochs_only_if_the_learning_rate_does(
    make_plan: MakePlan, schedule: tuple[str, ...], shared: bool
) -> None:
    two, four = (make_plan(*schedule, f"train.epochs={epochs}") for epochs in (2, 4))
    assert (two.settings_hash == four.settings_hash) is shared
    assert (set(two.by_id) == set(four.by_id)) is shared
    assert set(two.by_id).isdisjoint(four.by_id) is not shared
    assert two.spec_hash != four.spec_hash
    assert {run.epochs for run in four.runs} == {4}


@pytest.mark.parametrize(
    "change", ["train.lr=0.5", "train.batch_size=16", "network.growth_rate=4", "data.limit=120", "train.evaluate=true"]
)
def test_ids_depend_on_every_other_setting(make_plan: MakePlan, change: str) -> None:
    plan, other = make_plan(), make_plan(change)
    assert plan.settings_hash != other.settings_hash
    assert set(plan.by_id).isdisjoint(other.by_id)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with networks of one's own."""
    (tmp_path / "own_extended.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(plan: Plan, run_dir: str) -> tuple[Profile, str]:
    """The profile, and what was said while it was made."""
    said = io.StringIO()
    request = request_for(plan, run_dir=Path(run_dir), device="cpu", threads=1, executor="inline")
    with create_progress(said, quiet=False) as progress:
        result = run_sweep(request, progress)
    assert result.profile is not None
    assert check_profile(result.profile) == []
    assert json.loads(Path(str(result.path)).read_bytes())["state"] == result.profile.state
    return result.profile, said.getvalue()


def curves(profile: Profile) -> dict[str, list[tuple[int, float, float | None]]]:
    return {
        run.run_id: [(e.epoch, e.train_loss, e.value("gradient_norm_max")) for e in run.epochs] for run in profile.runs
    }


def statuses(profile: Profile) -> list[RunStatus]:
    return [run.status for run in profile.runs]


def events_in(run_dir: str) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in Path(run_dir).glob("runs/*/events.jsonl")}


PROTOCOLS = {
    "constant": (),
    "step": STEPPED,
    "adamw": ("train.optimizer=adamw",),
    "dropout": ("sweep.networks=['own_extended:dropping']",),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_more_epochs_go_on_from_fewer_with_the_bits_of_all_of_them_at_once(
    make_plan: MakePlan, here: Path, protocol: str
) -> None:
    two, four = (make_plan(*SMALL, *PROTOCOLS[protocol], f"train.epochs={epochs}") for epochs in (2, 4))
    sweep(two, "rd")
    found, said = sweep(four, "rd")
    expected, _ = sweep(four, "at-once")
    assert "Resuming 2 runs from epoch 2 of 4" in said
    assert statuses(found) == ["ok", "ok"]
    assert curves(found) == curves(expected)
    for run in found.runs:
        assert [epoch.epoch for epoch in run.epochs] == [1, 2, 3, 4]
        assert [(attempt.from_epoch, attempt.status) for attempt in run.attempts] == [(0, "ok"), (2, "ok")]
        paths = [RunDir(Path(name)).run_path(run.run_id) / "checkpoint.pt" for name in ("rd", "at-once")]
        assert _same_weights(*paths)


def _same_weights(one: Path, other: Path) -> bool:
    import torch

    from dnlbench.runners.checkpoint import Checkpoints

    states = [Checkpoints(path.parent).load() for path in (one, other)]
    first, second = (state["network"] if state else {} for state in states)
    return bool(first) and all(torch.equal(first[name], second[name]) for name in first)


def test_fewer_epochs_are_there_already(make_plan: MakePlan, here: Path) -> None:
    two, four = (make_plan(*SMALL, f"train.epochs={epochs}") for epochs in (2, 4))
    whole, _ = sweep(four, "rd")
    before = events_in("rd")
    found, said = sweep(two, "rd")
    expected, _ = sweep(two, "two-only")
    assert "2 of 2 runs are already finished in the run directory" in said
    assert "Nothing is left to train" in said
    assert statuses(found) == ["ok", "ok"]
    assert found.state == "complete"
    assert curves(found) == curves(expected)
    assert [len(run.epochs) for run in found.runs] == [2, 2]
    assert [run.final_train_loss for run in found.runs] == [run.final_train_loss for run in expected.runs]
    assert [run.peak_memory_bytes for run in found.runs] == [run.peak_memory_bytes for run in expected.runs]
    again, _ = sweep(four, "rd")  # asking for less has cost nothing
    assert events_in("rd") == before
    assert curves(again) == curves(whole)


def test_a_run_lost_beyond_the_epochs_now_asked_for_has_only_to_be_looked_at(make_plan: MakePlan, here: Path) -> None:
    two, four = (make_plan(*SMALL, "train.epochs=2"), make_plan(*SMALL, "train.epochs=4"))
    whole, _ = sweep(four, "rd")
    for run in four.runs:  # as if it had been killed before its last word
        path = RunDir(Path("rd")).events_path(run.run_id)
        *lines, _ = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines))
    found, said = sweep(two, "rd")
    assert "Resuming 2 runs from epoch 2 of 2" in said
    assert statuses(found) == ["ok", "ok"]
    assert curves(found) == {run_id: epochs[:2] for run_id, epochs in curves(whole).items()}
    again, said = sweep(four, "rd")
    assert "Nothing is left to train" in said
    assert curves(again) == curves(whole)


def test_more_depths_and_seeds_leave_the_runs_that_are_there_alone(make_plan: MakePlan, here: Path) -> None:
    small, large = make_plan(*SMALL), make_plan(*SMALL, "sweep.depths=[2,1]", "sweep.seeds=3")
    sweep(small, "rd")
    before = events_in("rd")
    found, said = sweep(large, "rd")
    expected, _ = sweep(large, "at-once")
    assert "2 of 6 runs are already finished in the run directory" in said
    assert "gone on with" not in said
    assert statuses(found) == ["ok"] * 6
    assert curves(found) == curves(expected)
    after = events_in("rd")
    assert len(after) == 6
    assert {run_id: after[run_id] for run_id in before} == before
    back, said = sweep(small, "rd")  # and the runs that are no longer asked for stay where they are
    assert "Nothing is left to train" in said
    assert [run.run_id for run in back.runs] == [run.run_id for run in small.runs]
    assert events_in("rd") == after


def test_more_seeds_and_more_epochs_at_once(make_plan: MakePlan, here: Path) -> None:
    sweep(make_plan(*SMALL, "train.epochs=1"), "rd")
    large = make_plan(*SMALL, "sweep.seeds=[5,1]", "train.epochs=3")
    found, said = sweep(large, "rd")
    assert "Resuming 1 run from epoch 1 of 3" in said
    assert curves(found) == curves(sweep(large, "at-once")[0])


def test_with_a_cosine_more_epochs_are_another_sweep(make_plan: MakePlan, here: Path) -> None:
    two, four = (make_plan(*SMALL, *COSINE, f"train.epochs={epochs}") for epochs in (2, 4))
    sweep(two, "rd")
    before = events_in("rd")
    with pytest.raises(
        RunDirError, match=r"rd already contains .* other settings: train.epochs is 2 there and 4 here\. "
    ):
        sweep(four, "rd")
    assert events_in("rd") == before
    more, said = sweep(make_plan(*SMALL, *COSINE, "sweep.seeds=3", "train.epochs=2"), "rd")
    assert "2 of 3 runs are already finished in the run directory" in said
    assert statuses(more) == ["ok"] * 3


def test_sweeps_that_share_runs_live_in_one_folder_unless_told_otherwise(make_plan: MakePlan, here: Path) -> None:
    def folder(*changes: str) -> Path:
        return find_run_dir(request_for(make_plan(*SMALL, *changes), device="cpu", threads=1, executor="inline"))

    assert folder() == folder("sweep.seeds=5") == folder("sweep.depths=[4]") == folder("train.epochs=9")
    assert folder(*STEPPED) == folder(*STEPPED, "train.epochs=9") != folder()
    assert folder(*COSINE) == folder(*COSINE, "sweep.seeds=5") != folder(*COSINE, "train.epochs=9")
    assert folder() != folder("train.lr=0.5")


def test_a_run_that_diverges_later_than_asked_for_is_ok(make_plan: MakePlan, here: Path) -> None:
    own = (*SMALL, "sweep.networks=['own_extended:diverging']")
    two, four = (make_plan(*own, f"train.epochs={epochs}") for epochs in (2, 4))
    first, _ = sweep(two, "short-first")
    assert statuses(first) == ["ok", "ok"]
    for run_dir in ("short-first", "long-first"):
        long, _ = sweep(four, run_dir)
        assert statuses(long) == ["diverged", "diverged"]
        assert [len(run.epochs) for run in long.runs] == [3, 3]
        before = events_in(run_dir)
        short, said = sweep(two, run_dir)
        assert "Nothing is left to train" in said
        assert statuses(short) == ["ok", "ok"]
        assert [run.error for run in short.runs] == [None, None]
        assert curves(short) == curves(first)
        assert events_in(run_dir) == before


def test_a_sweep_in_its_usual_folder_is_extended_by_asking_for_more(
    run_cli: RunCli, tmp_path: Path, spec_file: Path
) -> None:
    arguments = ["run", spec_file, "--device", "cpu", "--executor", "inline", "--threads", "1", "--json"]
    arguments += ["--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]"]
    first = run_cli(*arguments, "--set", "sweep.seeds=1")
    assert first.returncode == 0, first.stderr
    more = run_cli(*arguments, "--set", "sweep.seeds=2", "--set", "train.epochs=3")
    assert more.returncode == 0, more.stderr
    assert "Resuming 1 run from epoch 2 of 3" in more.stderr
    assert json.loads(first.stdout)["run_dir"] == json.loads(more.stdout)["run_dir"]
    assert len(list((tmp_path / ".dnlbench" / "runs").iterdir())) == 1


def test_an_extension_that_ends_badly_leaves_the_result_that_was_there() -> None:
    for facts in ({"status": "cancelled", "requested": True}, {"status": "oom"}):
        extended = fold([RunEnded.model_validate({"run_id": "r", **facts})], history_of(2, "ok"))
        answer = extended.for_epochs(2)
        assert answer.ended is not None
        assert (answer.ended.status, answer.ended.peak_memory_bytes) == ("ok", 7)
        assert extended.for_epochs(4).done
        more = extended.for_epochs(4).ended
        assert more is not None
        assert more.status == facts["status"]


def test_attempts_at_more_epochs_are_not_those_of_fewer() -> None:
    second = RunStarted(
        run_id="r", attempt=2, device="cpu", device_name="another", threads=1, parameters=1, from_epoch=2
    )
    extended = fold([second], history_of(2, "ok"))
    answer = extended.for_epochs(2)
    assert answer.started is not None
    assert (answer.started.device_name, len(answer.attempts), answer.done) == ("x", 1, True)
    assert len(extended.for_epochs(4).attempts) == 2


def test_a_run_that_was_begun_afresh_has_not_completed_what_it_had() -> None:
    second = RunStarted(run_id="r", attempt=2, device="cpu", device_name="x", threads=1, parameters=1)
    assert not fold([second], history_of(2, "ok")).for_epochs(2).done


def test_an_extension_that_is_refused_does_not_stand_in_the_place_of_the_sweep(make_plan: MakePlan, here: Path) -> None:
    sweep(make_plan(*SMALL), "rd")
    before = RunDir(Path("rd")).sweep_path.read_bytes()
    with pytest.raises(SpecError, match="cannot be imported"):
        sweep(make_plan(*SMALL, "sweep.networks=['densenet','nowhere:make']"), "rd")
    assert RunDir(Path("rd")).sweep_path.read_bytes() == before


def test_a_network_that_came_with_an_extension_is_noticed_when_it_changes(
    run_cli: RunCli, tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_changed.py").write_text(OWN)
    arguments = ["run", spec_file, "--device", "cpu", "--executor", "inline", "--run-dir", "rd"]
    arguments += ["--set", "sweep.depths=[1]"]
    both = ["--set", "sweep.networks=['densenet','own_changed:dropping']"]
    assert run_cli(*arguments, "--set", "sweep.networks=['densenet']").returncode == 0
    assert run_cli(*arguments, *both).returncode == 0
    (tmp_path / "own_changed.py").write_text(OWN.replace("nn.Linear(64, 32)", "nn.Linear(64, 32, bias=False)"))
    monkeypatch.delitem(sys.modules, "own_changed")  # as in a new process
    done = run_cli(*arguments, *both, "--set", "sweep.seeds=3")
    assert done.returncode == 2
    assert "rd contains results of other code: own_changed.py changed since then" in done.stderr
