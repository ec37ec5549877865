from __future__ import annotations

from dnlbench.events import EpochDone, RunEnded, RunEvent, RunStarted, fold


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
