"""A side's process, of which only its journal and its exit code matter here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dnlbench.interleave import Session, SessionEnd, run_session, session
from dnlbench.interleave.interpreter import Interpreter
from dnlbench.interleave.side import Side
from dnlbench.interleave.turns import SideName
from dnlbench.plan import Plan
from dnlbench.store import RunDir

MakeSide = Callable[..., Side]


@pytest.fixture
def make_side(tmp_path: Path) -> MakeSide:
    """A side that writes events of that name, of which an earlier engine wrote others, and ends with that code."""

    def make(name: SideName, events: Sequence[str], code: int, earlier: Sequence[str] = ()) -> Side:
        run_dir = RunDir(tmp_path / name)
        run_dir.root.mkdir()
        before, now = ("".join(json.dumps({"event": each}) + "\n" for each in them) for them in (earlier, events))
        run_dir.journal_path.write_text(before)
        program = tmp_path / f"{name}-python"
        program.write_text(f"#!/bin/sh\ncat >> {run_dir.journal_path} <<'END'\n{now}END\nexit {code}\n")
        program.chmod(0o755)
        return Side(name, run_dir, Interpreter(path=str(program)), [])

    return make


@pytest.mark.parametrize(
    ("events", "code", "saved"),
    [
        (["engine-started", "prepared"], 130, False),
        (["engine-started", "prepared", "run-leased"], 130, True),
        (["engine-started", "prepared"], 0, True),  # there was nothing left to do
    ],
)
def test_a_session_that_was_interrupted_knows_whether_there_are_two_profiles(
    make_session: Callable[[Plan], Session],
    make_plan: Callable[..., Plan],
    make_side: MakeSide,
    monkeypatch: pytest.MonkeyPatch,
    events: list[str],
    code: int,
    saved: bool,
) -> None:
    """The head is the side in question; the base has had its turn."""

    def start(_: Session, name: str, side: SideName, sides: dict[SideName, Side], tell: Callable[[str], None]) -> None:
        had = ["engine-started", "run-leased"]
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
