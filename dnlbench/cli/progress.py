"""How a sweep that is running looks in a terminal, and in a log."""

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
from dnlbench.cli.output import console
from dnlbench.events import PauseState, RunHistory
from dnlbench.executor.packing import at_a_time
from dnlbench.machine import Slot, short_host
from dnlbench.plan import Plan, Run, title
from dnlbench.progress import Observer, SweepStarted
from dnlbench.report.plan import data_title, plan_preview
from dnlbench.watch import SweepView

MOST_LINES = 16
"""Runs under way that have a line each; a cluster may have a thousand."""
WIDE = 100
"""Columns from which on there is room for everything."""


@contextmanager
def create_progress(stream: IO[str], *, quiet: bool, whole: bool = False) -> Iterator[Observer]:
    """A live view on a terminal, plain lines elsewhere, nothing if ``quiet``.

    If ``whole``, runs that had ended before the engine began are shown too.
    """
    if quiet:
        yield Observer()
        return
    out = console(stream)
    if not out.is_terminal or out.is_dumb_terminal:
        yield Lines(out, whole=whole)
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        yield LiveView(live)


class Lines(Observer):
    """A line for each run that ends, and for what else happens."""

    def __init__(self, out: Console, *, whole: bool) -> None:
        self._out = out
        self._whole = whole
        self._told: set[str] = set()
        self._news = News()

    def on_message(self, news: str) -> None:
        self._out.print(news, soft_wrap=True)

    def on_starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        self._out.print(_starting_line(plan, slots))

    def on_started(self, started: SweepStarted) -> None:
        announce(self._out, started)

    def on_update(self, view: SweepView) -> None:
        for text in self._news.since(view):
            self._out.print(text, soft_wrap=True)
        ended = view.ended
        new = [run for run in ended if run.run_id not in self._told and (self._whole or _ended_lately(view, run))]
        for number, run in enumerate(new, start=len(ended) - len(new) + 1):
            self._told.add(run.run_id)
            self._out.print(_ended_line(view, run, number), soft_wrap=True)


class LiveView(Observer):
    """One line for the sweep, one for each run under way; a line above them for each run that ends badly."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._told: set[str] = set()
        self._news = News()
        self._drawn = 0.0

    def on_message(self, news: str) -> None:
        self._live.console.print(news, soft_wrap=True)

    def on_starting(self, plan: Plan, slots: Sequence[Slot], run_dir: Path) -> None:
        self._live.update(_starting_line(plan, slots), refresh=True)

    def on_started(self, started: SweepStarted) -> None:
        announce(self._live.console, started)

    def on_update(self, view: SweepView) -> None:
        """Redraws, four times a second at most."""
        for text in self._news.since(view):
            self._live.console.print(text)
        for run in view.not_ok:
            if run.run_id not in self._told:
                self._told.add(run.run_id)
                self._live.console.print(_ended_line(view, run, len(view.ended)))
        if time.monotonic() - self._drawn > 0.25:
            self._drawn = time.monotonic()
            self._live.update(draw(view, self._live.console.width), refresh=True)


class News:
    """What happens to the sweep itself, each thing told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._lost = 0
        self._pause_state = PauseState()

    def since(self, view: SweepView) -> Iterator[Text]:
        for slot, reason in view.disabled_slots.items():
            if slot not in self._told:
                self._told.add(slot)
                yield Text(f"slot {slot} is set aside: {reason}", style="red")
        for (_, _, error), lost in groupby(
            view.lost[self._lost :], key=lambda lost: (lost.slot, lost.time, lost.error)
        ):
            yield _lost_line(view.plan, [event.run_id for event in lost], error.message if error else "")
        self._lost = len(view.lost)
        if view.pause_state != self._pause_state:
            self._pause_state = view.pause_state
            yield Text(describe_pause_state(view.pause_state), style="yellow")


def _lost_line(plan: Plan, run_ids: Sequence[str], cause: str) -> Text:
    """Of runs that were lost together; an earlier sweep of the run directory may have had others than the plan has."""
    runs = [plan.by_id[run_id] for run_id in run_ids if run_id in plan.by_id]
    who = title(runs) if runs else run_ids[0]
    return Text(f"{who} {'wait' if len(runs) > 1 else 'waits'} to be tried again: {cause}", style="yellow")


def describe_pause_state(pause_state: PauseState) -> str:
    """What is paused, in one line."""
    if pause_state.disk is not None:
        return f"the disk is full: {pause_state.disk}"
    parts = [f"{name} {kind}d" for name, kind in pause_state.devices.items() if kind != "open"]
    if pause_state.runs:
        parts.append(f"{len(pause_state.runs)} run{'s' if len(pause_state.runs) > 1 else ''} paused")
    if pause_state.sweep:
        parts.insert(0, "the sweep is paused")
    return "; ".join(parts) or "nothing is paused any more"


def _ended_lately(view: SweepView, run: Run) -> bool:
    ended = view.histories[run.run_id].ended
    return ended is not None and ended.time >= view.engine_time


def _starting_line(plan: Plan, slots: Sequence[Slot]) -> str:
    runs, workers = units.counted(len(plan.runs), "run"), units.counted(len(slots), "worker")
    return f"{plan.spec.name}: {runs}; starting {workers} and loading the data …\n"


def announce(out: Console, started: SweepStarted) -> None:
    """What is about to happen."""
    plan, prepared, slots = started.plan, started.prepared, started.slots
    out.print(plan_preview(plan, data_title(plan, prepared.data), prepared.data).to_rich(out.width))
    threads = f"{slots[0].threads} thread{'s' if slots[0].threads > 1 else ''} each"
    places = f"{at_a_time(len(slots), started.pack_size)} on {_where(started)}"
    out.print(f"\n{places}, {threads}; torch {prepared.torch}")
    if started.done:
        out.print(f"{started.done} of {len(plan.runs)} runs are in the run directory already and are not done again")
    if started.resumed:
        out.print(_begun_line(started.resumed), soft_wrap=True)
    out.print(f"run directory: {started.run_dir}\n", soft_wrap=True)
    for warning in started.warnings:
        out.print(Text(f"{warning}\n", style="yellow"), soft_wrap=True)
    if not started.left:
        out.print("Nothing is left to train. To measure afresh, name another --run-dir.\n")


def _where(started: SweepStarted) -> str:
    """The devices and their models; ``3 nodes of a cluster (cpu: such a CPU, another one)``."""
    labels = ", ".join(dict.fromkeys(slot.device.label for slot in started.slots))
    if not started.nodes:
        return f"{labels} ({started.prepared.device_name})"
    device = started.slots[0].device
    return f"{started.nodes} node{'s' if started.nodes > 1 else ''} of a cluster ({device.kind}: {device.name})"


def _begun_line(begun: Sequence[tuple[Run, int]]) -> str:
    epochs = [done for _, done in begun]
    where = f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"
    runs = "1 run is" if len(begun) == 1 else f"{len(begun)} runs are"
    return f"{runs} gone on with after {where} of {begun[0][0].epochs} epochs"


def _ended_line(view: SweepView, run: Run, number: int) -> Text:
    history = view.histories[run.run_id]
    assert history.ended is not None, "only runs that have ended are told of"
    status = history.ended.status
    facts = _found(view.plan, history)
    if status != "ok":
        cause = history.ended.error.message.partition("\n")[0] if history.ended.error else ""
        facts = [f"{status}: {cause}"]
    facts.append(units.seconds(sum(event.seconds for event in history.epoch_events)))
    if (node := view.node_of(run)) is not None:
        facts.append(f"on {short_host(node)}")
    total = len(view.plan.runs)
    eta = f"  ETA {units.seconds(view.time_left.sweep_s)}" if number < total and view.engine_ended is None else ""
    style = "" if status == "ok" else "red"
    return Text(f"[{number:>{len(str(total))}}/{total}] {run.title}: {', '.join(facts)}{eta}", style=style)


def _found(plan: Plan, history: RunHistory) -> list[str]:
    """The results of a run in few words: of epochs the last one's, else the study's main quantity."""
    if history.measured is None:
        return [f"loss {units.number(history.last_loss)}", f"{units.count(history.samples_per_s)} samples/s"]
    main = plan.study.quantities[0]
    value = history.measured.measurements.get(main.name)
    return [f"{main.label} {units.number(value)}"] if isinstance(value, float) else []


def draw(view: SweepView, width: int) -> RenderableType:
    """The sweep's line over its runs' lines, which do without the throughput in a narrow terminal."""
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
    return Group(head, runs, *([Text(f"and {more} more under way", style="dim")] if more > 0 else []))


def _running_row(view: SweepView, slot: str, job: Sequence[Run]) -> list[str]:
    """Of a pack the first run stands for the others, which are as far."""
    first = view.histories[job[0].run_id]
    return [
        short_host(view.node_of(job[0]) or slot),
        title(job),
        *(_latest(view.plan, first) if view.plan.study.has_epochs else ["", "", ""]),
        f"{units.seconds(view.time_left.runs_s.get(job[0].run_id))} left",
    ]


def _latest(plan: Plan, history: RunHistory) -> list[str]:
    rate = history.epochs[-1].samples_per_s if history.epochs else None
    return [
        f"epoch {len(history.epochs)}/{plan.spec.epochs}",
        f"loss {units.number(history.last_loss)}",
        f"{units.count(rate)} samples/s" if rate is not None else "",
    ]
