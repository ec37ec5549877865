"""``dnlbench profiles export`` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dnlbench.profiles import Profile, save_profile

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.1 + 0.2, 0.4], ("plain", 4): [0.2]}


@pytest.fixture
def saved(tmp_path: Path, make_profile: MakeProfile) -> tuple[Path, Path]:
    return (
        save_profile(make_profile(LOSSES), tmp_path / "profiles" / "a.json"),
        save_profile(make_profile(LOSSES, name="other"), tmp_path / "profiles" / "b.json"),
    )


def test_tables_hold_the_same_in_every_format(run_cli: RunCli, saved: tuple[Path, Path], tmp_path: Path) -> None:
    for format_ in ("csv", "jsonl", "parquet"):
        done = run_cli("profiles", "export", *saved, "--format", format_, "-o", f"out/x.{format_}")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert done.stderr == f"out/x.{format_}: 6 rows (epochs), 30 columns\n"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "x.csv").read_text())))
    lines = [json.loads(line) for line in (tmp_path / "out" / "x.jsonl").read_text().splitlines()]
    assert pq.read_table(tmp_path / "out" / "x.parquet").to_pylist() == lines
    assert (
        [float(row["train_loss"]) for row in rows]
        == [line["train_loss"] for line in lines]
        == [0.1 + 0.2, 0.4, 0.2] * 2
    )
    assert [row["profile"] for row in rows] == [line["profile"] for line in lines] == ["a"] * 3 + ["b"] * 3
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["x.csv", "x.jsonl", "x.parquet"]


def test_rows_can_be_runs(run_cli: RunCli, saved: tuple[Path, Path], tmp_path: Path) -> None:
    done = run_cli("profiles", "export", saved[0], "--format", "jsonl", "--rows", "runs", "-o", "x.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [line["final_train_loss"] for line in lines] == [0.1 + 0.2, 0.4, 0.2]


def test_tensorboard_gets_a_folder_that_must_be_new(run_cli: RunCli, saved: tuple[Path, Path], tmp_path: Path) -> None:
    command = ("profiles", "export", saved[0], "--format", "tensorboard", "-o", "tb")
    first, second = run_cli(*command), run_cli(*command)
    assert (first.returncode, first.stderr) == (0, "tb: 3 runs\n")
    assert sorted(path.name for path in (tmp_path / "tb").iterdir()) == [
        "densenet-L2-seed0",
        "densenet-L2-seed1",
        "plain-L4-seed0",
    ]
    assert second.returncode == 2
    assert "tb: already exists; name a new or empty folder" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "csv", "--rows", "measurements"), "have no measurements; use --rows epochs or --rows runs"),
        (("--format", "tensorboard", "--rows", "runs"), "--rows: does not apply to --format tensorboard"),
        (("profiles/../profiles/a.json", "--format", "csv"), "profiles/a.json: named twice"),
        (("nowhere.json", "--format", "csv"), "nowhere.json: cannot be read"),
        (("--format", "xlsx"), "xlsx"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_exit_code_2(
    run_cli: RunCli, saved: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run_cli("profiles", "export", saved[0], *arguments, "-o", "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("package", "format_"), [("pyarrow", "parquet"), ("tensorboard", "tensorboard")])
def test_a_package_that_is_absent_is_named_with_its_extra(
    run_process: RunCli, saved: tuple[Path, Path], tmp_path: Path, package: str, format_: str
) -> None:
    shadow = tmp_path / "shadow" / f"{package}.py"
    shadow.parent.mkdir()
    shadow.write_text(f"raise ModuleNotFoundError(\"No module named '{package}'\")")
    import dnlbench

    places = f"{shadow.parent}:{Path(dnlbench.__file__).parent.parent}"
    done = run_process("profiles", "export", saved[0], "--format", format_, "-o", "out", PYTHONPATH=places)
    assert done.returncode == 2
    assert f"No module named '{package}'" in done.stderr
    assert f"pip install 'dnlbench[{format_}]'" in done.stderr
    assert not (tmp_path / "out").exists()
