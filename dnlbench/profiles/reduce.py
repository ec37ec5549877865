"""Reduce a run directory to a profile."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from dnlbench.errors import RunDirError
from dnlbench.events import (
    Attempt,
    Event,
    RunError,
    RunHistory,
    RunPaused,
    RunStatus,
)
from dnlbench.machine import Sources
from dnlbench.plan import Plan, Run
from dnlbench.profiles.model import AttemptRecord, MatchRecord, Profile, RunRecord
from dnlbench.profiles.summary import derived, over_epochs, summarize
from dnlbench.store import RunDir
from dnlbench.studies import Study

NEEDS_START = ("device", "pack_size", "parameters")
FROM_START = (
    *NEEDS_START,
    *("device_name", "node", "threads", "jobs", "shared_device", "samples", "flops_per_sample", "peak_flops"),
)
"""The fields of a run that its start event contains."""
NOT_ENDED = RunError(type="Interrupted", message="started but not finished; resume the sweep to continue")


def read_run_dir(path: Path) -> Profile:
    """Read the profile of a run directory, complete or partial, from any machine.

    Raises:
        RunDirError: if it is not a run directory, or its sweep has not loaded its data yet.
    """
    run_dir = RunDir(path)
    return reduce_run_dir(run_dir, run_dir.read_plan())


def reduce_run_dir(run_dir: RunDir, plan: Plan) -> Profile:
    """Reduce a sweep, complete or partial, to a profile.

    Raises:
        RunDirError: if no data was loaded yet.
    """
    state = run_dir.read_state()
    engine = state.worked[-1] if state.worked else state.engine
    if engine is None or not state.preparations:
        raise RunDirError(f"{run_dir.root}: no results yet: the sweep has not loaded its data")
    prepared = state.preparations[0]
    estimated = plan.memory_bytes(prepared.data, prepared.memory)
    runs = tuple(
        run_record(run, run_dir.read_history(run), plan.study, estimated_memory_bytes=estimated[run.point])
        for run in plan.runs
    )
    return Profile(
        study=plan.spec.study,
        name=plan.spec.name,
        state="partial" if any(run.status in ("cancelled", "skipped") for run in runs) else "complete",
        created=max(
            (run.attempts[-1].ended for run in runs if run.attempts and run.attempts[-1].ended),
            default=_utc(time.time()),
        ),
        spec=plan.spec.model_dump(mode="json"),
        spec_hash=plan.spec_hash,
        workload_version=plan.study.workload_version,
        code=engine.code,
        custom_code=state.code if plan.custom_parts else Sources(),
        machine=engine.machine,
        data=prepared.data,
        interleaved=state.session,
        runs=runs,
        summary=summarize(runs, plan.study, classes=prepared.data.choices),
    )


def run_record(
    run: Run, history: RunHistory, study: Study, *, estimated_memory_bytes: int | None = None, live: bool = False
) -> RunRecord:
    """Return the record of a run.

    With ``live``, for the summary of a running sweep, it contains only the last epoch, with the current values as results.
    """
    started, ended = history.started, history.ended
    epochs = (history.epochs[-1:] if live else history.epochs).records(study.epoch_columns)
    is_done = not live and ended is not None and ended.status == "ok"
    open_end = None if live or not history.attempts else NOT_ENDED
    return RunRecord(
        run_id=run.run_id,
        **run.point.identity,
        seed=run.seed,
        matched=MatchRecord(**asdict(run.matched)) if run.matched else None,
        status=ended.status if ended else _status_so_far(history, live=live),
        **{name: getattr(started, name) for name in FROM_START} if started else dict.fromkeys(NEEDS_START),
        utilisation=history.utilization,
        epochs=epochs,
        **(derived(epochs) | {"samples_per_s": history.samples_per_s}),
        peak_memory_bytes=ended.peak_memory_bytes if ended else None,
        estimated_memory_bytes=estimated_memory_bytes,
        measurements={**history.measurements, **(over_epochs(epochs, study) if is_done else {})},
        attempts=tuple(map(attempt_record, history.attempts)),
        error=ended.error if ended else open_end,
    )


def _status_so_far(history: RunHistory, *, live: bool) -> RunStatus:
    if live:
        return "ok" if history.epoch_events else "skipped"
    return "cancelled" if history.attempts else "skipped"


def attempt_record(attempt: Attempt) -> AttemptRecord:
    """Return the record of an attempt."""
    started, last = attempt.started, attempt.last
    return AttemptRecord(
        attempt=started.attempt,
        started=_when(started),
        ended=_when(last) if last else None,
        status="paused" if isinstance(last, RunPaused) else last.status if last else None,
        device=started.device,
        node=started.node.name if started.node else None,
        fingerprint=started.node.fingerprint if started.node else None,
        device_name=started.device_name,
        from_epoch=started.from_epoch,
        from_step=started.from_step,
    )


def _when(event: Event) -> datetime:
    return _utc(event.time)


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
