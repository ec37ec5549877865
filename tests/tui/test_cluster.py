"""A sweep on a cluster: slots are ``ray/0`` and so on, and each run names its node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from dnlbench.events import EngineStarted
from dnlbench.machine import Node, Slot, short_host, short_model
from dnlbench.report.progress import MOST_LINES, _ended_line, draw
from dnlbench.store import RunDir
from dnlbench.tui.depth import live_source
from dnlbench.tui.device_lines import DeviceLine, choose_layout, columns_before_work, device_lines, widest_lines
from dnlbench.tui.durations import learn_durations
from dnlbench.tui.filter import parse_filter
from dnlbench.tui.rows import BY_NAME, rows_of
from dnlbench.tui.run_details import attempt_lines, run_details
from dnlbench.watch import SweepView, Watcher
from tests.tui.conftest import NOW, Record

METADATA = {"memory_bytes": 2**38, "python": "3.12.1", "torch": "2.15.0"}
EPYC, XEON = "AMD EPYC 9654 96-Core Processor", "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz"


def node(name: str, cpu: str = EPYC) -> Node:
    return Node(name=name, cpu=cpu, cores=64, fingerprint=cpu[:16], **METADATA)


THREE = (node("node-10.far.away"), node("node-9.far.away"), node("node-1.far.away", XEON))
STATES = ("done", "half", "done", "half", "failed", "waiting")


def moved_to(run_dir: RunDir, nodes: Sequence[Node], slots: int) -> RunDir:
    """Rewrite a recorded sweep as if it ran on a cluster: run ``k`` on slot ``ray/k`` and node ``k``, modulo their numbers."""
    plan = run_dir.read_plan()
    indices = {run.run_id: index for index, run in enumerate(plan.runs)}

    def on_cluster(event: dict[str, Any]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if event["event"] == "engine-started":
            changes["slots"] = [f"ray/{k}" for k in range(slots)]
        if event["event"] == "run-leased":
            changes["slot"] = f"ray/{indices[event['run_id']] % slots}"
        if event["event"] == "run-started":
            where = nodes[indices[event["run_id"]] % slots % len(nodes)]
            changes |= {"node": where.model_dump(), "device_name": where.cpu}
        return {**event, **changes}

    for path in (run_dir.journal_path, *(run_dir.events_path(run.run_id) for run in plan.runs)):
        if path.exists():
            events = [on_cluster(json.loads(line)) for line in path.read_text().splitlines()]
            path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return run_dir


@pytest.fixture
def cluster(record: Record) -> RunDir:
    return moved_to(record("sweep.seeds=[0,1,2,3,4]", states=STATES, engine=None), THREE, slots=4)


@pytest.fixture(scope="module")
def view(record_once: Record) -> SweepView:
    cluster = moved_to(record_once("sweep.seeds=[0,1,2,3,4]", states=STATES, engine=None), THREE, slots=4)
    return Watcher(cluster, cluster.read_plan()).poll(NOW)


def lines(view: SweepView, **options: Any) -> list[tuple[str, str, str, str]]:
    return [(line.label, line.name, line.work, line.state) for line in device_lines({}, view, **options)]


def test_nodes_stand_below_the_cluster_with_what_runs_there(view: SweepView) -> None:
    assert lines(view) == [
        ("ray", "", "2 of 4 slots busy on 2 nodes", "running"),
        ("node node-1.far.away", "Xeon E5-2680 v4", "idle", "idle"),
        ("node node-9.far.away", "EPYC 9654", "densenet L=1 seed 1", "running"),
        ("node node-10.far.away", "EPYC 9654", "densenet L=1 seed 3", "running"),
    ]
    assert [line.head for line in device_lines({}, view)] == ["ray", "  node-1", "  node-9", "  node-10"]


def test_a_run_that_has_not_started_is_on_no_node(cluster: RunDir) -> None:
    """A retry has no node before it starts: Ray may have moved the slot since the earlier attempt."""
    plan = cluster.read_plan()
    writer = cluster.journal_writer()
    again = {"event": "run-leased", "time": NOW - 5, "run_id": plan.runs[4].run_id, "attempt": 2, "slot": "ray/2"}
    writer.write(json.dumps(again))
    writer.close()
    view = Watcher(cluster, plan).poll(NOW)
    assert view.node_of(plan.runs[4]) is None
    assert rows_of(view)[plan.runs[4].run_id].slot == "ray/2"
    assert [view.node_of(run) for run in plan.runs[:4]] == [THREE[k].name for k in (0, 1, 2, 0)]
    assert lines(view)[0][2] == "3 of 4 slots busy on 2 nodes"


def test_a_new_engine_knows_no_node(cluster: RunDir) -> None:
    first = next(event for event in cluster.read_journal() if isinstance(event, EngineStarted))
    writer = cluster.journal_writer()
    writer.write(first.model_copy(update={"time": NOW - 2}).model_dump_json())
    writer.close()
    view = Watcher(cluster, cluster.read_plan()).poll(NOW)
    assert lines(view) == [("ray", "", "idle", "idle")]


def test_the_head_of_a_cluster_is_not_reported_as_unused(view: SweepView) -> None:
    from dnlbench.machine import Reading

    here = {"cpu": (Reading(time=NOW, label="cpu", name="A CPU"),)}
    first, *_ = device_lines(here, view)
    assert (first.label, first.work) == ("cpu", "this machine runs the engine only")
    assert [line.label for line in device_lines(here, view, remote=True)][:2] == ["ray", "node node-1.far.away"]


def test_the_table_shows_the_node_and_filters_by_it(view: SweepView) -> None:
    rows = list(rows_of(view).values())
    device = BY_NAME["device"]
    assert [device.text(row) for row in rows[:6]] == ["node-10", "node-9", "node-1", "node-10", "node-10", "–"]
    assert [row.run.seed for row in rows if parse_filter("device=node-9*")(row)] == [1]


def test_run_details_name_the_node_of_each_attempt(view: SweepView) -> None:
    row = next(iter(rows_of(view).values()))
    details = dict(run_details(row, view.plan.study, None))
    assert details["node"] == "node-10.far.away: EPYC 9654, 64 cores, 256 GiB"
    (line,) = attempt_lines(row.history)
    assert "UTC on cpu of node-10.far.away: ok after" in line


def test_progress_lines_name_the_node(view: SweepView) -> None:
    assert "on node-10  ETA" in _ended_line(view, view.plan.runs[0], 1).plain
    out = Console(width=160, record=True, file=None, quiet=False)
    with out.capture() as shown:
        out.print(draw(view, 160))
    assert [line.split()[0] for line in shown.get().splitlines()[1:]] == ["node-9", "node-10"]


def test_a_thousand_slots_are_a_page(record: Record) -> None:
    run_dir = record("sweep.seeds=40", states=["half"] * 60, engine=None)
    view = Watcher(run_dir, run_dir.read_plan()).poll(NOW)
    runs = view.plan.runs[:60]
    busy = {run.run_id: f"ray/{k}" for k, run in enumerate(runs)}
    last_started = {
        f"ray/{k}": started.model_copy(update={"node": node(f"n{k % 3}")})
        for k, run in enumerate(runs)
        if (started := view.histories[run.run_id].started) is not None
    }
    details = {name: getattr(view, name) for name in SweepView.__dataclass_fields__}
    slots = tuple(f"ray/{k}" for k in range(1000))
    excluded = {slot: f"reason {slot}" for slot in slots[100:]}
    engines = tuple(engine.model_copy(update={"slots": slots}) for engine in view.engines)
    view = SweepView(
        **{**details, "leased": busy, "last_started": last_started, "engines": engines, "disabled_slots": excluded}
    )
    ray, *others = device_lines({}, view)
    assert ray.work.endswith("; and 888 more · 60 of 1000 slots busy on 3 nodes")
    assert ray.work.startswith("900 of 1000 slots disabled: reason ray/100; ")
    assert len(others) == 3
    with (out := Console(width=160)).capture() as shown:
        out.print(draw(view, 160))
    assert len(shown.get().splitlines()) == 1 + MOST_LINES + 1
    assert shown.get().rstrip().endswith("and 44 more running")


def test_a_thousand_nodes_are_laid_out_by_few(view: SweepView) -> None:
    """The layout depends only on the widest lines."""
    ray, *some = device_lines({}, view)
    many = [ray, *some, *(DeviceLine(label=f"node n{k}", model="EPYC", state="idle") for k in range(1000))]
    few = widest_lines(many)
    assert len(few) <= 3
    for width in range(10, 200, 7):
        assert choose_layout(few, width) == choose_layout(many, width)
    layout = choose_layout(few, 100)
    assert columns_before_work([*many[5:8], *few], layout)[:3] == columns_before_work(many, layout)[5:8]


def test_durations_on_a_cluster_are_not_this_machine_s(cluster: RunDir, record: Record) -> None:
    from dnlbench.machine import cpu_device

    plan, engine = cluster.read_plan(), cluster.read_journal()[0]
    assert isinstance(engine, EngineStarted)
    slots = (Slot(name="cpu/0", device=cpu_device(), threads=1),)
    below = cluster.root.parent / ".dnlbench" / "runs"
    below.mkdir(parents=True)
    cluster.root.rename(below / "there")
    folder = cluster.root.parent
    assert learn_durations(folder, plan, engine.machine, slots) is None
    record("sweep.seeds=[0,1,2,3,4]", states=STATES, engine=None, name=".dnlbench/runs/here")
    assert learn_durations(folder, plan, engine.machine, slots) is not None


def test_live_means_are_of_one_model(view: SweepView) -> None:
    """Seeds 0, 1 and 3 run on one CPU model, seed 2 on another."""
    point = live_source(view).summary.points[0]
    assert (point.quantities["samples_per_s"].n, point.quantities["final_train_loss"].n, point.left_out) == (3, 4, 1)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("a", "a"),
        ("node-1.eu.internal", "node-1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::1", "fe80::1"),
        (".x", ".x"),
        ("", ""),
    ],
)
def test_short_hosts(name: str, short: str) -> None:
    assert short_host(name) == short


def test_a_model_that_is_all_noise_keeps_its_name() -> None:
    assert (short_model("CPU"), short_model("")) == ("CPU", "")
