"""Fixtures that many tests share: small specs, and dnlbench as a user runs it."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from typer.testing import CliRunner

from dnlbench.engine.request import RunRequest
from dnlbench.events import DataInfo
from dnlbench.machine import Code, Device, Machine, Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.profiles import EpochRecord, Profile, RunRecord, summarize
from dnlbench.spec import SpecText, parse_spec
from dnlbench.studies.training import TrainingSpec

# One thread a process: several test processes share the cores, and small tensors gain nothing from more.
for libraries in ("OMP", "MKL", "OPENBLAS", "NUMEXPR"):
    os.environ.setdefault(f"{libraries}_NUM_THREADS", "1")

# Otherwise every process that the tests start compiles dnlbench, which takes a second or two each time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell's background jobs ignore Ctrl+C, and those of nohup a lost terminal; every process that the tests start inherits it.
for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, handler)

# Hypothesis would fail an example that takes longer than 0.2 s, as any may on a busy machine.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

RINGS = ("slow", "faults", "ray", "statistics", "long")
"""Markers of tests that plain pytest leaves out."""
VERSIONS = ("torch", "torchvision", "numpy", "scipy", "pydantic", "typer", "rich", "textual", "ray", "pytest")


def pytest_xdist_auto_num_workers() -> int:
    """One test process more than cores, since some tests wait for other processes; each of them imports all of torch."""
    return min(8, 1 + (os.cpu_count() or 1))


def pytest_report_header() -> str:
    """Tells what the tests run with."""
    found = (f"{name} {version(name)}" for name in VERSIONS if find_spec(name))
    return f"versions: python {platform.python_version()}, {', '.join(found)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the tests of each marker that plain pytest leaves out."""
    outcomes = Counter(
        (ring, outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(outcome)
        if isinstance(report, pytest.TestReport)  # others are of files that could not be collected
        for ring in RINGS
        if ring in report.keywords and (report.when == "call" or outcome != "passed")
    )
    for ring in RINGS:
        told = [f"{count} {outcome}" for (of, outcome), count in outcomes.items() if of == ring]
        if told:
            terminalreporter.write_line(f"marked {ring}: {', '.join(told)}")


TINY = """
name = "tiny"
[sweep]
networks = ["densenet", "dense-gaussian"]
depths = [1, 2]
seeds = [0, 1]
[network]
blocks = 2
growth_rate = 3
[data]
limit = 150
[train]
epochs = 2
batch_size = 32
"""
"""Eight runs of a fraction of a second."""

MakeSpec = Callable[..., TrainingSpec]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


def request_for(plan: Plan, **options: Any) -> RunRequest:
    """A request for the runs of a plan."""
    return RunRequest(spec=SpecText.of(plan.spec), **options)


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of all tests' caches; it is itself the cache of fixtures that several tests share.

    There is one, since pytest numbers the folders that it makes, which takes longer with each of them.
    """
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNLBENCH_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def own_cache(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Isolates the test from the user's cache and settings, and from other tests'."""
    folder = Path(tempfile.mkdtemp(dir=caches))
    monkeypatch.setenv("DNLBENCH_CACHE_DIR", str(folder))
    monkeypatch.setenv("DNLBENCH_CONFIG", str(folder / "config.toml"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a process that the test has just killed may still write


@pytest.fixture(autouse=True)
def one_thread_of_torch() -> None:
    """Undoes the threads that an earlier sweep in this process has set: on busy cores they wait for each other."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests run as a step of GitHub Actions, what they do is not written to its page."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(*overrides: str) -> TrainingSpec:
        spec = parse_spec(TINY, "tiny.toml", overrides)
        assert isinstance(spec, TrainingSpec)
        return spec

    return make


@pytest.fixture
def make_plan(make_spec: MakeSpec) -> Callable[..., Plan]:
    return lambda *overrides: Plan(make_spec(*overrides))


@pytest.fixture
def slot() -> Slot:
    return Slot(name="cpu/0", device=cpu_device(), threads=1)


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def call(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process as if in that folder and without a terminal; workers are processes all the same."""
    from dnlbench.cli.app import app  # here, not above: most tests need none of it

    command = [str(argument) for argument in arguments]
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, command, env={"TERM": "dumb", **environment}, catch_exceptions=False)
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """A command in this process, in the test's folder."""
    return partial(call, tmp_path)


@pytest.fixture
def run_process(tmp_path: Path) -> RunCli:
    """A command in a process of its own, in the test's folder, without a terminal."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dnlbench", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "TERM": "dumb", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small tensors, on which threads only wait for each other. Random numbers begin anew."""
    import torch  # here, not above: most tests need none of it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def float64(one_thread: None) -> Iterator[None]:
    """Everything that is built in the test is in double precision."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


MakeProfile = Callable[..., Profile]


@pytest.fixture
def make_profile(make_plan: Callable[..., Plan]) -> MakeProfile:
    """A profile whose runs have the given final losses, by (network, depth), seeds 0, 1, …; the rest is made up."""

    def make(
        losses: Mapping[tuple[str, int], Sequence[float]], *, rate: float = 1000.0, status: str = "ok", **changes: Any
    ) -> Profile:
        runs = [
            _record(network, depth, seed, loss, rate * (1 + 0.001 * seed), status)
            for (network, depth), values in losses.items()
            for seed, loss in enumerate(values)
        ]
        plan = make_plan()
        facts: dict[str, Any] = {
            "study": "training",
            "name": "made-up",
            "state": "complete",
            "created": datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
            "spec": plan.spec.model_dump(mode="json"),
            "spec_hash": plan.spec_hash,
            "workload_version": 1,
            "code": Code(version="0.1.0"),
            "machine": MACHINE,
            "data": DataInfo(name="digits", sha256="ab" * 32, samples=150, input_shape=(1, 8, 8), classes=10),
            "runs": runs,
            "summary": summarize(runs, plan.study),
        }
        return Profile.model_validate({**facts, **changes})

    return make


MACHINE = Machine(
    os="Linux 6",
    cpu="A CPU",
    cores=2,
    memory_bytes=8 * 2**30,
    python="3.12.1",
    torch="2.11.0",
    devices=(Device(kind="cpu", name="A CPU", memory_bytes=8 * 2**30),),
    fingerprint="0123456789abcdef",
)


def _record(network: str, depth: int, seed: int, loss: float, rate: float, status: str) -> RunRecord:
    epochs = [EpochRecord(epoch=1, train_loss=loss, seconds=150 / rate, samples_per_s=rate, gradient_norm=0.5)]
    return RunRecord.model_validate(
        {
            "run_id": f"{network.replace('/', '-')}-L{depth}-s{seed}-00000000",
            "network": network,
            "depth": depth,
            "seed": seed,
            "status": status,
            "device": "cpu",
            "device_name": "A CPU",
            "threads": 1,
            "pack_size": 1,
            "parameters": 100 * depth,
            "epochs": epochs,
            "final_train_loss": loss,
            "samples_per_s": rate,
            "peak_memory_bytes": 2**20 * depth,
            "attempts": [],
            "error": None if status == "ok" else {"type": "Made", "message": "made up\nsecond line"},
        }
    )
