"""Sweeps of optimum-limit as a user runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.profiles import Profile, check_profile, read_profile

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

SMALL = (
    "sweep.kernels=['local', 'attention']",
    "sweep.depths=[1, 2, 4, 8]",
    "sweep.seeds=2",
    "data.samples=8",
    "minimiser.first_depth=1",
    "minimiser.starts=1",
    "minimiser.tolerance=1e-5",
)
INLINE = ("--executor", "inline")


def arguments(folder: Path, name: str, *options: object, changes: tuple[str, ...] = SMALL) -> list[object]:
    """A small sweep of the preset, in a run directory of that name."""
    settings = [part for change in changes for part in ("--set", change)]
    places = ["--run-dir", folder / f"rd-{name}", "--out", folder / f"{name}.json"]
    return ["run", "optimum-limit", *settings, "--device", "cpu", "--threads", 1, *places, *options]


def measurements(profile: Profile) -> dict[str, dict[str, float | tuple[float, ...]]]:
    return {run.run_id: run.measurements for run in profile.runs}


@pytest.mark.slow
def test_a_sweep_from_its_start_to_its_profile_inline_and_in_workers(run_cli: RunCli, tmp_path: Path) -> None:
    inline = run_cli(*arguments(tmp_path, "inline", *INLINE))
    assert inline.returncode == 0, inline.stderr
    assert "\x1b" not in inline.stdout + inline.stderr
    shown = " ".join(inline.stdout.split())
    for words in (
        "optimal value J_L*",
        "differences",
        "Distance between the extended minimizers",
        "attention-tanh",
        "K (L²)",
    ):
        assert words in shown
    profile = read_profile(tmp_path / "inline.json")
    assert check_profile(profile) == []
    assert (profile.study, profile.state) == ("optimum-limit", "complete")
    assert [run.status for run in profile.runs] == ["ok"] * 16
    assert [(fit.network, fit.model, len(fit.shrinking)) for fit in profile.summary.fits] == [
        ("local-tanh", "curve-limit", 2),
        ("attention-tanh", "curve-limit", 2),
    ]
    validated = run_cli("profiles", "validate", tmp_path / "inline.json")
    assert validated.returncode == 0, validated.stderr

    again = run_cli(*arguments(tmp_path, "inline", *INLINE))
    assert again.returncode == 0, again.stderr
    assert "16 of 16 runs are already finished in the run directory" in again.stderr
    assert "Nothing is left" in again.stderr
    assert read_profile(tmp_path / "inline.json") == profile

    local = run_cli(*arguments(tmp_path, "local", "--jobs", 2))
    assert local.returncode == 0, local.stderr
    assert measurements(read_profile(tmp_path / "local.json")) == measurements(profile)
    assert run_cli("compare", tmp_path / "inline.json", tmp_path / "local.json").returncode == 0


def test_runs_are_shared_with_a_sweep_of_more_depths(run_cli: RunCli, tmp_path: Path) -> None:
    small = tuple(change for change in SMALL if not change.startswith(("sweep.depths", "sweep.kernels", "sweep.seeds")))
    axes = ("sweep.kernels=['local']", "sweep.seeds=1")
    first = run_cli(*arguments(tmp_path, "same", *INLINE, changes=(*small, *axes, "sweep.depths=[2]")))
    assert first.returncode == 0, first.stderr
    (known,) = read_profile(tmp_path / "same.json").runs
    other = run_cli(*arguments(tmp_path, "other", *INLINE, changes=(*small, *axes, "sweep.depths=[1, 2, 4, 8]")))
    assert other.returncode == 0, other.stderr
    result = read_profile(tmp_path / "other.json")
    assert measurements(result)[known.run_id] == known.measurements


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sweep.depths=[4, 12]", "12 is not a power of two times minimiser.first_depth = 4"),
        ("objective.weight=0", "greater than 0"),
        ("data.problem=digits", "network.positions = 2: does not fit digits with network.channels = 2"),
        ("train.lr=0.1", "train"),
    ],
)
def test_specs_that_cannot_be_are_exit_code_2(run_cli: RunCli, change: str, message: str) -> None:
    done = run_cli("run", "optimum-limit", "--set", change, "--device", "cpu")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
