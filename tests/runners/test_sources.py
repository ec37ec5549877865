"""Dependencies of custom networks, and detection of their changes."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from dnlbench.errors import RunDirError, SpecError
from dnlbench.executor.worker import Worker
from dnlbench.machine import Slot, Sources
from dnlbench.plan import Plan
from dnlbench.runners.training.run import TrainingRunner
from dnlbench.runners.training.sources import Tracker
from dnlbench.store import Execution, RunDir

MakePlan = Callable[..., Plan]
MODULES = {"network", "blocks", "parts", "parts.inner", "parts.lazy", "computed", "other"}
NETWORK = """
import importlib, json, sys
from pathlib import Path
from torch import nn
import blocks
from parts import inner
sys.path.append(str(Path("lib").resolve()))
computed = importlib.import_module("comp" + "uted")

class Net(nn.Sequential):
    def forward(self, x):
        if self.training:
            from parts import lazy
        return super().forward(x)

def make(depth, input_shape, classes, network):
    options = json.loads(Path("options.json").read_text())
    Path("journal.txt").write_text("built")
    Path("journal.txt").read_text()
    return Net(nn.Flatten(), nn.Linear(64, blocks.WIDTH), nn.Linear(blocks.WIDTH, classes))
"""
FILES = {
    "network.py": NETWORK,
    "blocks.py": "WIDTH = 8\n",
    "parts/inner.py": "from . import lazy\n",  # parts is a namespace package
    "parts/lazy.py": "import other\n",
    "lib/computed.py": "",
    "other.py": "import numpy.linalg\n",
    "options.json": "{}",
    "unrelated.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("sweep.networks=['network:make']", "sweep.depths=[1]", "sweep.seeds=1", "train.epochs=1")


def prepared(plan: Plan, slot: Slot) -> Sources:
    return TrainingRunner(plan, slot).prepare().code


def test_all_dependencies_of_a_network_are_recorded(folder: Path, plan: Plan, slot: Slot) -> None:
    code = prepared(plan, slot)
    assert code.files.keys() == FILES.keys() - {"unrelated.py"}
    assert code.packages["numpy"] == metadata.version("numpy")
    assert code.networks.keys() == {"network:make"}
    assert code.changes(folder) == ()
    assert Sources.model_validate_json(code.model_dump_json()) == code


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"unrelated.py"}))
def test_a_change_anywhere_is_detected_without_importing(folder: Path, plan: Plan, slot: Slot, name: str) -> None:
    code = prepared(plan, slot)
    (folder / "unrelated.py").write_text("A = 1\n")
    (folder / name).write_text(FILES[name] + "\n\n")
    assert code.changes(folder) == (name,)
    (folder / name).unlink()
    assert code.changes(folder) == (name,)


def test_another_version_of_a_package_or_another_python_path_is_a_change(
    folder: Path, plan: Plan, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = prepared(plan, slot)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert code.changes(folder) == ("PYTHONPATH",)
    older = code.model_copy(update={"packages": {"numpy": "1.0", "timm": "1.1"}})
    assert older.changes(folder)[:2] == (
        f"numpy (1.0 before, now {metadata.version('numpy')})",
        "timm (1.1 before, now absent)",
    )


def test_modules_in_an_archive_and_those_imported_before_are_recorded(
    folder: Path, make_plan: MakePlan, slot: Slot
) -> None:
    with zipfile.ZipFile(folder / "nets.zip", "w") as archive:
        archive.writestr("other.py", FILES["network.py"])
    sys.path.append(str(folder / "nets.zip"))
    (folder / "other.py").unlink()
    (folder / "parts" / "lazy.py").write_text("")
    plan = make_plan("sweep.networks=['other:make']", "sweep.depths=[1]", "sweep.seeds=1")
    first = prepared(plan, slot)
    assert {"nets.zip", "blocks.py", "options.json"} <= first.files.keys()
    again = prepared(plan, slot)  # what is in memory is not read again
    assert {"nets.zip", "options.json"} <= again.files.keys()
    assert first.differences(again) == ()


def test_a_module_that_moves_to_another_file_is_a_change(folder: Path, plan: Plan, slot: Slot) -> None:
    before = prepared(plan, slot)
    for name in MODULES:
        sys.modules.pop(name, None)
    (folder / "blocks").mkdir()
    (folder / "blocks" / "__init__.py").write_text("WIDTH = 9\n")  # goes before blocks.py
    after = prepared(plan, slot)
    assert before.changes(folder) == ()
    assert before.differences(after) == ("what network:make imports",)


def test_built_in_networks_have_no_dependencies(folder: Path, make_plan: MakePlan, slot: Slot) -> None:
    assert prepared(make_plan("sweep.depths=[1]"), slot) == Sources()


def test_an_old_journal_with_hashes_by_network_is_read() -> None:
    assert Sources.model_validate({"own:make": "0" * 64}).changes(Path()) == ()


def test_relative_paths_are_those_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("A = 1\n")
    tracker = Tracker(["x:y"], tmp_path)
    with tracker.watch():
        (tmp_path / "a.py").read_text()
        (tmp_path / "b.txt").write_text("written, not read")
    assert tracker.sources().files.keys() == {"a.py"}


class TestWorker:
    """A worker that starts or resumes after a file was edited."""

    @pytest.fixture
    def run_dir(self, folder: Path, plan: Plan) -> RunDir:
        run_dir = RunDir(folder / "rd")
        run_dir.begin(plan, Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="m"))
        return run_dir

    def test_it_refuses_code_that_has_changed(self, folder: Path, run_dir: RunDir, slot: Slot) -> None:
        started = Worker(run_dir, slot, 30.0).prepare()
        Worker(run_dir, slot, 30.0).check_unchanged(started.data, started.code)
        (folder / "blocks.py").write_text("WIDTH = 16\n")
        for name in MODULES:
            sys.modules.pop(name, None)  # as in a new process
        with pytest.raises(SpecError, match=r"has changed since the sweep started: blocks\.py$"):
            Worker(run_dir, slot, 30.0).check_unchanged(started.data, started.code)

    def test_modules_in_memory_may_be_edited_but_not_what_is_read_for_each_run(
        self, folder: Path, run_dir: RunDir, slot: Slot
    ) -> None:
        worker = Worker(run_dir, slot, 30.0)
        started = worker.prepare()
        (folder / "blocks.py").write_text("WIDTH = 16\n")
        worker.check_unchanged(started.data, started.code)
        (folder / "options.json").write_text("[1]")
        with pytest.raises(SpecError, match=r"has changed since the sweep started: options\.json$"):
            worker.check_unchanged(started.data, started.code)

    def test_it_refuses_another_dnlbench(self, run_dir: RunDir, slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dnlbench.store.sweep_file.source_hash", lambda: "edited")
        with pytest.raises(RunDirError, match="what the sweep started with: dnlbench's own code is not the same"):
            Worker(run_dir, slot, 30.0)

    def test_it_refuses_another_environment(self, run_dir: RunDir, slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
        with pytest.raises(RunDirError, match="NVIDIA_TF32_OVERRIDE is not set there and 1 here"):
            Worker(run_dir, slot, 30.0)
