"""Whether all runs of both sides were on one and the same hardware, and if not, what it was that differed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench.machine import Machine, Node, short_model
from dnlbench.profiles import Hardware, RunRecord, hardware_of

OTHER_MACHINE = "other machine"
ROLES = ("reference", "candidate")
NAMED = 4
"""More models than this are counted, not named."""


def other_hardware(
    reference: Sequence[RunRecord], candidate: Sequence[RunRecord], machines: tuple[Machine, Machine]
) -> str:
    """Why the runs must not be held against each other in what depends on hardware; empty if they may.

    It takes one machine model and one device model, the same for each run of both sides. Two sides that were both on the models
    A and B are no better than two that were on one each: which seed was on which is chance. A side without runs is on no other
    hardware than its profile's machine, as far as anybody knows. A run that names no node was on that machine.
    """
    sides = (reference, candidate)
    for side, runs, machine in zip(ROLES, sides, machines, strict=True):
        if moved := sorted({run.seed for run in runs if len(hardware_of(run, machine)) > 1}):
            seeds = f"seed{'s' if len(moved) > 1 else ''} {', '.join(map(str, moved))}"
            return f"{seeds} of the {side} went from one machine or device to another"
    if not reference or not candidate:
        return ""
    found = [_places(runs, machine) for runs, machine in zip(sides, machines, strict=True)]
    names = {place: name for places in found for place, name in places.items()}
    for side, places in zip(ROLES, found, strict=True):
        if len(places) > 1:
            return _several(side, places, names)
    (ours,), (theirs,) = found
    if ours.machine != theirs.machine:
        named = names[ours] != names[theirs] and any(run.node for runs in sides for run in runs)
        return f"{OTHER_MACHINE}: {names[ours]} and {names[theirs]}" if named else OTHER_MACHINE
    if ours.device != theirs.device:
        return f"device name differs: {ours.device} and {theirs.device}"
    return ""


def on_one_hardware(runs: Iterable[RunRecord], machine: Machine) -> bool:
    """Whether one mean may be stated of what depends on hardware."""
    return len({place for run in runs for place in hardware_of(run, machine)}) < 2


def _places(runs: Iterable[RunRecord], machine: Machine) -> dict[Hardware, str]:
    return {place: described(run.node or machine) for run in runs for place in hardware_of(run, machine)}


def _several(side: str, places: Iterable[Hardware], names: dict[Hardware, str]) -> str:
    """By the devices' models if those differ, else by those of the machines."""
    devices = sorted({short_model(str(place.device)) for place in places})
    if len(devices) > 1:
        return f"the {side} ran on several device models: {listed(devices)}"
    machines = sorted({names[place] for place in places})
    told = f": {listed(machines)}" if len(machines) > 1 else " of one name"  # other devices are in them
    return f"the {side} ran on several machine models{told}"


def listed(names: Sequence[str]) -> str:
    """``A, B and C``; of many names the first few and how many more there are."""
    if len(names) < 2:
        return "".join(names)
    more = len(names) - NAMED
    first, last = (names[:NAMED], f"{more} more") if more > 0 else (names[:-1], names[-1])
    return f"{', '.join(first)} and {last}"


def described(machine: Machine | Node) -> str:
    """A model of machine in few words."""
    return f"{short_model(machine.cpu)} with {machine.cores} cores"
