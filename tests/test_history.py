from __future__ import annotations

from typing import Literal

from dnlbench.events import EpochDone, Measured, NetworkMeasured, RunEnded, RunEvent, RunStarted, fold
from dnlbench.events.records import read_run_event


def started(attempt: int, from_epoch: int = 0) -> RunStarted:
    return RunStarted(
        run_id="r", attempt=attempt, device="cpu", device_name="x", threads=1, parameters=1, from_epoch=from_epoch
    )


def epoch(number: int, loss: float, seconds: float = 1.0, rate: float = 10.0) -> EpochDone:
    return EpochDone(run_id="r", epoch=number, train_loss=loss, seconds=seconds, samples_per_s=rate, gradient_norm=0.0)


def test_a_second_attempt_replaces_the_epochs_it_does_again() -> None:
    events: list[RunEvent] = [
        started(1),
        epoch(1, 3.0),
        epoch(2, 2.0),
        started(2, from_epoch=1),
        epoch(2, 1.5),
        RunEnded(run_id="r", status="ok"),
    ]
    history = fold(events)
    assert [(e.epoch, e.train_loss) for e in history.epochs] == [(1, 3.0), (2, 1.5)]
    assert [a.last is None for a in history.attempts] == [True, False]
    assert history.done
    assert history.last_loss == 1.5


def test_folding_in_pieces_is_folding_at_once() -> None:
    events: list[RunEvent] = [
        started(1),
        epoch(1, 3.0),
        RunEnded(run_id="r", status="failed"),
        started(2),
        epoch(1, 2.0),
    ]
    for cut in range(len(events) + 1):
        assert fold(events[cut:], fold(events[:cut])) == fold(events)
    assert fold(events).ended is None


def test_throughput_is_samples_over_seconds_not_a_mean_of_rates() -> None:
    history = fold([started(1), epoch(1, 1.0, seconds=1.0, rate=100.0), epoch(2, 1.0, seconds=3.0, rate=20.0)])
    assert history.samples_per_s == (100 + 60) / 4


def test_what_counts_as_done() -> None:
    for status, done in (("ok", True), ("diverged", True), ("failed", False), ("oom", True), ("cancelled", False)):
        ended = RunEnded.model_validate({"run_id": "r", "status": status})
        assert fold([started(1), ended]).done is done


def measured(value: float, *curve: float) -> Measured:
    return Measured(run_id="r", seconds=2.0, measurements={"error": value, "errors": curve})


def test_a_run_without_epochs_is_done_with_its_one_measurement() -> None:
    ended = RunEnded(run_id="r", status="ok")
    history = fold([started(1), measured(0.5), ended])
    assert history.measured == history.epoch_events[0]
    assert history.epochs == ()
    assert history.for_epochs(1).done
    assert history.completed == (1, ended)


def test_a_second_attempt_measures_anew() -> None:
    assert fold([started(1), measured(0.5), started(2)]).epoch_events == ()
    assert fold([started(1), measured(0.5), started(2), measured(0.25)]).epoch_events[0].seconds == 2.0


def test_any_measurements_survive_a_round_trip() -> None:
    event = measured(float("inf"), 1.0, float("-inf"), 0.1 + 0.2)
    assert read_run_event(event.model_dump_json().encode()) == event


def test_the_network_is_measured_at_the_epochs_that_are_asked_for() -> None:
    """A run of two epochs that was extended to three, answering for one, two and three."""

    def measured(stage: Literal["start", "final"], number: int, value: float) -> NetworkMeasured:
        return NetworkMeasured(run_id="r", stage=stage, epoch=number, measurements={stage: value})

    ended = RunEnded(run_id="r", status="ok")
    first: list[RunEvent] = [
        started(1),
        epoch(1, 3.0),
        measured("start", 1, 0.5),
        epoch(2, 2.0),
        measured("final", 2, 0.2),
        ended,
    ]
    more: list[RunEvent] = [started(2, from_epoch=2), epoch(3, 1.0), measured("final", 3, 0.3), ended]
    history = fold([*first, *more])
    expected = {1: {"start": 0.5}, 2: {"start": 0.5, "final": 0.2}, 3: {"start": 0.5, "final": 0.3}}
    assert {number: history.for_epochs(number).measurements for number in expected} == expected
    anew = fold([*first, started(2)])
    assert anew.measurements == {}
