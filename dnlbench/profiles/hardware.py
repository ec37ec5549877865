"""What runs were carried out on, as far as times and memory depend on it: those of several are not put into one figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnlbench.machine import Machine, Node
from dnlbench.profiles.model import AttemptRecord, RunRecord

NO_RANKS: Mapping[Hardware, int] = {}


@dataclass(frozen=True)
class Hardware:
    """One model of device in one model of machine."""

    machine: str | None
    """The machine's fingerprint; None for the profile's own, where that was not given."""
    device: str | None
    """The device's model; None in profiles that do not tell."""


def hardware_of(run: RunRecord, machine: Machine | None = None) -> frozenset[Hardware]:
    """That of every attempt which has a part in the run's result: several for a run that moved; none if it never started.

    Runs without a node were on ``machine``, the machine of their profile.
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
    """Epochs and training steps that were done when it began."""
    return attempt.from_epoch, attempt.from_step


def alike(runs: Sequence[RunRecord], ranks: Mapping[Hardware, int] = NO_RANKS) -> list[RunRecord]:
    """The runs on the hardware that most of them were on; one that moved from one to another is never among them.

    Of equally common hardware it is that with the larger rank, then the first.
    """
    all_hardware = [single(run) for run in runs]
    counts = Counter(hardware for hardware in all_hardware if hardware is not None)
    if not counts:
        return []
    commonest = max(counts, key=lambda hardware: (counts[hardware], ranks.get(hardware, 0)))
    return [run for run, hardware in zip(runs, all_hardware, strict=True) if hardware == commonest]


def single(run: RunRecord) -> Hardware | None:
    """What a run was carried out on; None if it moved, and if it never started."""
    all_hardware = hardware_of(run)
    return next(iter(all_hardware)) if len(all_hardware) == 1 else None


def count_hardware(runs: Sequence[RunRecord]) -> Counter[Hardware]:
    """How many runs were on each."""
    return Counter(hardware for run in runs if (hardware := single(run)) is not None)


@dataclass(frozen=True, kw_only=True)
class NodeUse:
    """What one machine of a cluster did for a profile."""

    node: Node
    runs: int
    """That ended there, in whatever way, or were there last."""
    devices: tuple[str, ...]
    """Models of the devices that they were on."""


def nodes_of(runs: Sequence[RunRecord]) -> tuple[NodeUse, ...]:
    """The machines of a cluster that runs were on, by name; none for a sweep on one machine."""
    by_node: dict[Node, list[RunRecord]] = {}
    for run in runs:
        if run.node is not None:
            by_node.setdefault(run.node, []).append(run)
    return tuple(_use(node, by_node[node]) for node in sorted(by_node, key=lambda node: (node.name, node.fingerprint)))


def _use(node: Node, runs: Sequence[RunRecord]) -> NodeUse:
    return NodeUse(node=node, runs=len(runs), devices=tuple(dict.fromkeys(_devices(runs))))


def _devices(runs: Sequence[RunRecord]) -> Iterator[str]:
    return (run.device_name or run.device or "" for run in runs)
