"""How a sweep that is running looks in a terminal, and in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dnlbench import units
from dnlbench.cli.output import console
from dnlbench.events import Prepared, RunHistory
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.report.plan import plan_grid
from dnlbench.sweep import Observer
from dnlbench.watch import SweepView


@contextmanager
def create_progress(stream: IO[str], *, quiet: bool) -> Iterator[Observer]:
    """A live view on a terminal, plain lines elsewhere, nothing if ``quiet``."""
    if quiet:
        yield Silent()
        return
    out = console(stream)
    if not out.is_terminal or out.is_dumb_terminal:
        yield Lines(out)
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        yield LiveView(live)


class Silent:
    """Says nothing."""

    def starting(self, plan: Plan, slots: Sequence[Slot]) -> None:
        """Nothing."""

    def planned(self, plan: Plan, prepared: Prepared, slots: Sequence[Slot], left: int, run_dir: Path) -> None:
        """Nothing."""

    def looked(self, view: SweepView) -> None:
        """Nothing."""


class Lines:
    """A line for each run that ends."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told: set[str] = set()
        self._before = 0

    def starting(self, plan: Plan, slots: Sequence[Slot]) -> None:
        """That something is going on."""
        self._out.print(_starting_line(plan, slots))

    def planned(self, plan: Plan, prepared: Prepared, slots: Sequence[Slot], left: int, run_dir: Path) -> None:
        """The plan, where it is carried out, and what is done already."""
        self._before = len(plan.runs) - left
        announce(self._out, plan, prepared, slots, left, run_dir)

    def looked(self, view: SweepView) -> None:
        """The runs that ended since the last look."""
        for text in _new_troubles(view, self._told):
            self._out.print(text, soft_wrap=True)
        for run in view.ended:
            ended = view.histories[run.run_id].ended
            if run.run_id not in self._told and ended and ended.time >= view.engine_time:
                self._told.add(run.run_id)
                self._out.print(_ended_line(view, run, self._before + len(self._told)), soft_wrap=True)


class LiveView:
    """One line for the sweep, one for each run under way; a line above them for each run that ends badly."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._told: set[str] = set()
        self._drawn = 0.0

    def starting(self, plan: Plan, slots: Sequence[Slot]) -> None:
        """That something is going on."""
        self._live.update(_starting_line(plan, slots), refresh=True)

    def planned(self, plan: Plan, prepared: Prepared, slots: Sequence[Slot], left: int, run_dir: Path) -> None:
        """The plan, where it is carried out, and what is done already."""
        announce(self._live.console, plan, prepared, slots, left, run_dir)

    def looked(self, view: SweepView) -> None:
        """Redraws, four times a second at most."""
        for text in _new_troubles(view, self._told):
            self._live.console.print(text)
        for run in view.not_ok:
            if run.run_id not in self._told:
                self._told.add(run.run_id)
                self._live.console.print(_ended_line(view, run, len(view.ended)))
        if time.monotonic() - self._drawn > 0.25:
            self._drawn = time.monotonic()
            self._live.update(draw(view), refresh=True)


def _starting_line(plan: Plan, slots: Sequence[Slot]) -> str:
    workers = f"{len(slots)} worker{'s' if len(slots) > 1 else ''}"
    return f"{plan.spec.name}: {len(plan.runs)} runs; starting {workers} and loading the data …\n"


def announce(out: Console, plan: Plan, prepared: Prepared, slots: Sequence[Slot], left: int, run_dir: Path) -> None:
    """What is about to happen."""
    out.print(plan_grid(plan, prepared.data).to_rich(out.width))
    places = ", ".join(dict.fromkeys(slot.device.label for slot in slots))
    threads = f"{slots[0].threads} thread{'s' if slots[0].threads > 1 else ''} each"
    out.print(f"\n{len(slots)} at a time on {places} ({prepared.device_name}), {threads}; torch {prepared.torch}")
    done = len(plan.runs) - left
    if done:
        out.print(f"{done} of {len(plan.runs)} runs are in the run directory already and are not done again")
    out.print(f"run directory: {run_dir}\n", soft_wrap=True)
    if not left:
        out.print("Nothing is left to train. To measure afresh, name another --run-dir.\n")


def _new_troubles(view: SweepView, told: set[str]) -> Iterator[Text]:
    """A line for each slot that was set aside and not told of yet."""
    for slot, reason in view.set_aside.items():
        if slot not in told:
            told.add(slot)
            yield Text(f"slot {slot} is set aside, it lost two runs at once: {reason}", style="red")


def _ended_line(view: SweepView, run: Run, number: int) -> Text:
    history = view.histories[run.run_id]
    assert history.ended is not None, "only runs that have ended are told of"
    status = history.ended.status
    facts = [f"loss {units.number(history.last_loss)}", f"{units.count(history.samples_per_s)} samples/s"]
    if status != "ok":
        cause = history.ended.error.message.partition("\n")[0] if history.ended.error else ""
        facts = [f"{status}: {cause}"]
    facts.append(units.seconds(sum(epoch.seconds for epoch in history.epochs)))
    total = len(view.plan.runs)
    eta = f"  ETA {units.seconds(view.eta_s)}" if number < total else ""
    style = "" if status == "ok" else "red"
    return Text(f"[{number:>{len(str(total))}}/{total}] {run.title}: {', '.join(facts)}{eta}", style=style)


def draw(view: SweepView) -> RenderableType:
    """The sweep's line over its runs' lines."""
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
        f"ETA {units.seconds(view.eta_s)}",
    )
    runs = Table.grid(padding=(0, 2))
    for _ in range(2):
        runs.add_column()
    for _ in range(3):
        runs.add_column(justify="right")
    for run in view.plan.runs:
        if run.run_id in view.leased:
            runs.add_row(*_running_row(view, run, view.histories[run.run_id]))
    return Group(head, runs)


def _running_row(view: SweepView, run: Run, history: RunHistory) -> list[str]:
    rate = history.epochs[-1].samples_per_s if history.epochs else None
    return [
        view.leased[run.run_id],
        run.title,
        f"epoch {len(history.epochs)}/{view.plan.spec.epochs}",
        f"loss {units.number(history.last_loss)}",
        f"{units.count(rate)} samples/s",
    ]
