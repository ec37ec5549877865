"""Progress of a running sweep: a live view in terminals, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dnlbench import units
from dnlbench.events import PauseState, RunHistory
from dnlbench.executor.packing import at_a_time
from dnlbench.machine import Slot, short_host
from dnlbench.plan import Plan, Run, title
from dnlbench.progress import Observer, SweepStarted
from dnlbench.report.console import console
from dnlbench.report.plan import data_title, plan_preview
from dnlbench.watch import SweepView

MOST_LINES = 16
"""Maximum number of runs shown with a line each; a cluster may train a thousand."""
WIDE = 100
"""Minimum width that has room for all columns."""


@contextmanager
def create_progress(stream: IO[str], *, quiet: bool, show_earlier: bool = False) -> Iterator[Observer]:
    """Return an observer that prints a live view in a terminal, plain lines elsewhere and nothing if ``quiet``.

    With ``show_earlier``, the lines include runs that ended before the engine started.
    """
    if quiet:
        yield Observer()
        return
    out = console(stream)
    if not stream.isatty() or out.is_dumb_terminal:  # a notebook sets FORCE_COLOR, for which Rich assumes a terminal
        yield PlainProgress(out, show_earlier=show_earlier)
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        yield LiveProgress(live)


class PlainProgress(Observer):
    """Print a line for each run that ends, and for each other event."""

    def __init__(self, out: Console, *, show_earlier: bool) -> None:
        self._out = out
        self._show_earlier = show_earlier
        self._reported: set[str] = set()
        self._messages = SweepMessages()

    def on_message(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)

    def on_starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        self._out.print(_starting_line(plan, slots))

    def on_started(self, started: SweepStarted) -> None:
        announce(self._out, started)

    def on_update(self, view: SweepView) -> None:
        for text in self._messages.since(view):
            self._out.print(text, soft_wrap=True)
        ended = view.ended
        new = [
            run
            for run in ended
            if run.run_id not in self._reported and (self._show_earlier or _ended_lately(view, run))
        ]
        for number, run in enumerate(new, start=len(ended) - len(new) + 1):
            self._reported.add(run.run_id)
            self._out.print(_ended_line(view, run, number), soft_wrap=True)


class LiveProgress(Observer):
    """Show a line for the sweep and each active run, below lines for the runs that are not ok."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._reported: set[str] = set()
        self._messages = SweepMessages()
        self._last_draw_s = 0.0

    def on_message(self, text: str) -> None:
        self._live.console.print(text, soft_wrap=True)

    def on_starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        self._live.update(_starting_line(plan, slots), refresh=True)

    def on_started(self, started: SweepStarted) -> None:
        announce(self._live.console, started)

    def on_update(self, view: SweepView) -> None:
        """Redraw at most four times a second."""
        for text in self._messages.since(view):
            self._live.console.print(text)
        for run in view.not_ok:
            if run.run_id not in self._reported:
                self._reported.add(run.run_id)
                self._live.console.print(_ended_line(view, run, len(view.ended)))
        if time.monotonic() - self._last_draw_s > 0.25:
            self._last_draw_s = time.monotonic()
            self._live.update(draw(view, self._live.console.width), refresh=True)


class SweepMessages:
    """Messages about the sweep itself, each reported once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._lost = 0
        self._pause_state = PauseState()

    def since(self, view: SweepView) -> Iterator[Text]:
        for slot, reason in view.disabled_slots.items():
            if slot not in self._reported:
                self._reported.add(slot)
                yield Text(f"slot {slot} is disabled: {reason}", style="red")
        for (_, _, error), lost in groupby(
            view.lost[self._lost :], key=lambda lost: (lost.slot, lost.time, lost.error)
        ):
            yield _lost_line(view.plan, [event.run_id for event in lost], error.message if error else "")
        self._lost = len(view.lost)
        if view.pause_state != self._pause_state:
            self._pause_state = view.pause_state
            yield Text(describe_pause_state(view.pause_state), style="yellow")


def _lost_line(plan: Plan, run_ids: Sequence[str], cause: str) -> Text:
    # An earlier sweep of the run directory may have had runs that the plan lacks.
    runs = [plan.by_id[run_id] for run_id in run_ids if run_id in plan.by_id]
    who = title(runs) if runs else run_ids[0]
    return Text(f"{who}: will be retried: {cause}", style="yellow")


def describe_pause_state(pause_state: PauseState) -> str:
    """Return what is paused, in one line."""
    if pause_state.disk is not None:
        return f"the disk is full: {pause_state.disk}"
    parts = [f"{name} {kind}d" for name, kind in pause_state.devices.items() if kind != "open"]
    if pause_state.runs:
        parts.append(f"{len(pause_state.runs)} run{'s' if len(pause_state.runs) > 1 else ''} paused")
    if pause_state.sweep:
        parts.insert(0, "the sweep is paused")
    return "; ".join(parts) or "nothing is paused"


def _ended_lately(view: SweepView, run: Run) -> bool:
    ended = view.histories[run.run_id].ended
    return ended is not None and ended.time >= view.engine_time


def _starting_line(plan: Plan, slots: Sequence[Slot]) -> str:
    runs, workers = units.counted(len(plan.runs), "run"), units.counted(len(slots), "worker")
    return f"{plan.spec.name}: {runs}; starting {workers} and loading the data …\n"


def announce(out: Console, started: SweepStarted) -> None:
    """Print the plan preview, the devices and the warnings of a sweep that starts."""
    plan, prepared, slots = started.plan, started.prepared, started.slots
    out.print(plan_preview(plan, data_title(plan, prepared.data), prepared.data).to_rich(out.width))
    threads = f"{slots[0].threads} thread{'s' if slots[0].threads > 1 else ''} each"
    text = f"{at_a_time(len(slots), started.pack_size)} on {_where(started)}"
    out.print(f"\n{text}, {threads}; torch {prepared.torch}")
    if started.done:
        out.print(f"{started.done} of {len(plan.runs)} runs are already finished in the run directory")
    if started.resumed:
        out.print(_resumed_line(started.resumed), soft_wrap=True)
    out.print(f"run directory: {started.run_dir}\n", soft_wrap=True)
    for warning in started.warnings:
        out.print(Text(f"{warning}\n", style="yellow"), soft_wrap=True)
    if not started.left:
        out.print("Nothing is left to train. To repeat the measurements, choose another --run-dir.\n")


def _where(started: SweepStarted) -> str:
    """Return the devices and their models, such as ``3 nodes of a cluster (cpu: model A, model B)``."""
    labels = ", ".join(dict.fromkeys(slot.device.label for slot in started.slots))
    if not started.nodes:
        return f"{labels} ({started.prepared.device_name})"
    device = started.slots[0].device
    return f"{started.nodes} node{'s' if started.nodes > 1 else ''} of a cluster ({device.kind}: {device.name})"


def _resumed_line(resumed: Sequence[tuple[Run, int]]) -> str:
    epochs = [done for _, done in resumed]
    first, last = min(epochs), max(epochs)
    position = f"epoch {first}" if first == last else f"epochs {first} to {last}"
    return f"Resuming {units.counted(len(resumed), 'run')} from {position} of {resumed[0][0].epochs}"


def _ended_line(view: SweepView, run: Run, number: int) -> Text:
    history = view.histories[run.run_id]
    assert history.ended is not None, "only runs that ended are reported"
    status = history.ended.status
    fields = _results(view.plan, history)
    if status != "ok":
        cause = history.ended.error.message.partition("\n")[0] if history.ended.error else ""
        fields = [f"{status}: {cause}"]
    fields.append(units.seconds(sum(event.seconds for event in history.epoch_events)))
    if (node := view.node_of(run)) is not None:
        fields.append(f"on {short_host(node)}")
    total = len(view.plan.runs)
    eta = f"  ETA {units.seconds(view.time_left.sweep_s)}" if number < total and view.engine_ended is None else ""
    style = "" if status == "ok" else "red"
    return Text(f"[{number:>{len(str(total))}}/{total}] {run.title}: {', '.join(fields)}{eta}", style=style)


def _results(plan: Plan, history: RunHistory) -> list[str]:
    """Return the loss and throughput of a run, or the main quantity of a study without epochs."""
    if history.measured is None:
        return [f"loss {units.number(history.last_loss)}", f"{units.count(history.samples_per_s)} samples/s"]
    main = plan.study.quantities[0]
    value = history.measured.measurements.get(main.name)
    return [f"{main.label} {units.number(value)}"] if isinstance(value, float) else []


def draw(view: SweepView, width: int) -> RenderableType:
    """Return the line of the sweep above the lines of its runs. A narrow terminal omits the throughput."""
    total, ended, bad = len(view.plan.runs), len(view.ended), len(view.not_ok)
    done = view.fraction_done
    head = Table.grid(padding=(0, 2), expand=False)
    failures = Text(f"{bad} not ok", style="red") if bad else Text("all ok so far", style="green")
    head.add_row(
        Text(view.plan.spec.name, style="bold"),
        f"{ended} of {total} runs",
        failures,
        ProgressBar(total=1.0, completed=done, width=20),
        f"{done * 100:.0f} %",
        "paused" if view.pause_state.all_paused else f"ETA {units.seconds(view.time_left.sweep_s)}",
    )
    runs = Table.grid(padding=(0, 2))
    for _ in range(2):
        runs.add_column(no_wrap=True)
    for _ in range(4):
        runs.add_column(justify="right", no_wrap=True)
    jobs = list(view.jobs.items())
    for slot, job in jobs[:MOST_LINES]:
        row = _running_row(view, slot, job)
        runs.add_row(*(row if width >= WIDE else [*row[:-2], row[-1]]))
    more = len(jobs) - MOST_LINES
    return Group(head, runs, *([Text(f"and {more} more running", style="dim")] if more > 0 else []))


def _running_row(view: SweepView, slot: str, job: Sequence[Run]) -> list[str]:
    # The runs of a pack advance together, so the first one represents all.
    first = view.histories[job[0].run_id]
    return [
        short_host(view.node_of(job[0]) or slot),
        title(job),
        *(_latest(job[0], first) if view.plan.study.has_epochs else ["", "", ""]),
        f"{units.seconds(view.time_left.runs_s.get(job[0].run_id))} left",
    ]


def _latest(run: Run, history: RunHistory) -> list[str]:
    rate = history.epochs[-1].samples_per_s if history.epochs else None
    return [
        f"epoch {len(history.epochs)}/{run.epochs}",
        f"loss {units.number(history.last_loss)}",
        f"{units.count(rate)} samples/s" if rate is not None else "",
    ]
