"""``session.json``, and the pairs that an interrupted session leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.errors import RunDirError
from dnlbench.events import RunEnded, RunEvent, RunPaused, RunStarted
from dnlbench.paired.record import begin_record, drop_split_pairs
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir

MakePlan = Callable[..., Plan]
EXECUTION = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")
STARTED = RunStarted(run_id="", attempt=1, device="cpu", device_name="A", threads=1, parameters=1)
ENDED = RunEnded(run_id="", status="ok")


@pytest.fixture
def run_dirs(tmp_path: Path, make_plan: MakePlan) -> tuple[RunDir, RunDir]:
    """Two begun sweeps, whose runs have different ids."""
    head, base = RunDir(tmp_path / "rd"), RunDir(tmp_path / "rd-base")
    for run_dir, settings in ((head, []), (base, ["train.lr=0.5"])):
        run_dir.begin(make_plan(*settings), EXECUTION)
    return head, base


def begin(head: RunDir, base: RunDir, *, resume: bool = False, settings: list[str] | None = None) -> str:
    return begin_record(head, base, "/there/python", settings or [], resume=resume)


def write(run_dir: RunDir, run_id: str, *events: RunEvent) -> None:
    writer = run_dir.events_writer(run_id)
    writer.write_all(event.model_copy(update={"run_id": run_id}).model_dump_json() for event in events)
    writer.close()


def ended(**facts: object) -> RunEnded:
    return RunEnded.model_validate({"run_id": "", **facts})


def test_a_session_keeps_its_name(tmp_path: Path, make_plan: MakePlan) -> None:
    head, base = RunDir(tmp_path / "rd"), RunDir(tmp_path / "rd-base")
    name = begin(head, base)
    head.begin(make_plan(), EXECUTION)
    base.begin(make_plan(), EXECUTION)
    assert begin(head, base) == begin(head, base, resume=True) == name
    assert begin(RunDir(tmp_path / "other"), RunDir(tmp_path / "other-base")) != name


def test_another_base_is_refused(tmp_path: Path) -> None:
    head, base = RunDir(tmp_path / "rd"), RunDir(tmp_path / "rd-base")
    begin(head, base)
    with pytest.raises(RunDirError, match=r"another base: set was \[\], is now \['train.lr=1'\]"):
        begin(head, base, settings=["train.lr=1"])
    with pytest.raises(RunDirError, match="python was /there/python, is now /elsewhere"):
        begin_record(head, base, "/elsewhere", [], resume=False)


def test_runs_that_took_no_turns_are_not_taken_for_some_that_did(run_dirs: tuple[RunDir, RunDir]) -> None:
    with pytest.raises(RunDirError, match="not a paired benchmark"):
        begin(*run_dirs)


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"--resume: .*: no paired benchmark to resume"):
        begin(RunDir(tmp_path / "rd"), RunDir(tmp_path / "rd-base"), resume=True)


def test_a_side_that_is_in_use_is_refused(tmp_path: Path) -> None:
    head, base = RunDir(tmp_path / "rd"), RunDir(tmp_path / "rd-base")
    with base.locked(), pytest.raises(RunDirError, match="rd-base: in use"):
        begin(head, base)


def test_runs_are_known_by_network_depth_and_seed(run_dirs: tuple[RunDir, RunDir], make_plan: MakePlan) -> None:
    expected = {(run.point.network, run.point.depth, run.seed): run.run_id for run in make_plan().runs}
    assert run_dirs[0].read_run_ids() == expected
    assert list(run_dirs[1].read_run_ids()) == list(expected)
    assert not set(run_dirs[1].read_run_ids().values()) & set(expected.values())


def test_a_pair_stays_if_both_of_it_are_done(run_dirs: tuple[RunDir, RunDir]) -> None:
    head, base = run_dirs
    ours, theirs = head.read_run_ids(), base.read_run_ids()
    diverged, interrupted, failed = (ended(status=status) for status in ("diverged", "cancelled", "failed"))
    cancelled = ended(status="cancelled", requested=True)
    cases: list[tuple[list[RunEvent], list[RunEvent], str]] = [
        ([STARTED, ENDED], [STARTED, ENDED], "stays"),
        ([STARTED, diverged], [cancelled], "stays"),
        ([STARTED, ENDED], [], "goes"),
        ([STARTED, ENDED], [STARTED, interrupted], "goes"),
        ([STARTED, failed], [STARTED, ENDED], "goes"),
        ([STARTED], [STARTED, ENDED], "goes"),
        ([STARTED, ENDED, STARTED], [STARTED, ENDED], "goes"),
        ([STARTED, ENDED], [STARTED, RunPaused(run_id="", epoch=1, step=0)], "goes"),
    ]
    for key, (mine, other, _) in zip(ours, cases, strict=True):
        if mine:
            write(head, ours[key], *mine)
        if other:
            write(base, theirs[key], *other)
    dropped = drop_split_pairs(head, base)
    assert dropped == [key for key, case in zip(ours, cases, strict=True) if case[2] == "goes"]
    for key, (_, _, fate) in zip(ours, cases, strict=True):
        assert head.run_path(ours[key]).exists() == base.run_path(theirs[key]).exists() == (fate == "stays")
