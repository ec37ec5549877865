from __future__ import annotations

import pytest

from dnlbench.tui import steering
from dnlbench.tui.rows import RunRow, rows_of
from dnlbench.watch import Watcher
from tests.tui.conftest import NOW, Record


@pytest.fixture(scope="module")
def found(record_once: Record) -> list[RunRow]:
    run_dir = record_once(states=["done", "failed", "half", "half"], engine=None)
    return list(rows_of(Watcher(run_dir, run_dir.read_plan()).poll(NOW)).values())


def ids(rows: list[RunRow]) -> tuple[str, ...]:
    return tuple(row.run.run_id for row in rows)


def test_what_can_be_paused_is_paused(found: list[RunRow]) -> None:
    wish = steering.toggle_runs(found)
    assert wish is not None
    assert (wish.command.action, wish.command.run_ids) == ("pause", ids(found[2:]))
    assert not wish.question
    assert steering.toggle_runs(found[:2]) is None


def test_nothing_is_cancelled_without_a_question(found: list[RunRow]) -> None:
    wish = steering.cancel_runs(found)
    assert wish is not None
    assert (wish.command.action, wish.command.run_ids) == ("cancel", ids(found[2:]))
    assert wish.question == "Cancel 6 runs?"
    assert "2 of them have begun" in wish.consequence
    one = steering.cancel_runs(found[2:3])
    assert one is not None
    assert one.question == "Cancel densenet L=2 seed 0?"
    assert steering.cancel_runs(found[:2]) is None
    assert steering.end_sweep(2).question
    assert steering.retry_sweep(3).question
    assert steering.device("cpu", "release").question


def test_what_ended_badly_is_retried(found: list[RunRow]) -> None:
    wish = steering.retry_runs(found)
    assert wish is not None
    assert (wish.command.action, wish.command.run_ids) == ("retry", ids(found[1:2]))
    assert steering.retry_runs(found[2:]) is None


def test_commands_to_the_sweep_and_to_devices() -> None:
    assert steering.sweep("pause").command.run_ids == ()
    assert steering.device("cuda:1", "pause").command.device == "cuda:1"
    assert not steering.device("cuda:1", "resume").question
