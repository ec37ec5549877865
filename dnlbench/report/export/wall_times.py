"""When the epochs of a run were done, as far as a profile tells: it knows when attempts began and ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from dnlbench.profiles import EpochRecord, RunRecord


def wall_times(run: RunRecord, created: datetime) -> list[float]:
    """The end of each epoch, in order, in seconds since 1970.

    The epochs of an attempt share its time by the seconds that each took, so that the last one ends with it: warm-up,
    evaluation and all else that lies between epochs is spread over them. An attempt whose end is not known had its epochs one
    after the other from its start on; a run without attempts had them up to when its profile was ``created``.
    """
    if not run.attempts:
        start = created.timestamp() - _whole(run.epochs)
        return _ends(run.epochs, start, _whole(run.epochs))
    ends: list[float] = []
    for attempt, epochs in zip(run.attempts, _by_attempt(run), strict=True):
        start = attempt.started.timestamp()
        lasted = attempt.ended.timestamp() - start if attempt.ended else _whole(epochs)
        ends += _ends(epochs, start, lasted)
    return ends


def _by_attempt(run: RunRecord) -> list[list[EpochRecord]]:
    """What each attempt has contributed: an epoch is of the last one that did not keep it from an attempt before."""
    parts: list[list[EpochRecord]] = [[] for _ in run.attempts]
    for epoch in run.epochs:
        own = [place for place, attempt in enumerate(run.attempts) if attempt.from_epoch < epoch.epoch]
        parts[own[-1] if own else 0].append(epoch)
    return parts


def _ends(epochs: Sequence[EpochRecord], start: float, lasted: float) -> list[float]:
    whole, passed, ends = _whole(epochs), 0.0, []
    for number, epoch in enumerate(epochs, 1):
        passed += epoch.seconds
        ends.append(start + lasted * (passed / whole if whole > 0 else number / len(epochs)))
    return ends


def _whole(epochs: Sequence[EpochRecord]) -> float:
    """Seconds of all of them; 0 where that makes no sense."""
    seconds = [epoch.seconds for epoch in epochs]
    return sum(seconds) if all(0 <= each < math.inf for each in seconds) else 0.0
