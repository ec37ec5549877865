"""Which commands the screens start engines with; none is started here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dnlbench.events import EngineStarted
from dnlbench.plan import Plan
from dnlbench.spec import list_presets, parse_spec, read_spec
from dnlbench.spec.presets import Preset
from dnlbench.store import Execution, RunDir
from dnlbench.tui import engines

Record = Callable[..., RunDir]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def launch(arguments: Sequence[str], run_dir: RunDir) -> int:
        commands.append(list(arguments))
        return 1

    monkeypatch.setattr(engines, "launch_engine", launch)
    return commands


def test_a_sweep_is_started_once_and_followed_while_it_is_under_way(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = engines.start_sweep("digits-quick", Path())
    assert launched == [["run", "digits-quick", "--run-dir", str(run_dir.root), "--quiet"]]
    monkeypatch.setattr(RunDir, "engine", lambda self: "4242")
    assert engines.start_sweep("digits-quick", Path()).root == run_dir.root
    assert len(launched) == 1


def test_going_on_takes_the_spec_and_the_way_of_the_fullest_engine(record: Record, launched: list[list[str]]) -> None:
    run_dir = record(states=["done"])
    first = next(event for event in run_dir.read_journal() if isinstance(event, EngineStarted))
    writer = run_dir.journal_writer()
    writer.write(first.model_copy(update={"slots": ("cpu/1",)}).model_dump_json())
    writer.close()
    engines.go_on(run_dir)
    ((command, path, *options),) = launched
    assert (command, path) == ("run", str(run_dir.root / "spec.toml"))
    assert options == [
        *("--resume", "--run-dir", str(run_dir.root)),
        *("--device", "cpu", "--jobs", "2", "--threads", "1", "--pack", "1", "--quiet"),
    ]
    assert Plan(read_spec(path)).runs == run_dir.read_plan().runs


def test_several_gpus_are_named_by_their_numbers(record: Record, launched: list[list[str]]) -> None:
    run_dir = record()
    started = next(event for event in run_dir.read_journal() if isinstance(event, EngineStarted))
    content = run_dir.sweep_path.read_text().replace('"device_kind": "cpu"', '"device_kind": "cuda"')
    run_dir.sweep_path.write_text(content)
    writer = run_dir.journal_writer()
    slots = ("cuda:0/0", "cuda:2/0", "cuda:2/1")
    writer.write(started.model_copy(update={"slots": slots}).model_dump_json())
    writer.close()
    engines.go_on(run_dir)
    assert launched[0][launched[0].index("--device") + 1] == "cuda:0,2"
    assert launched[0][launched[0].index("--jobs") + 1] == "3"


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_every_spec_survives_being_written_to_the_run_directory(
    preset: Preset, tmp_path: Path, launched: list[list[str]]
) -> None:
    plan = Plan(parse_spec(preset.text, preset.name))
    run_dir = RunDir(tmp_path / "rd")
    run_dir.begin(plan, Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine="0", source="0"))
    engines.go_on(run_dir)
    assert read_spec(str(run_dir.root / "spec.toml")) == plan.spec
