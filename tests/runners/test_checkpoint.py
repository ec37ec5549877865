from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from dnlbench.events import EpochDone, RunEvent, RunHistory, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner

MakePlan = Callable[..., Plan]
AXES = ("sweep.networks=['dense-attention']", "sweep.depths=[2]", "sweep.seeds=[3]", "train.epochs=4")
PROTOCOLS = {
    "sgd": (),
    "adamw, cosine": ("train.optimizer=adamw", "train.schedule=cosine"),
    "step": ("train.schedule=step", "train.step_epochs=2"),
}


def attempt(plan: Plan, slot: Slot, folder: Path, number: int, epochs: int | None = None) -> list[RunEvent]:
    """The events of an attempt, which is lost in the epoch after ``epochs``, before its checkpoint is written."""
    events = TrainingRunner(plan, slot).carry_out(plan.runs[0], number, folder)
    if epochs is None:
        return list(events)
    return [next(events) for _ in range(1 + epochs)]


def curve(history: RunHistory) -> list[tuple[int, float, float]]:
    return [(e.epoch, e.train_loss, e.gradient_norm) for e in history.epochs]


@pytest.fixture
def undisturbed(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> Callable[..., RunHistory]:
    return lambda *changes: fold(attempt(make_plan(*AXES, *changes), slot, tmp_path / "undisturbed", 1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_run_lost_in_any_epoch_goes_on_with_the_same_bits(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, undisturbed: Callable[..., RunHistory], protocol: str
) -> None:
    plan, expected = make_plan(*AXES, *PROTOCOLS[protocol]), undisturbed(*PROTOCOLS[protocol])
    for lost_after in (1, 2, 3, 4):
        folder = tmp_path / str(lost_after)
        first = attempt(plan, slot, folder, 1, epochs=lost_after)
        torch.manual_seed(123)
        second = attempt(plan, slot, folder, 2)
        # the last epoch of the first attempt has its event but not its checkpoint: it is done again, and counted once
        assert sum(isinstance(event, EpochDone) for event in second) == 4 - lost_after + 1
        history = fold([*first, *second])
        assert curve(history) == curve(expected)
        assert history.done
        assert not list(folder.glob("checkpoint*"))


@pytest.fixture
def two_checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save({"epoch": epoch, "x": torch.arange(1000.0) * epoch})
    return checkpoints


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_set_aside_for_the_one_before(
    two_checkpoints: Checkpoints, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 2
    assert (tmp_path / "checkpoint.pt.damaged").exists()


def test_a_flipped_bit_anywhere_is_noticed(two_checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 4
        path.write_bytes(changed)
        state = two_checkpoints.load()
        assert state is not None
        assert state["epoch"] == 2
    path.write_bytes(content)
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


def test_both_damaged_is_a_fresh_start(two_checkpoints: Checkpoints, tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes(b"")
    assert two_checkpoints.load() is None
    assert two_checkpoints.load() is None


def test_a_save_cut_off_at_any_step_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change of the file system on the way of a save is made to be the last one."""
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


def test_a_full_disk_keeps_the_checkpoint_before(two_checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        two_checkpoints.save({"epoch": 4})
    state = two_checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


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
