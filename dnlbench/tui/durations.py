"""Durations of runs, learned from earlier sweeps with the same settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dnlbench.errors import DnlbenchError

if TYPE_CHECKING:  # imported where needed at run time: the imports would delay the first paint
    from dnlbench.estimates import DurationEstimator
    from dnlbench.machine import Machine, Slot
    from dnlbench.plan import Plan

SWEEPS_LEARNED_FROM = 3
"""Maximum number of earlier sweeps to read, the latest first."""


def learn_durations(
    folder: Path, plan: Plan, machine: Machine, slots: tuple[Slot, ...], *, pack_size: int = 1
) -> DurationEstimator | None:
    """Return duration estimates from earlier sweeps with the same settings on this machine; None if there are none."""
    from dnlbench.store.workspace import RUNS

    wanted = (plan.settings_hash, machine.fingerprint, slots[0].device.kind, slots[0].threads, pack_size)
    matching = [path for path in (folder / RUNS).glob("*/sweep.json") if _settings(path) == wanted]
    matching.sort(key=lambda path: -path.stat().st_mtime)
    return _learn([path.parent for path in matching[:SWEEPS_LEARNED_FROM]], plan) if matching else None


def _settings(path: Path) -> tuple[object, ...] | None:
    """Return the settings of an earlier sweep that durations depend on; None if they cannot be read."""
    try:
        content = json.loads(path.read_bytes())
        execution = content["execution"]
        return content["settings"], *(execution[key] for key in ("machine", "device_kind", "threads", "pack_size"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _learn(roots: list[Path], plan: Plan) -> DurationEstimator | None:
    from dnlbench.estimates import DurationEstimator
    from dnlbench.store import RunDir

    earlier = []
    for run_dir in map(RunDir, roots):
        try:
            earlier.append((run_dir, run_dir.read_plan(), run_dir.read_leases()))
        except DnlbenchError:
            continue
    estimator = DurationEstimator(_joined(plan, [other_plan for _, other_plan, _ in earlier]))
    for run_dir, other_plan, leases_read in earlier:
        leases = {lease.run_id: lease for lease in leases_read}
        for run in other_plan.runs:
            lease = leases.get(run.run_id)
            if lease is not None:
                try:
                    history = run_dir.read_history(run, all_epochs=True)
                except DnlbenchError:
                    continue
                if history.started is not None and history.started.node is not None:
                    continue  # a cluster node: this machine's fingerprint does not identify it
                estimator.observe(run, lease.slot, lease.time, history)
    return estimator if estimator.known else None


def _joined(plan: Plan, others: list[Plan]) -> Plan:
    """Return the plan with the points of the others too, and one seed, since all seeds of a point take equally long."""
    from dnlbench.plan import Plan as RuntimePlan

    axes = plan.spec.sweep.joined([other.spec.sweep for other in others])
    wider = axes.model_copy(update={"seeds": plan.spec.seeds[:1]})
    return RuntimePlan(plan.spec.model_copy(update={"sweep": wider}))
