"""Memory checks before a sweep starts: which runs do not fit on which devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from dnlbench import units
from dnlbench.errors import ConfigurationError
from dnlbench.events import DataInfo, PointMemory
from dnlbench.machine import Device, Slot
from dnlbench.plan import Plan
from dnlbench.studies import Point

ESTIMATE_TOLERANCE = 0.15
"""Relative error of memory estimates, tiny networks excepted. A run whose estimate exceeds a device's memory by more than this
cannot fit; a run that exceeds it by less may fit."""
WORKER_BYTES = int(0.4 * 2**30)
"""Host memory that a worker process needs besides its run: torch and other libraries once they are loaded. The pages of their
files are not counted, because all workers share them. Estimates count only the run."""
MAX_LISTED_DEPTHS = 4
"""Maximum number of depths listed for one network; of more depths, a warning names the first and the last."""

Needs = Mapping[Point, int]
"""Estimated bytes of a run or a pack of each point, including the worker's data. Points without an estimate are missing."""


@dataclass(frozen=True, kw_only=True)
class _DeviceMemory:
    """A device whose memory size is known."""

    device: Device
    memory: int
    slots: int

    @property
    def label(self) -> str:
        """``cuda:0 (A GPU)``."""
        return f"{self.device.label} ({self.device.name})"

    @property
    def free(self) -> int:
        """Bytes that other processes leave free; the total where the platform does not report usage."""
        return self.memory - (self.device.memory_used_bytes or 0)

    @property
    def room(self) -> str:
        """``6.0 GiB of its 10.0 GiB free now``."""
        if self.device.memory_used_bytes is None:
            return units.size(self.memory)
        return f"{units.size(self.free)} of its {units.size(self.memory)} free now"

    @property
    def worker_bytes(self) -> int:
        """Host memory in bytes that a worker needs besides its run; 0 on a GPU with its own memory."""
        return WORKER_BYTES if self.device.in_host_memory else 0

    def never_fits(self, need: int) -> bool:
        """Return True if a run cannot fit even if it has the device to itself."""
        return need / (1 + ESTIMATE_TOLERANCE) > self.memory


def check_memory(
    plan: Plan, data: DataInfo, slots: Sequence[Slot], *, pack_size: int = 1, measured: Iterable[PointMemory] = ()
) -> tuple[str, ...]:
    """Estimate which runs do not fit on the slots' devices, or fit only if the user does something about it.

    ``measured`` is the memory of custom networks.

    Returns:
        Warnings, one sentence each, which name points, estimate, device memory and remedy.

    Raises:
        ConfigurationError: if runs, or packs of up to ``pack_size`` runs, need more than the memory of the machine, on the CPU
            or on a GPU that shares the machine's memory. The system would kill processes.
    """
    run_bytes = plan.memory_bytes(data, measured)
    needs = _needs(run_bytes, data, pack_size=1)
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
    of_packs = _needs(run_bytes, data, pack_size=pack_size)
    packed = [
        warning for device in devices_with_memory for warning in _pack_warnings(device, needs, of_packs, pack_size)
    ]
    kind = "runs" if pack_size == 1 else "packs"
    crowded = _concurrent_run_warnings(
        devices_with_memory, of_packs, kind, each=ceil(seeds / pack_size), devices=len(devices)
    )
    unmeasured = ", ".join(dict.fromkeys(point.series for point, need in run_bytes.items() if need is None))
    unknown = (
        [f"the memory of {unmeasured} cannot be estimated, so it was not checked whether its runs fit"]
        if unmeasured
        else []
    )
    return (*single, *packed, *crowded, *unknown)


def _needs(run_bytes: Mapping[Point, int | None], data: DataInfo, *, pack_size: int) -> Needs:
    return {point: pack_size * need + data.loaded_bytes for point, need in run_bytes.items() if need is not None}


def _single_run_warnings(device: _DeviceMemory, needs: Needs, smaller: str) -> Iterator[str]:
    """Warn about single runs that exceed the device's memory, or the part of it that is free now."""
    too_large = {point: need for point, need in needs.items() if device.never_fits(need)}
    if too_large:
        yield _too_large(
            device, _need(too_large), ", and the profile records them as oom; for runs that fit, choose", smaller
        )
    tight = {point: need for point, need in needs.items() if need > device.free and point not in too_large}
    if tight:
        yield (
            f"{_need(tight)}, and {device.label} has {device.room}: they may not fit; "
            f"stop other programs that use it, or choose {smaller}"
        )


def _pack_warnings(device: _DeviceMemory, needs: Needs, of_packs: Needs, pack_size: int) -> Iterator[str]:
    """Warn about packs that exceed the device's memory although each of their runs fits alone."""
    too_large = {
        point: need
        for point, need in of_packs.items()
        if device.never_fits(need) and not device.never_fits(needs[point])
    }
    if not too_large:
        return
    largest = max(too_large, key=too_large.__getitem__)
    another = (of_packs[largest] - needs[largest]) // (pack_size - 1)  # one more run; the data are loaded once per pack
    fit = max(size for size in range(1, pack_size) if not device.never_fits(needs[largest] + (size - 1) * another))
    packs = f"packs of {pack_size} {_need(too_large)}"
    yield _too_large(device, packs, ", and their runs one at a time if that fails; choose", f"--pack {fit}")


def _too_large(device: _DeviceMemory, what: str, otherwise: str, remedy: str) -> str:
    """Return a warning if only a device would run out of memory.

    Raises:
        ConfigurationError: if the machine would.
    """
    size = units.size(device.memory)
    if device.device.in_host_memory:
        raise ConfigurationError(
            f"{what}, and the whole machine has {size}: the system would kill processes, not only those of the sweep. "
            f"Choose {remedy}"
        )
    return f"{what}, and {device.label} has {size}: dnlbench tries them anyway{otherwise} {remedy}"


def _concurrent_run_warnings(
    devices_with_memory: Sequence[_DeviceMemory], needs: Needs, kind: str, *, each: int, devices: int
) -> Iterator[str]:
    """Warn about devices that cannot hold the largest runs or packs of their slots at once, with ``each`` of them per point."""
    largest = [(device, _largest_tasks(device, needs, each)) for device in devices_with_memory]
    crowded = [(device, runs) for device, runs in largest if len(runs) > _count_fitting(device, runs)]
    # Jobs are distributed over the devices in turn, so the device with the least room decides.
    jobs = devices * min((_count_fitting(device, runs) for device, runs in crowded), default=0)
    for device, runs in crowded:
        total = sum(need + device.worker_bytes for _, need in runs)
        yield (
            f"{len(runs)} {kind} at a time, of {_names(point for point, _ in runs)}, would need up to about "
            f"{units.size(total)}, and {device.label} has {units.size(device.memory)}: choose --jobs {jobs}"
        )


def _largest_tasks(device: _DeviceMemory, needs: Needs, each: int) -> list[tuple[Point, int]]:
    """Return the largest tasks that fit alone, in descending order, at most one for each slot of the device."""
    points = sorted(needs.items(), key=lambda item: -item[1])
    tasks = [(point, need) for point, need in points if not device.never_fits(need) for _ in range(each)]
    return tasks[: device.slots]


def _count_fitting(device: _DeviceMemory, runs: Sequence[tuple[Point, int]]) -> int:
    """Count how many of the runs, from the first on, fit on the device at once; at least 1, the smallest number of jobs."""
    cumulative = accumulate(need + device.worker_bytes for _, need in runs)
    return max(1, sum(need <= device.memory for need in cumulative))


def _need(needs: Needs) -> str:
    """``runs of densenet L=64, 128 would need up to about 9.0 GiB each``."""
    return f"runs of {_names(needs)} would need up to about {units.size(max(needs.values()))} each"


def _names(points: Iterable[Point]) -> str:
    """``densenet L=64, 128 and plain L=128``."""
    depths: dict[str, set[int]] = {}
    for point in points:
        depths.setdefault(point.series, set()).add(point.depth)
    return " and ".join(f"{network} L={_listed(sorted(of_network))}" for network, of_network in depths.items())


def _listed(depths: Sequence[int]) -> str:
    if len(depths) <= MAX_LISTED_DEPTHS:
        return ", ".join(map(str, depths))
    return f"{depths[0]} to {depths[-1]} ({len(depths)} depths)"
