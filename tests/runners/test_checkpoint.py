from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dnlbench.events import EpochDone, RunEnded, RunEvent, RunHistory, RunPaused, RunStarted, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import CHECKPOINT_S, Job, Member
from dnlbench.runners.checkpoint import Checkpoints, State
from dnlbench.runners.training import TrainingRunner, progress

MakePlan = Callable[..., Plan]
AXES = ("sweep.networks=['dense-attention']", "sweep.depths=[2]", "sweep.seeds=[3]", "train.epochs=4")
PROTOCOLS = {
    "sgd": (),
    "adamw, cosine": ("train.optimizer=adamw", "train.schedule=cosine"),
    "step": ("train.schedule=step", "train.step_epochs=2"),
}
STEPS = 5
"""Training steps of an epoch with 76 samples in batches of 16."""
SHORT = (
    "sweep.depths=[1]",
    "sweep.seeds=[3]",
    "train.epochs=3",
    "data.limit=76",
    "train.batch_size=16",
    "network.blocks=1",
)
NETWORKS = {"ours": "sweep.networks=['dense-attention']", "dropout": "sweep.networks=['with_dropout:network']"}
DROPOUT = """
from torch import nn

def network(depth, input_shape, classes, network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.BatchNorm1d(32), nn.Linear(32, classes))
"""


class Lost(BaseException):
    """Simulates the end of the process."""


@pytest.fixture
def make_protocol(make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Plan]:
    """Create a plan with one run of three epochs."""
    (tmp_path / "with_dropout.py").write_text(DROPOUT)
    monkeypatch.chdir(tmp_path)
    return lambda network, protocol: make_plan(NETWORKS[network], *SHORT, *PROTOCOLS[protocol])


def never() -> bool:
    return False


def at_step(step: int, *, lost: bool) -> Callable[[], bool]:
    """Suspend a run, or lose it, after ``step`` training steps of an attempt."""
    steps = count()

    def should_suspend() -> bool:
        if next(steps) < step:
            return False
        if lost:
            raise Lost
        return True

    return should_suspend


def attempt(
    plan: Plan,
    slot: Slot,
    folder: Path,
    before: Sequence[RunEvent] = (),
    *,
    epochs: int | None = None,
    should_suspend: Callable[[], bool] = never,
    checkpoint_s: float = CHECKPOINT_S,
) -> list[RunEvent]:
    """Return the events of another attempt. It may be lost after the epoch ``epochs``, before its checkpoint is written."""
    history = fold(before)
    number = len(history.attempts) + 1
    member = Member(run=plan.runs[0], attempt=number, folder=folder, epochs_known=len(history.epochs))
    job = Job(members=(member,), should_suspend=should_suspend)
    events: list[RunEvent] = []
    torch.manual_seed(number)  # no attempt may count on the random state that another left
    try:
        for event in TrainingRunner(plan, slot, checkpoint_s=checkpoint_s).run(job):
            events.append(event)
            if sum(isinstance(each, EpochDone) for each in events) == epochs:
                break
    except Lost:
        pass
    return events


def curve(history: RunHistory) -> list[tuple[int, float, float | None]]:
    return [(e.epoch, e.train_loss, e.value("gradient_norm_max")) for e in history.epochs]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = Checkpoints(folder).load()
    assert state is not None
    result: dict[str, torch.Tensor] = state["network"]
    return result


def check(folder: Path, events: Sequence[RunEvent], expected_in: Path, expected: Sequence[RunEvent]) -> None:
    """Check that a run ended with each epoch once, bit-equal to another run, and left one checkpoint."""
    history = fold(events)
    assert history.ended is not None
    assert history.ended.status == "ok"
    assert curve(history) == curve(fold(expected))
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "checkpoint.pt.sha256"}
    there, here = weights(expected_in), weights(folder)
    assert there.keys() == here.keys()
    assert all(torch.equal(there[name], here[name]) for name in there)


@pytest.fixture
def undisturbed(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> Callable[..., RunHistory]:
    return lambda *changes: fold(attempt(make_plan(*AXES, *changes), slot, tmp_path / "undisturbed"))


@pytest.mark.faults
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_run_lost_in_any_epoch_resumes_with_the_same_bits(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, undisturbed: Callable[..., RunHistory], protocol: str
) -> None:
    plan, expected = make_plan(*AXES, *PROTOCOLS[protocol]), undisturbed(*PROTOCOLS[protocol])
    for lost_after in (1, 2, 3, 4):
        folder = tmp_path / str(lost_after)
        first = attempt(plan, slot, folder, epochs=lost_after)
        second = attempt(plan, slot, folder, first)
        # the last epoch of the first attempt has an event but no checkpoint: it is repeated and counted once
        assert sum(isinstance(event, EpochDone) for event in second) == 4 - lost_after + 1
        history = fold([*first, *second])
        assert curve(history) == curve(expected)
        assert history.done
        assert {path.name for path in folder.glob("*check*")} == {"checkpoint.pt", "checkpoint.pt.sha256"}


VARIANTS = [
    ("ours", "sgd"),
    ("ours", "adamw, cosine"),
    ("ours", "step"),
    ("dropout", "sgd"),
    ("dropout", "adamw, cosine"),
]


@pytest.mark.faults
@pytest.mark.parametrize(("network", "protocol"), VARIANTS)
def test_a_run_lost_after_any_training_step_resumes_with_the_same_bits(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path, network: str, protocol: str
) -> None:
    plan = make_protocol(network, protocol)
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    for step in range(3 * STEPS):
        folder = tmp_path / str(step)
        first = attempt(plan, slot, folder, should_suspend=at_step(step, lost=True), checkpoint_s=0)
        second = attempt(plan, slot, folder, first, checkpoint_s=0)
        (started,) = (event for event in second if isinstance(event, RunStarted))
        # the last checkpoint is from before the last training step, or from the end of the epoch
        kept = step - 1 if step % STEPS else step
        assert STEPS * started.from_epoch + started.from_step == kept
        check(folder, [*first, *second], tmp_path / "undisturbed", expected)


@pytest.mark.faults
@pytest.mark.parametrize(("network", "protocol"), [("ours", "step"), ("dropout", "adamw, cosine")])
def test_a_run_lost_right_after_any_checkpoint_resumes_with_the_same_bits(
    make_protocol: Callable[[str, str], Plan],
    slot: Slot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    protocol: str,
) -> None:
    plan = make_protocol(network, protocol)
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    save = Checkpoints.save
    for number in count(1):
        folder, left = tmp_path / str(number), number

        def save_and_be_lost(checkpoints: Checkpoints, state: State) -> None:
            nonlocal left
            save(checkpoints, state)
            left -= 1
            if left == 0:
                raise Lost

        monkeypatch.setattr(Checkpoints, "save", save_and_be_lost)
        first = attempt(plan, slot, folder, checkpoint_s=0)
        monkeypatch.setattr(Checkpoints, "save", save)
        if left > 0:
            assert number == 3 * (STEPS + 1) + 1  # before each step, and at the end of each epoch
            return
        second = attempt(plan, slot, folder, first, checkpoint_s=0)
        check(folder, [*first, *second], tmp_path / "undisturbed", expected)


@pytest.mark.faults
def test_a_run_that_is_lost_again_and_again_resumes_with_the_same_bits(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path
) -> None:
    plan = make_protocol("dropout", "adamw, cosine")
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    events: list[RunEvent] = []
    while not fold(events).done:  # each attempt does one step that the one before had done, and one more
        events += attempt(plan, slot, tmp_path / "x", events, should_suspend=at_step(2, lost=True), checkpoint_s=0)
    assert len(fold(events).attempts) > STEPS
    check(tmp_path / "x", events, tmp_path / "undisturbed", expected)


@pytest.mark.parametrize(("network", "protocol"), VARIANTS)
def test_a_run_suspended_at_any_training_step_resumes_with_the_same_bits(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path, network: str, protocol: str
) -> None:
    plan = make_protocol(network, protocol)
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    for step in range(3 * STEPS):  # the first step of the first epoch and of later ones included
        folder = tmp_path / str(step)
        first = attempt(plan, slot, folder, should_suspend=at_step(step, lost=False))
        paused = first[-1]
        assert isinstance(paused, RunPaused)
        assert (paused.epoch, paused.step) == divmod(step, STEPS)
        second = attempt(plan, slot, folder, first)
        (started,) = (event for event in second if isinstance(event, RunStarted))
        assert (started.from_epoch, started.from_step) == (paused.epoch, paused.step)
        check(folder, [*first, *second], tmp_path / "undisturbed", expected)


def test_a_run_suspended_twice_at_one_step_resumes(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path
) -> None:
    plan = make_protocol("dropout", "sgd")
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    events: list[RunEvent] = []
    for steps in (STEPS + 2, 0, 0):
        events += attempt(plan, slot, tmp_path / "x", events, should_suspend=at_step(steps, lost=False))
        last = events[-1]
        assert isinstance(last, RunPaused)
        assert (last.epoch, last.step) == (1, 2)
    events += attempt(plan, slot, tmp_path / "x", events)
    check(tmp_path / "x", events, tmp_path / "undisturbed", expected)


@pytest.mark.faults
def test_a_checkpoint_that_has_lost_its_events_is_not_resumed(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path
) -> None:
    plan = make_protocol("dropout", "step")
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    for known in (0, 1):
        folder = tmp_path / str(known)
        first = attempt(plan, slot, folder, should_suspend=at_step(2 * STEPS + 1, lost=False))
        events_left = first[: 1 + known]  # of two epochs
        second = attempt(plan, slot, folder, events_left)
        (started,) = (event for event in second if isinstance(event, RunStarted))
        assert (started.from_epoch, started.from_step) == (0, 0)
        check(folder, [*events_left, *second], tmp_path / "undisturbed", expected)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by one second at each call."""
    seconds = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))


def test_the_seconds_of_an_epoch_resumed_in_its_middle_are_those_of_its_parts(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path, ticking: None
) -> None:
    plan = make_protocol("dropout", "sgd")
    first = attempt(plan, slot, tmp_path, should_suspend=at_step(STEPS + 3, lost=False))  # a stretch of the clock
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["seconds"] == 1.0
    second = attempt(plan, slot, tmp_path, first, should_suspend=at_step(1, lost=False))  # and another one
    third = attempt(plan, slot, tmp_path, [*first, *second])
    history = fold([*first, *second, *third])
    assert [epoch.seconds for epoch in history.epochs] == [1.0, 3.0, 1.0]
    assert [epoch.samples_per_s for epoch in history.epochs] == [76.0, 76 / 3, 76.0]


def test_time_spent_on_checkpoints_is_not_training(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path, ticking: None
) -> None:
    plan = make_protocol("dropout", "sgd")
    events = attempt(plan, slot, tmp_path, checkpoint_s=0)
    # one interval before the first checkpoint and one after each; the time between them does not count
    assert [epoch.seconds for epoch in fold(events).epochs] == [1.0 + STEPS] * 3


@pytest.mark.faults
@pytest.mark.parametrize("damage", ["another network's", "an older format's"])
def test_a_checkpoint_of_another_network_is_refused(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path, damage: str
) -> None:
    plan = make_protocol("dropout", "sgd")
    first = attempt(plan, slot, tmp_path, should_suspend=at_step(STEPS + 3, lost=False))
    state = dict(Checkpoints(tmp_path).load() or {})
    if damage == "another network's":
        state["network"] = {name: tensor.new_zeros(3) for name, tensor in state["network"].items()}
    else:
        del state["step"]
    Checkpoints(tmp_path).save(state)
    with pytest.raises((RuntimeError, KeyError)):
        attempt(plan, slot, tmp_path, first)


@pytest.mark.faults
def test_files_of_killed_saves_are_deleted_at_the_end_of_the_run(
    make_protocol: Callable[[str, str], Plan], slot: Slot, tmp_path: Path
) -> None:
    plan, folder = make_protocol("dropout", "sgd"), tmp_path / "x"
    first = attempt(plan, slot, folder, should_suspend=at_step(STEPS + 3, lost=False))
    for name in ("checkpoint.new.pt", ".checkpoint.new.pt.abc.tmp", ".checkpoint.pt.sha256.abc.tmp"):
        (folder / name).write_bytes(b"torn")
    (folder / "checkpoint.previous.pt").write_bytes(b"damaged")
    second = attempt(plan, slot, folder, first)
    assert isinstance(second[-1], RunEnded)
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "checkpoint.pt.sha256"}


@pytest.mark.faults
def test_a_run_ends_with_a_checkpoint_even_if_only_the_previous_one_is_intact(
    make_protocol: Callable[[str, str], Plan], make_plan: MakePlan, slot: Slot, tmp_path: Path
) -> None:
    """Request fewer epochs than the run has, after the save of the last checkpoint was cut off."""
    plan, folder = make_protocol("dropout", "sgd"), tmp_path / "x"
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    events = attempt(plan, slot, folder, should_suspend=at_step(2 * STEPS + 3, lost=False))
    Checkpoints(folder).save({"epoch": 2})
    (folder / "checkpoint.pt").unlink()
    events += attempt(make_plan(NETWORKS["dropout"], *SHORT, "train.epochs=2"), slot, folder, events)
    events += attempt(plan, slot, folder, events)
    started = fold(events).started
    assert started is not None
    assert (started.from_epoch, started.from_step) == (2, 3)
    check(folder, events, tmp_path / "undisturbed", expected)


@pytest.fixture
def two_checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save({"epoch": epoch, "x": torch.arange(1000.0) * epoch})
    return checkpoints


@pytest.mark.faults
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_replaced_by_the_previous_one(
    two_checkpoints: Checkpoints, tmp_path: Path, fraction: float
) -> None:
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 2
    assert (tmp_path / "checkpoint.pt.damaged").exists()


@pytest.mark.faults
def test_a_flipped_bit_anywhere_is_noticed(two_checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    for position in range(0, len(content), 97):
        changed = bytearray(content)
        changed[position] ^= 4
        path.write_bytes(changed)
        state = two_checkpoints.load()
        assert state is not None
        assert state["epoch"] == 2
    path.write_bytes(content)
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


@pytest.mark.faults
def test_both_damaged_is_a_fresh_start(two_checkpoints: Checkpoints, tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes(b"")
    assert two_checkpoints.load() is None
    assert two_checkpoints.load() is None


@pytest.mark.faults
def test_a_save_cut_off_at_any_step_leaves_an_intact_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Abort a save after each of its changes of the file system."""
    original = Path.replace

    class Killed(BaseException):
        pass

    for steps in count():
        folder = tmp_path / str(steps)
        checkpoints = Checkpoints(folder)
        for epoch in (1, 2):
            checkpoints.save({"epoch": epoch})
        left = steps

        def replace(path: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return original(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            checkpoints.save({"epoch": 3})
            finished = True
        except Killed:
            finished = False
        monkeypatch.setattr(Path, "replace", original)
        state = Checkpoints(folder).load()
        assert state is not None, steps
        assert state["epoch"] == 3 if finished else state["epoch"] in (2, 3)
        Checkpoints(folder).save({"epoch": 4})
        state = Checkpoints(folder).load()
        assert state is not None
        assert state["epoch"] == 4
        if finished:
            assert steps >= 4
            return


@pytest.mark.faults
def test_a_full_disk_keeps_the_previous_checkpoint(
    two_checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        two_checkpoints.save({"epoch": 4})
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


@pytest.mark.faults
def test_a_malicious_pickle_is_not_run_even_with_its_hash(two_checkpoints: Checkpoints, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "side-effect",))

    content = pickle.dumps(Malicious(), protocol=2)
    (tmp_path / "checkpoint.pt").write_bytes(content)
    (tmp_path / "checkpoint.pt.sha256").write_text(hashlib.sha256(content).hexdigest())
    state = two_checkpoints.load()
    assert not (tmp_path / "side-effect").exists()
    assert state is not None
    assert state["epoch"] == 2
