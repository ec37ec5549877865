"""The details of a run, as pairs of a name and a value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dnlbench import units
from dnlbench.events import Attempt, RunHistory
from dnlbench.machine import short_model
from dnlbench.studies import Study
from dnlbench.tui.rows import RunRow

Detail = tuple[str, str]


def run_details(row: RunRow, study: Study, estimated_bytes: int | None) -> list[Detail]:
    """Return the details of a run; unknown values are omitted."""
    return [(name, value) for name, value in _details(row, study, estimated_bytes) if value != units.NOTHING]


def _details(row: RunRow, study: Study, estimated_bytes: int | None) -> Iterator[Detail]:
    history, started, ended = row.history, row.history.started, row.history.ended
    yield "status", row.state
    if row.message:
        yield "error", row.message
    yield "parameters", f"{started.parameters:,}".replace(",", " ") if started else units.NOTHING
    if study.has_epochs:
        yield "epochs", f"{history.epochs_done} of {row.run.epochs}"
        yield "training loss", units.number(row.loss)
        yield "throughput", f"{units.count(history.samples_per_s)} samples/s" if history.epochs else units.NOTHING
        yield "utilization", units.percent(history.utilization)
    for quantity in study.quantities:
        value = history.measured.measurements.get(quantity.name) if history.measured else None
        if isinstance(value, float):
            yield quantity.label, f"{units.number(value)} {quantity.unit}".strip()
    yield "peak memory", units.size(ended.peak_memory_bytes if ended else None)
    yield "estimated memory", units.size(estimated_bytes)
    yield "time so far", units.seconds(row.seconds)
    yield "time left", units.seconds(row.left_s)
    if started:
        yield "device", f"{started.device}, {started.device_name}"
        if node := started.node:
            memory = units.size(node.memory_bytes)
            yield "node", f"{node.name}: {short_model(node.cpu)}, {node.cores} cores, {memory}"
        yield "threads", str(started.threads)
        yield "shared device", f"yes, {started.jobs} runs at a time" if started.shared_device else units.NOTHING
    yield "run id", row.run.run_id


def attempt_lines(history: RunHistory) -> list[str]:
    """Return a line for each attempt."""
    return [_attempt_line(attempt) for attempt in history.attempts]


def _attempt_line(attempt: Attempt) -> str:
    started, last = attempt.started, attempt.last
    start = datetime.fromtimestamp(started.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    node = f" of {started.node.name}" if started.node else ""
    resumed = f", from epoch {started.from_epoch}" if started.from_epoch else ""
    if last is None:
        status = "running or lost"
    else:
        status = getattr(last, "status", "suspended") + f" after {units.seconds(last.time - started.time)}"
    return f"{started.attempt}. {start} UTC on {started.device}{node}{resumed}: {status}"


def measured_curves(history: RunHistory) -> dict[str, tuple[float, ...]]:
    """Return the curves that a run without epochs has measured, by name."""
    measurements = history.measured.measurements if history.measured else {}
    return {name: value for name, value in measurements.items() if isinstance(value, tuple) and len(value) > 1}
