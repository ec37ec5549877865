"""Two sides that take turns, as a user has them: other interpreters, real engines, real signals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

import dnlbench
from dnlbench.events import RunLeased
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile, read_profile
from dnlbench.spec import read_spec
from dnlbench.store import Execution, RunDir

PACKAGE = Path(dnlbench.__file__).parent
STEP = "        learner = self._learner\n        learner.optimizer"
SUM = "        self._total_losses += losses.detach() * indices.shape[1]\n"
TAKE_TURNS = "    take_turns: Annotated["
STEPS = 5
"""Of an epoch: 150 samples in batches of 32."""

NETWORKS = """
import time
import torch
from torch import nn

class Sleepy(nn.Sequential):
    def __init__(self, options, *layers):
        super().__init__(*layers)
        self.options = options
    def forward(self, x):
        if self.training:
            time.sleep(self.options.get("step_s", 0.0))
            if self.options.get("fail"):
                raise LookupError("a bug of the user's")
        return super().forward(x)

def sleepy(depth, input_shape, classes, network):
    return Sleepy(network["options"], nn.Flatten(), nn.Linear(64, classes))
"""
SPEC = """
name = "turns"
[sweep]
networks = ["sleepy:sleepy"]
depths = [1, 2]
seeds = 2
[network]
options = {{ step_s = {step_s} }}
[data]
limit = 150
[train]
epochs = 1
batch_size = 32
"""


class Bench:
    """A folder with a spec of sleepy networks, and dnlbench in it by any interpreter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        (folder / "sleepy.py").write_text(NETWORKS)
        self.write(step_s=0.0)

    def write(self, *, step_s: float) -> None:
        """The time of a training step; what is computed in it is next to nothing."""
        (self.folder / "turns.toml").write_text(SPEC.format(step_s=step_s))

    def start(self, *options: object, python: Path | None = None) -> subprocess.Popen[str]:
        """``dnlbench run`` of the spec."""
        here = {"PYTHONPATH": str(PACKAGE.parent)} if python is None else {}  # which no other environment may heed
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GITHUB_STEP_SUMMARY")}
        ours = {**kept, **here, "DNLBENCH_CACHE_DIR": str(self.folder / "cache")}
        process = subprocess.Popen(
            [
                *(str(python or sys.executable), *(["-P"] if python else []), "-m", "dnlbench", "run", "turns.toml"),
                *("--device", "cpu", "--run-dir", "rd", "--out", "out.json", *map(str, options)),
            ],
            cwd=self.folder,
            env={**ours, "TERM": "dumb"},
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
        out, err = process.communicate(timeout=110)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def sides(self) -> tuple[RunDir, RunDir]:
        """Head and base."""
        return RunDir(self.folder / "rd"), RunDir(self.folder / "rd-base")

    def profiles(self) -> tuple[Profile, Profile]:
        """Head's and base's."""
        found = read_profile(self.folder / "out.json"), read_profile(self.folder / "out-base.json")
        assert [check_profile(profile) for profile in found] == [[], []]
        return found

    def clean_up(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


def spans(run_dir: RunDir) -> list[tuple[float, float, tuple[str, int, int]]]:
    """From the lease to the end, of each run that was given to a worker, by the two files that say it."""
    runs, found = run_dir.read_plan().by_id, []
    for lease in (event for event in run_dir.read_journal() if isinstance(event, RunLeased)):
        run = runs[lease.run_id]
        ended = run_dir.read_history(run).ended
        assert ended is not None
        found.append((lease.time, ended.time, (run.point.network, run.point.depth, run.seed)))
    return found


def in_order(bench: Bench) -> list[tuple[float, float, tuple[str, int, int], str]]:
    head, base = ([(*span, name) for span in spans(side)] for side, name in zip(bench.sides, "hb", strict=True))
    return sorted(head + base)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench of which nothing is left at work after the test."""
    made = Bench(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def two_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Any]]:
    """A session of other settings, two runs of a side at a time, in a bench that is for looking at only; what it said."""
    made = Bench(tmp_path_factory.mktemp("two-at-a-time"))
    made.write(step_s=0.1)
    small = ["--set", "sweep.depths=[1]", "--set", "sweep.seeds=4", "--jobs", "2"]
    try:
        done = made.run("--against-set", "train.lr=0.001", *small, "--out-base", "slow.json", "--json")
    finally:
        made.clean_up()
    assert done.returncode == 0, done.stderr
    return made, json.loads(done.stdout)


MakeEnvironment = Callable[..., Path]


@pytest.fixture(scope="module")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> MakeEnvironment:
    """A virtual environment with a dnlbench of its own, edited, and the packages of this one; its interpreter."""

    def make(file: str | None = None, *edits: tuple[str, str]) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        lines = [
            str(folder / "lib-of-its-own"),
            *dict.fromkeys(sysconfig.get_paths()[n] for n in ("purelib", "platlib")),
        ]
        package = folder / "lib-of-its-own" / "dnlbench"
        for source in [path for path in PACKAGE.rglob("*") if path.suffix != ".pyc" and path.is_file()]:
            target = package / source.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        for before, after in edits:
            assert file is not None
            text = (package / file).read_text()
            assert text.count(before) == 1
            (package / file).write_text(text.replace(before, after))
        python = bare_environment(folder / "venv")
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "packages.pth").write_text("\n".join(lines) + "\n")
        return python

    return make


def bare_environment(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def other(make_environment: MakeEnvironment) -> Path:
    """An environment whose dnlbench is like this one, but says that it is another version."""
    return make_environment("__init__.py", (f'__version__ = "{dnlbench.__version__}"', '__version__ = "0.0.7"'))


def test_equal_sides_take_turns_and_pass(bench: Bench, other: Path) -> None:
    bench.write(step_s=0.04)
    asked = ["--set", "train.epochs=2", "--fail-on", "throughput:30%", "--keep-weights", "--json"]
    done = bench.run("--against", other, *asked)
    assert done.returncode == 0, done.stderr + done.stdout
    said = json.loads(done.stdout)
    assert said["profile"] == "out.json"
    assert said["base_profile"] == "out-base.json"
    assert said["gate"]["outcome"] == "pass"
    head, base = bench.profiles()
    assert head.interleaved == base.interleaved == said["comparisons"][0]["interleaved"] is not None
    assert [run.status for run in (*head.runs, *base.runs)] == ["ok"] * 8
    assert [run.final_train_loss for run in head.runs] == [run.final_train_loss for run in base.runs]
    assert {run.jobs for run in (*head.runs, *base.runs)} == {1}
    assert (head.code.version, base.code.version) == (dnlbench.__version__, "0.0.7")  # each of its own environment
    kept = {f"{run.run_id}.pt": run.weights_sha256 for run in head.runs}
    files = (bench.folder / "out.weights").iterdir()
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == kept
    assert {run.weights_sha256 for run in base.runs} == {None}
    turns = in_order(bench)
    assert len(turns) == 8
    for (_, ended, *_), (leased, *_) in pairwise(turns):
        assert leased > ended  # never two at a time
    assert [(key, side) for _, _, key, side in turns] == [
        (("sleepy:sleepy", depth, seed), side)
        for depth, seed, order in ((1, 0, "bh"), (1, 1, "hb"), (2, 0, "hb"), (2, 1, "bh"))
        for side in order
    ]


def test_a_slower_head_fails_and_a_slower_base_does_not(
    bench: Bench, other: Path, make_environment: MakeEnvironment
) -> None:
    longer = "        time.sleep(0.2 * (time.perf_counter() - began))\n"
    slow = make_environment(
        "runners/training/step.py",
        ("import warnings\n", "import time\nimport warnings\n"),
        (STEP, f"        began = time.perf_counter()\n{STEP}"),
        (SUM, SUM + longer),
    )
    (bench.folder / "dnlbench").mkdir()  # the current folder is nobody's environment
    (bench.folder / "dnlbench" / "__init__.py").write_text("raise ImportError('not this one')")
    bench.write(step_s=0.1)
    common = ["--set", "sweep.depths=[1]", "--set", "sweep.seeds=3", "--fail-on", "throughput:5%", "--json"]
    done = bench.run("--against", other, *common, python=slow)
    assert done.returncode == 3, done.stderr + done.stdout
    assert json.loads(done.stdout)["gate"]["outcome"] == "fail"
    compared = [sys.executable, "-P", "-m", "dnlbench", "compare", "out.json", "out-base.json"]
    exchanged = subprocess.run(
        [*compared, "--fail-on", "throughput:5%"],
        cwd=bench.folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert exchanged.returncode == 0, exchanged.stderr


def test_other_settings_alone_make_a_base(two_at_a_time: tuple[Bench, dict[str, Any]]) -> None:
    bench, said = two_at_a_time
    head, base = (read_profile(bench.folder / said[side]) for side in ("profile", "base_profile"))
    assert head.interleaved == base.interleaved is not None
    assert said["base_profile"] == "slow.json"
    differences = {difference["what"]: difference for difference in said["comparisons"][0]["differences"]}
    assert (differences["spec train.lr"]["reference"], differences["spec train.lr"]["candidate"]) == ("0.001", "0.01")
    losses = [figure for figure in said["comparisons"][0]["overall"] if figure["quantity"] == "final_train_loss"]
    assert [figure["paired"] for figure in losses] == [True]
    assert losses[0]["ratio"]["estimate"] < 1  # ten times the learning rate gets further in one epoch
    assert "gate" not in said


def test_runs_of_one_side_go_side_by_side_where_that_is_asked_for(two_at_a_time: tuple[Bench, dict[str, Any]]) -> None:
    turns = in_order(two_at_a_time[0])
    assert [side for *_, side in turns] == list("bbhhhhbb")
    for first, second, *others in (turns[start:] for start in range(0, len(turns), 2)):
        assert second[0] < first[1]
        assert all(leased > max(first[1], second[1]) for leased, *_ in others)


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("nowhere/python", "there is no such interpreter"),
        (".", "is a folder; name the interpreter in it"),
        ("turns.toml", "there is no such interpreter, or it may not be executed"),
    ],
)
def test_a_base_that_is_no_interpreter_is_refused(bench: Bench, python: str, message: str) -> None:
    done = bench.run("--against", python)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dnlbench: error: --against {python}: ")
    assert message in done.stderr
    assert not (bench.folder / "rd").exists()


def test_a_base_without_dnlbench_is_refused(bench: Bench) -> None:
    done = bench.run("--against", bare_environment(bench.folder / "bare"))
    assert done.returncode == 2
    assert "has no dnlbench: install it in that environment" in done.stderr
    assert not (bench.folder / "rd").exists()


def test_a_base_that_cannot_take_turns_is_refused(bench: Bench, make_environment: MakeEnvironment) -> None:
    old = make_environment(
        "cli/run.py", (TAKE_TURNS, "    waiting: Annotated["), ("session=take_turns", "session=waiting")
    )
    done = bench.run("--against", old)
    assert done.returncode == 2
    assert "is too old to take turns" in done.stderr
    assert not (bench.folder / "rd").exists()


def test_a_base_that_lacks_a_key_is_refused_before_anything_is_trained(
    bench: Bench, make_environment: MakeEnvironment
) -> None:
    old = make_environment(
        "studies/training/spec.py", ("    evaluate: bool = False\n", "    evaluated: bool = False\n")
    )
    profile = bench.folder / "out-base.json"
    profile.write_text("good")
    done = bench.run("--against", old, "--set", "train.evaluate=true")
    assert done.returncode == 2
    assert "the base side" in done.stderr
    assert "--set train.evaluate=true" in done.stderr
    assert not list(bench.folder.glob("rd*/runs"))
    assert not (bench.folder / "out.json").exists()
    assert profile.read_text() == "good"


def test_settings_of_the_base_are_judged_in_the_users_words(bench: Bench) -> None:
    done = bench.run("--against-set", "train.epoch=3")
    assert done.returncode == 2
    assert "--against-set train.epoch=3" in done.stderr
    assert not (bench.folder / "rd").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fail-on", "throughput:5%"], "--fail-on: does not go with a sweep without --against"),
        (["--out-base", "x.json"], "--out-base: does not go with a sweep without --against"),
        (["--against", sys.executable, "--detach"], "--detach: does not go with two sides"),
        (["--against", sys.executable, "--fail-on", "speed:5%"], "speed"),
        (["--against", sys.executable, "--resume"], "holds no session to go on with"),
        (
            ["--against", sys.executable, "--out-base", "./out.json"],
            "--out-base out.json: is where the head's profile goes",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(bench: Bench, options: list[str], message: str) -> None:
    done = bench.run(*options)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("setting", "message", "sides"),
    [("sweep.depths=[7]", "no network, depth and seed in common", 0), ("data.limit=100", "different data", 2)],
)
def test_sides_that_cannot_be_compared_are_not_trained(bench: Bench, setting: str, message: str, sides: int) -> None:
    profiles = [bench.folder / name for name in ("out.json", "out-base.json")]
    for profile in profiles:
        profile.write_text("good")
    done = bench.run("--against-set", setting)
    assert done.returncode == 5
    assert [profile.read_text() for profile in profiles] == ["good", "good"]
    assert message in done.stderr
    begun = [side for side in bench.sides if side.sweep_path.exists()]
    assert [spans(side) for side in begun] == [[]] * sides


def test_one_seed_cannot_decide(bench: Bench) -> None:
    options = [
        "--set",
        "sweep.seeds=1",
        "--set",
        "sweep.depths=[1]",
        "--fail-on",
        "throughput:5%",
        "--inconclusive",
        "fail",
        "--json",
    ]
    done = bench.run("--against-set", "train.lr=0.001", *options)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["gate"]["outcome"] == "inconclusive"


def test_runs_that_fail_on_the_base_are_told_and_those_of_the_head_are_a_regression(bench: Bench) -> None:
    fail = "network.options={ fail = true }"
    done = bench.run("--against-set", fail, "--fail-on", "failed", "--set", "sweep.depths=[1]")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "out.json"
    head, base = bench.profiles()
    assert [run.status for run in head.runs] == ["ok"] * 2
    assert [run.status for run in base.runs] == ["failed"] * 2
    well = "network.options={ fail = false }"
    common = ["--set", fail, "--against-set", well, "--set", "sweep.depths=[1]", "--run-dir", "other"]
    assert bench.run(*common, "--fail-on", "failed").returncode == 3


def test_an_interrupted_session_goes_on_and_pairs_stay_pairs(bench: Bench) -> None:
    bench.write(step_s=0.15)
    options = ["--against-set", "train.lr=0.001"]
    process = bench.start(*options)
    _wait_until(lambda: _ended(bench) >= 3)  # in the middle of the second pair
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "go on with the same command and --resume" in err
    assert out == "out.json\n"
    before = bench.profiles()
    assert [profile.state for profile in before] == ["partial", "partial"]
    assert [side.engine() for side in bench.sides] == [None, None]
    whole = [run.run_id for profile in before for run in profile.runs[:1]]
    assert [run.status for profile in before for run in profile.runs[:1]] == ["ok", "ok"]
    done = bench.run(*options, "--resume", "--set", "sweep.seeds=3")  # which may have more seeds
    assert done.returncode == 0, done.stderr
    assert "seed 1: a pair that was interrupted, and is begun anew" in done.stderr
    after = bench.profiles()
    assert {profile.interleaved for profile in (*before, *after)} == {before[0].interleaved} != {None}
    for profile in after:
        assert [run.status for run in profile.runs] == ["ok"] * 6, done.stderr
        assert [run.attempts[0].attempt for run in profile.runs if run.run_id in whole] == [1]
        assert all(attempt.from_epoch == attempt.from_step == 0 for run in profile.runs for attempt in run.attempts)
    starts = [{(run.depth, run.seed): run.attempts[-1].started for run in profile.runs} for profile in after]
    order = sorted((started, key) for side in starts for key, started in side.items())
    assert all(first[1] == second[1] for first, second in zip(order[::2], order[1::2], strict=True))  # back to back


@pytest.mark.faults
@pytest.mark.parametrize("whom", ["session", "base"])
def test_a_session_that_is_killed_or_loses_a_side_leaves_nobody_at_work(bench: Bench, whom: str) -> None:
    bench.write(step_s=0.3)
    process = bench.start("--against-set", "train.lr=0.001")
    _wait_until(lambda: all(side.engine() for side in bench.sides) and _ended(bench) >= 1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4  # two engines with a worker each
    os.kill(process.pid if whom == "session" else int(bench.sides[1].engine() or 0), signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert [side.engine() for side in bench.sides] == [None, None]
    _, err = process.communicate(timeout=60)
    if whom == "base":
        assert process.returncode == 1
        assert "dnlbench: error: the base side ended in the middle of its turn: it ended with signal 9" in err


def test_a_session_and_a_sweep_do_not_share_a_run_directory(bench: Bench) -> None:
    plan = Plan(read_spec(str(bench.folder / "turns.toml"), ()))
    execution = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")
    bench.sides[0].begin(plan, execution)
    done = bench.run("--against-set", "train.lr=0.001")
    assert done.returncode == 2
    assert "holds a sweep that did not take turns" in done.stderr


def _ended(bench: Bench) -> int:
    paths = [path for side in bench.sides for path in side.root.glob("runs/*/events.jsonl")]
    return sum(path.read_bytes().count(b'"run-ended"') for path in paths)


def _wait_until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not come about within {seconds:.0f} s"
        time.sleep(0.02)
