"""Cluster nodes in reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dnlbench.machine import Node
from dnlbench.profiles import Profile, summarize
from dnlbench.report.export import Labeled
from dnlbench.report.export.tables import make_table
from dnlbench.report.html.profile import profile_html
from dnlbench.report.latex import profile_latex
from dnlbench.report.markdown import profile_markdown
from dnlbench.report.profile import profile_csv, profile_grids, profile_header, result_grids
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
CPU, FIELDS = "AMD EPYC 9654 96-Core Processor", {"memory_bytes": 2**38, "python": "3.12.1", "torch": "2.15.0"}


def node(name: str, cpu: str = CPU, cores: int = 64) -> Node:
    return Node(name=name, cpu=cpu, cores=cores, fingerprint=f"{cpu} {cores}", **FIELDS)


SMALL = ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 28)
THREE = (node("a"), node("b"), node("c", *SMALL))


@pytest.fixture
def on_nodes(make_sweep: MakeSweep) -> MakeSweep:
    """Return a factory of sweeps with seeds distributed over nodes and one failed run."""

    def make(nodes: Sequence[Node] = THREE, device: str | None = None, **options: object) -> Profile:
        profile = make_sweep(("densenet",), (2, 4), seeds=len(nodes), **options)
        runs = tuple(
            run.model_copy(update={"node": nodes[run.seed], "device_name": device or nodes[run.seed].cpu})
            for run in profile.runs
        )
        return profile.model_copy(update={"runs": runs, "summary": summarize(runs, STUDIES["training"])})

    return make


BAD = {("densenet", 4, 2): "oom"}


def test_the_header_lists_nodes_runs_and_models(on_nodes: MakeSweep) -> None:
    lines = profile_header(on_nodes()).splitlines()
    assert lines[2].startswith("engine on: A CPU; 2 cores;")
    assert lines[3:6] == [
        "node a: 2 runs on EPYC 9654, 64 cores, 256 GiB; Python 3.12.1, torch 2.15.0",
        "node b: 2 runs on EPYC 9654, 64 cores, 256 GiB; Python 3.12.1, torch 2.15.0",
        "node c: 2 runs on Xeon E5-2680 v4, 28 cores, 256 GiB; Python 3.12.1, torch 2.15.0",
    ]
    assert "node a: 2 runs on H200; EPYC 9654, 64 cores" in profile_header(on_nodes(device="NVIDIA H200"))


def test_many_nodes_are_grouped_by_model(on_nodes: MakeSweep) -> None:
    nodes = [node(f"n{i:02}", *SMALL) if i % 4 == 0 else node(f"n{i:02}") for i in range(20)]
    lines = profile_header(on_nodes(nodes)).splitlines()
    assert lines[3:5] == [
        "5 nodes: n00, n04, n08, n12 and 1 more: 10 runs on Xeon E5-2680 v4, 28 cores, 256 GiB; Python 3.12.1, torch 2.15.0",
        "15 nodes: n01, n02, n03, n05 and 11 more: 30 runs on EPYC 9654, 64 cores, 256 GiB; Python 3.12.1, torch 2.15.0",
    ]


def test_a_column_lists_the_devices_and_a_note_counts_excluded_runs(on_nodes: MakeSweep) -> None:
    grid = next(result_grids(on_nodes(bad=BAD)))
    index = [column.head for column in grid.columns].index("device")
    assert [row[index] for row in grid.rows] == ["EPYC 9654 (2), Xeon E5-2680 v4 (1)", "EPYC 9654"]
    assert "only the most common hardware at each point; 1 run on other hardware excluded" in grid.note
    alike = next(result_grids(on_nodes(THREE[:2])))
    assert [row[index] for row in alike.rows] == ["EPYC 9654"] * 2
    assert "excluded" not in alike.note


def test_the_device_named_first_is_that_of_the_throughput(on_nodes: MakeSweep) -> None:
    """For a tie at a point, it is the device of most runs of the network."""
    profile = on_nodes((THREE[2], THREE[0], THREE[1]), bad={("densenet", 4, 1): "failed"})
    grid = next(result_grids(profile))
    index = [column.head for column in grid.columns].index("device")
    assert [row[index] for row in grid.rows] == [
        "EPYC 9654 (2), Xeon E5-2680 v4 (1)",
        "EPYC 9654 (1), Xeon E5-2680 v4 (1)",
    ]
    (rate,) = [run.samples_per_s for run in profile.runs if (run.depth, run.seed) == (4, 2)]
    assert profile.summary.points[1].quantities["samples_per_s"].mean == rate


def test_unsuccessful_runs_are_listed_with_their_node(on_nodes: MakeSweep) -> None:
    *_, bad = profile_grids(on_nodes(bad=BAD))
    assert [column.head for column in bad.columns] == ["run", "status", "node", "cause"]
    assert bad.rows[0][1:3] == ["oom", "c"]


def test_exported_tables_have_a_node_column(on_nodes: MakeSweep) -> None:
    profile = on_nodes()
    head, first, *_ = profile_csv(profile).splitlines()
    assert dict(zip(head.split(","), first.split(","), strict=True))["node"] == "a"
    table = make_table([Labeled(label="x", profile=profile)], "runs")
    names = [column.name for column in table.columns]
    assert names[names.index("device") + 1] == "node"
    result = {(row[names.index("node")], row[names.index("machine")]) for row in table.rows}
    assert result == {(each.name, each.fingerprint) for each in THREE}
    epochs = make_table([Labeled(label="x", profile=profile)], "epochs")
    assert "node" in [column.name for column in epochs.columns]


def test_on_one_machine_nothing_is_added(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("densenet",), (2, 4), bad=BAD)
    assert "node" not in profile_csv(profile)
    assert "\nmachine: " in profile_header(profile)
    for text in (profile_header(profile), profile_markdown(profile), profile_latex(profile), profile_html(profile)):
        assert "node " not in text
        assert "| device |" not in text
    for kind in ("runs", "epochs"):
        table = make_table([Labeled(label="x", profile=profile)], kind)
        assert "node" not in [column.name for column in table.columns]


def test_names_of_nodes_stay_text(on_nodes: MakeSweep, nasty: str) -> None:
    page = profile_html(on_nodes((node(nasty), node("b", nasty)), bad={("densenet", 4, 1): "failed"}))
    assert f"node {nasty}" not in page
    assert "<img src=x" not in page


def test_latex_notes_the_hardware_of_throughput(on_nodes: MakeSweep) -> None:
    assert "2 runs on other hardware excluded." in profile_latex(on_nodes())
    assert "excluded" not in profile_latex(on_nodes(THREE[:2]))
