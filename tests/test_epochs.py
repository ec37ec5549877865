"""The columns of epochs against plain tuples of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.events import EpochDone, Epochs, RunEnded, RunEvent, RunStarted, fold, fold_lines

NUMBERS = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf, 0.0])


def epoch(number: int, loss: float = 0.5, **fields: Any) -> EpochDone:
    """Facts that are None are left out, as events do with what was not measured."""
    fields = {"time": float(number), "seconds": 1.0, "samples_per_s": 10.0, "gradient_norm": 0.0, **fields}
    measured = {name: value for name, value in fields.items() if value is not None}
    return EpochDone(run_id="r", epoch=number, train_loss=loss, **measured)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.none() | NUMBERS), max_size=12))
def test_epochs_come_back_as_they_went_in(values: list[tuple[float, float, float | None]]) -> None:
    events = [
        epoch(number, loss, gradient_norm=norm, evaluation_loss=evaluation)
        for number, (loss, norm, evaluation) in enumerate(values, start=1)
    ]
    epochs = Epochs(events)
    assert list(epochs) == events
    assert epochs == events
    assert (len(epochs), epochs.done) == (len(events), len(events))
    assert epochs.column("evaluation_loss") == [event.value("evaluation_loss") for event in events]
    for n in range(len(events) + 1):
        assert list(epochs.upto(n)) == list(epochs[:n]) == events[:n]


@given(st.lists(NUMBERS | st.just(math.nan), min_size=1, max_size=12), st.integers(0, 12))
def test_lines_in_bulk_are_events_one_by_one(losses: list[float], cut: int) -> None:
    events: list[RunEvent] = [
        RunStarted(run_id="r", attempt=1, device="cpu", device_name="x", threads=1, parameters=1),
        *(epoch(number, loss, evaluation_accuracy=0.5) for number, loss in enumerate(losses, start=1)),
        RunEnded(run_id="r", status="ok"),
    ]
    lines = [event.model_dump_json().encode() for event in events]
    expected = fold(events)
    assert fold_lines("r", lines[cut:], fold_lines("r", lines[:cut])) == expected
    assert repr(list(fold_lines("r", lines).epochs)) == repr(list(expected.epochs))


def test_two_continuations_of_the_same_epochs_are_independent() -> None:
    first = Epochs([epoch(1), epoch(2)])
    one, other = first.after(epoch(3, 1.0)), first.after(epoch(3, 2.0))
    again = one.upto(1).after(epoch(2, 7.0))
    assert [e.train_loss for e in one] == [0.5, 0.5, 1.0]
    assert [e.train_loss for e in other] == [0.5, 0.5, 2.0]
    assert [e.train_loss for e in again] == [0.5, 7.0]
    assert [e.train_loss for e in first] == [0.5, 0.5]
    assert one != other


def test_rows_that_are_no_epochs_are_refused() -> None:
    row = epoch(1).model_dump()
    changes: list[dict[str, Any]] = [
        {"epoch": "x"},
        {"train_loss": "much"},
        {"train_loss": None},
        {"regulariser": []},
        {"epoch": 2**70},
    ]
    for change in changes:
        with pytest.raises(ValueError, match="not epochs"):
            Epochs().after_rows([{**row, **change}])


def test_the_first_epoch_since() -> None:
    epochs = Epochs([epoch(n, time=10.0 * n) for n in range(1, 6)])
    assert epochs.first_since(2, 0.0) == epochs[1]
    assert epochs.first_since(2, 35.0) == epochs[3]
    assert epochs.first_since(6, 0.0) is None
    assert epochs.first_since(1, 51.0) is None


@given(st.integers(1, 400), st.integers(8, 64), st.randoms())
def test_thinned_epochs_keep_what_stands_out(n: int, most: int, random: Any) -> None:
    losses = [random.choice([1.0, random.random(), math.nan]) for _ in range(n)]
    epochs = Epochs([epoch(number, loss) for number, loss in enumerate(losses, start=1)])
    thin = epochs.thinned(most)
    assert len(thin) <= most
    assert thin.done == n
    assert {e.epoch for e in thin} <= set(range(1, n + 1))
    assert all(repr(e) == repr(epochs[e.epoch - 1]) for e in thin)
    kept, finite = thin.column("train_loss"), [loss for loss in losses if math.isfinite(loss)]
    assert any(map(math.isnan, kept)) == any(map(math.isnan, losses))
    if finite:
        assert min(x for x in kept if math.isfinite(x)) == min(finite)
        assert max(x for x in kept if math.isfinite(x)) == max(finite)


def test_thinning_on_the_way_stays_bounded_and_even() -> None:
    epochs = Epochs()
    for number in range(1, 20_001):
        epochs = epochs.after(epoch(number, math.sin(number))).thinned(256)
        assert len(epochs) <= 256
    assert epochs.done == 20_000
    numbers = epochs.column("epoch")
    assert max(b - a for a, b in pairwise(numbers)) <= 4 * 20_000 / 64


def test_training_seconds_until_each_epoch_survive_thinning() -> None:
    epochs = Epochs([epoch(number, math.sin(number), seconds=2.0) for number in range(1, 1001)])
    assert epochs.elapsed_s()[:3] == [2.0, 4.0, 6.0]
    thin = epochs.thinned(64)
    assert thin.elapsed_s() == [2.0 * number for number in thin.column("epoch")]
