"""What reports say of runs: on which machines of a cluster they were, why they failed, and how their logs end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dnlbench import units
from dnlbench.machine import short_model
from dnlbench.profiles import NodeUse, PointSummary, Profile, RunRecord, alike, count_hardware, nodes_of
from dnlbench.studies import STUDIES

MOST_LINES = 8
"""Nodes that have a line each; of more only their models have."""
NAMED = 4
"""Of more nodes than that of one model, only the first are named."""
LOG_LINES = 40
LOG_CHARACTERS = 8_000


def has_nodes(profile: Profile) -> bool:
    """Whether any run was on a cluster."""
    return any(run.node for run in profile.runs)


def node_properties(profile: Profile) -> list[tuple[str, str]]:
    """What took part, with the runs and the device models of each; nothing for a sweep on one machine.

    Returns:
        ``node a`` and what there is to say about it; of many nodes ``12 nodes`` for each model of them.
    """
    uses = nodes_of(profile.runs)
    if len(uses) <= MOST_LINES:
        return [(f"node {use.node.name}", _work([use])) for use in uses]
    models: dict[str, list[NodeUse]] = {}
    for use in uses:
        models.setdefault(_model(use), []).append(use)
    return [
        (f"{len(alike)} node{'' if len(alike) == 1 else 's'}", f"{_names(alike)}: {_work(alike)}")
        for alike in models.values()
    ]


def machine_label(profile: Profile) -> str:
    """What the profile's own machine is to be called: it carried out no run where all were on nodes."""
    started = [run for run in profile.runs if run.device is not None]
    return "engine on" if started and all(run.node for run in started) else "machine"


def device_cell(runs: Sequence[RunRecord], point: PointSummary) -> str:
    """The device models of a point's runs that ended well: ``H200``, or ``H200 (3), A100 (2)``.

    The first is the one that what depends on hardware is told of.
    """
    network = [run for run in runs if run.network == point.network and run.status == "ok"]
    own = [run for run in network if run.depth == point.depth]
    first = alike(own, count_hardware(network))
    counts = Counter(short_model(run.device_name or run.device or "") for run in (*first, *own))
    counts.subtract(short_model(run.device_name or run.device or "") for run in first)
    if len(counts) < 2:
        return "".join(counts) or units.NOTHING
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def left_out_notes(profile: Profile) -> list[str]:
    """One line on runs that count in no mean of what depends on hardware; none if all do."""
    count = sum(point.left_out for point in profile.summary.points)
    if not count:
        return []
    labels = [quantity.label for quantity in STUDIES[profile.study].quantities if quantity.hardware_dependent]
    return [
        f"{', '.join(labels)}: of the hardware of most runs at each point; {_counted(count)} on other hardware left out"
    ]


def node_of_run(run: RunRecord) -> str:
    """Its name; nothing for a run that was on none."""
    return run.node.name if run.node else units.NOTHING


def _work(alike: Sequence[NodeUse]) -> str:
    """``12 runs on H200; EPYC, 64 cores …``, of nodes of one model."""
    return f"{_counted(sum(use.runs for use in alike))} on {_model(alike[0])}"


def _model(use: NodeUse) -> str:
    node = use.node
    devices = "" if use.devices == (node.cpu,) else f"{', '.join(map(short_model, use.devices))}; "
    machine = f"{short_model(node.cpu)}, {node.cores} cores, {units.size(node.memory_bytes)}"
    return f"{devices}{machine}; Python {node.python}, torch {node.torch}"


def _counted(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"


def _names(uses: Sequence[NodeUse]) -> str:
    first = ", ".join(use.node.name for use in uses[:NAMED])
    return first if len(uses) <= NAMED else f"{first} and {len(uses) - NAMED} more"


def cause(run: RunRecord) -> str:
    """The first line of a run's error; nothing without one."""
    return run.error.message.partition("\n")[0] if run.error else ""


def log_end(log: str) -> str:
    """The last lines, none longer all together than a page shows."""
    found = "\n".join(log.rstrip().splitlines()[-LOG_LINES:])
    return found if len(found) <= LOG_CHARACTERS else f"…{found[-LOG_CHARACTERS:]}"
