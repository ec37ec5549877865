"""Profiles with all special cases of exports."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dnlbench.profiles import EpochRecord, Profile, RunRecord, Summary
from dnlbench.profiles.model import AttemptRecord

MakeProfile = Callable[..., Profile]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DIVERGING = (0.1 + 0.2, 5e-324, -0.0, math.inf, -math.inf, math.nan)


def attempt(number: int, start_s: float, lasted: float | None, from_epoch: int = 0) -> AttemptRecord:
    """Return an attempt that started ``start_s`` seconds after noon. ``lasted`` None: lost."""
    started = NOON + timedelta(seconds=start_s)
    return AttemptRecord(
        attempt=number,
        started=started,
        ended=None if lasted is None else started + timedelta(seconds=lasted),
        status=None if lasted is None else "ok",
        device="cpu",
        from_epoch=from_epoch,
    )


@pytest.fixture
def mixed(make_profile: MakeProfile) -> Profile:
    """Five runs: ok in two attempts, diverged, failed before its first epoch, cancelled after one, never started."""
    names = ("densenet", "plain", "mine:net/../../x y", "..", "densenet")
    losses = {(name, depth): [1.0] for depth, name in enumerate(names, 1)}
    ok, diverged, failed, cancelled, skipped = make_profile(losses).runs
    values = {"seconds": 2.0, "samples_per_s": 75.0}
    four = [EpochRecord(epoch=n, train_loss=1 / n, evaluation_loss=2 / n, **values) for n in (1, 2, 3, 4)]
    curve = [EpochRecord(epoch=n, train_loss=loss, **values) for n, loss in enumerate(DIVERGING, 1)]
    error = {"type": "RuntimeError", "message": 'no "luck",\nüber, NaN', "log": "…"}
    never: dict[str, Any] = dict.fromkeys(("device", "device_name", "threads", "pack_size", "parameters"))
    nothing: dict[str, Any] = {"epochs": (), "final_train_loss": None, "samples_per_s": None, "peak_memory_bytes": None}
    runs = [
        _changed(ok, epochs=four, attempts=[attempt(1, 0, None), attempt(2, 100, 40, from_epoch=2)]),
        _changed(diverged, status="diverged", epochs=curve, final_train_loss=math.nan, evaluation_accuracy=math.inf),
        _changed(failed, status="failed", attempts=[attempt(1, 5, 1)], error=error, **nothing),
        _changed(cancelled, status="cancelled", attempts=[attempt(1, 10, None)]),
        _changed(skipped, status="skipped", **nothing, **never),
    ]
    return make_profile({}, state="partial", runs=runs, summary=Summary(points=()))


@pytest.fixture
def measured(make_profile: MakeProfile) -> Profile:
    """A study without epochs: two runs with numbers and a curve, one that failed."""
    runs = make_profile({("local-tanh", 8): [1.0] * 3}).runs
    result = [
        {"error_max": 0.5, "error_end": math.nan, "errors": (0.0, 0.5, math.inf), "device": 3.0},
        {"error_max": 0.1 + 0.2, "errors": (0.25,)},
        {},
    ]
    nothing: dict[str, Any] = {"epochs": (), "final_train_loss": None, "samples_per_s": None}
    records = [
        _changed(run, measurements=measurements, **nothing) for run, measurements in zip(runs, result, strict=True)
    ]
    records[2] = _changed(records[2], status="failed", error={"type": "E", "message": "m"})
    spec = {"name": "made-up", "study": "forward-limit", "network": {"positions": 5}, "sweep": {"seeds": [0]}}
    return make_profile({}, study="forward-limit", spec=spec, runs=records, summary=Summary(points=()))


def _changed(run: RunRecord, **changes: Any) -> RunRecord:
    return RunRecord.model_validate(run.model_dump() | changes)
