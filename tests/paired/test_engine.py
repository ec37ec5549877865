"""An engine of a paired benchmark; only the journal and the exit code of its process matter here."""

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
from dnlbench.paired.engine import PairedEngine
from dnlbench.paired.interpreter import Interpreter
from dnlbench.paired.schedule import Key, Role
from dnlbench.paired.session import Session, SessionEnd, run_session
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir
from tests.conftest import MACHINE, request_for

DATA = DataInfo(name="digits", sha256="ab", samples=150, input_shape=(1, 8, 8), classes=10)
STARTED = EngineStarted(pid=1, machine=MACHINE, code=Code(version="0.7.0"), slots=("cpu/0", "cpu/1"), pack_size=3)
PREPARED = Prepared(data=DATA, torch="2", device_name="A", warnings=("left out",))
LEASED = RunLeased(run_id="a", attempt=1, slot="cpu/0")

MakeEngine = Callable[..., PairedEngine]


@pytest.fixture
def make_engine(tmp_path: Path, make_plan: Callable[..., Plan]) -> MakeEngine:
    """Return a function that starts an engine which writes these events after earlier ones, and exits with this code."""

    def make(name: Role, events: Sequence[Event], code: int, earlier: Sequence[Event] = ()) -> PairedEngine:
        run_dir = RunDir(tmp_path / name)
        run_dir.root.mkdir()
        before, now = ("".join(each.model_dump_json() + "\n" for each in them) for them in (earlier, events))
        run_dir.journal_path.write_text(before)
        program = tmp_path / f"{name}-python"
        program.write_text(f"#!/bin/sh\ncat >> {run_dir.journal_path} <<'END'\n{now}END\nexit {code}\n")
        program.chmod(0o755)
        return PairedEngine(name, request_for(make_plan(), run_dir=run_dir.root), Interpreter(path=str(program)))

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
    make_engine: MakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    events: list[Event],
    code: int,
    saved: bool,
) -> None:
    """Test the head; the base has run."""

    def start(
        _: Session, name: str, role: Role, engines: dict[Role, PairedEngine], on_message: Callable[[str], None]
    ) -> None:
        had = [STARTED, LEASED]
        engines[role] = make_engine(
            role, had if role == "base" else events, 130 if role == "base" else code, earlier=had
        )

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def end_by_itself(engine: PairedEngine) -> None:
        """Do nothing: the process exits by itself."""

    monkeypatch.setattr(PairedEngine, "interrupt", end_by_itself)
    monkeypatch.setattr(session, "_start", start)
    monkeypatch.setattr(session, "_group_runs", lambda engines, on_message: [])
    monkeypatch.setattr(session, "_run_groups", interrupted)
    end = run_session(make_session(make_plan()), lambda news: None)
    assert end == SessionEnd(saved=saved, interrupted=True, failed=True)


@pytest.fixture
def waiting_engine(tmp_path: Path, make_plan: Callable[..., Plan]) -> Iterator[PairedEngine]:
    """An engine that has started its sweep, and whose process waits."""
    run_dir = RunDir(tmp_path / "base")
    run_dir.begin(make_plan(), Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s"))
    run_dir.control_path.touch()
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    engine = PairedEngine("base", request_for(make_plan(), run_dir=run_dir.root), Interpreter(path=str(program)))
    yield engine
    engine.interrupt()
    engine.end()


def write(path: Path, events: Sequence[Event]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(event.model_dump_json() + "\n" for event in events)


def test_a_side_is_ready_once_it_has_told_what_it_trains_on_and_what_waits(
    waiting_engine: PairedEngine, make_plan: Callable[..., Plan]
) -> None:
    done, *left = make_plan().runs
    command = Command(action="pause", run_ids=tuple(run.run_id for run in left))
    said = [STARTED, PREPARED, CommandDone(command=command, refused=False, answer="paused")]
    write(waiting_engine.run_dir.journal_path, said)
    waiting_engine.prepare()
    assert (waiting_engine.slots, waiting_engine.pack_size) == (2, 3)
    assert waiting_engine.prepared == PREPARED
    assert list(waiting_engine.waiting.values()) == [run.run_id for run in left]
    assert done.run_id not in waiting_engine.waiting.values()


def test_runs_of_a_turn_are_begun_at_once_and_it_lasts_until_the_last_of_them_has_ended(
    waiting_engine: PairedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[Key] = [("densenet", 1, 0), ("densenet", 1, 1)]
    waiting_engine.waiting = dict(zip(keys, "ab", strict=True))
    paths = [waiting_engine.run_dir.events_path(run) for run in "ab"]
    failed, ended = RunEnded(run_id="a", status="failed"), RunEnded(run_id="b", status="ok")
    epoch = EpochDone(run_id="b", epoch=1, train_loss=1.0, seconds=2.0, samples_per_s=75.0)
    news: list[tuple[Path, list[Event]]] = [(paths[0], [failed]), (paths[0], []), (paths[1], [epoch, ended])]
    with monkeypatch.context() as patch:
        patch.setattr("dnlbench.paired.engine.time.sleep", lambda seconds: write(*news.pop()) if news else None)
        ends = [(end.key, end.status, end.samples_per_s) for end in waiting_engine.run_group(keys)]
    assert ends == [(keys[1], "ok", 75.0), (keys[0], "failed", None)]
    commands = [read_command(line) for line in waiting_engine.run_dir.control_path.read_bytes().splitlines()]
    assert [(command.action, command.run_ids) for command in commands if command] == [("resume", ("a", "b"))]


def test_a_side_that_ends_in_its_turn_ends_the_session(waiting_engine: PairedEngine) -> None:
    key: Key = ("densenet", 1, 0)
    waiting_engine.waiting = {key: "a"}
    waiting_engine.interrupt()
    with pytest.raises(EngineError, match="the engine of the base exited during a run: killed by signal 15"):
        list(waiting_engine.run_group([key]))
