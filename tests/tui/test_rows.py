from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dnlbench.events import EpochDone, Epochs, PauseState, RunHistory
from dnlbench.studies import STUDIES
from dnlbench.tui.rows import BY_NAME, FIELDS, RunRow, default_columns, rows_of, state_of
from dnlbench.tui.widgets.runs_table import Selection
from dnlbench.watch import SweepView, Watcher
from tests.tui.conftest import NOW, Record


@pytest.fixture(scope="module")
def view(record_once: Record) -> SweepView:
    run_dir = record_once(states=["done", "failed", "done", "half", "diverged"], engine=None)
    return Watcher(run_dir, run_dir.read_plan()).poll(NOW)


@pytest.fixture
def rows(view: SweepView) -> list[RunRow]:
    return list(rows_of(view).values())


def test_a_row_says_what_became_of_its_run(rows: list[RunRow]) -> None:
    assert [row.state for row in rows] == [
        "ok",
        "failed",
        "ok",
        "running",
        "diverged",
        "waiting",
        "waiting",
        "waiting",
    ]
    assert [row.slot for row in rows[:4]] == ["cpu", "cpu", "cpu", "cpu/1"]
    assert rows[1].message == "RuntimeError: something broke"
    assert rows[3].seconds == 1.8
    assert math.isnan(rows[4].loss or 0)
    assert rows[5].loss is None


def test_every_field_has_a_text_for_every_run(rows: list[RunRow]) -> None:
    for row in rows:
        for field in FIELDS:
            assert isinstance(field.text(row), str)
            assert "nan" not in field.text(row)
    texts = {field.name: field.text(rows[0]) for field in FIELDS}
    assert texts["status"] == "✓ ok"
    assert texts["epoch"] == "2/2"
    assert texts["memory"] == "1.0 MiB"


def test_paused_and_waiting_runs_differ(view: SweepView) -> None:
    runs = view.plan.runs
    some = replace(view, pause_state=PauseState(runs=frozenset({runs[3].run_id, runs[6].run_id})))
    assert [state_of(some, run) for run in runs[3:8]] == ["paused", "diverged", "waiting", "paused", "waiting"]
    everything = replace(view, pause_state=PauseState(sweep=True))
    assert [state_of(everything, run) for run in runs[2:6]] == ["ok", "paused", "diverged", "paused"]
    device = replace(view, pause_state=PauseState(devices={"cpu": "pause"}))
    assert state_of(device, runs[3]) == "paused"


def test_runs_without_a_value_come_last_in_either_order(rows: list[RunRow]) -> None:
    by_id = {row.run.run_id: row for row in rows}
    for descending in (False, True):
        order = Selection(order="loss", descending=descending).arrange(by_id, lambda row: True)
        losses = [BY_NAME["loss"].value(row) for row in order]
        known = [loss for loss in losses[:4] if isinstance(loss, float)]
        assert known == sorted(known, reverse=descending)
        assert all(loss is None or math.isnan(float(loss)) for loss in losses[4:])
    names = [row.run.point.network for row in Selection(order="network").arrange(by_id, lambda row: True)]
    assert names == sorted(names)
    assert Selection(order="plan").arrange(by_id, lambda row: True) == list(by_id.values())
    assert Selection(order="plan", descending=True).arrange(by_id, lambda row: True) == list(by_id.values())[::-1]


def test_what_is_under_way_or_went_wrong_comes_first(rows: list[RunRow]) -> None:
    by_id = {row.run.run_id: row for row in rows}
    states = [row.state for row in Selection().arrange(by_id, lambda row: True)]
    assert states == ["running", "failed", "diverged", "waiting", "waiting", "waiting", "ok", "ok"]


def test_evaluation_has_columns_where_it_is_measured_and_there_is_room(rows: list[RunRow]) -> None:
    measured = {"evaluation_loss": 0.125, "evaluation_accuracy": 0.96}
    epoch = EpochDone(run_id="r", epoch=1, train_loss=1.0, seconds=1.0, samples_per_s=1.0, **measured)
    row = replace(rows[0], history=RunHistory(epochs=Epochs([epoch])))
    assert {name: BY_NAME[name].text(row) for name in measured} == {
        "evaluation_loss": "0.125",
        "evaluation_accuracy": "96 %",
    }
    assert BY_NAME["evaluation_loss"].text(rows[0]) == "–"
    metrics = STUDIES["training"].epoch_metrics
    assert set(measured) <= set(default_columns(wide=True, has_epochs=True, metrics=metrics))
    for wide, known in ((True, ()), (False, metrics)):
        assert not set(measured) & set(default_columns(wide=wide, has_epochs=True, metrics=known))
