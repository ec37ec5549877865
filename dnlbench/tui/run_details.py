"""What there is to say about one run, as pairs of a word and its value."""

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
    """The run as it stands; what is not known is left out."""
    return [(name, value) for name, value in _details(row, study, estimated_bytes) if value != units.NOTHING]


def _details(row: RunRow, study: Study, estimated_bytes: int | None) -> Iterator[Detail]:
    history, started, ended = row.history, row.history.started, row.history.ended
    yield "status", row.state
    if row.message:
        yield "cause", row.message
    yield "parameters", f"{started.parameters:,}".replace(",", " ") if started else units.NOTHING
    if study.has_epochs:
        yield "epochs", f"{history.epochs_done} of {row.run.epochs}"
        yield "training loss", units.number(row.loss)
        yield "throughput", f"{units.count(history.samples_per_s)} samples/s" if history.epochs else units.NOTHING
        yield "utilisation", units.percent(history.utilisation)
    for quantity in study.quantities:
        value = history.measured.measurements.get(quantity.name) if history.measured else None
        if isinstance(value, float):
            yield quantity.label, f"{units.number(value)} {quantity.unit}".strip()
    yield "peak memory", units.size(ended.peak_memory_bytes if ended else None)
    yield "foreseen memory", units.size(estimated_bytes)
    yield "work so far", units.seconds(row.seconds)
    yield "time left", units.seconds(row.left_s)
    if started:
        yield "device", f"{started.device}, {started.device_name}"
        if node := started.node:
            memory = units.size(node.memory_bytes)
            yield "node", f"{node.name}: {short_model(node.cpu)}, {node.cores} cores, {memory}"
        yield "threads", str(started.threads)
        yield "shares its device", f"yes, {started.jobs} runs side by side" if started.shared_device else units.NOTHING
    yield "run id", row.run.run_id


def attempt_lines(history: RunHistory) -> list[str]:
    """A line for each try."""
    return [_attempt(attempt) for attempt in history.attempts]


def _attempt(attempt: Attempt) -> str:
    started, last = attempt.started, attempt.last
    start = datetime.fromtimestamp(started.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    where = f" of {started.node.name}" if started.node else ""
    kept = f", from epoch {started.from_epoch}" if started.from_epoch else ""
    if last is None:
        how = "under way, or lost"
    else:
        how = getattr(last, "status", "put aside") + f" after {units.seconds(last.time - started.time)}"
    return f"{started.attempt}. {start} UTC on {started.device}{where}{kept}: {how}"


def curves_of(history: RunHistory) -> dict[str, tuple[float, ...]]:
    """What a run without epochs has measured that is a curve, by name."""
    measurements = history.measured.measurements if history.measured else {}
    return {name: value for name, value in measurements.items() if isinstance(value, tuple) and len(value) > 1}
