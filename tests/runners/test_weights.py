from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training.weights import WeightsError, from_checkpoint, from_file, keep, keep_all

WEIGHTS = {"stem.weight": torch.arange(6.0).view(2, 3), "norm.num_batches_tracked": torch.tensor(7)}


def checkpoint(folder: Path, *, epoch: int = 2, step: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    Checkpoints(folder).save({"network": WEIGHTS, "epoch": epoch, "step": step, "optimizer": {}})
    return folder


def same(result: object) -> bool:
    assert isinstance(result, dict)
    return result.keys() == WEIGHTS.keys() and all(torch.equal(result[name], WEIGHTS[name]) for name in WEIGHTS)


def test_weights_of_a_checkpoint_are_saved_and_read_back(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "run")
    assert same(from_checkpoint(folder, 2))
    sha256 = keep(from_checkpoint(folder, 2), tmp_path / "p.weights" / "run.pt")
    assert sha256 == hashlib.sha256((tmp_path / "p.weights" / "run.pt").read_bytes()).hexdigest()
    assert same(from_file(tmp_path / "p.weights" / "run.pt", sha256))


def test_extra_state_is_kept_with_the_weights(tmp_path: Path) -> None:
    state = {"layer._extra_state": {"calls": [1, 2], "name": "a"}, "scale": 0.5}
    assert from_file(tmp_path / "w.pt", keep(state, tmp_path / "w.pt")) == state


@pytest.mark.parametrize(
    ("epoch", "step", "message"),
    [
        (4, 0, r"is from 4 epochs; expected 2 epochs"),
        (2, 3, "is from 2 epochs and 3 steps; expected 2"),
    ],
)
def test_a_checkpoint_of_another_epoch_is_refused(tmp_path: Path, epoch: int, step: int, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        from_checkpoint(checkpoint(tmp_path / "run", epoch=epoch, step=step), 2)


def test_a_damaged_or_missing_checkpoint_is_named_and_not_moved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"checkpoint\.pt does not exist"):
        from_checkpoint(tmp_path / "none", 2)
    path = checkpoint(tmp_path / "run") / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is damaged"):
        from_checkpoint(path.parent, 2)
    assert path.read_bytes() == content


def test_the_previous_checkpoint_of_the_same_epoch_is_used(tmp_path: Path) -> None:
    folder = checkpoint(checkpoint(tmp_path / "run"))
    (folder / "checkpoint.pt").write_bytes(b"torn")
    assert same(from_checkpoint(folder, 2))


def test_a_file_of_weights_with_another_hash_is_refused(tmp_path: Path) -> None:
    sha256 = keep(WEIGHTS, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="is damaged or from another sweep"):
        from_file(tmp_path / "w.pt", "0" * 64)
    (tmp_path / "w.pt").unlink()
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        from_file(tmp_path / "w.pt", sha256)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


@pytest.mark.faults
def test_a_pickle_that_would_run_code_is_refused_with_any_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(Bomb(), protocol=2)
    Path("w.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="contains no readable weights"):
        from_file(Path("w.pt"), hashlib.sha256(content).hexdigest())
    torch.save({"stem.weight": Bomb()}, "w.pt")
    with pytest.raises(WeightsError, match="contains no readable weights"):
        from_file(Path("w.pt"), hashlib.sha256(Path("w.pt").read_bytes()).hexdigest())
    assert not Path("exploded").exists()


def test_readable_weights_are_saved(tmp_path: Path) -> None:
    runs = [
        {"run_id": "a", "folder": str(checkpoint(tmp_path / "a")), "epochs": 2},
        {"run_id": "b", "folder": str(tmp_path / "b"), "epochs": 2},
    ]
    kept, left_out = keep_all({"runs": runs, "into": str(tmp_path / "w")})
    assert same(from_file(tmp_path / "w" / "a.pt", kept["sha256"]))
    assert left_out == {"run": "b", "left_out": f"{tmp_path / 'b' / 'checkpoint.pt'} does not exist"}
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["a.pt"]
