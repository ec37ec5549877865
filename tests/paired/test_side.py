"""A side's process, of which only its journal and its exit code matter here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dnlbench.errors import EngineError
from dnlbench.events import (
    Command,
    CommandDone,
    DataInfo,
    EngineStarted,
    EpochDone,
    Event,
    Prepared,
    RunEnded,
    RunLeased,
    read_command,
)
from dnlbench.machine import Code
from dnlbench.paired import session
from dnlbench.paired.interpreter import Interpreter
from dnlbench.paired.session import Session, SessionEnd, run_session
from dnlbench.paired.side import Side
from dnlbench.paired.turns import Key, SideName
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir
from tests.conftest import MACHINE, request_for

DATA = DataInfo(name="digits", sha256="ab", samples=150, input_shape=(1, 8, 8), classes=10)
STARTED = EngineStarted(pid=1, machine=MACHINE, code=Code(version="0.7.0"), slots=("cpu/0", "cpu/1"), pack_size=3)
PREPARED = Prepared(data=DATA, torch="2", device_name="A", warnings=("left out",))
LEASED = RunLeased(run_id="a", attempt=1, slot="cpu/0")

MakeSide = Callable[..., Side]


@pytest.fixture
def make_side(tmp_path: Path, make_plan: Callable[..., Plan]) -> MakeSide:
    """A side that writes these events, after those of an earlier engine, and ends with that code."""

    def make(name: SideName, events: Sequence[Event], code: int, earlier: Sequence[Event] = ()) -> Side:
        run_dir = RunDir(tmp_path / name)
        run_dir.root.mkdir()
        before, now = ("".join(each.model_dump_json() + "\n" for each in them) for them in (earlier, events))
        run_dir.journal_path.write_text(before)
        program = tmp_path / f"{name}-python"
        program.write_text(f"#!/bin/sh\ncat >> {run_dir.journal_path} <<'END'\n{now}END\nexit {code}\n")
        program.chmod(0o755)
        return Side(name, request_for(make_plan(), run_dir=run_dir.root), Interpreter(path=str(program)))

    return make


@pytest.mark.parametrize(
    ("events", "code", "saved"),
    [
        ([STARTED, PREPARED], 130, False),
        ([STARTED, PREPARED, LEASED], 130, True),
        ([STARTED, PREPARED], 0, True),  # there was nothing left to do
    ],
)
def test_a_session_that_was_interrupted_knows_whether_there_are_two_profiles(
    make_session: Callable[[Plan], Session],
    make_plan: Callable[..., Plan],
    make_side: MakeSide,
    monkeypatch: pytest.MonkeyPatch,
    events: list[Event],
    code: int,
    saved: bool,
) -> None:
    """The head is the side in question; the base has had its turn."""

    def start(_: Session, name: str, side: SideName, sides: dict[SideName, Side], tell: Callable[[str], None]) -> None:
        had = [STARTED, LEASED]
        sides[side] = make_side(side, had if side == "base" else events, 130 if side == "base" else code, earlier=had)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def end_by_itself(side: Side) -> None:
        """The process is quick, and what it says is settled."""

    monkeypatch.setattr(Side, "interrupt", end_by_itself)
    monkeypatch.setattr(session, "_start", start)
    monkeypatch.setattr(session, "_order", lambda sides, tell: [])
    monkeypatch.setattr(session, "_take_turns", interrupted)
    end = run_session(make_session(make_plan()), lambda news: None)
    assert end == SessionEnd(saved=saved, interrupted=True, failed=True)


@pytest.fixture
def waiting_side(tmp_path: Path, make_plan: Callable[..., Plan]) -> Iterator[Side]:
    """A side that has begun its sweep, and whose process waits."""
    run_dir = RunDir(tmp_path / "base")
    run_dir.begin(make_plan(), Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s"))
    run_dir.control_path.touch()
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    side = Side("base", request_for(make_plan(), run_dir=run_dir.root), Interpreter(path=str(program)))
    yield side
    side.interrupt()
    side.end()


def write(path: Path, events: Sequence[Event]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(event.model_dump_json() + "\n" for event in events)


def test_a_side_is_ready_once_it_has_told_what_it_trains_on_and_what_waits(
    waiting_side: Side, make_plan: Callable[..., Plan]
) -> None:
    done, *left = make_plan().runs
    command = Command(action="pause", run_ids=tuple(run.run_id for run in left))
    said = [STARTED, PREPARED, CommandDone(command=command, refused=False, answer="paused")]
    write(waiting_side.run_dir.journal_path, said)
    waiting_side.prepare()
    assert (waiting_side.slots, waiting_side.pack_size) == (2, 3)
    assert waiting_side.prepared == PREPARED
    assert list(waiting_side.waiting.values()) == [run.run_id for run in left]
    assert done.run_id not in waiting_side.waiting.values()


def test_runs_of_a_turn_are_begun_at_once_and_it_lasts_until_the_last_of_them_has_ended(
    waiting_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[Key] = [("densenet", 1, 0), ("densenet", 1, 1)]
    waiting_side.waiting = dict(zip(keys, "ab", strict=True))
    paths = [waiting_side.run_dir.events_path(run) for run in "ab"]
    failed, ended = RunEnded(run_id="a", status="failed"), RunEnded(run_id="b", status="ok")
    epoch = EpochDone(run_id="b", epoch=1, train_loss=1.0, seconds=2.0, samples_per_s=75.0)
    news: list[tuple[Path, list[Event]]] = [(paths[0], [failed]), (paths[0], []), (paths[1], [epoch, ended])]
    with monkeypatch.context() as patch:
        patch.setattr("dnlbench.paired.side.time.sleep", lambda seconds: write(*news.pop()) if news else None)
        ends = [(end.key, end.status, end.samples_per_s) for end in waiting_side.take_turn(keys)]
    assert ends == [(keys[1], "ok", 75.0), (keys[0], "failed", None)]
    commands = [read_command(line) for line in waiting_side.run_dir.control_path.read_bytes().splitlines()]
    assert [(command.action, command.run_ids) for command in commands if command] == [("resume", ("a", "b"))]


def test_a_side_that_ends_in_its_turn_ends_the_session(waiting_side: Side) -> None:
    key: Key = ("densenet", 1, 0)
    waiting_side.waiting = {key: "a"}
    waiting_side.interrupt()
    with pytest.raises(EngineError, match="the base side ended in the middle of its turn: it ended with signal 15"):
        list(waiting_side.take_turn([key]))
