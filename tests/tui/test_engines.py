"""The requests with which screens start engines; no engine is started here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dnlbench.engine.request import RunRequest, write_request
from dnlbench.errors import RunDirError
from dnlbench.plan import Plan
from dnlbench.spec import SpecText
from dnlbench.store import RunDir
from dnlbench.tui import engines
from tests.conftest import request_for


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunRequest, Path]]:
    launched: list[tuple[RunRequest, Path]] = []
    monkeypatch.setattr(engines, "launch", lambda request, run_dir: launched.append((request, run_dir.root)))
    return launched


def test_a_sweep_is_started_once_and_followed_while_it_is_under_way(
    launched: list[tuple[RunRequest, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = engines.start_sweep("digits-quick", Path())
    assert launched == [(RunRequest(spec=SpecText.read("digits-quick")), run_dir.root)]
    monkeypatch.setattr(RunDir, "engine", lambda self: "4242")
    assert engines.start_sweep("digits-quick", Path()).root == run_dir.root
    assert len(launched) == 1


def test_a_sweep_is_resumed_as_it_was_asked_for(
    launched: list[tuple[RunRequest, Path]], make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    asked = request_for(make_plan(), run_dir=tmp_path, executor="ray", device="cuda:0,2", jobs=3, out=Path("out.json"))
    write_request(asked, RunDir(tmp_path))
    engines.resume(RunDir(tmp_path))
    assert launched == [(replace(asked, resume=True), tmp_path)]


def test_an_environment_of_a_paired_benchmark_is_resumed_as_a_single_sweep(
    launched: list[tuple[RunRequest, Path]], make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    """Otherwise it would wait for the other environment forever, and overwrite one profile of the pair."""
    asked = request_for(make_plan(), run_dir=tmp_path, session="one", out=Path("out.json"))
    write_request(asked, RunDir(tmp_path))
    engines.resume(RunDir(tmp_path))
    assert launched == [(replace(asked, resume=True, session=None, out=None), tmp_path)]


def test_a_missing_request_reports_how_to_resume(launched: list[object], tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"no request.json found. To resume, run the same dnlbench run command"):
        engines.resume(RunDir(tmp_path))
    assert launched == []
