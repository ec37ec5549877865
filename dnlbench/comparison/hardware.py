"""Check that all runs of two profiles used the same hardware, and describe the difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench.machine import Machine, Node, short_model
from dnlbench.profiles import Hardware, RunRecord, hardware_of

OTHER_MACHINE = "other machine"
ROLES = ("reference", "candidate")
NAMED = 4
"""Number of models that are named; the rest are counted."""


def other_hardware(
    reference: Sequence[RunRecord], candidate: Sequence[RunRecord], machines: tuple[Machine, Machine]
) -> str:
    """Return the reason why hardware-dependent values cannot be compared; empty if they can.

    All runs of both profiles must use one model of machine and one model of device. Two profiles that both used models A and B
    are not comparable: it is chance which seed ran on which model. Runs without a node used their profile's machine.
    """
    both = (reference, candidate)
    for role, runs, machine in zip(ROLES, both, machines, strict=True):
        if moved := sorted({run.seed for run in runs if len(hardware_of(run, machine)) > 1}):
            seeds = f"seed{'s' if len(moved) > 1 else ''} {', '.join(map(str, moved))}"
            return f"{seeds} of the {role} moved from one machine or device to another"
    if not reference or not candidate:
        return ""
    hardware = [_hardware_names(runs, machine) for runs, machine in zip(both, machines, strict=True)]
    names = {kind: name for kinds in hardware for kind, name in kinds.items()}
    for role, kinds in zip(ROLES, hardware, strict=True):
        if len(kinds) > 1:
            return _several(role, kinds, names)
    (ours,), (theirs,) = hardware
    if ours.machine != theirs.machine:
        named = names[ours] != names[theirs] and any(run.node for runs in both for run in runs)
        return f"{OTHER_MACHINE}: {names[ours]} and {names[theirs]}" if named else OTHER_MACHINE
    if ours.device != theirs.device:
        return f"device name differs: {ours.device} and {theirs.device}"
    return ""


def on_one_hardware(runs: Iterable[RunRecord], machine: Machine) -> bool:
    """Return True if all runs used the same hardware, so that hardware-dependent values have a common mean."""
    return len({kind for run in runs for kind in hardware_of(run, machine)}) < 2


def _hardware_names(runs: Iterable[RunRecord], machine: Machine) -> dict[Hardware, str]:
    return {kind: described(run.node or machine) for run in runs for kind in hardware_of(run, machine)}


def _several(role: str, kinds: Iterable[Hardware], names: dict[Hardware, str]) -> str:
    """Name the device models if they differ, otherwise the machine models."""
    devices = sorted({short_model(str(kind.device)) for kind in kinds})
    if len(devices) > 1:
        return f"the {role} ran on several device models: {listed(devices)}"
    machines = sorted({names[kind] for kind in kinds})
    text = f": {listed(machines)}" if len(machines) > 1 else " of one name"  # with different devices
    return f"the {role} ran on several machine models{text}"


def listed(names: Sequence[str]) -> str:
    """Join names: ``A, B and C``, or the first `NAMED` and the number of the others."""
    if len(names) < 2:
        return "".join(names)
    more = len(names) - NAMED
    first, last = (names[:NAMED], f"{more} more") if more > 0 else (names[:-1], names[-1])
    return f"{', '.join(first)} and {last}"


def described(machine: Machine | Node) -> str:
    """Describe a model of machine, such as ``EPYC 7763 with 64 cores``."""
    return f"{short_model(machine.cpu)} with {machine.cores} cores"
