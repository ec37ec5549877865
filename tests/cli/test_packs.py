"""Packs as a user runs them: real worker processes that train several runs each, and are killed."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dnlbench.events import RunLeased, RunReturned, RunStarted
from dnlbench.files import read_lines
from dnlbench.profiles import Profile, read_profile
from dnlbench.store import RunDir
from tests.cli.conftest import PATIENCE_S

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep, Sweep

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
Workers = Callable[[int], dict[str, psutil.Process]]

SHY = """
from pathlib import Path
import torch
from torch import nn

class Shy(nn.Sequential):
    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 3 and not Path("failed").exists():
            Path("failed").touch()
            print("a word before it fails")
            raise LookupError("no room for two")
        return super().forward(x)

def shy(depth, input_shape, classes, network):
    return Shy(nn.Flatten(), nn.Linear(64, classes))
"""
"""A network that fails the first time, which is in a pack."""


def packs(run_dir: RunDir) -> list[set[str]]:
    """Return the runs that a slot got at the same time."""
    result: dict[tuple[str, float], set[str]] = {}
    for event in run_dir.read_journal():
        if isinstance(event, RunLeased):
            result.setdefault((event.slot, event.time), set()).add(event.run_id)
    return list(result.values())


def test_a_sweep_in_packs(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    """The profile and the run directory of a sweep, and a function for further runs."""
    options = ["run", spec_file, "--device", "cpu", "--executor", "inline", "--threads", "1", "--set", "sweep.seeds=3"]
    done = run_cli(*options, "--pack", "2", "--run-dir", "rd", "--out", "packs.json")
    assert done.returncode == 0, done.stderr
    assert "packs of up to 2 runs at a time on cpu" in done.stderr or "1 pack of up to 2 runs" in done.stderr
    profile = read_profile(tmp_path / "packs.json")
    assert Counter((run.status, run.pack_size) for run in profile.runs) == {("ok", 2): 8, ("ok", 1): 4}
    run_dir = RunDir(tmp_path / "rd")
    assert run_dir.read_execution().pack_size == 2
    assert sorted(map(len, packs(run_dir))) == [1] * 4 + [2] * 4

    more = [*options, "--set", "train.epochs=3", "--run-dir", "rd"]
    refused = run_cli(*more, "--pack", "off")
    assert refused.returncode == 2
    assert "the pack size is 2 there and 1 here" in refused.stderr
    again = run_cli(*more, "--resume", "--out", "again.json")
    assert again.returncode == 0, again.stderr
    assert Counter(run.pack_size for run in read_profile(tmp_path / "again.json").runs) == {2: 8, 1: 4}


def test_each_pack_size_has_a_run_directory_of_its_own(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    options = ["run", spec_file, "--device", "cpu", "--executor", "inline"]
    options += ["--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]"]
    for pack in ("off", "1", "2"):
        done = run_cli(*options, "--pack", pack)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / ".dnlbench" / "runs").iterdir())) == 2, "off is a pack of one"


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.5", "two", "", "²", "99999x", pytest.param("1" * 5000, id="5000 digits")]
)
def test_a_pack_that_is_no_number_is_refused(run_cli: RunCli, spec_file: Path, value: str) -> None:
    done = run_cli("run", spec_file, f"--pack={value}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"dnlbench: error: --pack {value}: write a whole number from 1 to 4096, auto or off\n"


def test_studies_whose_runs_go_alone_refuse_packs(run_cli: RunCli) -> None:
    done = run_cli("run", "forward-limit", "--pack", "4")
    assert done.returncode == 2
    assert done.stderr == (
        "dnlbench: error: --pack 4: runs of the study 'forward-limit' cannot train together; choose --pack off\n"
    )


def start(sweep: Sweep, *options: str) -> subprocess.Popen[str]:
    return sweep.start(*sweep.arguments, *options)


def members_under_way(sweep: Sweep) -> dict[str, int]:
    """Epochs of what the only slot has."""
    view = sweep.view()
    return {run_id: len(view.histories[run_id].epochs) for run_id in view.leased}


@pytest.mark.faults
def test_runs_of_a_killed_worker_go_on_one_by_one(make_sweep: MakeSweep, workers: Workers) -> None:
    sweep = make_sweep(seeds=2)
    engine = start(sweep, "--pack", "2")
    sweep.turn_until(lambda view: any(view.histories[run_id].epochs for run_id in view.leased))
    (worker,) = workers(engine.pid).values()
    before = members_under_way(sweep)
    assert len(before) == 2
    # an epoch's event is there before its checkpoint is; by the next one it is for certain
    sweep.turn_until(lambda view: all(len(view.histories[run_id].epochs) > epochs for run_id, epochs in before.items()))
    worker.send_signal(signal.SIGKILL)
    sweep.gate.open()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, stderr
    assert stderr.count("own:gated L=1 seeds 0–1: will be retried: the worker process") == 1
    profile = sweep.profile(stdout)
    assert [(run.status, run.pack_size) for run in profile.runs] == [("ok", 1)] * 2
    assert sorted(map(len, packs(sweep.run_dir))) == [1, 1, 2]
    for run_id, epochs in before.items():
        words = sweep.run_dir.parse_events(run_id, read_lines(sweep.run_dir.events_path(run_id)))
        started = [event for event in words if isinstance(event, RunStarted)]
        assert [event.pack_size for event in started] in ([2, 1], [1]), (
            "it may have been killed before it started this one"
        )
        assert started[-1].from_epoch >= epochs


@pytest.mark.faults
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_runs_that_do_not_go_together_are_done_one_by_one(
    tmp_path: Path, run_process: RunCli, spec_file: Path, executor: str
) -> None:
    """And what they printed together is found with each of them."""
    (tmp_path / "own.py").write_text(SHY)
    options = ["--set", "sweep.networks=['own:shy']", "--set", "sweep.depths=[1]", "--device", "cpu"]
    options += ["--executor", executor, "--pack", "2", "--run-dir", "rd", "--out", "out.json"]
    done = run_process("run", spec_file, *options)
    assert done.returncode == 0, done.stderr
    cause = "own:shy L=1 seeds 0–1 cannot train together: LookupError: no room for two"
    assert done.stderr.count(f"own:shy L=1 seeds 0–1: will be retried: {cause}") == 1
    profile = read_profile(tmp_path / "out.json")
    assert [(run.status, run.pack_size) for run in profile.runs] == [("ok", 1)] * 2
    run_dir = RunDir(tmp_path / "rd")
    returned = [event for event in run_dir.read_journal() if isinstance(event, RunReturned)]
    assert len(returned) == 2
    for event in returned:
        path = run_dir.log_path(event.run_id, event.attempt)
        log = path.read_text()
        assert ("a word before it fails" in log) == (executor == "local")
        assert log.count("LookupError: no room for two") == 1


@pytest.mark.faults
def test_a_run_of_a_pack_is_cancelled_by_its_name(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(seeds=3)
    engine = start(sweep, "--pack", "3")
    view = sweep.wait_until(lambda view: any(view.histories[run_id].started for run_id in view.leased))
    assert [[run.seed for run in job] for job in view.jobs.values()] == [[0, 1, 2]]
    cancelled = view.plan.runs[1].run_id
    assert sweep.control("cancel", cancelled) == "cancelled: own:gated L=1 seed 1"
    sweep.gate.open()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 1, stderr
    profile: Profile = sweep.profile(stdout)
    assert [run.status for run in profile.runs] == ["ok", "cancelled", "ok"]
    assert [run.pack_size for run in profile.runs if run.status == "ok"] == [2, 2]
    assert sorted(map(len, packs(sweep.run_dir))) == [2, 3]
