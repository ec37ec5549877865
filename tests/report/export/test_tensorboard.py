"""Event files, read back by the reader of TensorBoard."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile, save_profile
from dnlbench.report.export import Labeled
from dnlbench.report.export.tensorboard import wall_times, write_runs

MakeProfile = Callable[..., Profile]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EPOCH_TAGS = {"loss/train", "throughput/samples_per_s", "throughput/seconds_per_epoch"}


def single(value: float) -> bytes:
    """Return the bits of a value in single precision, so that NaN equals itself."""
    return struct.pack("<f", value)


def read_back(folder: Path) -> Any:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def series(folder: Path, tag: str) -> list[tuple[int, bytes]]:
    return [(event.step, single(event.value)) for event in read_back(folder).Scalars(tag)]


def write(folder: Path, *profiles: Profile) -> int:
    return write_runs([Labeled(label=f"p{index}", profile=profile) for index, profile in enumerate(profiles)], folder)


def test_each_run_that_was_started_has_a_folder(mixed: Profile, tmp_path: Path) -> None:
    assert write(tmp_path / "out", mixed) == 4
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_dir()) == [
        "out",
        "out/_.-L4-seed0",
        "out/densenet-L1-seed0",
        "out/mine_net_.._.._x_y-L3-seed0",
        "out/plain-L2-seed0",
    ]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert all(path.name.startswith("events.out.tfevents.") for path in files)


def test_epochs_are_scalars(mixed: Profile, tmp_path: Path) -> None:
    write(tmp_path / "out", mixed)
    for name, run in (("densenet-L1-seed0", mixed.runs[0]), ("plain-L2-seed0", mixed.runs[1])):
        result = tmp_path / "out" / name
        assert series(result, "loss/train") == [(epoch.epoch, single(epoch.train_loss)) for epoch in run.epochs]
        assert series(result, "throughput/seconds_per_epoch") == [(epoch.epoch, single(2.0)) for epoch in run.epochs]
    first = read_back(tmp_path / "out" / "densenet-L1-seed0").Tags()["scalars"]
    assert {tag for tag in first if not tag.startswith("by_depth/")} == EPOCH_TAGS | {"loss/evaluation"}
    second = read_back(tmp_path / "out" / "plain-L2-seed0").Tags()["scalars"]
    assert {tag for tag in second if not tag.startswith("by_depth/")} == EPOCH_TAGS
    assert math.isnan(read_back(tmp_path / "out" / "plain-L2-seed0").Scalars("loss/train")[-1].value)


def test_results_have_their_depth_as_step(mixed: Profile, tmp_path: Path) -> None:
    write(tmp_path / "out", mixed)
    ok, diverged = tmp_path / "out" / "densenet-L1-seed0", tmp_path / "out" / "plain-L2-seed0"
    assert series(ok, "by_depth/peak_memory_bytes") == [(1, single(2**20))]
    assert series(diverged, "by_depth/final_train_loss") == [(2, single(math.nan))]
    assert series(diverged, "by_depth/final_train_loss") == [(2, single(math.nan))]
    assert read_back(tmp_path / "out" / "mine_net_.._.._x_y-L3-seed0").Tags()["scalars"] == []


def test_curves_have_the_index_as_step(measured: Profile, tmp_path: Path) -> None:
    write(tmp_path / "out", measured)
    first = tmp_path / "out" / "local-tanh-L8-seed0"
    assert series(first, "curve/errors") == [(0, single(0.0)), (1, single(0.5)), (2, single(math.inf))]
    assert series(first, "by_depth/error_max") == [(8, single(0.5))]


def test_wall_times_are_those_of_the_attempts(mixed: Profile, tmp_path: Path) -> None:
    """Two attempts: lost after two epochs of 2 s from noon on; then 40 s from 12:01:40 on, shared by two equal epochs."""
    write(tmp_path / "out", mixed)
    times = [event.wall_time for event in read_back(tmp_path / "out" / "densenet-L1-seed0").Scalars("loss/train")]
    assert times == pytest.approx([NOON.timestamp() + seconds for seconds in (2, 4, 120, 140)], abs=1e-3)
    without = [event.wall_time for event in read_back(tmp_path / "out" / "plain-L2-seed0").Scalars("loss/train")]
    assert without == pytest.approx([mixed.created.timestamp() - seconds for seconds in (10, 8, 6, 4, 2, 0)], abs=1e-3)


@pytest.mark.parametrize("seconds", [0.0, math.nan, math.inf, -1.0])
def test_wall_times_with_invalid_seconds(mixed: Profile, seconds: float) -> None:
    ok, diverged, *_ = (
        run.model_copy(update={"epochs": tuple(e.model_copy(update={"seconds": seconds}) for e in run.epochs)})
        for run in mixed.runs
    )
    assert [time - NOON.timestamp() for time in wall_times(ok, NOON)] == [0, 0, 120, 140]
    assert wall_times(diverged, NOON) == [NOON.timestamp()] * 6


def test_settings_are_hyperparameters(mixed: Profile, tmp_path: Path) -> None:
    write(tmp_path / "out", mixed)

    def plugin(folder: str) -> dict[str, bytes]:
        return dict(read_back(tmp_path / "out" / folder).PluginTagToContent("hparams"))

    ok = plugin("densenet-L1-seed0")
    start = metadata.parse_session_start_info_plugin_data(ok[metadata.SESSION_START_INFO_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert (values["network"], values["depth"], values["seed"]) == ("densenet", 1.0, 0.0)
    train = mixed.spec["train"]
    assert {key: values[f"train.{key}"] for key in ("lr", "optimizer", "evaluate", "batch_size")} == {
        key: train[key] for key in ("lr", "optimizer", "evaluate", "batch_size")
    }
    assert not [name for name in values if name.startswith("sweep.")]
    folders = ("densenet-L1-seed0", "plain-L2-seed0", "mine_net_.._.._x_y-L3-seed0", "_.-L4-seed0")
    ends = [
        metadata.parse_session_end_info_plugin_data(plugin(each)[metadata.SESSION_END_INFO_TAG]) for each in folders
    ]
    assert [api_pb2.Status.Name(end.status) for end in ends] == [
        "STATUS_SUCCESS",
        "STATUS_FAILURE",
        "STATUS_FAILURE",
        "STATUS_UNKNOWN",
    ]


def test_several_profiles_have_a_folder_each(mixed: Profile, tmp_path: Path) -> None:
    named = [Labeled(label=label, profile=mixed) for label in ("../../a", ".._.._a")]
    assert write_runs(named, tmp_path / "out") == 8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_._.._a", "_._.._a-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_runs_of_one_name_do_not_overwrite_each_other(mixed: Profile, tmp_path: Path) -> None:
    twice = mixed.model_copy(update={"runs": (mixed.runs[0], mixed.runs[0])})
    assert write(tmp_path / "out", twice) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["densenet-L1-seed0", "densenet-L1-seed0-2"]


def test_the_same_profile_gives_the_same_bytes(mixed: Profile, tmp_path: Path) -> None:
    write(tmp_path / "a", mixed)
    write(tmp_path / "b", mixed)
    first, second = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "ab"
    )
    assert first == second


def test_existing_files_are_not_changed(mixed: Profile, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("full", "file"):
        with pytest.raises(FileExistsError, match="already exists; name a new or empty folder"):
            write(tmp_path / name, mixed)
    assert write(tmp_path / "empty", mixed) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"full", "file", "empty"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_an_overflow_leaves_no_files(mixed: Profile, tmp_path: Path) -> None:
    deep = mixed.runs[1].model_copy(update={"depth": 2**63})
    with pytest.raises(
        ConfigurationError, match=r"p0: plain-L2-s0-00000000: a value cannot be written for TensorBoard"
    ):
        write(tmp_path / "out", mixed.model_copy(update={"runs": (mixed.runs[0], deep)}))
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_the_extra_is_named(
    mixed: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        ConfigurationError, match=r"tensorboard is required and cannot be imported .*dnlbench\[tensorboard\]"
    ):
        write(tmp_path / "out", mixed)
    assert list(tmp_path.iterdir()) == []


def test_neither_torch_nor_tensorflow_is_imported(mixed: Profile, tmp_path: Path) -> None:
    save_profile(mixed, tmp_path / "x.json")
    code = (
        "import sys, json\nfrom dnlbench.cli.app import main\n"
        "sys.argv = ['dnlbench', 'profiles', 'export', 'x.json', '--format', 'tensorboard', '-o', 'out']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(json.dumps(sorted({'torch', 'tensorflow', 'tensorboard', 'scipy'} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["tensorboard"]
