"""What the events of one run add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dnlbench.events.records import EpochDone, RunEnded, RunEvent, RunStarted


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a run."""

    started: RunStarted
    ended: RunEnded | None = None
    """None while it runs, and for an attempt whose process was lost before it could say."""


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """A run as far as it has come."""

    attempts: tuple[Attempt, ...] = ()
    epochs: tuple[EpochDone, ...] = ()
    """In order, each epoch once: those before the point where the last attempt took up, then that attempt's own."""
    ended: RunEnded | None = None
    """The last word, None while there is none."""

    @property
    def started(self) -> RunStarted | None:
        """How the last attempt began; None for a run that was never started."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: it succeeded, or it diverged or ran out of memory, which it would do again."""
        return self.ended is not None and self.ended.status in ("ok", "diverged", "oom")

    @property
    def last_loss(self) -> float | None:
        """Training loss of the last epoch."""
        return self.epochs[-1].train_loss if self.epochs else None

    @property
    def samples_per_s(self) -> float | None:
        """Samples of all epochs over the seconds of all epochs."""
        seconds = sum(epoch.seconds for epoch in self.epochs)
        return sum(epoch.samples_per_s * epoch.seconds for epoch in self.epochs) / seconds if seconds > 0 else None

    def after(self, event: RunEvent) -> RunHistory:
        """The history one event later."""
        match event:
            case RunStarted():
                kept = tuple(epoch for epoch in self.epochs if epoch.epoch <= event.from_epoch)
                return RunHistory(attempts=(*self.attempts, Attempt(started=event)), epochs=kept)
            case EpochDone():
                return replace(self, epochs=(*self.epochs, event))
            case RunEnded():
                attempts = self.attempts
                if attempts and attempts[-1].ended is None:
                    attempts = (*attempts[:-1], replace(attempts[-1], ended=event))
                return replace(self, attempts=attempts, ended=event)


def fold(events: Iterable[RunEvent], history: RunHistory | None = None) -> RunHistory:
    """All events of a run, in order, as one history; on top of an earlier one where it is given."""
    result = history or RunHistory()
    for event in events:
        result = result.after(event)
    return result
