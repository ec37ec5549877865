"""The terminal UI under load: a stream of epochs as no sweep makes them, and a large sweep that is opened.

``python tests/benchmarks/tui_load.py [SECONDS]`` prints

- of a stream of 64 runs with 100 epochs a second each, written by another process: epochs written and epochs seen, the time
  from key to paint, and the memory of the process as it goes on;
- of a sweep of 1,000 finished runs of 500 epochs each, and of the screen where one begins: seconds from the start of the
  command in a real terminal until the first paint, the table and the curves are shown.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import multiprocessing
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from textual import events
from textual.app import App

from dnlbench.events import (
    DataInfo,
    EngineStarted,
    EpochDone,
    Epochs,
    Prepared,
    RunEnded,
    RunLeased,
    RunStarted,
)
from dnlbench.machine import Code, read_machine
from dnlbench.plan import Plan
from dnlbench.spec import parse_spec
from dnlbench.store import Execution, RunDir
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.screens.sweep import SweepScreen
from dnlbench.tui.widgets.runs_table import RunsTable

RUNS, RATE = 64, 100
SIZE = (160, 48)
KEYS = ("down", "up", "o", "x", "slash", "escape")
"""Pressed in turn; each changes what is on the screen."""


def make_run_dir(root: Path, networks: list[str], depths: list[int], seeds: int, epochs: int) -> RunDir:
    """A sweep whose engine has leased everything at once."""
    axes = f"[sweep]\nnetworks = {networks}\ndepths = {depths}\nseeds = {seeds}\n"
    plan = Plan(parse_spec(f'name = "load"\n{axes}[train]\nepochs = {epochs}\n', "load.toml"))
    run_dir = RunDir(root)
    run_dir.begin(
        plan,
        Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine="0", source="0"),
    )
    slots = tuple(f"cpu/{place}" for place in range(len(plan.runs)))
    journal = run_dir.journal_writer()
    journal.write(EngineStarted(pid=1, machine=read_machine(), code=Code(version="0"), slots=slots).model_dump_json())
    data = DataInfo(name="digits", sha256="0", samples=1797, input_shape=(1, 8, 8), classes=10)
    journal.write(Prepared(data=data, torch="0", device_name="x").model_dump_json())
    for run, slot in zip(plan.runs, slots, strict=True):
        journal.write(RunLeased(run_id=run.run_id, attempt=1, slot=slot).model_dump_json())
        events = run_dir.events_writer(run.run_id)
        started = RunStarted(run_id=run.run_id, attempt=1, device="cpu", device_name="x", threads=1, parameters=1)
        events.write(started.model_dump_json())
        events.close()
    journal.close()
    return run_dir


def epoch_line(run_id: str, number: int, seed: int) -> str:
    """A loss with noise, and now and then a spike."""
    loss = 0.1 + 2 / math.sqrt(number) + 0.01 * math.sin(7 * number + seed) + (number % 997 == 0)
    done = EpochDone(
        run_id=run_id,
        epoch=number,
        train_loss=loss,
        seconds=1 / RATE,
        samples_per_s=1797.0 * RATE,
        gradient_norm=1 / number,
    )
    return done.model_dump_json(exclude_none=True)  # as workers write it


def stream(root: Path, seconds: float, written: Any) -> None:
    """Writes the epochs of all runs, ten times a second."""
    run_dir = RunDir(root)
    runs = run_dir.read_plan().runs
    writers = [run_dir.events_writer(run.run_id) for run in runs]
    begun, number = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        until = int(now * RATE)
        for run, writer in zip(runs, writers, strict=True):
            lines = [epoch_line(run.run_id, n, run.seed) for n in range(number + 1, until + 1)]
            if lines:
                writer.write("\n".join(lines))
        number = until
        written.value = number
        time.sleep(max(0.0, 0.1 - (time.monotonic() - begun - now)))


class Paints:
    """When the app painted."""

    def __init__(self, app: App[Any]) -> None:
        self.times: list[float] = []
        display = app._display

        def display_and_note(*arguments: Any) -> None:
            display(*arguments)
            self.times.append(time.perf_counter())

        app._display = display_and_note  # type: ignore[method-assign,assignment]

    def after(self, moment: float) -> float | None:
        """The first one after a moment."""
        return self.times[-1] if self.times and self.times[-1] >= moment else None


async def until(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    """Waits in small steps, as a person's patience does."""
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.001)


def state(screen: SweepScreen) -> tuple[object, ...]:
    """What the keys change.

    The cursor as its row and its run: a table that is reordered meanwhile moves the row, with the run it stands on.
    """
    table = screen.query_one(RunsTable)
    cursor = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value if table.row_count else None
    return table.cursor_row, cursor, table.selection.order, table.marked, screen.focused


async def press(screen: SweepScreen, paints: Paints, key: str) -> float:
    """Seconds from a key until its effect is there, and on to the first paint after that."""
    table = screen.query_one(RunsTable)
    if key == "down" and table.cursor_row == table.row_count - 1:
        table.move_cursor(row=0)
    begun, before = time.perf_counter(), state(screen)
    screen.app.post_message(events.Key(key, None))
    await until(lambda: state(screen) != before, 5.0)
    acted = time.perf_counter()
    await until(lambda: paints.after(acted), 5.0)
    return time.perf_counter() - begun


class Rows:
    """How many epochs were taken in, whatever is kept of them."""

    def __init__(self) -> None:
        self.count = 0
        after_rows = Epochs.after_rows

        def count(epochs: Epochs, rows: Sequence[Mapping[str, Any]]) -> Epochs:
            self.count += len(rows)
            return after_rows(epochs, rows)

        Epochs.after_rows = count  # type: ignore[method-assign,assignment]


async def watch_stream(root: Path, seconds: float) -> None:
    """Presses keys while the stream goes on."""
    context = multiprocessing.get_context("spawn")
    written = context.Value("l", 0)
    networks = ["densenet", "dense-attention", "dense-gaussian", "resnet"]
    make_run_dir(root, networks, [2, 4, 8, 16], 4, 10**6)
    screen = SweepScreen(RunDir(root))
    app = DnlbenchApp(lambda: screen)
    process, rows = psutil.Process(), Rows()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(2.0)
        paints = Paints(app)
        writer = context.Process(target=stream, args=(root, seconds, written))
        writer.start()
        waits: dict[str, list[float]] = {key: [] for key in KEYS}
        memory: list[tuple[float, float]] = []
        begun, place, used = time.monotonic(), 0, process.cpu_times()
        while writer.is_alive():
            key = KEYS[place % len(KEYS)]
            place += 1
            waits[key].append(await press(screen, paints, key))
            if not memory or time.monotonic() - begun > memory[-1][0] + 10:
                memory.append((time.monotonic() - begun, process.memory_info().rss / 2**20))
            await asyncio.sleep(0.05)
        took = time.monotonic() - begun
        after = process.cpu_times()
        await until(lambda: all(row.history.epochs.done == written.value for row in screen._view_model.rows.values()))
    everything = [wait for each in waits.values() for wait in each]
    print(f"stream: {RUNS} runs × {RATE} epochs/s for {took:.0f} s")
    total = RUNS * written.value
    print(f"  epochs written: {total}, read: {rows.count}, lost: {total - rows.count}")
    print(f"  key to paint over {len(everything)} keys: {_quantiles(everything)}")
    for key, each in waits.items():
        print(f"    {key:<8} {_quantiles(each)}")
    print(f"  paints: {len(paints.times) / took:.1f} a second")
    print(f"  CPU: {(after.user + after.system - used.user - used.system) / took * 100:.0f} % of a core")
    print("  memory, MiB: " + ", ".join(f"{at:.0f} s {size:.0f}" for at, size in memory))


def _quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    if len(ordered) < 2:
        return "–"
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    return (
        f"median {statistics.median(ordered) * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, longest {ordered[-1] * 1e3:.0f} ms"
    )


def make_finished(root: Path) -> None:
    """1,000 runs of 500 epochs."""
    run_dir = make_run_dir(root, ["densenet", "dense-gaussian", "resnet", "plain"], [2, 4, 8, 16, 32], 50, 500)
    for run in run_dir.read_plan().runs:
        lines = [epoch_line(run.run_id, number, run.seed) for number in range(1, 501)]
        lines.append(RunEnded(run_id=run.run_id, status="ok", peak_memory_bytes=2**20).model_dump_json())
        with run_dir.events_path(run.run_id).open("a") as file:
            file.write("\n".join(lines) + "\n")


def shown_after(arguments: Sequence[str], marks: Sequence[bytes], folder: Path) -> list[float]:
    """Seconds from the start of a command in a terminal until each text is on its screen."""
    begun = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "dnlbench", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    output, times = b"", [math.nan] * len(marks)
    while any(map(math.isnan, times)) and time.perf_counter() < begun + 30:
        if select.select([terminal], [], [], 0.5)[0]:
            output += os.read(terminal, 2**16)
        for place, mark in enumerate(marks):
            if math.isnan(times[place]) and mark in output:
                times[place] = time.perf_counter() - begun
    os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    os.waitpid(pid, 0)
    return times


def tell_opening(folder: Path) -> None:
    """Three times each."""
    for _ in range(3):
        (begins,) = shown_after([], [b"Presets"], folder)
        head, table, curves = shown_after(
            ["attach", str(folder / "finished")], [b"help", b"Runs: 1000", b"n=50"], folder
        )
        print(f"dnlbench: first paint after {begins:.2f} s")
        print(f"dnlbench attach: first paint after {head:.2f} s, 1,000 runs after {table:.2f} s, curves {curves:.2f} s")


def main() -> None:
    """Both, in turn."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        make_finished(Path(folder) / "finished")
        tell_opening(Path(folder))
        asyncio.run(watch_stream(Path(folder) / "stream", seconds))


if __name__ == "__main__":
    main()
