"""The hardware of runs. Hardware-dependent values from different hardware are not averaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnlbench.machine import Machine, Node
from dnlbench.profiles.model import AttemptRecord, RunRecord

NO_RANKS: Mapping[Hardware, int] = {}


@dataclass(frozen=True)
class Hardware:
    """A model of device in a model of machine."""

    machine: str | None
    """The fingerprint of the machine; None for the profile's machine if that is unknown."""
    device: str | None
    """The model of the device; None in older profiles."""


def hardware_of(run: RunRecord, machine: Machine | None = None) -> frozenset[Hardware]:
    """Return the hardware of every attempt that contributed to a run: several for a run that moved, none if it never started.

    Runs without a node ran on ``machine``, the machine of their profile.
    """
    if run.device is None:
        return frozenset()
    here = machine.fingerprint if machine else None
    hardware = {Hardware(run.node.fingerprint if run.node else here, run.device_name)}
    for attempt, later in zip(run.attempts, run.attempts[1:], strict=False):
        if attempt.device_name is not None and _kept(later) > _kept(attempt):
            hardware.add(Hardware(attempt.fingerprint if attempt.node else here, attempt.device_name))
    return frozenset(hardware)


def _kept(attempt: AttemptRecord) -> tuple[int, int]:
    """Return the epochs and training steps that were done when the attempt started."""
    return attempt.from_epoch, attempt.from_step


def alike(runs: Sequence[RunRecord], ranks: Mapping[Hardware, int] = NO_RANKS) -> list[RunRecord]:
    """Return the runs on the most common hardware, without runs that moved.

    In a tie the hardware with the larger rank counts, then the first.
    """
    all_hardware = [single(run) for run in runs]
    counts = Counter(hardware for hardware in all_hardware if hardware is not None)
    if not counts:
        return []
    commonest = max(counts, key=lambda hardware: (counts[hardware], ranks.get(hardware, 0)))
    return [run for run, hardware in zip(runs, all_hardware, strict=True) if hardware == commonest]


def single(run: RunRecord) -> Hardware | None:
    """Return the hardware of a run; None if it moved or never started."""
    all_hardware = hardware_of(run)
    return next(iter(all_hardware)) if len(all_hardware) == 1 else None


def count_hardware(runs: Sequence[RunRecord]) -> Counter[Hardware]:
    """Count the runs by hardware."""
    return Counter(hardware for run in runs if (hardware := single(run)) is not None)


@dataclass(frozen=True, kw_only=True)
class NodeUse:
    """The part of one cluster machine in a profile."""

    node: Node
    runs: int
    """Number of runs whose last attempt was on this machine."""
    devices: tuple[str, ...]
    """Models of the devices of these runs."""


def nodes_of(runs: Sequence[RunRecord]) -> tuple[NodeUse, ...]:
    """Return the cluster machines of the runs, by name; none for a sweep on one machine."""
    by_node: dict[Node, list[RunRecord]] = {}
    for run in runs:
        if run.node is not None:
            by_node.setdefault(run.node, []).append(run)
    return tuple(_use(node, by_node[node]) for node in sorted(by_node, key=lambda node: (node.name, node.fingerprint)))


def _use(node: Node, runs: Sequence[RunRecord]) -> NodeUse:
    return NodeUse(node=node, runs=len(runs), devices=tuple(dict.fromkeys(_devices(runs))))


def _devices(runs: Sequence[RunRecord]) -> Iterator[str]:
    return (run.device_name or run.device or "" for run in runs)
