"""What does not fit in memory, found before the sweep starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from dnlbench import units
from dnlbench.errors import ConfigurationError
from dnlbench.events import DataInfo
from dnlbench.machine import Device, Slot
from dnlbench.plan import Plan
from dnlbench.studies import Point
from dnlbench.studies.training.spec import is_factory

ESTIMATES_WITHIN = 0.15
"""How far estimates are off, tiny networks apart, as a share of the peak: a run that needs more than a device has by more
than that cannot fit, one by less may."""
WORKER_BYTES = int(0.4 * 2**30)
"""What a worker process takes of the machine's memory beside its run, which is all that an estimate counts: torch and other
libraries once they are loaded, without the pages of their files, which all workers share."""
NAMED_DEPTHS = 4
"""Of one network; of more than these the first and the last are named."""

Needs = Mapping[Point, int]
"""Bytes that a run or a pack of each point takes, with the worker's data, as far as that can be estimated."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A device whose memory is known."""

    device: Device
    memory: int
    slots: int

    @property
    def label(self) -> str:
        """``cuda:0 (A GPU)``."""
        return f"{self.device.label} ({self.device.name})"

    @property
    def free(self) -> int:
        """What others leave of it; all of it where the platform does not tell."""
        return self.memory - (self.device.memory_used_bytes or 0)

    @property
    def room(self) -> str:
        """``6.0 GiB of its 10.0 GiB free now``."""
        if self.device.memory_used_bytes is None:
            return units.size(self.memory)
        return f"{units.size(self.free)} of its {units.size(self.memory)} free now"

    @property
    def worker_bytes(self) -> int:
        """What a worker takes of it beside its run."""
        return WORKER_BYTES if self.device.in_host_memory else 0

    def never_holds(self, need: int) -> bool:
        """Whether a run cannot fit even with the whole device to itself."""
        return need / (1 + ESTIMATES_WITHIN) > self.memory


def check_memory(plan: Plan, data: DataInfo, slots: Sequence[Slot], *, pack_size: int = 1) -> tuple[str, ...]:
    """What will not fit on the slots' devices, or not without the user's help, as far as it can be foreseen.

    Returns:
        Warnings, each a sentence that names points, need, device memory and remedy.

    Raises:
        ConfigurationError: if runs, or packs of up to ``pack_size`` of them, would need more than the memory of the whole
            machine, on the CPU or on a GPU that shares its memory, where the system would end processes.
    """
    needs = _needs(plan, data, pack_size=1)
    devices = Counter(slot.device for slot in slots)
    places = [
        _Place(device=device, memory=device.memory_bytes, slots=count)
        for device, count in devices.items()
        if device.memory_bytes is not None
    ]
    one_by_one = [warning for place in places for warning in _one_by_one(place, needs, plan.study.to_save_memory)]
    seeds = len(plan.spec.seeds)
    together = min(pack_size, seeds)
    of_packs = _needs(plan, data, pack_size=together)
    packed = [warning for place in places for warning in _packed(place, needs, of_packs, together)]
    kind = "runs" if together == 1 else "packs"
    crowded = _side_by_side(places, of_packs, kind, each=ceil(seeds / together), devices=len(devices))
    own = ", ".join(filter(is_factory, dict.fromkeys(point.network for point in plan.spec.points)))
    unknown = [f"the memory of {own} cannot be estimated, so nobody has checked that its runs fit"] if own else []
    return (*one_by_one, *packed, *crowded, *unknown)


def _needs(plan: Plan, data: DataInfo, *, pack_size: int) -> Needs:
    of_runs = {point: plan.estimate(point, data.input_shape, data.classes).memory_bytes for point in plan.spec.points}
    return {point: pack_size * need + data.loaded_bytes for point, need in of_runs.items() if need is not None}


def _one_by_one(place: _Place, needs: Needs, smaller: str) -> Iterator[str]:
    """Of runs that are too large even for themselves: for the device, or for what others leave of it."""
    too_large = {point: need for point, need in needs.items() if place.never_holds(need)}
    if too_large:
        yield _too_large(
            place, _need(too_large), " and end as oom, which is a result; for runs that fit choose", smaller
        )
    tight = {point: need for point, need in needs.items() if need > place.free and point not in too_large}
    if tight:
        yield (
            f"{_need(tight)}, and {place.label} has {place.room}: they may not fit; "
            f"end what else uses it, or choose {smaller}"
        )


def _packed(place: _Place, needs: Needs, of_packs: Needs, together: int) -> Iterator[str]:
    """Of runs that fit, but not as many at once as are to train together."""
    too_large = {
        point: need
        for point, need in of_packs.items()
        if place.never_holds(need) and not place.never_holds(needs[point])
    }
    if not too_large:
        return
    largest = max(too_large, key=too_large.__getitem__)
    another = (of_packs[largest] - needs[largest]) // (together - 1)  # a run without the data, which a pack has once
    fit = max(size for size in range(1, together) if not place.never_holds(needs[largest] + (size - 1) * another))
    packs = f"packs of {together} {_need(too_large)}"
    yield _too_large(place, packs, ", and their runs one by one after that; choose", f"--pack {fit}")


def _too_large(place: _Place, what: str, otherwise: str, remedy: str) -> str:
    """A warning, where a device alone runs out of memory.

    Raises:
        ConfigurationError: where the whole machine would.
    """
    size = units.size(place.memory)
    if place.device.in_host_memory:
        raise ConfigurationError(
            f"{what}, and the whole machine has {size}: the system would end processes, not only those of the sweep. "
            f"Choose {remedy}"
        )
    return f"{what}, and {place.label} has {size}: they will be tried all the same{otherwise} {remedy}"


def _side_by_side(places: Sequence[_Place], needs: Needs, kind: str, *, each: int, devices: int) -> Iterator[str]:
    """Of slots that share a device which cannot hold the largest of their runs or packs at once, ``each`` of a point."""
    largest = [(place, _largest_tasks(place, needs, each)) for place in places]
    crowded = [(place, runs) for place, runs in largest if len(runs) > _how_many_fit(place, runs)]
    # Jobs are dealt to the devices in turn, so the tightest of these decides for all.
    jobs = devices * min((_how_many_fit(place, runs) for place, runs in crowded), default=0)
    for place, runs in crowded:
        together = sum(need + place.worker_bytes for _, need in runs)
        yield (
            f"{len(runs)} {kind} side by side, of {_names(point for point, _ in runs)}, would need up to about "
            f"{units.size(together)}, and {place.label} has {units.size(place.memory)}: choose --jobs {jobs}"
        )


def _largest_tasks(place: _Place, needs: Needs, each: int) -> list[tuple[Point, int]]:
    """As many as the device has slots, by falling need; without those that fit in no company at all."""
    points = sorted(needs.items(), key=lambda item: -item[1])
    tasks = [(point, need) for point, need in points if not place.never_holds(need) for _ in range(each)]
    return tasks[: place.slots]


def _how_many_fit(place: _Place, runs: Sequence[tuple[Point, int]]) -> int:
    """How many of the runs, from the first on, the device holds at once; at least 1, since there are no fewer jobs."""
    together = accumulate(need + place.worker_bytes for _, need in runs)
    return max(1, sum(need <= place.memory for need in together))


def _need(needs: Needs) -> str:
    """``runs of densenet L=64, 128 would need up to about 9.0 GiB each``."""
    return f"runs of {_names(needs)} would need up to about {units.size(max(needs.values()))} each"


def _names(points: Iterable[Point]) -> str:
    """``densenet L=64, 128 and plain L=128``."""
    depths: dict[str, set[int]] = {}
    for point in points:
        depths.setdefault(point.network, set()).add(point.depth)
    return " and ".join(f"{network} L={_listed(sorted(of_network))}" for network, of_network in depths.items())


def _listed(depths: Sequence[int]) -> str:
    if len(depths) <= NAMED_DEPTHS:
        return ", ".join(map(str, depths))
    return f"{depths[0]} to {depths[-1]} ({len(depths)} depths)"
