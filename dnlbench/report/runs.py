"""Details of runs in reports: cluster nodes, causes of failures, and the end of logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dnlbench import units
from dnlbench.machine import short_model
from dnlbench.profiles import NodeUse, PointSummary, Profile, RunRecord, alike, count_hardware, nodes_of

MAX_NODE_LINES = 8
"""Maximum number of nodes with a line each; more are grouped by model."""
MAX_NAMED = 4
"""Nodes of one model listed by name; more are counted."""
LOG_LINES = 40
LOG_CHARACTERS = 8_000


def has_nodes(profile: Profile) -> bool:
    """Return True if any run was executed on a cluster node."""
    return any(run.node for run in profile.runs)


def node_properties(profile: Profile) -> list[tuple[str, str]]:
    """Return labels and descriptions of the nodes; empty for a sweep on one machine.

    Returns:
        ``node a`` and its runs and devices; for many nodes, ``12 nodes`` for each model.
    """
    uses = nodes_of(profile.runs)
    if len(uses) <= MAX_NODE_LINES:
        return [(f"node {use.node.name}", _work([use])) for use in uses]
    models: dict[str, list[NodeUse]] = {}
    for use in uses:
        models.setdefault(_model(use), []).append(use)
    return [
        (f"{len(group)} node{'' if len(group) == 1 else 's'}", f"{_names(group)}: {_work(group)}")
        for group in models.values()
    ]


def machine_label(profile: Profile) -> str:
    """Return the label of the machine in a profile. It executed no runs if all were on nodes."""
    started = [run for run in profile.runs if run.device is not None]
    return "engine on" if started and all(run.node for run in started) else "machine"


def device_cell(runs: Sequence[RunRecord], point: PointSummary) -> str:
    """Return the device models of the successful runs of a point: ``H200``, or ``H200 (3), A100 (2)``.

    Hardware-dependent results are those of the first model.
    """
    network = [run for run in runs if run.series == point.series and run.status == "ok"]
    runs_at_point = [run for run in network if run.depth == point.depth]
    first = alike(runs_at_point, count_hardware(network))
    counts = Counter(short_model(run.device_name or run.device or "") for run in (*first, *runs_at_point))
    counts.subtract(short_model(run.device_name or run.device or "") for run in first)
    if len(counts) < 2:
        return "".join(counts) or units.NOTHING
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def left_out_notes(profile: Profile) -> list[str]:
    """Return a line on the runs excluded from hardware-dependent means; empty if there are none."""
    count = sum(point.left_out for point in profile.summary.points)
    if not count:
        return []
    labels = [quantity.label for quantity in profile.declared.quantities if quantity.hardware_dependent]
    return [
        f"{', '.join(labels)}: only the most common hardware at each point; {_counted(count)} on other hardware excluded"
    ]


def node_of_run(run: RunRecord) -> str:
    """Return the node name of a run; a dash without one."""
    return run.node.name if run.node else units.NOTHING


def _work(group: Sequence[NodeUse]) -> str:
    """Return ``12 runs on H200; EPYC, 64 cores …`` for nodes of one model."""
    return f"{_counted(sum(use.runs for use in group))} on {_model(group[0])}"


def _model(use: NodeUse) -> str:
    node = use.node
    devices = "" if use.devices == (node.cpu,) else f"{', '.join(map(short_model, use.devices))}; "
    machine = f"{short_model(node.cpu)}, {node.cores} cores, {units.size(node.memory_bytes)}"
    return f"{devices}{machine}; Python {node.python}, torch {node.torch}"


def _counted(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"


def _names(uses: Sequence[NodeUse]) -> str:
    first = ", ".join(use.node.name for use in uses[:MAX_NAMED])
    return first if len(uses) <= MAX_NAMED else f"{first} and {len(uses) - MAX_NAMED} more"


def cause(run: RunRecord) -> str:
    """Return the first line of the error of a run; empty without an error."""
    return run.error.message.partition("\n")[0] if run.error else ""


def log_end(log: str) -> str:
    """Return the last lines of a log, up to `LOG_LINES` and `LOG_CHARACTERS`."""
    end = "\n".join(log.rstrip().splitlines()[-LOG_LINES:])
    return end if len(end) <= LOG_CHARACTERS else f"…{end[-LOG_CHARACTERS:]}"
