"""Diagnosing finished sweeps as a user does, from their run directories and from profiles with weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dnlbench.diagnosis import execute
from dnlbench.executor import weights
from dnlbench.machine import Slot
from dnlbench.profiles import Profile, check_profile, read_profile, save_profile
from dnlbench.runners.training.diagnose import diagnose_all
from dnlbench.runners.training.weights import keep_all

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

RUN = ("--device", "cpu", "--executor", "inline", "--threads", "1", "--quiet", "--run-dir", "rd")
SMALL = ("--samples", "40", "--quiet")


def ask_here(function: str, question: Mapping[str, Any], slot: Slot) -> Iterator[dict[str, Any]]:
    """`dnlbench.executor.processes.call` without its process."""
    work = {weights.FUNCTION: keep_all, execute.FUNCTION: diagnose_all}[function]
    for part in work(json.loads(json.dumps(question))):
        yield json.loads(json.dumps(part))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute values that need torch in this process, which has imported it."""
    for asking in (execute, weights):
        monkeypatch.setattr(asking, "call", ask_here)


def diagnosed(run_cli: RunCli, source: str, *options: str) -> dict[str, Any]:
    done = run_cli("diagnose", source, *SMALL, "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def without_source(diagnosis: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in diagnosis.items() if key != "source"}


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def kept(run_cli: RunCli, spec_file: Path) -> Callable[..., None]:
    """Trains and saves ``kept.json`` with its weights."""

    def run(*options: str) -> None:
        done = run_cli("run", spec_file, *RUN, "--pack", "2", "--out", "kept.json", "--keep-weights", *options)
        assert (done.returncode, done.stderr) == (0, "")

    return run


def test_run_directory_and_kept_weights_say_the_same(
    run_cli: RunCli, kept: Callable[..., None], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Cover packs, all formats, and the messages for damaged and missing weights."""
    kept()
    profile = read_profile(tmp_path / "kept.json")
    files = {path.stem: path for path in (tmp_path / "kept.weights").iterdir()}
    assert check_profile(profile) == []
    assert {run.run_id for run in profile.runs} == set(files)
    assert {run.pack_size for run in profile.runs} == {2}

    of_checkpoints = diagnosed(run_cli, "rd")  # by a process
    request.getfixturevalue("in_this_process")
    of_weights = diagnosed(run_cli, "kept.json")
    assert without_source(of_checkpoints) == without_source(of_weights)
    assert (len(of_weights["runs"]), of_weights["samples"], of_weights["left_out"]) == (8, 40, [])
    assert set(of_weights["findings"]) == {"densenet", "dense-gaussian"}

    table = run_cli("diagnose", "kept.json", *SMALL)
    assert "densenet by depth" in table.stdout
    assert "dense-gaussian L=2, layer by layer" in table.stdout
    markdown = run_cli("diagnose", "kept.json", *SMALL, "--format", "markdown", "-o", "d.md")
    assert (markdown.returncode, markdown.stdout) == (0, "")
    assert "**densenet by depth**" in (tmp_path / "d.md").read_text()
    rows = run_cli("diagnose", "kept.json", *SMALL, "--format", "csv").stdout.splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"densenet", "dense-gaussian"}

    first, second, *others = files.values()
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    done = run_cli("diagnose", "kept.json", *SMALL, "--format", "json")
    assert done.returncode == 1
    assert f"{first.stem}: kept.weights/{first.name} is damaged or from another sweep" in done.stderr
    assert f"{second.stem}: kept.weights/{second.name} cannot be read" in done.stderr
    assert len(json.loads(done.stdout)["runs"]) == 6
    for path in others:
        path.unlink()
    message = refused(run_cli("diagnose", "kept.json", *SMALL))
    assert "no run can be diagnosed" in message
    assert "run the sweep again with --keep-weights" in message

    other = run_cli("diagnose", "rd", *SMALL, "--device", "cuda:9")
    assert "--device cuda:9" in refused(other)


@pytest.mark.usefixtures("in_this_process")
def test_sweeps_that_go_on_fail_or_lose_their_checkpoints(run_cli: RunCli, spec_file: Path, tmp_path: Path) -> None:
    """A finished one that is resumed for its weights alone, one with more epochs, and checkpoints that were deleted."""
    only = ("--set", "sweep.networks=['densenet']", "--set", "sweep.seeds=[0]")
    first = run_cli("run", spec_file, *RUN, *only, "--out", "first.json")
    assert first.returncode == 0, first.stderr
    assert all(run.weights_sha256 is None for run in read_profile(tmp_path / "first.json").runs)
    message = refused(run_cli("diagnose", "first.json", *SMALL))
    assert "its weights were not kept" in message
    assert "Pass the sweep's run directory instead" in message

    events = {path: path.read_bytes() for path in tmp_path.glob("rd/runs/*/events.jsonl")}
    again = run_cli("run", spec_file, *RUN, *only, "--resume", "--out", "again.json", "--keep-weights")
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in events} == events  # nothing was trained anew
    before = without_source(diagnosed(run_cli, "again.json"))

    more = run_cli("run", spec_file, *RUN, *only, "--set", "train.epochs=3", "--out", "more.json", "--keep-weights")
    assert more.returncode == 0, more.stderr
    assert without_source(diagnosed(run_cli, "again.json")) == before  # each profile has weights of its own
    assert without_source(diagnosed(run_cli, "more.json")) != before

    fewer = run_cli("run", spec_file, *RUN, *only, "--out", "fewer.json", "--keep-weights")
    assert fewer.returncode == 0
    assert "the weights of 2 runs could not be saved: " in fewer.stderr
    assert "checkpoint.pt is from 3 epochs; expected 2 epochs" in fewer.stderr
    message = refused(run_cli("diagnose", "rd", *SMALL))
    assert "is from 3 epochs; expected 2 epochs" in message

    for path in tmp_path.glob("rd/runs/*/checkpoint.pt*"):
        path.unlink()
    message = refused(run_cli("diagnose", "rd", *SMALL))
    assert "checkpoint.pt does not exist" in message
    assert "train it again in another --run-dir" in message


@pytest.mark.usefixtures("in_this_process")
def test_runs_that_failed_and_networks_of_ones_own_are_left_out(
    run_cli: RunCli, spec_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing_in_training.py").write_text(  # it stays imported
        "from torch import nn\n"
        "class Failing(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if self.training and len(x) > 3: raise LookupError('a bug')\n"
        "        return super().forward(x)\n"
        "def network(depth, input_shape, classes, network):\n"
        "    return (nn.Sequential if depth == 1 else Failing)(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    only = ("--set", "sweep.networks=['plain', 'failing_in_training:network']", "--set", "sweep.seeds=[0]")
    done = run_cli("run", spec_file, *RUN, *only, "--out", "p.json", "--keep-weights")
    assert done.returncode == 1
    assert len(list((tmp_path / "p.weights").iterdir())) == 3
    for source in ("rd", "p.json"):
        result = run_cli("diagnose", source, *SMALL, "--format", "json")
        assert result.returncode == 1
        content = json.loads(result.stdout)
        assert [run["network"] for run in content["runs"]] == ["plain", "plain"]
        reasons = {left["reason"] for left in content["left_out"]}
        assert reasons == {
            "ended as failed",
            "failing_in_training:network is a custom network, whose blocks and states are unknown",
        }


@pytest.mark.usefixtures("in_this_process")
def test_what_has_no_trained_networks_is_refused(
    run_cli: RunCli, spec_file: Path, tmp_path: Path, make_profile: Callable[..., Profile]
) -> None:
    limit = ("--set", "sweep.depths=[4, 8]", "--set", "sweep.seeds=1", "--set", "sweep.kernels=['local']")
    done = run_cli("run", "forward-limit", *RUN, *limit, "--out", "limit.json")
    assert done.returncode == 0, done.stderr
    for source in ("rd", "limit.json"):
        message = refused(run_cli("diagnose", source))
        assert "'forward-limit' trains no image networks; diagnose needs study 'training'" in message
    message = refused(run_cli("run", "forward-limit", *RUN, *limit, "--keep-weights"))
    assert "--keep-weights: runs of the study 'forward-limit' have no weights" in message

    plain = make_profile({("plain", 1): [0.5]})
    spec = {**plain.spec, "sweep": {**plain.spec["sweep"], "grid": {"train.lr": [0.1, 0.2]}}}
    (tmp_path / "grid.json").write_bytes(plain.model_copy(update={"spec": spec}).to_json())
    assert "its sweep has a grid over train.lr" in refused(run_cli("diagnose", "grid.json"))

    assert "not a run directory" in refused(run_cli("diagnose", "."))
    assert "none.json: cannot be read" in refused(run_cli("diagnose", "none.json"))
    other = make_profile({("plain", 1): [0.5]})
    runs = tuple(run.model_copy(update={"weights_sha256": "0" * 64}) for run in other.runs)
    (tmp_path / "other.json").write_bytes(other.model_copy(update={"runs": runs}).to_json())
    assert "the data have changed since the sweep" in refused(run_cli("diagnose", "other.json"))


@pytest.mark.usefixtures("in_this_process")
def test_a_sweep_that_was_killed_is_diagnosed_as_far_as_it_came(
    run_cli: RunCli, spec_file: Path, tmp_path: Path
) -> None:
    """Leave the files of a killed engine: a run in mid-training, with a checkpoint but without an end."""
    only = ("--set", "sweep.networks=['densenet']", "--set", "sweep.seeds=[0]")
    assert run_cli("run", spec_file, *RUN, *only, "--out", "p.json").returncode == 0
    complete = diagnosed(run_cli, "rd")
    cut = next(tmp_path.glob("rd/runs/densenet-L1-*/events.jsonl"))
    lines = cut.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(lines[:-1]) + lines[-1][:-7])  # its last event is torn
    result = diagnosed(run_cli, "rd")
    assert result["runs"] == [run for run in complete["runs"] if run["depth"] == 2]
    (left_out,) = result["left_out"]
    assert left_out["reason"] == "has not finished"

    again = run_cli("run", spec_file, *RUN, *only, "--resume", "--out", "p.json", "--keep-weights")
    assert again.returncode == 0, again.stderr
    assert diagnosed(run_cli, "p.json")["runs"] == complete["runs"]


def test_code_that_a_profile_names_is_not_executed(
    run_cli: RunCli, make_profile: Callable[..., Profile], tmp_path: Path
) -> None:
    (tmp_path / "evil.py").write_text("open('executed', 'w')\n")
    profile = make_profile({("evil:net", 1): [0.5]})
    spec = {**profile.spec, "sweep": {**profile.spec["sweep"], "networks": ["evil:net"]}}
    runs = tuple(run.model_copy(update={"weights_sha256": "0" * 64}) for run in profile.runs)
    save_profile(profile.model_copy(update={"spec": spec, "runs": runs}), tmp_path / "p.json")
    done = run_cli("diagnose", "p.json", *SMALL)
    assert done.returncode == 2
    assert "evil:net" in done.stderr
    assert not (tmp_path / "executed").exists()


def test_no_weights_are_read_from_another_folder(
    run_cli: RunCli, make_profile: Callable[..., Profile], tmp_path: Path
) -> None:
    content = json.loads(make_profile({("densenet", 1): [0.5]}).to_json())
    content["runs"][0] |= {"run_id": "../z/x", "weights_sha256": "0" * 64}
    (tmp_path / "p.json").write_text(json.dumps(content))
    assert "runs.0.run_id = '../z/x': not a file name" in refused(run_cli("diagnose", "p.json", *SMALL))
