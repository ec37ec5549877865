"""The options of a session, and the requests for its engines."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dnlbench.engine import run
from dnlbench.errors import ConfigurationError
from dnlbench.events import DataInfo, EngineStarted, JournalEvent, Prepared, RunLeased
from dnlbench.machine import Code
from dnlbench.paired import session
from dnlbench.paired.interpreter import Interpreter, find_interpreter
from dnlbench.paired.session import Session, run_session
from dnlbench.plan import Plan
from dnlbench.profiles import read_profile
from dnlbench.spec import read_spec
from dnlbench.store import Execution, RunDir
from tests.conftest import MACHINE, request_for

MakePlan = Callable[..., Plan]
MakeSession = Callable[[Plan], Session]


def silent(message: str) -> None:
    raise AssertionError(f"nothing is to be begun: {message}")


@pytest.mark.parametrize("other", ["out.json", "folder/../out.json", "link/out.json"])
def test_one_file_is_not_for_two_profiles(
    make_session: MakeSession, make_plan: MakePlan, tmp_path: Path, other: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    asked = replace(make_session(make_plan()), base_out=tmp_path / other)
    with pytest.raises(ConfigurationError, match=r"--out-base .*out\.json: is the profile of the head"):
        run_session(asked, silent)
    assert not asked.run_dir.exists()


def test_places_of_profiles_are_looked_at_before_anything_is_begun(
    make_session: MakeSession, make_plan: MakePlan, tmp_path: Path
) -> None:
    asked = make_session(make_plan())
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=r"--out-base .*folder: is a folder"):
        run_session(replace(asked, base_out=tmp_path / "folder"), silent)
    with pytest.raises(ConfigurationError, match=r"--out .*folder: is a folder"):
        run_session(replace(asked, out=tmp_path / "folder"), silent)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"--out-base .*base.json cannot be written in .*file"):
        run_session(replace(asked, base_out=tmp_path / "file" / "base.json"), silent)
    assert not asked.run_dir.exists()


def test_weights_are_those_of_the_head(make_session: MakeSession, make_plan: MakePlan) -> None:
    asked = make_session(make_plan())
    keeping = replace(asked, request=replace(asked.request, keep_weights=True))
    assert session._request(keeping, "one", "head").keep_weights
    assert not session._request(keeping, "one", "base").keep_weights  # another version may not know it
    assert not session._request(asked, "one", "head").keep_weights


def test_both_sides_are_asked_for_the_same_but_for_what_makes_them_two(
    make_session: MakeSession, make_plan: MakePlan, tmp_path: Path
) -> None:
    asked = make_session(make_plan())
    request = replace(asked.request, resume=True, executor="inline", checkpoint_s=3.0, ray_insecure=True)
    head, base = (session._request(replace(asked, request=request), "one", role) for role in ("head", "base"))
    own: dict[str, Any] = {"run_dir": tmp_path / "rd", "out": tmp_path / "out.json", "session": "one", "resume": False}
    assert head == replace(request, **own)
    spec = replace(request.spec, settings=("train.lr=0.5",))
    assert base == replace(head, spec=spec, run_dir=tmp_path / "rd-base", out=tmp_path / "out-base.json")


def test_where_there_are_no_weights_none_can_be_kept(make_session: MakeSession) -> None:
    asked = make_session(Plan(read_spec("relu-limit", ())))
    with pytest.raises(ConfigurationError, match="have no weights"):
        run_session(replace(asked, request=replace(asked.request, keep_weights=True)), silent)


def test_sides_write_to_no_page_of_the_command_that_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("PYTHONPATH", "here")
    for interpreter, ours in ((find_interpreter(None), {"PYTHONPATH"}), (Interpreter(path="/there/python"), set())):
        assert "GITHUB_STEP_SUMMARY" not in interpreter.environment
        assert ours == {"PYTHONPATH"} & set(interpreter.environment)
        assert interpreter.environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_side_that_was_given_no_turn_leaves_the_profile_that_is_there(
    tmp_path: Path, make_plan: MakePlan, earlier: bool, turned: bool
) -> None:
    """Only runs of this engine count: an earlier engine saved its own."""
    plan, run_dir, out = make_plan(), RunDir(tmp_path / "rd"), tmp_path / "out.json"
    run_dir.begin(plan, Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s"))
    lease = RunLeased(time=2.0, run_id=plan.runs[0].run_id, attempt=1, slot="cpu/0")
    data = DataInfo(name="digits", sha256="ab" * 32, samples=150, input_shape=(1, 8, 8), classes=10)
    started: list[JournalEvent] = [
        EngineStarted(time=1.0, pid=1, machine=MACHINE, code=Code(version="1"), slots=("cpu/0",), session="one"),
        Prepared(time=1.0, data=data, torch="2", device_name="A CPU"),
    ]
    journal = [*started, *([lease, *started] if earlier else []), *([lease] if turned else [])]
    run_dir.journal_path.write_text("".join(event.model_dump_json() + "\n" for event in journal))
    out.write_text("a good profile")
    result = run._save(request_for(plan, out=out, session="one"), run_dir, interrupted=True)
    assert result.interrupted
    if turned:
        assert result.path == out
        assert read_profile(out).state == "partial"
    else:
        assert (result.path, result.profile, out.read_text()) == (None, None, "a good profile")
