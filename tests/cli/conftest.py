"""Fixtures for tests of complete sweeps: custom networks whose training the test controls."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dnlbench.events import RunHistory, RunLeased
from dnlbench.profiles import Profile, RunRecord, check_profile, read_profile
from dnlbench.store import RunDir
from dnlbench.watch import SweepView, Watcher
from tests.conftest import call

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

OWN = """
import os, signal, time
from pathlib import Path
import torch
from torch import nn

class Own(nn.Sequential):
    def forward(self, x):
        # not where operations are counted, nor in the trial before the sweep
        if self.training and torch.is_grad_enabled() and len(x) > 3:
            self.incident()
        return super().forward(x)
    def incident(self):
        pass

class Killed(Own):
    def incident(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Failing(Own):
    def incident(self):
        raise LookupError("a bug of the user's")

class Hungry(Own):
    def incident(self):
        torch.empty(2**60, dtype=torch.uint8)

while Path(".not-yet").exists():  # hidden, and so no part of the code
    time.sleep(0.01)

def gate():
    try:
        return Path(os.environ.get("GATE", ".gate")).read_text()
    except OSError:
        return "open"

class Gated(Own):  # a training step for each turn of the gate
    def __init__(self, *layers):
        super().__init__(*layers)
        self.turn = gate()
    def incident(self):
        while (turn := gate()) == self.turn != "open":
            time.sleep(0.01)
        self.turn = turn

def incidents(depth, input_shape, classes, network):
    kinds = {1: Own, 2: Killed, 3: Failing, 4: Hungry}
    return kinds[depth](nn.Flatten(), nn.Linear(64, classes))

def gated(depth, input_shape, classes, network):  # with dropout, so that the losses depend on the random state
    return Gated(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, classes))
"""

PATIENCE_S = 300.0
"""Time after which a test fails if what it waits for has not happened, in seconds."""
MOST_SEEDS = 12
EPOCHS, BATCH_SIZE = 3, 4
"""Epochs of 38 steps, after two steps of warm-up: more steps than any test needs, and few files to sync."""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A module with custom networks, in the folder of the test."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def wait_until() -> Callable[..., None]:
    return _wait_until


def _wait_until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    checked_s, deadline = time.monotonic(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not come about within {seconds:.0f} s"
        took_s = time.monotonic() - checked_s
        time.sleep(max(0.02, 4 * took_s))  # polling a cluster's journal would take a core from what is waited for
        checked_s = time.monotonic()


class Gate:
    """Lets gated networks train: not at all, step by step, or freely."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turns = 0
        self.close()

    def close(self) -> None:
        """Every network waits for the next turn."""
        self._write(str(self._turns))

    def turn(self) -> None:
        """Every network that waits makes one training step."""
        self._turns += 1
        self.close()

    def open(self) -> None:
        self._write("open")

    def _write(self, text: str) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.path)


class Sweep:
    """A sweep of ``own:gated`` in a test's folder: as its user starts it, and as its run directory shows it.

    Its networks train as far as the test lets them, so that nothing depends on how fast anything is.
    """

    def __init__(self, folder: Path, spec: Path, seeds: int, run_dir: str | None, grid: str = "") -> None:
        self.folder = folder
        self.gate = Gate(folder / ".gate")
        self._started: list[subprocess.Popen[str]] = []
        self.arguments = ["run", str(spec), "--set", "sweep.networks=['own:gated']", "--set", "sweep.depths=[1]"]
        self.arguments += ["--set", f"sweep.seeds={seeds}", "--set", f"train.epochs={EPOCHS}"]
        self.arguments += ["--set", f"train.batch_size={BATCH_SIZE}", *(["--grid", grid] if grid else [])]
        self.arguments += ["--device", "cpu", "--jobs", "2", "--threads", "1"]
        self.name = run_dir or ""
        if run_dir is not None:
            self.arguments += ["--run-dir", run_dir]

    @property
    def run_dir(self) -> RunDir:
        """It is named relative to the folder."""
        return RunDir(self.folder / self.name)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TERM": "dumb"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Dnlbench, which goes on beside the test; without a command this sweep."""
        return self.spawn([sys.executable, "-m", "dnlbench", *(command or self.arguments)], env=self.environment())

    def spawn(self, command: list[str], **how: Any) -> subprocess.Popen[str]:
        """Any process that is to be gone after the test."""
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        process: subprocess.Popen[str] = subprocess.Popen(command, cwd=self.folder, text=True, **how)
        self._started.append(process)
        return process

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """This sweep, waited for."""
        return self.call(*self.arguments, *options)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, waited for."""
        done = subprocess.run(
            [sys.executable, "-m", "dnlbench", *command],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr
        return done

    def control(self, *arguments: str) -> str:
        """Has the engine do something, and gives its answer back."""
        done = call(self.folder, "control", self.name, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refusal(self, *command: str) -> str:
        """Return the error of a rejected command; ``--detach`` reads the command line of the process."""
        done = self.call(*command) if "--detach" in command else call(self.folder, *command)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("dnlbench: error: ")
        assert done.stderr.count("dnlbench: error:") == 1
        return done.stderr

    def view(self) -> SweepView:
        return Watcher(self.run_dir, self.run_dir.read_plan()).poll(time.time())

    def under_way(self) -> dict[str, RunHistory]:
        """Slot to history, of the runs that are being trained: given to a slot, and begun there."""
        view, active = self.view(), {}
        leases = {event.run_id: event for event in self.run_dir.read_journal() if isinstance(event, RunLeased)}
        for run_id, slot in view.leased.items():
            started = view.histories[run_id].started
            if started is not None and started.attempt == leases[run_id].attempt:
                active[slot] = view.histories[run_id]
        return active

    def wait_until_busy(self) -> dict[str, str]:
        """Slot to run id, once both slots train."""
        _wait_until(lambda: self.run_dir.journal_path.exists() and len(self.under_way()) == 2)
        return {slot: history.started.run_id for slot, history in self.under_way().items() if history.started}

    def wait_until(self, condition: Callable[[SweepView], object], *, turning: bool = False) -> SweepView:
        """Waits; ``turning`` the gate by one step at each look, for what needs networks that go on."""

        def has_come() -> bool:
            if not self.run_dir.journal_path.exists():
                return False
            view = self.view()
            if condition(view):
                return True
            if turning:
                self.gate.turn()
            return False

        _wait_until(has_come)
        return self.view()

    def turn_until(self, condition: Callable[[SweepView], object]) -> SweepView:
        """Trains step by step until something has come about."""
        return self.wait_until(condition, turning=True)

    def sizes(self) -> dict[Path, int]:
        """Return the sizes of the event files of all runs."""
        return {path: path.stat().st_size for path in self.run_dir.root.glob("runs/*/events.jsonl")}

    def profile(self, stdout: str) -> Profile:
        """The one that a command says it has saved."""
        profile = read_profile(self.folder / stdout.splitlines()[-1])
        assert check_profile(profile) == []
        return profile

    def clean_up(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()
        holder = self.run_dir.engine()
        if holder is not None:
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(holder), signal.SIGKILL)


MakeSweep = Callable[..., Sweep]


@pytest.fixture
def make_sweep(tmp_path: Path, spec_file: Path, own: Path) -> Iterator[MakeSweep]:
    """Sweeps of which nothing is left at work after the test."""
    sweeps: list[Sweep] = []

    def make(*, seeds: int = 4, run_dir: str | None = "rd", grid: str = "") -> Sweep:
        sweeps.append(Sweep(tmp_path, spec_file, seeds, run_dir, grid))
        return sweeps[-1]

    yield make
    for sweep in sweeps:
        sweep.clean_up()


def workers_of(pid: int) -> dict[str, psutil.Process]:
    """Slot to worker process, of an engine."""
    active = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                active.update({slot: child for slot in ("cpu/0", "cpu/1") if f'"{slot}"' in "".join(child.cmdline())})
    return active


@pytest.fixture
def workers() -> Callable[[int], dict[str, psutil.Process]]:
    return workers_of


def comparable_fields(run: RunRecord) -> dict[str, object]:
    """All of a run that must not depend on what happened to its processes."""
    kept = {"run_id", "network", "depth", "seed", "status", "parameters", "peak_memory_bytes", "final_train_loss"}
    return {
        **run.model_dump(include=kept),
        "epochs": [(e.epoch, e.train_loss, e.value("gradient_norm_max")) for e in run.epochs],
    }


@pytest.fixture(scope="session")
def known() -> dict[str, dict[str, object]]:
    return {}


@pytest.fixture
def check_undisturbed(
    known: dict[str, dict[str, object]], tmp_path_factory: pytest.TempPathFactory, spec_file: Path
) -> Callable[[Profile], None]:
    """Compares a profile with that of the same sweep, which nobody disturbed; it is trained once, in this process."""

    def train(grid: str, seeds: int) -> None:
        folder = tmp_path_factory.mktemp("undisturbed")
        (folder / "own.py").write_text(OWN)
        sweep = Sweep(folder, spec_file, seeds, "rd", grid)
        inline = [*sweep.arguments, "--executor", "inline", "--jobs", "1", "--out", "out.json"]
        done = call(folder, *inline, GATE="")
        assert done.returncode == 0, done.stderr
        complete = read_profile(folder / "out.json")
        assert {len(run.attempts) for run in complete.runs} == {1}
        known.update({run.run_id: comparable_fields(run) for run in complete.runs})

    def check(profile: Profile) -> None:
        grid = " ".join(f"{key}={','.join(map(str, values))}" for key, values in profile.spec["sweep"]["grid"].items())
        if not {run.run_id for run in profile.runs} <= known.keys():
            train(grid, len(profile.spec["sweep"]["seeds"]) if grid else MOST_SEEDS)
        for run in profile.runs:
            assert comparable_fields(run) == known[run.run_id]

    return check
