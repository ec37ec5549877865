from __future__ import annotations

import pytest

from dnlbench.tui import control
from dnlbench.tui.rows import RunRow, rows_of
from dnlbench.watch import Watcher
from tests.tui.conftest import NOW, Record


@pytest.fixture(scope="module")
def rows(record_once: Record) -> list[RunRow]:
    run_dir = record_once(states=["done", "failed", "half", "half"], engine=None)
    return list(rows_of(Watcher(run_dir, run_dir.read_plan()).poll(NOW)).values())


def ids(rows: list[RunRow]) -> tuple[str, ...]:
    return tuple(row.run.run_id for row in rows)


def test_running_and_waiting_runs_are_paused(rows: list[RunRow]) -> None:
    request = control.toggle_runs(rows)
    assert request is not None
    assert (request.command.action, request.command.run_ids) == ("pause", ids(rows[2:]))
    assert not request.prompt
    assert control.toggle_runs(rows[:2]) is None


def test_cancelling_asks_for_confirmation(rows: list[RunRow]) -> None:
    request = control.cancel_runs(rows)
    assert request is not None
    assert (request.command.action, request.command.run_ids) == ("cancel", ids(rows[2:]))
    assert request.prompt == "Cancel 6 runs?"
    assert "2 of them have started" in request.consequence
    one = control.cancel_runs(rows[2:3])
    assert one is not None
    assert one.prompt == "Cancel densenet L=2 seed 0?"
    assert control.cancel_runs(rows[:2]) is None
    assert control.end_sweep(2).prompt
    assert control.retry_sweep(3).prompt
    assert control.device("cpu", "release").prompt


def test_failed_runs_are_retried(rows: list[RunRow]) -> None:
    request = control.retry_runs(rows)
    assert request is not None
    assert (request.command.action, request.command.run_ids) == ("retry", ids(rows[1:2]))
    assert control.retry_runs(rows[2:]) is None


def test_commands_to_the_sweep_and_to_devices() -> None:
    assert control.sweep("pause").command.run_ids == ()
    assert control.device("cuda:1", "pause").command.device == "cuda:1"
    assert not control.device("cuda:1", "resume").prompt
