"""What the events of one run add up to."""

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
    """One try at a run."""

    started: RunStarted
    last: RunEnded | RunPaused | None = None
    """None while it runs, and for an attempt whose process was lost before it could say."""


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """A run as far as it has come."""

    attempts: tuple[Attempt, ...] = ()
    epochs: Epochs = field(default_factory=Epochs)
    """In order, each epoch once: those before the point where the last attempt took up, then that attempt's own."""
    measured: Measured | None = None
    network_measured: tuple[NetworkMeasured, ...] = ()
    """Measurements of the network, each stage once for each number of epochs that it was measured after."""
    ended: RunEnded | None = None
    """The last word, None while there is none."""
    completed: tuple[int, RunEnded] | None = None
    """The most epochs with which it has ended well, and how; more of them may have been begun since."""

    @property
    def started(self) -> RunStarted | None:
        """How the last attempt began; None for a run that was never started."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: it succeeded, it would end the same way again, or somebody cancelled it."""
        return self.ended is not None and (self.ended.status in ("ok", "diverged", "oom") or self.ended.requested)

    @property
    def epoch_events(self) -> Sequence[EpochDone | Measured]:
        """The parts of its work that are done: epochs, or the one measurement of a run that has none."""
        return (self.measured,) if self.measured else self.epochs

    @property
    def epochs_done(self) -> int:
        """How many of them there are, whether or not all of them are kept here."""
        return 1 if self.measured else self.epochs.done

    @property
    def last_loss(self) -> float | None:
        return self.epochs[-1].train_loss if self.epochs else None

    @property
    def samples_per_s(self) -> float | None:
        """Samples of all epochs over the seconds of all epochs."""
        seconds, rates = self.epochs.column("seconds"), self.epochs.column("samples_per_s")
        total_s = sum(seconds)
        return sum(rate * taken for rate, taken in zip(rates, seconds, strict=True)) / total_s if total_s > 0 else None

    @property
    def utilization(self) -> float | None:
        """Share of its slot's peak arithmetic that the training takes; see `flops_utilization`."""
        if self.started is None:
            return None
        started = self.started
        return flops_utilization(self.samples_per_s, started.flops_per_sample, started.peak_flops, started.pack_size)

    def after(self, event: RunEvent) -> RunHistory:
        """The history one event later.

        Raises:
            ValueError: if the event cannot follow.
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
        """By the study's quantities: of a run without epochs, or of the network at its start and after its last epoch."""
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
        """The history as it is, or would have been, for a run of that many epochs.

        A run of more epochs passes through the very states of one of fewer, so it answers for that too; and one of fewer
        can be gone on with.
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
    """The operations per second that a run needs, and the others of its pack with it, over those that its slot can do.

    None where one of the factors is not known.
    """
    if samples_per_s is None or flops_per_sample is None or not peak_flops:
        return None
    return samples_per_s * (pack_size or 1) * flops_per_sample / peak_flops


def _ended_earlier(ended: RunEnded | None) -> RunEnded | None:
    """How a run would have ended if fewer epochs had been asked for than it came through.

    One that ended well or diverged knows its peak memory and is done; any other has only to be looked at again.
    """
    if ended is None or ended.status not in ("ok", "diverged"):
        return None
    return ended.model_copy(update={"status": "ok", "error": None, "requested": False})


def fold(events: Iterable[RunEvent], history: RunHistory | None = None, run_id: str | None = None) -> RunHistory:
    """All events of a run, in order, as one history; on top of an earlier one where it is given.

    Raises:
        ValueError: if one cannot follow those before it, or is not of the run ``run_id``.
    """
    result = history or RunHistory()
    for event in events:
        if run_id not in (None, event.run_id):
            raise ValueError(f"the event is of another run, {event.run_id}")
        result = result.after(event)
    return result


def fold_lines(run_id: str, lines: Sequence[bytes], history: RunHistory | None = None) -> RunHistory:
    """The same from lines of a run's file, whose epochs are read in bulk.

    Raises:
        ValueError: if a line holds no event of the run that can follow those before it.
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
    """Where rows follow each other that are epochs, or are not."""
    kinds = [isinstance(row, dict) and row.get("event") == "epoch-done" for row in rows]
    start = 0
    while start < len(kinds):
        kind = kinds[start]
        stop = kinds.index(not kind, start) if (not kind) in kinds[start:] else len(kinds)
        yield kind, slice(start, stop)
        start = stop
