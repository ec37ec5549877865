"""Parts of other packages, by entry point and by ``module:object``: one file each, without a change to dnlbench."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dnlbench.profiles import Profile, read_profile

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

FILES = {
    "network.py": """
from torch import nn


def build(depth, input_shape, classes, network):
    layers = [layer for _ in range(depth) for layer in (nn.LazyLinear(16), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.LazyLinear(classes))
""",
    "dataset.py": """
import torch


def stripes(train, data):
    order = torch.randperm(128, generator=torch.Generator().manual_seed(int(train)))
    labels = order % 2
    images = torch.zeros(128, 1, 8, 8, dtype=torch.uint8)
    images[labels == 1, :, ::2] = 200
    return images, labels
""",
    "objective.py": """
from torch.nn import functional


def squared_hinge(outputs, targets):
    return functional.relu(outputs - outputs.gather(1, targets[:, None]) + 1).square().sum(1).mean()
""",
    "metric.py": """
def confidence(outputs, targets):
    return outputs.softmax(1).amax(1).mean()
""",
    "executor.py": """
from pathlib import Path

from dnlbench.engine.executors import ExecutorType
from dnlbench.executor.inline import InlineExecutor


class Logging(InlineExecutor):
    def start(self, slot, attempts):
        with Path("starts.txt").open("a") as file:
            print(*attempts, file=file)
        super().start(slot, attempts)


LOGGING = ExecutorType(
    summary="Log each run, and train it in this process.",
    create=lambda opening: Logging(opening.run_dir, opening.slots, checkpoint_s=opening.request.checkpoint_s),
    jobs=1,
)
""",
    "format.py": """
from dnlbench.report.formats import Format

LINES = Format(
    summary="A line for each result.",
    suffix=".lines",
    profile=lambda profile: "".join(f"{run.network} {run.depth} {run.final_train_loss}\\n" for run in profile.runs),
    comparison=lambda compared: "".join(f"{each.candidate}: {each.study}\\n" for each in compared.comparisons),
    export=lambda table, profiles: "".join(f"{row[0]}\\n" for row in table.rows).encode(),
)
""",
    "study.py": """
from typing import Literal

from dnlbench.studies import DepthFit, Estimate, Quantity, Study, StudySpec
from dnlbench.studies.axes import Axes, Axis, Depths, Seeds


class CoinAxes(Axes):
    coins: Axis[Literal["fair", "biased"]]
    depths: Depths
    seeds: Seeds = (0, 1, 2)


class CoinSpec(StudySpec):
    study: Literal["coins"] = "coins"
    sweep: CoinAxes

    @property
    def networks(self):
        return self.sweep.coins


COINS = Study(
    name="coins",
    title="How fast does the mean of L coins converge?",
    spec=CoinSpec,
    runner="house.runner:CoinRunner",
    quantities=(Quantity(name="error", label="error of the mean", better="lower", range="positive", alias="error"),),
    estimate=lambda spec, point, shape, classes: Estimate(parameters=1, memory_bytes=100, work=point.depth),
    to_save_memory="smaller depths",
    fits=(DepthFit(quantity="error", model="power", expected_order=0.5),),
    contrasts=("error",),
    workload_version=1,
)
""",
    "runner.py": """
from dnlbench.events import DataInfo
from dnlbench.runners.measuring import MeasuringRunner, derived_seed, normal


class CoinRunner(MeasuringRunner):
    data = DataInfo(name="coins", sha256="00" * 32, samples=1, input_shape=(1,), classes=None)

    def measure(self, run, check):
        mean = 0.5 if run.point.network == "fair" else 0.6
        coins = normal((1000, run.point.depth), derived_seed(run.seed, "coins")) > 0
        return {"error": float((coins.double().mean(1) - mean).abs().mean())}
""",
}
ENTRY_POINTS = """
[dnlbench.networks]
lazy = house.network:build
[dnlbench.datasets]
stripes = house.dataset:stripes
[dnlbench.objectives]
hinge = house.objective:squared_hinge
[dnlbench.metrics]
confidence = house.metric:confidence
[dnlbench.executors]
logging = house.executor:LOGGING
[dnlbench.formats]
lines = house.format:LINES
[dnlbench.studies]
coins = house.study:COINS
"""
NAMES = {
    "network": "lazy",
    "dataset": "stripes",
    "objective": "hinge",
    "metric": "confidence",
    "executor": "logging",
    "format": "lines",
}
REFERENCES = {
    "network": "house.network:build",
    "dataset": "house.dataset:stripes",
    "objective": "house.objective:squared_hinge",
    "metric": "house.metric:confidence",
    "executor": "house.executor:LOGGING",
    "format": "house.format:LINES",
}
SPEC = """
name = "outside"
[sweep]
networks = ["{network}"]
depths = [1, 2]
seeds = [0]
[data]
dataset = "{dataset}"
limit = 64
[train]
epochs = 1
batch_size = 32
objective = "{objective}"
metrics = ["{metric}"]
"""
COINS = """
name = "flips"
study = "coins"
[sweep]
coins = ["fair"]
depths = [4, 16, 64]
"""


@pytest.fixture
def run(run_process: RunCli, tmp_path: Path) -> RunCli:
    """Runs a command with the package ``house`` installed in a folder of its own."""
    site = tmp_path / "site"
    package, info = site / "house", site / "house_parts-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    for name, text in FILES.items():
        (package / name).write_text(text)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: house-parts\nVersion: 1.0\nSummary: Parts of a house.\n"
    )
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return partial(run_process, PYTHONPATH=str(site))


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("parts", [NAMES, REFERENCES], ids=["entry-points", "references"])
def test_a_sweep_with_parts_of_another_package(run: RunCli, tmp_path: Path, parts: dict[str, str]) -> None:
    (tmp_path / "outside.toml").write_text(SPEC.format(**parts))
    command = ["run", "outside.toml", "--device", "cpu", "--executor", parts["executor"], "--quiet"]
    assert succeeded(run(*command, "--out", "a.json")) == "a.json\n"
    assert succeeded(run(*command, "--set", "train.lr=0.1", "--out", "b.json")) == "b.json\n"
    profile = read_profile(tmp_path / "a.json")
    assert [(each.network, each.depth, each.status) for each in profile.runs] == [
        (parts["network"], depth, "ok") for depth in (1, 2)
    ]
    assert len((tmp_path / "starts.txt").read_text().splitlines()) == 4
    assert succeeded(run("compare", "a.json", "b.json", "--format", parts["format"])).endswith(": training\n")
    _check_formats(run, tmp_path, profile, parts["format"])


def _check_formats(run: RunCli, folder: Path, profile: Profile, name: str) -> None:
    losses = [f"{each.network} {each.depth} {each.final_train_loss}" for each in profile.runs]
    assert succeeded(run("profiles", "show", "a.json", "--format", name)).splitlines() == losses
    succeeded(run("profiles", "export", "a.json", "--format", name, "-o", "rows.txt"))
    assert (folder / "rows.txt").read_text() == "a\na\n"


@pytest.mark.slow
def test_a_study_of_another_package_runs_from_toml_to_compare(run: RunCli, tmp_path: Path) -> None:
    (tmp_path / "flips.toml").write_text(COINS)
    assert succeeded(run("run", "flips.toml", "--device", "cpu", "--jobs", "1", "--quiet", "--out", "s.json"))
    assert "error of the mean" in succeeded(run("profiles", "show", "s.json"))
    content = json.loads(succeeded(run("compare", "s.json", "s.json", "--format", "json", "--fail-on", "error:worse")))
    assert content["comparisons"]
    done = run("profiles", "validate", "s.json", PYTHONPATH="")  # without the package
    assert done.returncode == 2
    assert "study 'coins' is not known" in done.stderr


def test_parts_of_packages_are_listed_and_found_by_suffix(run: RunCli, tmp_path: Path) -> None:
    for kind, name, value in [
        ("networks", "lazy", "house.network:build"),
        ("datasets", "stripes", "house.dataset:stripes"),
        ("objectives", "hinge", "house.objective:squared_hinge"),
        ("metrics", "confidence", "house.metric:confidence"),
        ("executors", "logging", "house.executor:LOGGING"),
        ("formats", "lines", "house.format:LINES"),
        ("studies", "coins", "house.study:COINS"),
    ]:
        *_, last = json.loads(succeeded(run("list", kind, "--json")))[kind]
        assert last == {"name": name, "provider": f"house-parts 1.0 ({value})", "summary": "Parts of a house."}
