"""The history of one run, reduced from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from dnlbench.events.epochs import Epochs
from dnlbench.events.records import (
    EpochDone,
    Measured,
    NetworkMeasured,
    RunEnded,
    RunEvent,
    RunPaused,
    RunRequeued,
    RunStarted,
    read_run_event,
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a run."""

    started: RunStarted
    last: RunEnded | RunPaused | None = None
    """None while it is running, and if its process was lost before the last event."""


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """The state of a run."""

    attempts: tuple[Attempt, ...] = ()
    epochs: Epochs = field(default_factory=Epochs)
    """Each epoch once, in order: those before the point from which the last attempt resumed, then those of that attempt."""
    measured: Measured | None = None
    network_measured: tuple[NetworkMeasured, ...] = ()
    """Measurements of the network: each stage once for each number of completed epochs."""
    ended: RunEnded | None = None
    """The last event of the run; None while there is none."""
    completed: tuple[int, RunEnded] | None = None
    """The largest number of epochs with which the run has succeeded, and its last event then. The run may have been extended
    since."""

    @property
    def started(self) -> RunStarted | None:
        """The start of the last attempt; None if the run was never started."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def done(self) -> bool:
        """True if nothing is left to do: the run succeeded, would end in the same way again, or was cancelled by a user."""
        return self.ended is not None and (self.ended.status in ("ok", "diverged", "oom") or self.ended.requested)

    @property
    def epoch_events(self) -> Sequence[EpochDone | Measured]:
        """Completed epochs, or the single measurement of a run without epochs."""
        return (self.measured,) if self.measured else self.epochs

    @property
    def epochs_done(self) -> int:
        """Number of completed epochs, whether or not all of them are stored here. A measurement counts as one epoch."""
        return 1 if self.measured else self.epochs.done

    @property
    def last_loss(self) -> float | None:
        return self.epochs[-1].train_loss if self.epochs else None

    @property
    def samples_per_s(self) -> float | None:
        """Samples of all epochs divided by seconds of all epochs."""
        seconds, rates = self.epochs.column("seconds"), self.epochs.column("samples_per_s")
        total_s = sum(seconds)
        return sum(rate * taken for rate, taken in zip(rates, seconds, strict=True)) / total_s if total_s > 0 else None

    @property
    def utilization(self) -> float | None:
        """Fraction of the slot's peak arithmetic throughput that the training uses; see `flops_utilization`."""
        if self.started is None:
            return None
        started = self.started
        return flops_utilization(self.samples_per_s, started.flops_per_sample, started.peak_flops, started.pack_size)

    def after(self, event: RunEvent) -> RunHistory:
        """Return the history after one more event.

        Raises:
            ValueError: if the event is inconsistent with the history.
        """
        match event:
            case RunStarted():
                if event.from_epoch > self.epochs.done:
                    raise ValueError(
                        f"the run continues after epoch {event.from_epoch}, but has only {self.epochs.done}"
                    )
                kept = self.epochs.upto(event.from_epoch)
                completed = self.completed if self.completed and self.completed[0] <= event.from_epoch else None
                attempts = (*self.attempts, Attempt(started=event))
                measured = self._network_measured(lambda item: item.epoch <= event.from_epoch)
                return RunHistory(attempts=attempts, epochs=kept, network_measured=measured, completed=completed)
            case EpochDone():
                return replace(self, epochs=self.epochs.after(event))
            case NetworkMeasured():
                others = self._network_measured(lambda item: (item.stage, item.epoch) != (event.stage, event.epoch))
                return replace(self, network_measured=(*others, event))
            case Measured():
                return replace(self, measured=event)
            case RunPaused():
                return replace(self, attempts=self._attempts_with(event))
            case RunEnded():
                completed = (self.epochs_done, event) if event.status == "ok" else self.completed
                return replace(self, attempts=self._attempts_with(event), ended=event, completed=completed)
            case RunRequeued():
                return replace(self, ended=None)

    def _network_measured(self, kept: Callable[[NetworkMeasured], bool]) -> tuple[NetworkMeasured, ...]:
        return tuple(filter(kept, self.network_measured))

    @property
    def measurements(self) -> dict[str, float | tuple[float, ...]]:
        """Measurements by quantity: of a run without epochs, or of the network at its start and after its last epoch."""
        if self.measured is not None:
            return self.measured.measurements
        last = self.epochs.done
        current = self._network_measured(
            lambda item: item.epoch <= last if item.stage == "start" else item.epoch == last
        )
        return {name: value for event in current for name, value in event.measurements.items()}

    def _attempts_with(self, last: RunEnded | RunPaused) -> tuple[Attempt, ...]:
        if not self.attempts or isinstance(self.attempts[-1].last, RunEnded):
            return self.attempts
        return (*self.attempts[:-1], replace(self.attempts[-1], last=last))

    def for_epochs(self, epochs: int) -> RunHistory:
        """Return the history for a run of that many epochs.

        A longer run passes through the same states as a shorter one, so its events also answer for the shorter run. A
        shorter run can be extended.
        """
        attempts = (
            tuple(attempt for attempt in self.attempts if attempt.started.from_epoch < epochs) or self.attempts[:1]
        )
        if self.completed is not None and self.completed[0] >= epochs:
            return replace(self, attempts=attempts, epochs=self.epochs.upto(epochs), ended=self.completed[1])
        if self.epochs.done > epochs:
            return replace(self, attempts=attempts, epochs=self.epochs.upto(epochs), ended=_ended_earlier(self.ended))
        if self.epochs_done < epochs and self.ended is not None and self.ended.status == "ok":
            return replace(self, ended=None)
        return self


def flops_utilization(
    samples_per_s: float | None, flops_per_sample: float | None, peak_flops: float | None, pack_size: int | None
) -> float | None:
    """Return the FLOP/s that a run and the others of its pack need, divided by the peak FLOP/s of the slot.

    None if one of the factors is unknown.
    """
    if samples_per_s is None or flops_per_sample is None or not peak_flops:
        return None
    return samples_per_s * (pack_size or 1) * flops_per_sample / peak_flops


def _ended_earlier(ended: RunEnded | None) -> RunEnded | None:
    """Return the last event that a run would have if fewer epochs had been requested than it completed.

    A run that succeeded or diverged has recorded its peak memory and is done. Any other run has to be executed again for
    that.
    """
    if ended is None or ended.status not in ("ok", "diverged"):
        return None
    return ended.model_copy(update={"status": "ok", "error": None, "requested": False})


def fold(events: Iterable[RunEvent], history: RunHistory | None = None, run_id: str | None = None) -> RunHistory:
    """Reduce all events of a run, in order, to a history, starting from an earlier history if one is given.

    Raises:
        ValueError: if an event is inconsistent with those before it, or does not belong to the run ``run_id``.
    """
    result = history or RunHistory()
    for event in events:
        if run_id not in (None, event.run_id):
            raise ValueError(f"the event is of another run, {event.run_id}")
        result = result.after(event)
    return result


def fold_lines(run_id: str, lines: Sequence[bytes], history: RunHistory | None = None) -> RunHistory:
    """Reduce lines of a run's file to a history, like `fold`, but read the epochs in bulk.

    Raises:
        ValueError: if a line is not an event of the run that is consistent with those before it.
    """
    result = history or RunHistory()
    rows = from_json(b"[" + b",".join(lines) + b"]")
    if {row.get("run_id") if isinstance(row, dict) else None for row in rows} - {run_id}:
        raise ValueError(f"not all events are of {run_id}")
    for is_epoch, part in _stretches(rows):
        if is_epoch:
            result = replace(result, epochs=result.epochs.after_rows(rows[part]))
        else:
            result = fold(map(read_run_event, lines[part]), result)
    return result


def _stretches(rows: Sequence[Any]) -> Iterator[tuple[bool, slice]]:
    """Yield maximal slices of rows that are epochs, or are not."""
    kinds = [isinstance(row, dict) and row.get("event") == "epoch-done" for row in rows]
    start = 0
    while start < len(kinds):
        kind = kinds[start]
        stop = kinds.index(not kind, start) if (not kind) in kinds[start:] else len(kinds)
        yield kind, slice(start, stop)
        start = stop
