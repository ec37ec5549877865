"""Paired benchmarks as users run them: other interpreters, real engines, real signals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

import dnlbench
from dnlbench.events import RunLeased
from dnlbench.paired.interpreter import find_interpreter
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile, read_profile
from dnlbench.spec import read_spec
from dnlbench.store import Execution, RunDir
from tests.cli.conftest import PATIENCE_S, Gate

PACKAGE = Path(dnlbench.__file__).parent
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
Refused = Callable[..., str]
Edit = tuple[str, str, str]
"""A file of the package, what is in it once, and what is there instead."""
MakeEnvironment = Callable[..., Path]
WaitUntil = Callable[[Callable[[], object]], None]

VERSION: Edit = ("__init__.py", f'__version__ = "{dnlbench.__version__}"', '__version__ = "0.0.7"')
NO_KEY: Edit = ("studies/training/spec.py", "    evaluate: bool = False\n", "    evaluated: bool = False\n")
OTHER_SETTINGS = ("--against", sys.executable, "--against-set", "train.lr=0.5")
ITSELF = "would compare the sweep with itself"
WAY = ("--device", "cpu", "--run-dir", "rd", "--out", "out.json")
SESSION_S = 2 * PATIENCE_S
"""Time after which a session counts as hanging, in seconds."""


def epochs_take(seconds: float) -> Edit:
    """A clock that says so, however fast the machine is and whatever else it does."""
    return ("runners/training/progress.py", "return time.perf_counter() - self._started", f"return {seconds}")


class Bench:
    """A folder with gated networks and a spec of them, and dnlbench in it by any interpreter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = Gate(folder / ".gate")
        self.gate.open()
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *options: object, python: Path | None = None) -> subprocess.Popen[str]:
        """``dnlbench run`` of the spec: two depths and two seeds of 150 samples in batches of 32."""
        here = {"PYTHONPATH": str(PACKAGE.parent)} if python is None else {}  # which no other environment may heed
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        small = ("--set", "sweep.networks=['own:gated']", "--set", "train.epochs=1")
        process = subprocess.Popen(
            [
                *(str(python or sys.executable), *(["-P"] if python else []), "-m", "dnlbench", "run", "tiny.toml"),
                *(*small, *WAY, "--checkpoint-every", "1000", *map(str, options)),
            ],
            cwd=self.folder,
            env={**kept, **here, "GATE": str(self.gate.path), "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *options: object, python: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The same, waited for."""
        process = self.start(*options, python=python)
        out, err = process.communicate(timeout=SESSION_S)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def run_dirs(self) -> tuple[RunDir, RunDir]:
        """Head and base."""
        return RunDir(self.folder / "rd"), RunDir(self.folder / "rd-base")

    def profiles(self) -> tuple[Profile, Profile]:
        """Head's and base's."""
        results = read_profile(self.folder / "out.json"), read_profile(self.folder / "out-base.json")
        assert [check_profile(profile) for profile in results] == [[], []]
        return results

    def count(self, event: str) -> tuple[int, int]:
        """Such events of the head's runs and of the base's."""
        head, base = (
            sum(path.read_bytes().count(f'"{event}"'.encode()) for path in run_dir.root.glob("runs/*/events.jsonl"))
            for run_dir in self.run_dirs
        )
        return head, base

    def turning(self, condition: Callable[[], object]) -> Callable[[], bool]:
        """A condition that has the networks make a step whenever it has not come about."""

        def has_come() -> bool:
            if condition():
                return True
            self.gate.turn()
            return False

        return has_come

    def intervals(self) -> list[tuple[float, float, tuple[int, int], str]]:
        """Return lease and end, depth and seed, and role of each run that a worker trained, in order."""
        return sorted(
            (*span, name) for run_dir, name in zip(self.run_dirs, "hb", strict=True) for span in spans(run_dir)
        )

    def clean_up(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


def spans(run_dir: RunDir) -> list[tuple[float, float, tuple[int, int]]]:
    """Return the time from lease to end of each run that a worker trained, from journal and events."""
    runs, results = run_dir.read_plan().by_id, []
    for lease in (event for event in run_dir.read_journal() if isinstance(event, RunLeased)):
        run = runs[lease.run_id]
        ended = run_dir.read_history(run).ended
        assert ended is not None
        results.append((lease.time, ended.time, (run.point.depth, run.seed)))
    return results


@pytest.fixture
def bench(tmp_path: Path, spec_file: Path, own: Path) -> Iterator[Bench]:
    """A bench of which nothing is left at work after the test."""
    session = Bench(tmp_path)
    yield session
    session.clean_up()


@pytest.fixture
def refused(run_cli: RunCli, spec_file: Path, tmp_path: Path) -> Refused:
    """Return the error of a ``dnlbench run`` that is rejected before it does anything."""

    def run(*options: object) -> str:
        done = run_cli("run", spec_file, *WAY, *options)
        assert done.returncode == 2
        assert not list(tmp_path.glob("rd*/runs"))
        return done.stderr

    return run


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, which environments link to."""
    copy = tmp_path_factory.mktemp("package") / "dnlbench"
    return shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="module")
def make_environment(tmp_path_factory: pytest.TempPathFactory, package: Path) -> MakeEnvironment:
    """A virtual environment with an edited copy of dnlbench, and the packages of this one; its interpreter."""

    def make(*edits: Edit) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        library = folder / "lib-of-its-own"
        shutil.copytree(package, library / "dnlbench", copy_function=os.link)
        for file, before, after in edits:
            path = library / "dnlbench" / file
            text = path.read_text()
            assert text.count(before) == 1
            path.unlink()
            path.write_text(text.replace(before, after))
        python = bare_environment(folder / "venv")
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        folders = dict.fromkeys([str(library), *(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))])
        (site / "packages.pth").write_text("".join(f"{path}\n" for path in folders))
        return python

    return make


def bare_environment(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def other(make_environment: MakeEnvironment) -> Path:
    """An environment whose dnlbench says that it is another version, and that an epoch takes a second."""
    return make_environment(VERSION, epochs_take(1.0))


@pytest.mark.faults
def test_equal_sides_take_turns_and_pass(bench: Bench, other: Path, make_environment: MakeEnvironment) -> None:
    asked = ["--set", "train.epochs=2", "--fail-on", "throughput:5%", "--keep-weights", "--json"]
    done = bench.run("--against", other, *asked, python=make_environment(epochs_take(1.0)))
    assert done.returncode == 0, done.stderr + done.stdout
    output = json.loads(done.stdout)
    assert output["profile"] == "out.json"
    assert output["base_profile"] == "out-base.json"
    assert output["gate"]["outcome"] == "pass"
    head, base = bench.profiles()
    assert head.interleaved == base.interleaved == output["comparisons"][0]["interleaved"] is not None
    assert [run.status for run in (*head.runs, *base.runs)] == ["ok"] * 8
    assert [run.final_train_loss for run in head.runs] == [run.final_train_loss for run in base.runs]
    assert {run.jobs for run in (*head.runs, *base.runs)} == {1}
    assert (head.code.version, base.code.version) == (dnlbench.__version__, "0.0.7")  # each of its own environment
    kept = {f"{run.run_id}.pt": run.weights_sha256 for run in head.runs}
    files = (bench.folder / "out.weights").iterdir()
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == kept
    assert {run.weights_sha256 for run in base.runs} == {None}
    intervals = bench.intervals()
    assert len(intervals) == 8
    for (_, ended, *_), (leased, *_) in pairwise(intervals):
        assert leased > ended  # never two at a time
    assert [(key, role) for _, _, key, role in intervals] == [
        ((depth, seed), role)
        for depth, seed, order in ((1, 0, "bh"), (1, 1, "hb"), (2, 0, "hb"), (2, 1, "bh"))
        for role in order
    ]


@pytest.mark.faults
def test_a_slower_head_fails_and_a_slower_base_does_not(
    bench: Bench, other: Path, make_environment: MakeEnvironment, run_cli: RunCli
) -> None:
    (bench.folder / "dnlbench").mkdir()  # the current folder is nobody's environment
    (bench.folder / "dnlbench" / "__init__.py").write_text("raise ImportError('not this one')")
    common = ["--set", "sweep.depths=[1]", "--set", "sweep.seeds=3", "--fail-on", "throughput:5%", "--json"]
    done = bench.run("--against", other, *common, python=make_environment(epochs_take(1.2)))
    assert done.returncode == 3, done.stderr + done.stdout
    assert json.loads(done.stdout)["gate"]["outcome"] == "fail"
    exchanged = run_cli("compare", "out.json", "out-base.json", "--fail-on", "throughput:5%")
    assert exchanged.returncode == 0, exchanged.stderr


@pytest.mark.faults
def test_an_interrupted_session_goes_on_and_pairs_stay_pairs(bench: Bench, wait_until: WaitUntil) -> None:
    bench.gate.close()
    options = ["--against-set", "train.lr=0.001", "--set", "train.epochs=2"]
    process = bench.start(*options)

    def is_in_the_second_pair() -> bool:
        """The base is, and has a checkpoint there that it could go on from."""
        checkpoints = list(bench.run_dirs[1].root.glob("runs/*/checkpoint.pt"))
        return bench.count("run-ended") == (2, 1) and len(checkpoints) == 2

    wait_until(bench.turning(is_in_the_second_pair))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "to continue, run the same command with --resume" in err
    assert out == "out.json\n"
    before = bench.profiles()
    assert [profile.state for profile in before] == ["partial", "partial"]
    assert [run_dir.engine() for run_dir in bench.run_dirs] == [None, None]
    completed = [run.run_id for profile in before for run in profile.runs[:1]]
    assert [run.status for profile in before for run in profile.runs[:1]] == ["ok", "ok"]
    bench.gate.open()
    done = bench.run(*options, "--resume", "--set", "sweep.seeds=3", "--json")  # which may have more seeds
    assert done.returncode == 0, done.stderr
    assert "seed 1: restarting the interrupted pair" in done.stderr
    after = bench.profiles()
    assert {profile.interleaved for profile in (*before, *after)} == {before[0].interleaved} != {None}
    for profile in after:
        assert [run.status for run in profile.runs] == ["ok"] * 6, done.stderr
        assert [run.attempts[0].attempt for run in profile.runs if run.run_id in completed] == [1]
        assert all(attempt.from_epoch == attempt.from_step == 0 for run in profile.runs for attempt in run.attempts)
    starts = [{(run.depth, run.seed): run.attempts[-1].started for run in profile.runs} for profile in after]
    order = sorted((started, key) for times in starts for key, started in times.items())
    assert all(first[1] == second[1] for first, second in zip(order[::2], order[1::2], strict=True))  # back to back
    (compared,) = json.loads(done.stdout)["comparisons"]
    losses = [figure for figure in compared["overall"] if figure["quantity"] == "final_train_loss"]
    assert [figure["paired"] for figure in losses] == [True]
    assert losses[0]["ratio"]["estimate"] < 1  # ten times the learning rate gets further in two epochs


@pytest.mark.faults
@pytest.mark.parametrize("whom", ["session", "base"])
def test_a_session_that_is_killed_or_loses_a_side_leaves_nobody_at_work(
    bench: Bench, wait_until: WaitUntil, whom: str
) -> None:
    bench.gate.close()
    small = ["--set", "sweep.depths=[1]", "--set", "sweep.seeds=3", "--jobs", "2"]
    process = bench.start("--against-set", "train.lr=0.001", *small)
    wait_until(lambda: bench.count("run-started") == (0, 2))  # two runs of the head at a time
    assert bench.count("run-ended") == (0, 0)
    wait_until(bench.turning(lambda: any(bench.count("run-ended"))))
    assert all(run_dir.engine() for run_dir in bench.run_dirs)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 6  # two engines with two workers each
    os.kill(process.pid if whom == "session" else int(bench.run_dirs[1].engine() or 0), signal.SIGKILL)
    wait_until(bench.turning(lambda: not psutil.wait_procs(children, timeout=0)[1]))
    assert [run_dir.engine() for run_dir in bench.run_dirs] == [None, None]
    _, err = process.communicate(timeout=PATIENCE_S)
    if whom == "base":
        assert process.returncode == 1
        assert "dnlbench: error: the engine of the base exited during a run: killed by signal 9" in err


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("nowhere/python", "no such interpreter"),
        (".", "is a folder. Name the interpreter in it"),
        ("tiny.toml", "no such interpreter, or not executable"),
    ],
)
def test_a_base_that_is_no_interpreter_is_refused(refused: Refused, tmp_path: Path, python: str, message: str) -> None:
    output = refused("--against", python)
    assert output.startswith(f"dnlbench: error: --against {python}: ")
    assert message in output
    assert not (tmp_path / "rd").exists()


def test_a_relative_path_is_never_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "on-the-path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python").write_text("#!/bin/sh\n")
        (tmp_path / folder / "python").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "on-the-path"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "here")
    named = ("./python", "../here/python", "~/here/python", "python")
    results = [Path(find_interpreter(name).path).parent.name for name in named]
    assert results == ["here", "here", "here", "on-the-path"]


def test_this_environment_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    another = tmp_path / "bin" / "python"  # another environment's, though it leads to the same Python
    another.parent.mkdir()
    another.symlink_to(sys.executable)
    here = Path(sys.executable)
    names = (here, here.parent / "." / ".." / here.parent.name / here.name, another)
    assert [find_interpreter(str(name)).is_this_one for name in names] == [True, True, False]


def test_a_base_without_dnlbench_is_refused(refused: Refused, tmp_path: Path) -> None:
    output = refused("--against", bare_environment(tmp_path / "bare"))
    assert "dnlbench is not installed in this environment. Install it there" in output
    assert not (tmp_path / "rd").exists()


def test_a_base_that_cannot_take_turns_is_refused(
    refused: Refused, make_environment: MakeEnvironment, tmp_path: Path
) -> None:
    python = make_environment()
    shutil.rmtree(python.parents[2] / "lib-of-its-own" / "dnlbench" / "engine")
    assert "is too old for paired benchmarks. Install a newer version there" in refused("--against", python)
    assert not (tmp_path / "rd").exists()


def test_a_base_that_lacks_a_key_is_refused_before_anything_is_trained(
    refused: Refused, make_environment: MakeEnvironment, tmp_path: Path
) -> None:
    profile = tmp_path / "out-base.json"
    good = '{"schema": "dnlbench.profile/1", "name": "good"}'
    profile.write_text(good)
    output = refused("--against", make_environment(NO_KEY), "--set", "train.evaluate=true")
    assert "dnlbench: error: base (" in output
    assert "--set train.evaluate=true" in output
    assert not (tmp_path / "out.json").exists()
    assert profile.read_text() == good


def test_settings_of_the_base_are_judged_in_the_users_words(refused: Refused, tmp_path: Path) -> None:
    assert "--against-set train.epoch=3" in refused("--against-set", "train.epoch=3")
    assert "write it as --against-set 'sweep.depths=[2]'" in refused("--against-set", "sweep.depths=[2")
    assert not (tmp_path / "rd").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fail-on", "throughput:5%"], "--fail-on throughput:5%: compares two profiles. Add --against"),
        (["--out-base", "x.json"], "--out-base: requires --against"),
        (["--against", sys.executable, "--detach"], "--detach: not available for paired benchmarks"),
        (["--against", sys.executable, "--fail-on", "speed:5%"], "speed"),
        ([*OTHER_SETTINGS, "--resume"], "no paired benchmark to resume"),
        ([*OTHER_SETTINGS, "--out-base", "./out.json"], "--out-base out.json: is the profile of the head"),
        (["--against", sys.executable], ITSELF),
        (["--against", sys.executable, "--against-set", "name='another'", "--against-set", "sweep.seeds=1"], ITSELF),
        (["--against-set", "train.batch_size=32"], ITSELF),
    ],
)
def test_what_does_not_go_together_is_refused(refused: Refused, options: list[str], message: str) -> None:
    assert message in refused(*options)


def test_sides_with_nothing_in_common_are_not_begun(run_cli: RunCli, spec_file: Path, tmp_path: Path) -> None:
    profiles = [tmp_path / name for name in ("out.json", "out-base.json")]
    for profile in profiles:
        profile.write_text("good")
    done = run_cli("run", spec_file, *WAY, "--against-set", "sweep.depths=[7]")
    assert done.returncode == 5
    assert "no network, depth and seed in common" in done.stderr
    assert [profile.read_text() for profile in profiles] == ["good", "good"]
    assert not list(tmp_path.glob("rd*"))


def test_a_session_and_a_sweep_do_not_share_a_run_directory(refused: Refused, spec_file: Path, tmp_path: Path) -> None:
    execution = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")
    RunDir(tmp_path / "rd").begin(Plan(read_spec(str(spec_file), ())), execution)
    assert "contains an ordinary sweep, not a paired benchmark" in refused("--against-set", "train.lr=0.001")
