"""Decisions of sessions about runs and results, through the commands, with fake engines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dnlbench.errors import NotComparableError
from dnlbench.noise import NoiseFile
from dnlbench.paired.session import Session, run_session
from dnlbench.plan import Plan
from dnlbench.profiles import read_profile
from dnlbench.store import RunDir

if TYPE_CHECKING:
    from tests.paired.conftest import MadeUp

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLOWER = ("--against-set", "train.lr=0.001")


@pytest.fixture
def run(run_cli: Run, spec_file: Path) -> Run:
    """``dnlbench run`` of a small sweep of one network and depth; later settings count."""
    small = ("--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]")
    common = ("--device", "cpu", "--run-dir", "rd", "--out", "out.json")
    return lambda *options: run_cli("run", spec_file, *small, *common, *options)


def test_other_settings_alone_make_a_base(made_up: MadeUp, run: Run, tmp_path: Path) -> None:
    done = run(*SLOWER, "--out-base", "slow.json", "--json")
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    head, base = (read_profile(tmp_path / message[role]) for role in ("profile", "base_profile"))
    assert head.interleaved == base.interleaved is not None
    assert message["base_profile"] == "slow.json"
    differences = {difference["what"]: difference for difference in message["comparisons"][0]["differences"]}
    assert (differences["spec train.lr"]["reference"], differences["spec train.lr"]["candidate"]) == ("0.001", "0.01")
    assert "gate" not in message


@pytest.mark.parametrize(
    ("jobs", "groups"),
    [
        (1, [("base", [0]), ("head", [0]), ("head", [1]), ("base", [1])]),
        (2, [("base", [0, 1]), ("head", [0, 1]), ("head", [2, 3]), ("base", [2, 3])]),
    ],
)
def test_runs_of_one_side_go_side_by_side_where_that_is_asked_for(
    made_up: MadeUp, run: Run, jobs: int, groups: list[tuple[str, list[int]]]
) -> None:
    assert run(*SLOWER, "--set", f"sweep.seeds={2 * jobs}", "--jobs", jobs).returncode == 0
    assert made_up.groups == groups


def test_sides_of_different_data_are_not_trained(made_up: MadeUp, run: Run, tmp_path: Path) -> None:
    made_up.data["base"] = "other"
    profiles = [tmp_path / name for name in ("out.json", "out-base.json")]
    good = '{"schema": "dnlbench.profile/1", "name": "good"}'
    for profile in profiles:
        profile.write_text(good)
    done = run("--against-set", "data.limit=100")
    assert done.returncode == 5
    assert "their training splits differ; nothing was trained" in done.stderr
    assert "head: a/Thumbs.db is left out" in done.stderr
    assert [profile.read_text() for profile in profiles] == [good, good]
    assert all(RunDir(tmp_path / name).sweep_path.exists() for name in ("rd", "rd-base"))
    assert made_up.groups == []


def test_sides_that_turn_out_to_have_no_runs_in_common_are_not_trained(
    made_up: MadeUp, make_session: Callable[[Plan], Session], make_plan: Callable[..., Plan]
) -> None:
    """With another interpreter, only the engine of the base knows its runs."""
    asked = replace(make_session(make_plan()), base_settings=("sweep.depths=[7]",))
    with pytest.raises(NotComparableError, match="no network, depth and seed in common"):
        run_session(asked, lambda message: None)
    assert made_up.groups == []


def test_one_seed_cannot_decide(made_up: MadeUp, run: Run) -> None:
    options = ["--set", "sweep.seeds=1", "--fail-on", "throughput:5%", "--inconclusive", "fail", "--json"]
    done = run(*SLOWER, *options)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["gate"]["outcome"] == "inconclusive"


def test_runs_that_fail_on_the_base_are_told_and_those_of_the_head_are_a_regression(
    made_up: MadeUp, run: Run, tmp_path: Path
) -> None:
    made_up.failing = "base"
    done = run(*SLOWER, "--fail-on", "failed")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "out.json"
    assert [run.status for run in read_profile(tmp_path / "out.json").runs] == ["ok"] * 2
    assert [run.status for run in read_profile(tmp_path / "out-base.json").runs] == ["failed"] * 2
    made_up.failing = "head"
    assert run(*SLOWER, "--fail-on", "failed", "--run-dir", "other").returncode == 3


def test_calibration_has_as_many_rounds_as_asked_for(
    made_up: MadeUp, run_cli: Run, tmp_path: Path, spec_file: Path
) -> None:
    made_up.rates["head"] = 990.0
    small = ["--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]", "--device", "cpu"]
    done = run_cli("calibrate", spec_file, "--rounds", "2", *small, "--json")
    assert done.returncode == 0, done.stderr
    floor = json.loads(done.stdout)["floor"]
    assert (floor["rounds"], floor["networks"], floor["threads"]) == (2, ["densenet"], 1)
    assert floor["floors"]["samples_per_s"] > floor["floors"]["peak_memory_bytes"] == 0.0
    assert len(made_up.groups) == 2 * 2 * 2  # rounds, sides and seeds
    assert [path.name for path in tmp_path.iterdir()] == [spec_file.name]  # nothing is left of its rounds


def test_a_calibration_that_failed_is_not_remembered(made_up: MadeUp, run_cli: Run, spec_file: Path) -> None:
    made_up.failing = "head"
    done = run_cli("calibrate", spec_file, "--rounds", "1", "--device", "cpu")
    assert done.returncode == 1
    assert "Made: made up\nsecond line. Without its runs there is no noise floor" in done.stderr
    assert not NoiseFile().path.exists()
