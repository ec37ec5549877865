"""Who has what: the runs that slots were given and have not given back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.events import RunLeased
from dnlbench.machine import Slot

Job = tuple[RunLeased, ...]
"""The leases of what a slot has: of a run, or of those of a pack."""


class Leases:
    """The open leases, by slot and by run; on a large cluster nobody can go through all of them at each look."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._places = {slot.name: place for place, slot in enumerate(slots)}
        self._free = set(self._places.values())
        self._jobs: dict[str, Job] = {}
        self._by_run: dict[str, RunLeased] = {}

    def give(self, slot: Slot, job: Job) -> None:
        """The slot has it from now on."""
        self._free.discard(self._places[slot.name])
        self._jobs[slot.name] = job
        self._by_run.update((lease.run_id, lease) for lease in job)

    def take(self, slot: str) -> Job:
        """The slot is free from now on. Returns what it had."""
        self._free.add(self._places[slot])
        job = self._jobs.pop(slot, ())
        for lease in job:
            self._by_run.pop(lease.run_id, None)
        return job

    def part(self, lease: RunLeased) -> None:
        """A run leaves its pack, the rest of which goes on."""
        self._jobs[lease.slot] = tuple(other for other in self._jobs[lease.slot] if other is not lease)
        del self._by_run[lease.run_id]

    def of_run(self, run_id: str) -> RunLeased | None:
        """The open one; a run of a pack may have ended under it while others go on."""
        return self._by_run.get(run_id)

    def of_slot(self, slot: str) -> Job | None:
        """None for a slot that is free."""
        return self._jobs.get(slot)

    def slot(self, name: str) -> Slot:
        """The slot of that name."""
        return self._slots[self._places[name]]

    @property
    def free(self) -> list[Slot]:
        """The slots that have nothing, in their order."""
        return [self._slots[place] for place in sorted(self._free)]

    @property
    def busy(self) -> Iterator[Slot]:
        """The others."""
        return (slot for slot in self._slots if slot.name in self._jobs)

    def __iter__(self) -> Iterator[RunLeased]:
        return (lease for job in self._jobs.values() for lease in job)

    def __len__(self) -> int:
        """How many slots have something."""
        return len(self._jobs)
