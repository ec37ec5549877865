"""From a run directory to a profile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dnlbench.errors import RunDirError
from dnlbench.events import (
    Attempt,
    DataInfo,
    EngineStarted,
    Event,
    JournalEvent,
    Prepared,
    RunError,
    RunHistory,
    RunLeased,
    RunPaused,
    RunStatus,
)
from dnlbench.plan import Plan, Run
from dnlbench.profiles.model import AttemptRecord, EpochRecord, Profile, RunRecord
from dnlbench.profiles.summary import summarise
from dnlbench.store import RunDir
from dnlbench.studies import Point

NOT_ENDED = RunError(type="Interrupted", message="begun, and waiting to be gone on with")


def read_run_dir(path: Path) -> Profile:
    """The profile of a run directory as far as its sweep has come, whichever machine it ran on.

    Raises:
        RunDirError: if it is not a run directory, or its sweep has not loaded its data yet.
    """
    run_dir = RunDir(path)
    return reduce_run_dir(run_dir, run_dir.read_plan())


def reduce_run_dir(run_dir: RunDir, plan: Plan) -> Profile:
    """The profile of a sweep as far as it has come.

    Raises:
        RunDirError: if no engine ever got as far as loading the data.
    """
    journal = run_dir.read_journal()
    engine = _last_engine_at_work(journal)
    prepared = next((event for event in journal if isinstance(event, Prepared)), None)
    if engine is None or prepared is None:
        raise RunDirError(f"{run_dir.root}: no results yet: its sweep has not loaded its data")
    foreseen = _foreseen_memory(plan, prepared.data)
    runs = tuple(_record(run, run_dir.read_history(run), foreseen[run.point]) for run in plan.runs)
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
        custom_code=run_dir.recorded_code(plan),
        machine=engine.machine,
        data=prepared.data,
        interleaved=_session(journal),
        runs=runs,
        summary=summarise(runs, plan.study, classes=prepared.data.classes),
    )


def _last_engine_at_work(journal: Sequence[JournalEvent]) -> EngineStarted | None:
    """The engine that last gave a run to a worker; the last of all if none ever did."""
    leases = [place for place, event in enumerate(journal) if isinstance(event, RunLeased)]
    until = leases[-1] if leases else len(journal)
    return next((event for event in reversed(journal[:until]) if isinstance(event, EngineStarted)), None)


def _session(journal: Sequence[JournalEvent]) -> str | None:
    """That of all engines which ever gave a run to a worker, if they have one in common."""
    engine: EngineStarted | None = None
    sessions: set[str | None] = set()
    for event in journal:
        if isinstance(event, EngineStarted):
            engine = event
        elif isinstance(event, RunLeased) and engine is not None:
            sessions.add(engine.session)
    return sessions.pop() if len(sessions) == 1 else None


def _foreseen_memory(plan: Plan, data: DataInfo) -> dict[Point, int | None]:
    """Bytes that a run of each point was expected to take."""
    return {point: plan.estimate(point, data.input_shape, data.classes).memory_bytes for point in plan.spec.points}


def _record(run: Run, history: RunHistory, foreseen_memory_bytes: int | None) -> RunRecord:
    started, last = history.started, history.epochs[-1] if history.epochs else None
    return RunRecord(
        run_id=run.run_id,
        network=run.point.network,
        depth=run.point.depth,
        seed=run.seed,
        status=_status(history),
        device=started.device if started else None,
        device_name=started.device_name if started else None,
        node=started.node if started else None,
        threads=started.threads if started else None,
        jobs=started.jobs if started else None,
        shared_device=started.shared_device if started else False,
        pack_size=started.pack_size if started else None,
        parameters=started.parameters if started else None,
        flops_per_sample=started.flops_per_sample if started else None,
        peak_flops=started.peak_flops if started else None,
        utilisation=history.utilisation,
        epochs=tuple(EpochRecord.model_validate(epoch.model_dump()) for epoch in history.epochs),
        final_train_loss=last.train_loss if last else None,
        samples_per_s=history.samples_per_s,
        evaluation_accuracy=last.evaluation_accuracy if last else None,
        gradient_norm_median=last.gradient_norm_median if last else None,
        peak_memory_bytes=history.ended.peak_memory_bytes if history.ended else None,
        foreseen_memory_bytes=foreseen_memory_bytes,
        measurements=history.measurements,
        attempts=tuple(attempt_record(attempt) for attempt in history.attempts),
        error=history.ended.error if history.ended else NOT_ENDED if history.attempts else None,
    )


def _status(history: RunHistory) -> RunStatus:
    if history.ended is not None:
        return history.ended.status
    return "cancelled" if history.attempts else "skipped"


def attempt_record(attempt: Attempt) -> AttemptRecord:
    """One try as a profile has it."""
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
