"""Rows and columns of the run table: values to sort and filter by, and their text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dnlbench import units
from dnlbench.events import RunHistory
from dnlbench.machine import short_host
from dnlbench.plan import Run
from dnlbench.studies import STUDIES, THROUGHPUT, TRAIN_LOSS, EpochMetric
from dnlbench.tui.sparkline import braille_sparkline
from dnlbench.watch import SweepView

State = Literal["running", "paused", "waiting", "ok", "failed", "oom", "diverged", "cancelled", "skipped"]
Value = str | float | None

STATES: Mapping[State, tuple[str, str]] = {
    "running": ("▶", "bold"),
    "paused": ("‖", "yellow"),
    "waiting": ("·", "dim"),
    "ok": ("✓", "green"),
    "failed": ("✗", "red"),
    "oom": ("✗", "red"),
    "diverged": ("✗", "red"),
    "cancelled": ("⊘", "yellow"),
    "skipped": ("⊘", "dim"),
}
"""Mark and style of each state; they always accompany its name."""
SPARKLINE = 10
"""Cells of a sparkline."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run of the table."""

    run: Run
    history: RunHistory
    state: State
    slot: str | None
    """The current slot, or the last device of a run that has ended."""
    left_s: float | None
    node: str | None = None
    """The cluster node of the run, once it is known."""
    result: float | None = None
    """Value of the study's main quantity, for a run without epochs."""

    @property
    def loss(self) -> float | None:
        return self.history.last_loss

    @property
    def change(self) -> float | None:
        """Change of the loss since the previous epoch."""
        losses = self.history.epochs
        return losses[-1].train_loss - losses[-2].train_loss if len(losses) > 1 else None

    @property
    def rate(self) -> float | None:
        """Samples per second of the last epoch."""
        return self.history.epochs[-1].samples_per_s if self.history.epochs else None

    @property
    def seconds(self) -> float | None:
        """Seconds of completed computation."""
        history = self.history
        if history.measured:
            return history.measured.seconds
        return history.epochs.elapsed_s()[-1] if history.epochs else None

    @property
    def message(self) -> str:
        """The error of a run, in one line; empty if there is none."""
        error = self.history.ended.error if self.history.ended else None
        return f"{error.type}: {error.message.partition(chr(10))[0]}" if error else ""


def rows_of(view: SweepView) -> dict[str, RunRow]:
    """Return the rows of all runs by id, in the plan's order."""
    return {run.run_id: _row(view, run) for run in view.plan.runs}


def _row(view: SweepView, run: Run) -> RunRow:
    history = view.histories[run.run_id]
    main = history.measured.measurements.get(view.plan.study.quantities[0].name) if history.measured else None
    return RunRow(
        run=run,
        history=history,
        state=state_of(view, run),
        slot=view.leased.get(run.run_id) or (history.started.device if history.started else None),
        node=view.node_of(run),
        left_s=view.time_left.runs_s.get(run.run_id),
        result=main if isinstance(main, float) else None,
    )


def state_of(view: SweepView, run: Run) -> State:
    """Return the current state of a run."""
    history = view.histories[run.run_id]
    if view.is_over(run) and history.ended is not None:
        return history.ended.status
    if run.run_id in view.leased:
        return "paused" if view.pause_state.is_paused(run.run_id, view.leased[run.run_id]) else "running"
    return "paused" if view.pause_state.all_paused or run.run_id in view.pause_state.runs else "waiting"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of the table, by which runs can be sorted and filtered."""

    name: str
    """Name in filters."""
    header: str
    width: int
    value: Callable[[RunRow], Value]
    text: Callable[[RunRow], str]
    numeric: bool = True
    """True if the text is aligned at the right."""
    max_width: int = 0
    """If above `width`: the column grows with its text up to this width, even if other columns are cut."""
    flexible: bool = False
    """True if the column grows with its text while the table has free space."""
    needs_epochs: bool | None = None
    """True for studies with epochs only, False for studies without epochs only, None for all."""


def _number(row: RunRow) -> str:
    return units.number(row.loss)


def _change(row: RunRow) -> str:
    if row.change is None or not math.isfinite(row.change):
        return units.NOTHING
    return f"{row.change:+.4f}".replace("-", "−")


def _progress(row: RunRow) -> str:
    return f"{row.history.epochs_done}/{row.run.epochs}"


def _peak(row: RunRow) -> float | None:
    return row.history.ended.peak_memory_bytes if row.history.ended else None


def _sparkline(row: RunRow) -> str:
    return braille_sparkline(row.history.epochs.column("train_loss")[-4 * SPARKLINE :], SPARKLINE)


def _state(row: RunRow) -> str:
    return f"{STATES[row.state][0]} {row.state}"


def _metric(metric: EpochMetric) -> Field:
    """Return the column of a metric's latest value."""

    def value(row: RunRow) -> float | None:
        return row.history.epochs[-1].value(metric.name) if row.history.epochs else None

    def text(row: RunRow) -> str:
        return _TEXTS[metric.shown_as](value(row))

    width = max(9, len(metric.label))
    return Field(name=metric.name, header=metric.label, width=width, value=value, text=text, needs_epochs=True)


_TEXTS: Mapping[units.Kind, Callable[[float | None], str]] = {
    "number": units.number,
    "count": units.count,
    "bytes": units.size,
    "percent": units.percent,
    "seconds": units.seconds,
}
_METRICS = dict.fromkeys(metric for study in STUDIES.usable().values() for metric in study.epoch_metrics)
FIELDS = (
    Field(name="status", header="status", width=11, numeric=False, value=lambda row: row.state, text=_state),
    Field(
        name="network",
        header="network",
        width=15,
        numeric=False,
        flexible=True,
        value=lambda row: row.run.point.series,
        text=lambda row: row.run.point.series,
    ),
    Field(
        name="depth",
        header="L",
        width=3,
        max_width=5,
        value=lambda row: row.run.point.depth,
        text=lambda row: str(row.run.point.depth),
    ),
    Field(name="seed", header="seed", width=4, value=lambda row: row.run.seed, text=lambda row: str(row.run.seed)),
    Field(
        name="epoch",
        header="epoch",
        width=7,
        value=lambda row: row.history.epochs_done,
        text=_progress,
        needs_epochs=True,
    ),
    Field(name="loss", header="loss", width=7, value=lambda row: row.loss, text=_number, needs_epochs=True),
    Field(
        name="result",
        header="result",
        width=9,
        value=lambda row: row.result,
        text=lambda row: units.number(row.result),
        needs_epochs=False,
    ),
    *(_metric(metric) for metric in _METRICS if metric not in (TRAIN_LOSS, THROUGHPUT)),
    Field(name="change", header="Δ/epoch", width=8, value=lambda row: row.change, text=_change, needs_epochs=True),
    Field(
        name="rate",
        header="samples/s",
        width=9,
        value=lambda row: row.rate,
        text=lambda row: units.count(row.rate),
        needs_epochs=True,
    ),
    Field(
        name="left",
        header="time left",
        width=11,
        value=lambda row: row.left_s,
        text=lambda row: units.seconds(row.left_s),
    ),
    Field(
        name="device",
        header="device",
        width=8,
        numeric=False,
        value=lambda row: row.node or row.slot,
        text=lambda row: short_host(row.node) if row.node else row.slot or units.NOTHING,
        max_width=16,
    ),
    Field(
        name="curve", header="loss curve", width=10, numeric=False, value=_number, text=_sparkline, needs_epochs=True
    ),
    Field(name="memory", header="memory", width=9, value=_peak, text=lambda row: units.size(_peak(row))),
    Field(
        name="time",
        header="time",
        width=11,
        value=lambda row: row.seconds,
        text=lambda row: units.seconds(row.seconds),
    ),
    Field(
        name="attempts",
        header="tries",
        width=5,
        value=lambda row: len(row.history.attempts),
        text=lambda row: str(len(row.history.attempts)),
    ),
    Field(
        name="message",
        header="message",
        width=40,
        numeric=False,
        value=lambda row: row.message,
        text=lambda row: row.message,
    ),
)
BY_NAME = {field.name: field for field in FIELDS}
_NARROW = ("status", "network", "depth", "seed", "epoch", "loss", "rate", "result", "left")
"""Columns that fit into 80 cells without scrolling."""
_WIDE = (*_NARROW, "change", "device", "curve", "memory", "message")


def default_columns(*, wide: bool, has_epochs: bool, metrics: Iterable[EpochMetric] = ()) -> tuple[str, ...]:
    """Return the names of the initial columns. Wide tables include the metrics that have a better direction."""
    names = (*_WIDE, *(m.name for m in metrics if m.better), *(() if has_epochs else ("time",))) if wide else _NARROW
    return tuple(field.name for field in FIELDS if field.name in names and field.needs_epochs in (None, has_epochs))
