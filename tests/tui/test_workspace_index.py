from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.events import Command, CommandDone, RunRequeued
from dnlbench.machine import Device, Machine, Slot
from dnlbench.plan import Plan
from dnlbench.profiles import Profile
from dnlbench.spec import list_presets
from dnlbench.store import Execution, RunDir, SweepFollower
from dnlbench.store.workspace import RUNS, save_entry
from dnlbench.tui.durations import learn_durations
from dnlbench.tui.widgets.entry_list import profile_row, sweep_row
from dnlbench.tui.workspace_index import WorkspaceIndex

Record = Callable[..., RunDir]
MakeProfile = Callable[..., Profile]


@pytest.fixture
def recorded(record: Record, tmp_path: Path) -> Record:
    """Record sweeps in the folder of the index."""
    return lambda *overrides, name, **fields: record(*overrides, name=f".dnlbench/runs/{name}", **fields)


def write_profile(folder: Path, name: str, profile: Profile) -> Path:
    path = folder / "profiles" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(profile.to_json())
    return path


def test_presets_and_custom_specs(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.toml").write_text(
        '# Mine.\nname = "m"\n[sweep]\nnetworks = ["plain"]\ndepths = [1, 2]\n'
    )
    (tmp_path / "sweeps" / "wrong.toml").write_text('name = "m"\n[sweep]\nnetworks = ["plan"]\ndepths = [1]\n')
    specs = WorkspaceIndex(tmp_path).specs()
    assert [entry.name for entry in specs if entry.preset] == [preset.name for preset in list_presets()]
    assert all(entry.summary and entry.runs for entry in specs if entry.preset)
    mine, wrong = specs[-2:]
    assert (mine.name, mine.summary, mine.runs) == ("mine", "Mine.", 6)
    assert mine.spec == str(tmp_path / "sweeps" / "mine.toml")
    assert wrong.problem.startswith("line 3: sweep.networks[0] = 'plan'")


@pytest.mark.parametrize(
    ("engine", "states", "expected"),
    [
        ("done", ["done"] * 8, ("done", 8, 0)),
        ("done", ["done"] * 6 + ["diverged", "failed"], ("done", 8, 2)),
        ("interrupted", ["done"] * 3 + ["half"], ("interrupted", 3, 0)),
        ("error", ["done"], ("error", 1, 0)),
        (None, ["done", "half"], ("killed", 1, 0)),
        (None, [], ("killed", 0, 0)),
    ],
)
def test_what_became_of_a_sweep(
    recorded: Record, tmp_path: Path, engine: str | None, states: list[str], expected: tuple[str, int, int]
) -> None:
    recorded(name="one", engine=engine, states=states)
    (entry,) = WorkspaceIndex(tmp_path).sweeps()
    assert (entry.state, entry.ended, entry.failed) == expected
    assert (entry.name, entry.runs, entry.problem) == ("tiny", 8, "")


def test_a_sweep_at_work_comes_first(recorded: Record, tmp_path: Path) -> None:
    at_work = recorded(name="a", engine=None, states=["done", "half"])
    later = recorded(name="b", states=["done"] * 8)
    os.utime(later.journal_path, (time.time() + 100,) * 2)
    index = WorkspaceIndex(tmp_path)
    with at_work.locked():
        first, second = index.sweeps()
        assert (first.run_dir, first.state, second.state) == (at_work.root, "running", "done")
        assert first.fraction is not None
        assert 1 / 8 * 0.5 < first.fraction < 3 / 8
        command = CommandDone(command=Command(action="pause"), refused=False, answer="paused")
        append(at_work, command.model_dump_json())
        assert index.sweeps()[0].state == "paused"
    assert {entry.state for entry in index.sweeps()} == {"done", "killed"}


def append(run_dir: RunDir, line: str) -> None:
    writer = run_dir.journal_writer()
    writer.write(line)
    writer.close()


def test_progress_is_updated_with_each_poll(recorded: Record, tmp_path: Path) -> None:
    run_dir = recorded(name="a", engine=None, states=["done", "half"])
    index = WorkspaceIndex(tmp_path)
    with run_dir.locked():
        assert index.sweeps()[0].ended == 1
        other = recorded(name="b", engine=None, states=["done"] * 3)
        for path in (other.root / "runs").glob("*/events.jsonl"):
            target = run_dir.events_path(path.parent.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        run_dir.journal_path.write_bytes(other.journal_path.read_bytes())
        first = index.sweeps()[0]
        assert (first.run_dir, first.ended) == (run_dir.root, 3)


def test_a_run_that_is_tried_again_has_not_ended(recorded: Record, tmp_path: Path) -> None:
    run_dir = recorded(name="a", states=["done"] * 7 + ["failed"])
    index = WorkspaceIndex(tmp_path)
    assert index.sweeps()[0].ended == 8
    run = run_dir.read_plan().runs[-1]
    writer = run_dir.events_writer(run.run_id)
    writer.write(RunRequeued(run_id=run.run_id).model_dump_json())
    writer.close()
    command = Command(action="retry", run_ids=(run.run_id,))
    append(run_dir, CommandDone(command=command, refused=False, answer="again").model_dump_json())
    (entry,) = index.sweeps()
    assert (entry.ended, entry.failed, entry.state) == (7, 0, "interrupted")


def test_more_epochs_than_there_are_is_not_done(recorded: Record, tmp_path: Path) -> None:
    run_dir = recorded(name="a", states=["done"] * 8)
    content = json.loads(run_dir.sweep_path.read_text())
    content["spec"]["train"]["epochs"] = 5
    run_dir.sweep_path.write_text(json.dumps(content))
    (entry,) = WorkspaceIndex(tmp_path).sweeps()
    assert (entry.ended, entry.state) == (0, "interrupted")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no sweep.json"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema": "dnlbench.sweep/99"}', "dnlbench.sweep/99"),
        (b"[]", "sweep.json is damaged: must be a JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"schema": "dnlbench.sweep/2", "execution": {}, "study": "x"}', '"study" must be one of training, '),
    ],
)
def test_broken_run_directories_are_listed(recorded: Record, tmp_path: Path, content: bytes | None, part: str) -> None:
    recorded(name="fine", states=["done"] * 8)
    broken = (tmp_path / RUNS) / "broken"
    broken.mkdir()
    if content is not None:
        (broken / "sweep.json").write_bytes(content)
    entries = {entry.name: entry for entry in WorkspaceIndex(tmp_path).sweeps()}
    assert entries["broken"].state == "unreadable"
    assert part in entries["broken"].problem
    assert str(tmp_path) not in entries["broken"].problem
    assert entries["tiny"].state == "done"


def test_a_broken_directory_may_be_mended(recorded: Record, tmp_path: Path) -> None:
    run_dir = recorded(name="a", states=["done"] * 8)
    content = run_dir.sweep_path.read_bytes()
    run_dir.sweep_path.write_bytes(b"{")
    index = WorkspaceIndex(tmp_path)
    assert index.sweeps()[0].state == "unreadable"
    run_dir.sweep_path.write_bytes(content)
    assert index.sweeps()[0].state == "done"
    run_dir.journal_path.write_bytes(b"\xff not JSON\n{}\n")
    assert WorkspaceIndex(tmp_path).sweeps()[0].state == "done", "as its runs tell"


def test_nothing_changed_is_not_read_again(
    recorded: Record, tmp_path: Path, make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(name="a", states=["done"] * 8)
    write_profile(tmp_path, "p", make_profile({("plain", 1): [1.0]}))
    index = WorkspaceIndex(tmp_path)
    entries = index.poll()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(SweepFollower, "poll", refuse)
    monkeypatch.setattr("dnlbench.tui.workspace_index.read_profile_entry", refuse)
    monkeypatch.setattr(RunDir, "read_plan", refuse)
    assert index.poll() == entries


def test_profiles(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile({("plain", 1): [1.0, 2.0]})
    older = profile.model_copy(update={"created": profile.created.replace(year=2020), "state": "partial"})
    write_profile(tmp_path, "new", profile)
    write_profile(tmp_path, "old", older)
    write_profile(tmp_path, "torn", profile).write_bytes(profile.to_json()[:-300])
    (tmp_path / "profiles" / "newer.json").write_text('{"schema": "dnlbench.profile/7"}')
    (tmp_path / "profiles" / "binary.json").write_bytes(b"\xff")
    new, old, *broken = WorkspaceIndex(tmp_path).profiles()
    assert (new.name, new.study, new.state, new.machine) == ("new", "training", "complete", "A CPU")
    assert (old.name, old.state, old.created) == ("old", "partial", older.created)
    assert (new.differing, old.differing) == ("", "")
    problems = {entry.name: entry.problem for entry in broken}
    assert "newer dnlbench" in problems["newer"]
    assert "not valid JSON" in problems["torn"]
    assert "not UTF-8" in problems["binary"]


def test_what_differs_between_profiles_and_sweeps_of_one_name(
    tmp_path: Path, make_plan: Callable[..., Plan], make_profile: MakeProfile
) -> None:
    execution = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")
    for rate in (0.01, 0.03):
        plan = make_plan(f"train.lr={rate}", f"sweep.depths=[{round(100 * rate)}]")
        RunDir((tmp_path / RUNS) / str(rate)).begin(plan, execution)
        profile = make_profile({("plain", 1): [1.0]}, spec=plan.spec.model_dump(mode="json"))
        write_profile(tmp_path, str(rate), profile)
    RunDir((tmp_path / RUNS) / "other").begin(make_plan("name=other", "train.epochs=9"), execution)
    entries = WorkspaceIndex(tmp_path).poll()
    differing = ["", "sweep.depths=[1], train.lr=0.01", "sweep.depths=[3], train.lr=0.03"]
    assert sorted(entry.differing for entry in entries.sweeps) == differing
    assert sorted(entry.differing for entry in entries.profiles) == differing[1:]
    assert profile_row(entries.profiles[0], ()).below.startswith(entries.profiles[0].differing)
    assert all(sweep_row(entry, 0).below.startswith(entry.differing) for entry in entries.sweeps)


def test_a_profile_that_is_written_otherwise_is_read_all_the_same(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile({("plain", 1): [1.0]})
    path = write_profile(tmp_path, "flat", profile)
    path.write_text(json.dumps(json.loads(path.read_bytes())))
    (entry,) = WorkspaceIndex(tmp_path).profiles()
    assert (entry.problem, entry.machine, entry.created) == ("", "A CPU", profile.created)


def test_an_empty_folder_has_presets_only(tmp_path: Path) -> None:
    entries = WorkspaceIndex(tmp_path / "not there").poll()
    assert (entries.sweeps, entries.profiles) == ((), ())
    assert entries.specs


MACHINE = Machine(
    os="Linux", cpu="A", cores=2, memory_bytes=2**30, python="3", torch="2", devices=(), fingerprint="0123456789abcdef"
)
SLOTS = (Slot(name="cpu/0", device=Device(kind="cpu", name="A"), threads=1),)


def test_durations_are_estimated_from_earlier_sweeps(
    recorded: Record, tmp_path: Path, make_plan: Callable[..., Plan]
) -> None:
    plan = make_plan("sweep.depths=[2,4]", "train.epochs=10", "name=other")
    assert learn_durations(tmp_path, plan, MACHINE, SLOTS) is None
    recorded(name="a", states=["done"] * 8)
    ((tmp_path / RUNS) / "broken").mkdir()
    ((tmp_path / RUNS) / "broken" / "sweep.json").write_text("[" * 100_000)
    estimator = learn_durations(tmp_path, plan, MACHINE, SLOTS)
    assert estimator is not None
    from dnlbench.estimates import Task

    run = next(run for run in plan.runs if run.point.depth == 2)
    assert 10 < estimator.duration_s(Task(runs=(run,), epochs=10), "cpu/0") < 40  # each epoch was 2 s
    deeper = next(run for run in plan.runs if run.point.depth == 4)
    assert estimator.duration_s(Task(runs=(deeper,), epochs=10), "cpu/0") > 0


@pytest.mark.parametrize("override", ["network.growth_rate=4", "train.lr=0.5"])
def test_sweeps_of_other_settings_are_ignored(
    recorded: Record, tmp_path: Path, make_plan: Callable[..., Plan], override: str
) -> None:
    recorded(name="a", states=["done"] * 8)
    assert learn_durations(tmp_path, make_plan(override), MACHINE, SLOTS) is None


def test_sweeps_of_other_machines_are_ignored(recorded: Record, tmp_path: Path, make_plan: Callable[..., Plan]) -> None:
    recorded(name="a", states=["done"] * 8)
    other = MACHINE.model_copy(update={"fingerprint": "another"})
    assert learn_durations(tmp_path, make_plan(), other, SLOTS) is None


def test_the_summary_of_a_finished_sweep_is_read_instead_of_events(
    recorded: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = recorded(name="a", states=["done"] * 6 + ["diverged", "failed"])
    (folded,) = WorkspaceIndex(tmp_path).sweeps()
    save_entry(run_dir)
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "read_plan", lambda _: pytest.fail("read again"))
        assert WorkspaceIndex(tmp_path).sweeps() == (folded,)
    run = run_dir.read_plan().runs[-1]
    writer = run_dir.events_writer(run.run_id)
    writer.write(RunRequeued(run_id=run.run_id).model_dump_json())
    writer.close()
    assert WorkspaceIndex(tmp_path).sweeps()[0].ended == 7, "older than the events"


@pytest.mark.parametrize("content", [b"", b'{"schema_": "dnl', b"[]", b'{"schema_": "dnlbench.state/2"}', b"\xff"])
def test_what_the_engine_left_may_be_torn_or_of_another_version(
    recorded: Record, tmp_path: Path, content: bytes
) -> None:
    run_dir = recorded(name="a", states=["done"] * 8)
    (folded,) = WorkspaceIndex(tmp_path).sweeps()
    run_dir.state_path.write_bytes(content)
    assert WorkspaceIndex(tmp_path).sweeps() == (folded,)
