"""What it takes an engine to hear of many slots through Ray: the real executor, Ray and files, and reports that are made up.

::

    python -m tests.benchmarks.ray_scale                                   # 10, 30 and 60 workers, a report a second each
    python -m tests.benchmarks.ray_scale --workers 8 --reports 0 --epochs 1 10 50    # as many as they are asked for
    python -m tests.benchmarks.ray_scale --workers 60 --reports 16 --as-many-as 1000    # the rhythm of 1,000 remote workers
    python -m tests.benchmarks.ray_scale --waiting 100 1000 3000           # what it takes to ask Ray which of so many are done

Each remote worker is a process of this machine, which it shares with the engine: what counts is the engine's CPU time, that of
Ray's threads in it included. What the raylet and Ray's head take is told apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dnlbench.executor.ray import actors as ray_actors
from dnlbench.executor.ray.actors import Handle
from dnlbench.executor.ray.connecting import connected
from dnlbench.executor.ray.executor import RayExecutor
from dnlbench.executor.ray.inventory import ClusterNode
from dnlbench.executor.ray.messages import Report, RunUpdate
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.machine import Slot, cpu_device, read_machine
from dnlbench.store import RunDir
from tests.benchmarks.cluster_scale import HOW, Case, make_plan
from tests.benchmarks.made_up_worker import MadeUpWorker

TINY_BYTES = 2**20
"""What a remote worker claims, so that many fit."""
LOOK_S = 0.5
"""As the scheduler waits for news."""


@dataclass
class Heard:
    """What has come in."""

    reports: int = 0
    lines: int = 0


@contextmanager
def counted() -> Iterator[Heard]:
    """Counts the reports and the events that come to the executor."""
    heard, hears, take = Heard(), Handle.hears, EventReplica.take

    def noted_report(self: Handle, report: Report) -> None:
        heard.reports += 1
        hears(self, report)

    def noted_news(self: EventReplica, update: RunUpdate, *, ahead_s: float) -> None:
        heard.lines += len(update.lines)
        take(self, update, ahead_s=ahead_s)

    Handle.hears, EventReplica.take = noted_report, noted_news  # type: ignore[method-assign]
    try:
        yield heard
    finally:
        Handle.hears, EventReplica.take = hears, take  # type: ignore[method-assign]


@dataclass
class Reading:
    """How far the clocks and counts have come."""

    heard: Heard
    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)
    own: float = field(default_factory=time.thread_time)
    ray: float = field(default_factory=lambda: _ray_cpu_s())

    def __post_init__(self) -> None:
        self.reports, self.lines = self.heard.reports, self.heard.lines


def _ray_cpu_s() -> float:
    """Of the raylet and of Ray's head, on this machine."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        if process.name() in {"raylet", "gcs_server"}:
            times = process.cpu_times()
            total += times.user + times.system
    return total


def measure(workers: int, reports_per_s: float, epochs: int, windows: int, window_s: float) -> None:
    """A line of figures: medians over the windows."""
    made_up = type("MadeUp", (MadeUpWorker,), {"reports_per_s": reports_per_s, "epochs": epochs})
    made_up.__module__ = "__main__"  # so that it goes to the remote workers with its figures
    slots = [Slot(name=f"ray/{place}", device=cpu_device(), threads=0) for place in range(workers)]
    plan = make_plan(Case(slots=workers, runs=1000, epochs=60))
    with tempfile.TemporaryDirectory() as folder, counted() as heard:
        run_dir = RunDir(Path(folder) / "rd")
        run_dir.begin(plan, HOW)
        executor = RayExecutor(
            run_dir, slots, checkpoint_s=60.0, plan=plan, pack_size=1, nodes=[_tiny_node()], actor=made_up
        )
        try:
            _occupy(executor, slots, [run.run_id for run in plan.runs])
            taken = []
            for _ in range(windows):
                before = Reading(heard)
                while time.perf_counter() < before.wall + window_s:
                    executor.wait(LOOK_S)
                taken.append((before, Reading(heard)))
        finally:
            executor.close()
    print(line_of(workers, reports_per_s, epochs, taken), flush=True)


def _tiny_node() -> ClusterNode:
    return ClusterNode(node_id="", name="here", cpus=1, gpus=0, memory_bytes=TINY_BYTES, machine=read_machine())


def _occupy(executor: RayExecutor, slots: Sequence[Slot], run_ids: Sequence[str]) -> None:
    executor.prepare()
    for slot in slots:
        executor.warm_up(slot)
    while not all(executor.is_open(slot) for slot in slots):
        executor.wait(LOOK_S)
    for slot, run_id in zip(slots, run_ids, strict=False):
        executor.start(slot, {run_id: 1})
    deadline = time.perf_counter() + 3.0
    while time.perf_counter() < deadline:
        executor.wait(LOOK_S)


HEAD = (
    "                          |        a second         |      the engine's CPU time       | raylet and\n"
    "remote workers reports/s epochs | reports   events  load  | us a report (of it own)   us an event | head, load"
)


def line_of(workers: int, reports_per_s: float, epochs: int, taken: Sequence[tuple[Reading, Reading]]) -> str:
    """Medians over the windows."""

    def median(part: Any) -> float:
        return float(statistics.median(part(before, after) for before, after in taken))

    wall = median(lambda a, b: b.wall - a.wall)
    reports = median(lambda a, b: b.reports - a.reports) / wall
    events = median(lambda a, b: b.lines - a.lines) / wall
    report_us = median(lambda a, b: 1e6 * (b.cpu - a.cpu) / max(1, b.reports - a.reports))
    own_us = median(lambda a, b: 1e6 * (b.own - a.own) / max(1, b.reports - a.reports))
    event_us = median(lambda a, b: 1e6 * (b.cpu - a.cpu) / max(1, b.lines - a.lines))
    load, head = median(lambda a, b: b.cpu - a.cpu) / wall, median(lambda a, b: b.ray - a.ray) / wall
    asked = f"{workers:8} {reports_per_s:9g} {epochs:6}"
    costs = f"{report_us:10.0f} ({own_us:6.0f}) {event_us:12.1f}"
    return f"{asked} | {reports:7.1f} {events:8.1f} {load:6.3f} | {costs} | {head:6.3f}"


def measure_waiting(counts: Sequence[int], repeats: int = 20) -> None:
    """What one question to Ray takes which of so many calls have come back, if one has."""
    import ray

    class Busy:
        def work(self, seconds: float) -> None:
            time.sleep(seconds)

    actor_class: Any = ray.remote(num_cpus=0)(Busy)
    for count in counts:
        actor = actor_class.remote()
        done = actor.work.remote(0)
        ray.get(done)
        pending = [*(actor.work.remote(3600) for _ in range(count - 1)), done]
        for local in (True, False):
            for wanted in (1, count):
                took = []
                for _ in range(repeats):
                    begun = time.process_time()
                    ray.wait(pending, num_returns=wanted, timeout=0, fetch_local=local)
                    took.append(time.process_time() - begun)
                print(
                    f"{count:6} pending, num_returns={wanted}, fetch_local={local}: {1e6 * statistics.median(took):8.0f} us"
                )
        begun = time.process_time()
        for _ in range(repeats):
            ray.wait(pending[:-1], num_returns=1, timeout=0.05)
        print(f"{count:6} pending, none done for 50 ms: {1e6 * (time.process_time() - begun) / repeats:8.0f} us")
        ray.kill(actor)


def main() -> None:
    """A cluster of this machine alone."""
    parser = argparse.ArgumentParser(description="What it takes an engine to hear of many slots through Ray.")
    parser.add_argument("--workers", type=int, nargs="+", default=(10, 30, 60))
    parser.add_argument(
        "--reports", type=float, nargs="+", default=(1.0,), help="of each remote worker a second; 0: no limit"
    )
    parser.add_argument("--epochs", type=int, nargs="+", default=(1,), help="in each report")
    parser.add_argument(
        "--as-many-as", type=int, help="remote workers: what comes in is gathered as long as with so many"
    )
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window")
    parser.add_argument(
        "--waiting", type=int, nargs="+", default=(), help="calls that are waited for, and nothing else"
    )
    chosen = parser.parse_args()
    gather_s = ray_actors.GATHER_S
    os.environ["OMP_NUM_THREADS"] = "1"
    with connected(None):
        if chosen.waiting:
            measure_waiting(chosen.waiting)
            return
        print(HEAD, flush=True)
        for workers in chosen.workers:
            ray_actors.GATHER_S = gather_s * (chosen.as_many_as or workers) / workers
            for reports in chosen.reports:
                for epochs in chosen.epochs:
                    measure(workers, reports, epochs, chosen.windows, chosen.seconds)


if __name__ == "__main__":
    main()
