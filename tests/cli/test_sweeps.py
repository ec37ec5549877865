"""Whole sweeps as a user runs them: real worker processes, real signals."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

from dnlbench.profiles import Profile, RunRecord, check_profile, read_profile
from tests.cli.conftest import PATIENCE_S
from tests.conftest import TINY, call

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
CheckUndisturbed = Callable[[Profile], None]
Workers = Callable[[int], dict[str, psutil.Process]]


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


def curves(profile: Profile) -> dict[str, list[float]]:
    return {run.run_id: [epoch.train_loss for epoch in run.epochs] for run in profile.runs}


def by_depth(profile: Profile) -> dict[int, RunRecord]:
    return {run.depth: run for run in profile.runs}


SMALL = ("--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]", "--device", "cpu")
INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def three_executions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny sweep's profiles of the inline executor, of one worker and of two."""
    folder = tmp_path_factory.mktemp("three-executions")
    (folder / "tiny.toml").write_text(TINY)
    executions = {"inline": ["--executor", "inline"], "one": ["--jobs", "1"], "two": ["--jobs", "2"]}
    for name, options in executions.items():
        command = ["run", "tiny.toml", *options, "--threads", "1", "--device", "cpu"]
        done = call(folder, *command, "--run-dir", f"rd-{name}", "--out", f"{name}.json")
        assert done.returncode == 0, done.stderr
        assert last_line(done) == f"{name}.json"
    return folder


def test_equal_specs_give_equal_bits_inline_and_locally_with_one_and_two_jobs(
    run_cli: RunCli, three_executions: Path
) -> None:
    results = [read_profile(three_executions / f"{name}.json") for name in ("inline", "one", "two")]
    for profile in results:
        assert profile.state == "complete"
        assert check_profile(profile) == []
        assert [run.status for run in profile.runs] == ["ok"] * 8
        assert curves(profile) == curves(results[0])
    assert run_cli("compare", three_executions / "one.json", three_executions / "two.json").returncode == 0


def test_a_second_start_does_nothing_again_and_another_sweep_is_refused(run_cli: RunCli, spec_file: Path) -> None:
    first = run_cli("run", spec_file, *SMALL, *INLINE, "--json")
    assert first.returncode == 0, first.stderr
    second = run_cli("run", spec_file, *SMALL, *INLINE, "--json")
    assert "2 of 2 runs are already finished in the run directory" in second.stderr
    assert "Nothing is left to train" in second.stderr
    one, two = json.loads(first.stdout), json.loads(second.stdout)
    assert one["run_dir"] == two["run_dir"]
    assert one["summary"] == two["summary"]
    run_dir = spec_file.parent / one["run_dir"]
    third = run_cli("run", spec_file, *SMALL, *INLINE, "--set", "train.lr=0.5", "--run-dir", run_dir)
    assert third.returncode == 2
    assert "already contains a sweep with other settings: train.lr is 0.01 there and 0.5 here" in third.stderr


def test_a_job_may_write_the_same_profile_again(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    command = ("run", spec_file, *SMALL, *INLINE, "--run-dir", "rd", "--out", "p.json")
    (tmp_path / "p.json").touch()  # as mktemp does
    assert "replaced" not in run_cli(*command).stderr
    again = run_cli(*command, "--resume")
    assert again.returncode == 0
    assert "dnlbench: replaced the existing profile p.json\n" in again.stderr


def test_a_profile_that_cannot_be_written_leaves_the_results(
    run_cli: RunCli, tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    command = ("run", spec_file, *SMALL, *INLINE, "--run-dir", "rd", "--out", "p.json", "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr("dnlbench.profiles.files.write_output", full)
        done = run_cli(*command)
    assert done.returncode == 1
    assert done.stderr == (
        "dnlbench: error: could not write p.json: No space left on device. The results are safe in rd; "
        "remove the cause and run the same command again\n"
    )
    assert run_cli(*command).returncode == 0


def test_changed_code_of_a_custom_network_starts_a_new_run_directory(
    run_cli: RunCli, spec_file: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factory's file is as it was; what has changed is a module that it imports."""
    (own.parent / "factory.py").write_text("from changing import gated\n")
    changing = own.rename(own.with_name("changing.py"))
    before, after = changing.read_text(), changing.read_text().replace("16, classes", "16, classes, bias=False")
    arguments = ["run", spec_file, "--set", "sweep.networks=['factory:gated']", *SMALL[2:], *INLINE]

    def run(text: str, *more: str) -> subprocess.CompletedProcess[str]:
        changing.write_text(text)
        for name in ("changing", "factory"):
            monkeypatch.delitem(sys.modules, name, raising=False)  # as in a new process
        return run_cli(*arguments, "--json", *more)

    def outcome(done: subprocess.CompletedProcess[str]) -> tuple[str, int | None]:
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        profile = read_profile(spec_file.parent / answer["profile"])
        assert profile.custom_code.files.keys() == {"changing.py", "factory.py"}
        return answer["run_dir"], profile.runs[0].parameters

    first, parameters = outcome(run(before))
    refused = run(after, "--resume")
    assert refused.returncode == 2
    assert f"{first}-2: no sweep to resume (changing.py changed since the runs in {first}; " in refused.stderr
    done = run(after)
    assert outcome(done) == (f"{first}-2", (parameters or 0) - 10)
    assert f"changing.py changed since the runs in {first}; this sweep uses {first}-2\n" in done.stderr
    assert "Nothing is left to train" in run(after).stderr
    back = run(before)
    assert outcome(back) == (first, parameters)
    assert "Nothing is left to train" in back.stderr
    assert "changed" not in back.stderr
    named = run(after, "--run-dir", first)
    assert named.returncode == 2
    assert f"{first} contains results of other code: changing.py changed since then. Undo the change" in named.stderr


def test_a_sweep_of_another_machine_is_shown_and_saved_but_not_continued(
    run_cli: RunCli, tmp_path: Path, spec_file: Path
) -> None:
    arguments = ["run", spec_file, *SMALL, *INLINE, "--run-dir", "rd"]
    assert run_cli(*arguments, "--out", "own.json").returncode == 0
    own = read_profile(tmp_path / "own.json")
    for name in ("sweep.json", "journal.jsonl"):
        path = tmp_path / "rd" / name
        path.write_text(path.read_text().replace(own.machine.fingerprint, "elsewhere").replace(own.machine.cpu, "M9"))
    refused = run_cli(*arguments, "--set", "sweep.seeds=3")
    assert refused.returncode == 2
    assert f"rd contains a sweep of another machine: M9, {own.machine.cores} core" in refused.stderr
    assert "Run `dnlbench profiles save rd` to save its results" in refused.stderr
    saved = run_cli("profiles", "save", "rd", "-o", "there.json")
    assert (saved.returncode, saved.stdout) == (0, "there.json\n")
    there = read_profile(tmp_path / "there.json")
    assert (there.runs, there.summary) == (own.runs, own.summary)
    assert (there.machine.cpu, there.machine.fingerprint) == ("M9", "elsewhere")
    assert run_cli("profiles", "save", "rd").stdout.startswith("profiles/tiny-")
    assert "machine: M9" in run_cli("profiles", "show", "rd").stdout
    assert run_cli("compare", "own.json", "rd").returncode == 0
    followed = run_cli("attach", "rd", "--plain")
    assert (followed.returncode, "2 of 2 runs ended, 0 of them not ok" in followed.stderr) == (0, True)
    none = run_cli("profiles", "save", ".")
    assert (none.returncode, "not a run directory: it has no sweep.json" in none.stderr) == (2, True)


def test_data_that_were_changed_are_noticed_each_time(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    for name, colour in (("a", 0), ("b", 200)):
        (tmp_path / "img" / "train" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (4, 4), colour + number).save(tmp_path / "img" / "train" / name / f"{number}.png")
    data = ["--set", "data.dataset=image-folder", "--set", "data.limit=8", "--set", "sweep.depths=[1]"]
    arguments = ["run", spec_file, *data, "--device", "cpu", *INLINE, "--run-dir", "rd"]
    first = run_cli(*arguments, "--set", "data.root=img")
    assert first.returncode == 0, first.stderr
    (tmp_path / "img").rename(tmp_path / "moved")
    moved = run_cli(*arguments, "--set", "data.root=moved")
    assert moved.returncode == 0, moved.stderr  # the same data in another place
    Image.new("L", (4, 4), 77).save(tmp_path / "moved" / "train" / "a" / "0.png")
    for _ in range(2):
        done = run_cli(*arguments, "--set", "data.root=moved")
        assert done.returncode == 2
        assert "the training data differ from those of its earlier runs" in done.stderr


def test_evaluation_data_that_were_changed_are_noticed(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    for split in ("train", "test"):
        for name, color in (("a", 0), ("b", 200), (".hidden", 9)):
            (tmp_path / "img" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("L", (4, 4), color + number).save(tmp_path / "img" / split / name / f"{number}.png")
    settings = ("data.dataset=image-folder", "data.root=img", "data.limit=8", "sweep.depths=[1]", "sweep.seeds=1")
    options = [f"--set={setting}" for setting in (*settings, "train.evaluate=true")]
    arguments = ["run", spec_file, *options, "--device", "cpu", *INLINE, "--run-dir", "rd"]
    first = run_cli(*arguments)
    assert first.returncode == 0, first.stderr
    assert "in 2 classes" in first.stderr
    assert f"{tmp_path}/img/test: skipped .hidden (hidden)\n" in first.stderr
    Image.new("L", (4, 4), 77).save(tmp_path / "img" / "test" / "a" / "0.png")
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert "the evaluation data differ from those of its earlier runs" in done.stderr


def test_a_reader_that_leaves_does_not_end_the_sweep(tmp_path: Path, spec_file: Path) -> None:
    small = "--set sweep.depths=[1] --set sweep.seeds=1 --device cpu --executor inline --out out.json"
    command = f"{sys.executable} -m dnlbench run {spec_file} {small} 2>&1 | head -1"
    subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=PATIENCE_S
    )
    assert read_profile(tmp_path / "out.json").state == "complete"


def test_output_is_data_on_stdout_and_narration_on_stderr(run_cli: RunCli, spec_file: Path) -> None:
    done = run_cli("run", spec_file, *SMALL, *INLINE)
    assert "tiny: 2 runs on digits, 150 images of 1×8×8 in 10 classes" in done.stderr
    assert "[2/2] densenet L=1 seed" in done.stderr
    assert "final training loss (nats)" in " ".join(done.stdout.split()) or "training loss" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    quiet = run_cli("run", spec_file, *SMALL, *INLINE, "--quiet")
    assert quiet.stderr == ""
    assert len(quiet.stdout.splitlines()) == 1


@pytest.mark.faults
def test_lost_failed_and_hungry_runs_are_rows_and_do_not_disturb_the_others(
    run_cli: RunCli, tmp_path: Path, spec_file: Path, own: Path
) -> None:
    axes = ["--set", "sweep.networks=['own:incidents']", "--set", "sweep.depths=[1,2,3,4]", "--set", "sweep.seeds=[0]"]
    out = tmp_path / "out.json"
    done = run_cli("run", spec_file, *axes, "--device", "cpu", "--jobs", 1, "--out", out)
    assert done.returncode == 1, done.stderr
    runs = by_depth(read_profile(out))
    assert {depth: run.status for depth, run in runs.items()} == {1: "ok", 2: "failed", 3: "failed", 4: "oom"}
    errors = {depth: run.error for depth, run in runs.items() if run.error}
    assert "was killed by SIGKILL during a run" in errors[2].message
    assert (errors[3].type, errors[3].message) == ("LookupError", "a bug of the user's")
    assert errors[3].log is not None
    assert 'own.py", line' in errors[3].log
    assert "allocate" in errors[4].message
    assert read_profile(out).state == "complete"
    assert "3 of" in done.stdout


def test_a_diverged_run_keeps_its_curve_and_is_not_done_again(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    changes = [*SMALL, *INLINE, "--set", "train.lr=1e30"]
    out = tmp_path / "out.json"
    done = run_cli("run", spec_file, *changes, "--out", out)
    assert done.returncode == 1
    profile = read_profile(out)
    assert {run.status for run in profile.runs} == {"diverged"}
    assert all(run.epochs for run in profile.runs)
    assert "Nothing is left to train" in run_cli("run", spec_file, *changes).stderr


NOWHERE = "cannot be imported: ModuleNotFoundError: No module named 'nowhere'. The traceback is in .dnlbench/runs/tiny-"


@pytest.mark.parametrize(
    ("override", "message", "executor"),
    [
        ("data.dataset=cifar10", "does not contain the complete original files: cifar-10-batches-py/", "inline"),
        ("data.dataset=image-folder", "does not exist", "inline"),
        ("sweep.networks=['nowhere:make']", NOWHERE, "local"),
        ("data.limit=33", "would have a single sample", "inline"),
    ],
)
def test_what_a_worker_finds_wrong_at_the_start_is_exit_code_2(
    run_cli: RunCli, spec_file: Path, override: str, message: str, executor: str
) -> None:
    done = run_cli("run", spec_file, "--set", override, "--device", "cpu", "--executor", executor, "--jobs", "1")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((spec_file.parent / "profiles").glob("*"))


@pytest.mark.faults
def test_a_network_that_ends_its_worker_at_the_start_is_named(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    (tmp_path / "leaving.py").write_text("import os\ndef make(**_):\n    os._exit(3)\n")
    done = run_cli("run", spec_file, "--set", "sweep.networks=['leaving:make']", "--device", "cpu", "--jobs", "1")
    assert done.returncode == 1
    assert re.search(r"the worker process \d+ exited with code 3 before it was ready\. ", done.stderr)
    assert "A custom network may have ended it: leaving:make. Its log: " in done.stderr


def test_the_parent_of_a_sweep_never_imports_torch(tmp_path: Path, spec_file: Path) -> None:
    code = (
        "import sys\nfrom dnlbench.cli.app import main\nsys.argv = ['dnlbench', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    )
    arguments = ["run", spec_file, *SMALL, "--set", "sweep.seeds=1", "--jobs", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


MOVING = """
import os
from pathlib import Path
from torch import nn
class Moving(nn.Sequential):
    def forward(self, x):
        if self.training and self[1].weight.requires_grad and len(x) > 3 and Path(os.environ["MOVED"]).exists():
            Path(os.environ["MOVED"]).rename(os.environ["TO"])
        return super().forward(x)
def moving(depth, input_shape, classes, network):
    return Moving(nn.Flatten(), nn.Linear(64, classes))
def elsewhere(depth, input_shape, classes, network):
    os.chdir("/")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
IN_RD = (*INLINE, "--device", "cpu", "--run-dir", "rd", "--out", "out.json", "--set", "sweep.depths=[1]")


def test_a_run_directory_that_is_renamed_in_mid_sweep_ends_it(run_cli: RunCli, tmp_path: Path, spec_file: Path) -> None:
    (tmp_path / "moves.py").write_text(MOVING)
    to = tmp_path / "kept"
    done = run_cli(
        *("run", spec_file, *IN_RD, "--set", "sweep.networks=['moves:moving']"),
        MOVED=str(tmp_path / "rd"),
        TO=str(to),
    )
    assert done.returncode == 1
    assert "dnlbench: error: The run directory rd was renamed to " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rd").exists()
    assert not (tmp_path / "out.json").exists()
    events = [path.read_bytes() for path in to.glob("runs/*/events.jsonl")]
    assert events
    assert not any(b"run-ended" in lines for lines in events), "they can be resumed"


def test_a_network_that_changes_the_current_folder_loses_nothing(
    run_cli: RunCli, tmp_path: Path, spec_file: Path
) -> None:
    (tmp_path / "moves.py").write_text(MOVING)
    done = run_cli("run", spec_file, *IN_RD, "--set", "sweep.networks=['moves:elsewhere']")
    assert done.returncode == 0, done.stderr
    assert {run.status for run in read_profile(tmp_path / "out.json").runs} == {"ok"}
    assert len(list((tmp_path / "rd").glob("runs/*/checkpoint.pt"))) == 2


# Signals


@pytest.mark.faults
def test_an_interrupted_sweep_saves_what_it_has_and_goes_on(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    sweep.turn_until(lambda view: view.ended)
    engine.send_signal(signal.SIGINT)
    sweep.gate.turn()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert "to continue, run the same command with --resume" in stderr
    partial = sweep.profile(stdout)
    assert partial.state == "partial"
    done_before = {run.run_id: run for run in partial.runs if run.status == "ok"}
    assert 1 <= len(done_before) < 4
    sweep.gate.open()
    resumed = sweep.run("--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{len(done_before)} of 4 runs are already finished in the run directory" in resumed.stderr
    complete = sweep.profile(resumed.stdout)
    assert complete.state == "complete"
    assert [run.status for run in complete.runs] == ["ok"] * 4
    assert done_before.items() <= {run.run_id: run for run in complete.runs}.items()
    check_undisturbed(complete)


@pytest.mark.faults
def test_a_request_to_end_is_an_interrupt_and_a_second_one_ends_at_once(
    make_sweep: MakeSweep, workers: Workers
) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    sweep.turn_until(lambda view: view.ended)
    left = list(workers(engine.pid).values())
    engine.send_signal(signal.SIGTERM)
    engine.send_signal(signal.SIGTERM)
    _, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(left, timeout=PATIENCE_S)[1]
    for path in (sweep.folder / "profiles").glob("*.json"):
        assert check_profile(read_profile(path)) == []


@pytest.mark.faults
def test_workers_do_not_outlive_an_engine_that_is_killed(make_sweep: MakeSweep, workers: Workers) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    sweep.wait_until_busy()
    left = list(workers(engine.pid).values())
    assert len(left) == 2
    engine.kill()
    engine.communicate()
    assert not psutil.wait_procs(left, timeout=PATIENCE_S)[1]


@pytest.mark.faults
def test_a_second_engine_on_the_same_sweep_is_refused(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    sweep.wait_until_busy()
    assert f"in use by another engine, process {engine.pid}" in sweep.refusal(*sweep.arguments)
