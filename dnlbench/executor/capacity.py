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

ESTIMATE_TOLERANCE = 0.15
"""How far estimates are off, tiny networks apart, as a share of the peak: a run that needs more than a device has by more
than that cannot fit, one by less may."""
WORKER_BYTES = int(0.4 * 2**30)
"""What a worker process takes of the machine's memory beside its run, which is all that an estimate counts: torch and other
libraries once they are loaded, without the pages of their files, which all workers share."""
MAX_LISTED_DEPTHS = 4
"""Of one network; of more than these the first and the last are named."""

Needs = Mapping[Point, int]
"""Bytes that a run or a pack of each point takes, with the worker's data, as far as that can be estimated."""


@dataclass(frozen=True, kw_only=True)
class _DeviceMemory:
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

    def never_fits(self, need: int) -> bool:
        """Whether a run cannot fit even with the whole device to itself."""
        return need / (1 + ESTIMATE_TOLERANCE) > self.memory


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
    devices_with_memory = [
        _DeviceMemory(device=device, memory=device.memory_bytes, slots=count)
        for device, count in devices.items()
        if device.memory_bytes is not None
    ]
    single = [
        warning
        for device in devices_with_memory
        for warning in _single_run_warnings(device, needs, plan.study.to_save_memory)
    ]
    seeds = len(plan.spec.seeds)
    pack_size = min(pack_size, seeds)
    of_packs = _needs(plan, data, pack_size=pack_size)
    packed = [
        warning for device in devices_with_memory for warning in _pack_warnings(device, needs, of_packs, pack_size)
    ]
    kind = "runs" if pack_size == 1 else "packs"
    crowded = _concurrent_run_warnings(
        devices_with_memory, of_packs, kind, each=ceil(seeds / pack_size), devices=len(devices)
    )
    custom_networks = ", ".join(filter(is_factory, dict.fromkeys(point.network for point in plan.spec.points)))
    unknown = (
        [f"the memory of {custom_networks} cannot be estimated, so nobody has checked that its runs fit"]
        if custom_networks
        else []
    )
    return (*single, *packed, *crowded, *unknown)


def _needs(plan: Plan, data: DataInfo, *, pack_size: int) -> Needs:
    of_runs = {point: plan.estimate(point, data.input_shape, data.classes).memory_bytes for point in plan.spec.points}
    return {point: pack_size * need + data.loaded_bytes for point, need in of_runs.items() if need is not None}


def _single_run_warnings(device: _DeviceMemory, needs: Needs, smaller: str) -> Iterator[str]:
    """Of runs that are too large even for themselves: for the device, or for what others leave of it."""
    too_large = {point: need for point, need in needs.items() if device.never_fits(need)}
    if too_large:
        yield _too_large(
            device, _need(too_large), " and end as oom, which is a result; for runs that fit choose", smaller
        )
    tight = {point: need for point, need in needs.items() if need > device.free and point not in too_large}
    if tight:
        yield (
            f"{_need(tight)}, and {device.label} has {device.room}: they may not fit; "
            f"end what else uses it, or choose {smaller}"
        )


def _pack_warnings(device: _DeviceMemory, needs: Needs, of_packs: Needs, pack_size: int) -> Iterator[str]:
    """Of runs that fit, but not as many at once as are to train together."""
    too_large = {
        point: need
        for point, need in of_packs.items()
        if device.never_fits(need) and not device.never_fits(needs[point])
    }
    if not too_large:
        return
    largest = max(too_large, key=too_large.__getitem__)
    another = (of_packs[largest] - needs[largest]) // (pack_size - 1)  # a run without the data, which a pack has once
    fit = max(size for size in range(1, pack_size) if not device.never_fits(needs[largest] + (size - 1) * another))
    packs = f"packs of {pack_size} {_need(too_large)}"
    yield _too_large(device, packs, ", and their runs one by one after that; choose", f"--pack {fit}")


def _too_large(device: _DeviceMemory, what: str, otherwise: str, remedy: str) -> str:
    """A warning, where a device alone runs out of memory.

    Raises:
        ConfigurationError: where the whole machine would.
    """
    size = units.size(device.memory)
    if device.device.in_host_memory:
        raise ConfigurationError(
            f"{what}, and the whole machine has {size}: the system would end processes, not only those of the sweep. "
            f"Choose {remedy}"
        )
    return f"{what}, and {device.label} has {size}: they will be tried all the same{otherwise} {remedy}"


def _concurrent_run_warnings(
    devices_with_memory: Sequence[_DeviceMemory], needs: Needs, kind: str, *, each: int, devices: int
) -> Iterator[str]:
    """Of slots that share a device which cannot hold the largest of their runs or packs at once, ``each`` of a point."""
    largest = [(device, _largest_tasks(device, needs, each)) for device in devices_with_memory]
    crowded = [(device, runs) for device, runs in largest if len(runs) > _count_fitting(device, runs)]
    # Jobs are dealt to the devices in turn, so the tightest of these decides for all.
    jobs = devices * min((_count_fitting(device, runs) for device, runs in crowded), default=0)
    for device, runs in crowded:
        total = sum(need + device.worker_bytes for _, need in runs)
        yield (
            f"{len(runs)} {kind} side by side, of {_names(point for point, _ in runs)}, would need up to about "
            f"{units.size(total)}, and {device.label} has {units.size(device.memory)}: choose --jobs {jobs}"
        )


def _largest_tasks(device: _DeviceMemory, needs: Needs, each: int) -> list[tuple[Point, int]]:
    """As many as the device has slots, by falling need; without those that fit in no company at all."""
    points = sorted(needs.items(), key=lambda item: -item[1])
    tasks = [(point, need) for point, need in points if not device.never_fits(need) for _ in range(each)]
    return tasks[: device.slots]


def _count_fitting(device: _DeviceMemory, runs: Sequence[tuple[Point, int]]) -> int:
    """How many of the runs, from the first on, the device holds at once; at least 1, since there are no fewer jobs."""
    cumulative = accumulate(need + device.worker_bytes for _, need in runs)
    return max(1, sum(need <= device.memory for need in cumulative))


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
    if len(depths) <= MAX_LISTED_DEPTHS:
        return ", ".join(map(str, depths))
    return f"{depths[0]} to {depths[-1]} ({len(depths)} depths)"
