"""How large a cluster one engine can drive: what the real scheduler, journal and watcher take, on simulated slots.

::

    python -m tests.benchmarks.cluster_scale               # 10,000 runs of 60 s on 10 to 3,000 slots
    python -m tests.benchmarks.cluster_scale --whole       # the sweep on 1,000 slots from its beginning to its end
    python -m tests.benchmarks.cluster_scale --slots 1000 --epochs 60 600 3000 --seconds 20    # how many events a second
    python -m tests.benchmarks.cluster_scale --slots 1000 --cpu-profile

The slots, the runs on them and the time are simulated; the run directory with its files and the waiting for the disk are
real. *Load* is what the engine needs of a core per second of the sweep while all slots are busy, as CPU time (so that other
work on the machine matters little) and the time that it waits for the disk; where it reaches 1 the engine is the limit. A
part of it is the watcher, with the progress lines that a sweep without a terminal has. What Ray itself takes to bring the
reports is not in it, and added to the last line as `tests.benchmarks.ray_scale` finds it. Neither are checkpoints and what runs
print.

What a *run* takes is the scheduling without that of looks at which nothing happens; a *line* is one event of a run, written
into its file. *Lag* is by the wall clock, from the news that a slot is free until its next run begins.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import math
import multiprocessing
import os
import pstats
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from dnlbench.events import EngineStarted
from dnlbench.executor.ray.actors import POLL_S, POLLS_PER_S
from dnlbench.executor.ray.remote_worker import POLL_INTERVAL_S
from dnlbench.executor.scheduler import Scheduler
from dnlbench.machine import Code, read_machine
from dnlbench.plan import Plan
from dnlbench.progress import pause_s
from dnlbench.report.progress import PlainProgress
from dnlbench.spec import parse_spec
from dnlbench.store import Execution, RunDir
from dnlbench.watch import Watcher
from tests.benchmarks.simulated_cluster import Clock, DurationModel, Meter, SimulatedCluster, make_slots

SLOTS = (10, 30, 100, 300, 1000, 3000)
SPEC = """
name = "scale"
[sweep]
networks = ["densenet", "dense-attention", "dense-gaussian", "resnet"]
depths = {depths}
seeds = {seeds}
[train]
epochs = {epochs}
"""
DEPTHS = 25
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")


@dataclass
class Disk:
    """How long there was nothing to do but to wait for the disk."""

    waited_s: float = 0.0
    count: int = 0


@contextmanager
def measured_disk() -> Iterator[Disk]:
    """Counts what the process makes durable."""
    disk, fsync = Disk(), os.fsync

    def counted(descriptor: int) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        fsync(descriptor)
        disk.waited_s += max(0.0, time.perf_counter() - wall - (time.process_time() - cpu))
        disk.count += 1

    os.fsync = counted  # type: ignore[assignment]
    try:
        yield disk
    finally:
        os.fsync = fsync


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured."""

    slots: int
    runs: int
    epochs: int
    """Of a run of a minute."""
    watched: bool = True
    whole: bool = False
    """From the beginning to the end, not the minutes in which all slots are busy."""
    seconds: float = 120.0
    """Of virtual time, after all slots have opened."""
    profiled: bool = False


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of it."""

    case: Case
    begin_s: float
    """CPU time until the first run begins."""
    virtual_s: float
    scheduling_s: float
    delivery_s: float
    watching_s: float
    disk_s: float
    run_s: float
    """CPU time per run that was started."""
    idle_look_s: float
    line_s: float
    lag_s: tuple[float, float]
    """Median and the 95th of a hundred."""
    memory: int
    """Bytes, at the most."""
    runs: int
    lines: int

    @property
    def load(self) -> float:
        return (self.scheduling_s + self.delivery_s + self.watching_s + self.disk_s) / self.virtual_s


class EnoughError(Exception):
    """All that is to be measured has been."""


class Window:
    """The part of a sweep that is measured: a tick of the scheduler that begins it and ends it."""

    def __init__(self, case: Case, law: DurationModel, clock: Clock, cluster: SimulatedCluster, disk: Disk) -> None:
        self._case, self._clock, self._cluster, self._disk = case, clock, cluster, disk
        self._opens = clock() + (0.0 if case.whole else law.opening_s)
        self._created = time.process_time()
        self._began: float | None = None
        self.begin_s = math.nan
        self.profile = cProfile.Profile()

    def tick(self) -> None:
        """At each look of the scheduler."""
        now = self._clock()
        if math.isnan(self.begin_s):
            self.begin_s = time.process_time() - self._created
        if self._began is None and now >= self._opens:
            self._began, self._disk.waited_s = now, 0.0
            self._cluster.meter = Meter()
            if self._case.profiled:
                self.profile.enable()
        elif self._began is not None and not self._case.whole and now >= self._began + self._case.seconds:
            raise EnoughError

    @property
    def seconds(self) -> float:
        """How much virtual time it holds."""
        assert self._began is not None
        return self._clock() - self._began


def measure(case: Case) -> Figures:
    """Drives a sweep, in a folder that is removed again."""
    plan, clock, law, slots = make_plan(case), Clock(), DurationModel(), make_slots(case.slots)
    with tempfile.TemporaryDirectory() as folder, measured_disk() as disk:
        run_dir = RunDir(Path(folder) / "rd")
        run_dir.begin(plan, HOW)
        watch = make_watch(run_dir, plan, clock) if case.watched else lambda: None
        cluster = SimulatedCluster(run_dir, plan, slots, clock, law, watch)
        window = Window(case, law, clock, cluster, disk)
        scheduler = Scheduler(run_dir, plan, cluster, slots, clock=clock)
        names = tuple(slot.name for slot in slots)
        code = Code(version="0")
        scheduler.note(EngineStarted(time=clock(), pid=1, machine=read_machine(), code=code, slots=names))
        scheduler.note(scheduler.prepare().model_copy(update={"time": clock()}))
        with suppress(EnoughError):
            scheduler.run(window.tick)
        window.profile.disable()
        figures = _figures(case, window, cluster.meter, disk)
        scheduler.stop()
        scheduler.close()
    if case.profiled:
        pstats.Stats(window.profile).sort_stats("tottime").print_stats(40)
    return figures


def _figures(case: Case, window: Window, meter: Meter, disk: Disk) -> Figures:
    lags = sorted(meter.lags_s) or [math.nan]
    return Figures(
        case=case,
        begin_s=window.begin_s,
        virtual_s=window.seconds,
        scheduling_s=meter.scheduling_s,
        delivery_s=meter.delivery_s,
        watching_s=meter.watching_s,
        disk_s=disk.waited_s,
        run_s=(meter.scheduling_s - meter.idle_s) / max(1, meter.began),
        idle_look_s=meter.idle_s / max(1, meter.idle_looks),
        line_s=meter.delivery_s / max(1, meter.lines),
        lag_s=(statistics.median(lags), lags[math.ceil(0.95 * len(lags)) - 1]),
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        runs=meter.began,
        lines=meter.lines,
    )


def make_plan(case: Case) -> Plan:
    """Of as many runs, on axes of the size that sweeps have."""
    per_depth = max(1, case.runs // 4)
    depths = min(DEPTHS, per_depth)
    text = SPEC.format(depths=list(range(1, depths + 1)), seeds=per_depth // depths, epochs=case.epochs)
    return Plan(parse_spec(text, "scale.toml"))


def make_watch(run_dir: RunDir, plan: Plan, clock: Clock) -> Callable[[], None]:
    """What the thread does that tells an observer how the sweep goes on."""
    watcher, due = Watcher(run_dir, plan), 0.0
    observer = PlainProgress(Console(file=io.StringIO()), show_earlier=False)

    def watch() -> None:
        nonlocal due
        if clock() >= due:
            started_s = time.process_time()
            observer.on_update(watcher.poll(clock()))
            due = clock() + pause_s(time.process_time() - started_s)

    return watch


HEAD = (
    "            |       load: of a core, per second of the sweep      |    CPU time for one of each     |   lag, ms   |\n"
    "slots events/s| all     scheduling writing  watching    disk |  run, ms line, us idle look, us | median  p95 | MiB"
)


def tell(figures: Iterable[Figures], ray_s: float) -> None:
    """A line for each number of slots, and where the load reaches 1."""
    print(HEAD, flush=True)
    loads, with_ray = [], []
    for each in figures:
        print(line_of(each), flush=True)
        loads.append((each.case.slots, each.load))
        with_ray.append((each.case.slots, each.load + ray_s * reports_per_s(each)))
    print(f"The engine is the limit at {limit(loads)};")
    print(f"with {1e6 * ray_s:.0f} us for each report that Ray brings, at {limit(with_ray)}.\n")


def reports_per_s(figures: Figures) -> float:
    """Of all slots: one for each event, no more than a remote worker looks for news, and no fewer than it is asked."""
    slots = figures.case.slots
    asked = 1 / max(POLL_S, slots / POLLS_PER_S)
    return slots * max(asked, min(1 / POLL_INTERVAL_S, figures.lines / figures.virtual_s / slots))


def limit(loads: Sequence[tuple[int, float]]) -> str:
    """Where the load reaches 1, between two that were measured, or as it would go on behind the last."""
    for (slots, load), (more, heavier) in pairwise(loads):
        if load < 1 <= heavier:
            exponent = math.log(more / slots) / math.log(heavier / load)
            return f"{slots * (1 / load) ** exponent:.0f} slots"
    slots, load = loads[-1]
    return f"about {slots / load:.0f} slots, if the load goes on in proportion" if load < 1 else "fewer slots"


def line_of(each: Figures) -> str:
    """The figures of one case."""
    parts = [each.scheduling_s, each.delivery_s, each.watching_s, each.disk_s]
    shares = " ".join(f"{part / each.virtual_s:9.4f}" for part in parts)
    costs = f"{1e3 * each.run_s:8.2f} {1e6 * each.line_s:8.1f} {1e6 * each.idle_look_s:13.1f}"
    lags = f"{1e3 * each.lag_s[0]:6.2f} {1e3 * each.lag_s[1]:6.2f}"
    rate = each.lines / each.virtual_s
    rest = f"{each.memory / 2**20:4.0f}  {each.runs} runs in {each.virtual_s:.0f} s, after {each.begin_s:.2f} s of CPU"
    return f"{each.case.slots:5} {rate:7.0f} | {each.load:6.4f} {shares} | {costs} | {lags} | {rest}"


def main() -> None:
    """Each case in a process of its own, so that the memory is its own."""
    parser = argparse.ArgumentParser(description="How large a cluster one engine can drive.")
    parser.add_argument("--slots", type=int, nargs="+", default=SLOTS)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of virtual time that are measured")
    parser.add_argument("--epochs", type=int, nargs="+", default=(60, 1), help="of a run of a minute")
    parser.add_argument("--unwatched", action="store_true", help="without progress lines")
    parser.add_argument("--whole", action="store_true", help="from the beginning of the sweep to its end")
    parser.add_argument("--cpu-profile", action="store_true", help="where the CPU time goes; it takes more of it, then")
    parser.add_argument(
        "--ray-us",
        type=float,
        default=300.0,
        help="CPU time that Ray takes for a report, as ray_scale finds it, without files",
    )
    chosen = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for epochs in chosen.epochs:
        print(f"{chosen.runs} runs of 60 s with {epochs} epoch{'s' if epochs > 1 else ''}:")
        cases = [
            Case(
                slots=slots,
                runs=chosen.runs,
                epochs=epochs,
                watched=not chosen.unwatched,
                whole=chosen.whole,
                seconds=chosen.seconds,
                profiled=chosen.cpu_profile,
            )
            for slots in chosen.slots
        ]
        with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
            tell(pool.map(measure, cases), chosen.ray_us / 1e6)


if __name__ == "__main__":
    main()
