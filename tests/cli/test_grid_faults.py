"""Sweeps with a grid that are disturbed and extended: what holds for a sweep of one setting holds for several."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dnlbench.profiles import Profile, read_profile
from tests.cli.conftest import PATIENCE_S

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep, RunCli

CheckUndisturbed = Callable[[Profile], None]
Workers = Callable[[int], dict[str, psutil.Process]]
GRID = "train.lr=0.01,0.03"
INLINE = ("--device", "cpu", "--executor", "inline", "--threads", "1", "--run-dir", "rd")
SMALL = ("--set", "sweep.networks=densenet", "--depths", "1", "--seeds", "1")


@pytest.mark.faults
def test_a_grid_survives_killed_workers_and_engines_pauses_and_interrupts(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers
) -> None:
    sweep = make_sweep(seeds=2, grid=GRID)
    engine = sweep.start()
    first = sweep.wait_until_busy()
    assert {run_id.split("-")[3] for run_id in first.values()} <= {"lr0.01", "lr0.03"}
    workers(engine.pid)["cpu/0"].kill()
    sweep.wait_until_busy()
    sweep.control("pause", first["cpu/1"])
    sweep.turn_until(lambda view: first["cpu/1"] not in view.leased)
    sweep.control("resume", first["cpu/1"])
    sweep.wait_until_busy()
    engine.kill()
    engine.communicate()
    with sweep.run_dir.journal_path.open("ab") as journal:
        journal.write(b'{"time":17')  # a torn line

    engine = sweep.start(*sweep.arguments, "--resume")
    sweep.turn_until(lambda view: view.ended)
    assert str(engine.pid) in sweep.refusal(*sweep.arguments)
    engine.send_signal(signal.SIGINT)
    sweep.gate.turn()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert sweep.profile(stdout).state == "partial"

    sweep.gate.open()
    last = sweep.run("--resume")
    assert last.returncode == 0, last.stderr
    profile = sweep.profile(last.stdout)
    assert profile.state == "complete"
    assert [(run.settings["train.lr"], run.seed) for run in profile.runs] == [
        (lr, s) for lr in (0.01, 0.03) for s in (0, 1)
    ]
    check_undisturbed(profile)


def test_an_extended_grid_trains_only_what_is_missing(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    def run(grid: str, *options: str) -> Profile:
        done = run_cli("run", spec_file, *SMALL, *INLINE, "--grid", f"train.lr={grid}", *options, "--out", "out.json")
        assert done.returncode == 0, done.stderr
        return read_profile(tmp_path / "out.json")

    two = run("0.01,0.03")
    three = run("0.01,0.03,0.1", "--extend")
    assert [run.settings["train.lr"] for run in three.runs] == [0.01, 0.03, 0.1]
    assert three.runs[:2] == two.runs
    assert [len(run.attempts) for run in three.runs] == [1, 1, 1]
    assert run("0.03", "--extend").runs == three.runs[1:2]


def test_a_value_that_diverges_leaves_the_others(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    done = run_cli("run", spec_file, *SMALL, *INLINE, "--grid", "train.lr=0.01,1e30", "--out", "out.json")
    assert done.returncode == 1
    statuses = {run.settings["train.lr"]: run.status for run in read_profile(tmp_path / "out.json").runs}
    assert statuses == {0.01: "ok", 1e30: "diverged"}
