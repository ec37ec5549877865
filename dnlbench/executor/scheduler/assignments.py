"""Assignments of runs to slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnlbench.estimates import Task
from dnlbench.events import RunHistory, RunLeased
from dnlbench.machine import Slot

Leases = tuple[RunLeased, ...]
"""Leases of one run, or of the runs of a pack."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """The task that a slot is executing."""

    slot: Slot
    task: Task
    start_time: float
    leases: Leases
    """Leases of the task's runs, without those that left the pack."""
    suspended: bool = False


class Assignments:
    """The slots that are executing runs, indexed by slot and by run, since clusters are large."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._by_slot: dict[str, Assignment] = {}
        self._by_run: dict[str, RunLeased] = {}

    def give(self, assignment: Assignment) -> None:
        self._by_slot[assignment.slot.name] = assignment
        self._by_run.update((lease.run_id, lease) for lease in assignment.leases)

    def take(self, slot: str) -> Assignment | None:
        """Mark the slot as free and return its assignment."""
        assignment = self._by_slot.pop(slot, None)
        for lease in assignment.leases if assignment else ():
            del self._by_run[lease.run_id]
        return assignment

    def remove_run(self, lease: RunLeased) -> None:
        """Remove a run from its pack. The rest of the pack continues."""
        pack = self._by_slot[lease.slot]
        left = tuple(other for other in pack.leases if other is not lease)
        self._by_slot[lease.slot] = replace(pack, leases=left)
        del self._by_run[lease.run_id]

    def mark_suspended(self, slot: str) -> None:
        self._by_slot[slot] = replace(self._by_slot[slot], suspended=True)

    def lease_of(self, run_id: str) -> RunLeased | None:
        """Return the run's open lease. A run of a pack may have ended under it while others continue."""
        return self._by_run.get(run_id)

    def assignment_of(self, slot: str) -> Assignment | None:
        return self._by_slot.get(slot)

    @property
    def free(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.name not in self._by_slot]

    @property
    def busy(self) -> list[Assignment]:
        """Assignments of the busy slots, in the order of the slots."""
        return [self._by_slot[slot.name] for slot in self._slots if slot.name in self._by_slot]

    def __len__(self) -> int:
        return len(self._by_slot)


def started_under(lease: RunLeased, history: RunHistory) -> bool:
    """Return True if the run started under this lease."""
    return history.started is not None and history.started.time >= lease.time


def ended_under(lease: RunLeased, history: RunHistory) -> bool:
    """Return True if the run's last event was written under this lease."""
    return history.ended is not None and history.ended.time >= lease.time
