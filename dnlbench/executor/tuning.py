"""Placement and pack size of a training sweep: the candidates, and the trials that ``dnlbench tune`` measured.

The trials are stored in ``tuned.json`` in the cache folder (see `dnlbench.cache`). Their key consists of the machine and
all settings that affect the speed of a training step, except the axes: sweeps that differ only in networks, depths, seeds,
epochs or learning rate share their trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pydantic import BaseModel, ConfigDict

from dnlbench.cache import CacheFile, cache_folder
from dnlbench.errors import ConfigurationError
from dnlbench.executor.packing import count_packs
from dnlbench.executor.probe import image_shape
from dnlbench.machine import Machine, Slot, torch_version
from dnlbench.plan import Plan
from dnlbench.spec import content_hash
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

GOOD_ENOUGH = 0.95
"""Fraction of the best throughput at which a simpler candidate is preferred."""
MEMORY_FRACTION = 0.8
"""Fraction of a device's memory that the estimates of its runs may add up to."""
MAX_ENTRIES = 500
"""Maximum number of sweeps in the cache."""

Slots = tuple[Slot, ...]


class Trial(BaseModel):
    """A candidate with its measured throughput."""

    model_config = ConfigDict(frozen=True)

    jobs: int
    threads: int
    """Threads per job."""
    pack_size: int
    samples_per_s: float
    """Throughput of all jobs together."""


Trials = tuple[Trial, ...]
"""Trials, the simplest candidate first."""


def best(trials: Sequence[Trial]) -> Trial:
    """Return the first trial whose throughput is within the tolerance of the best one."""
    most = max(trial.samples_per_s for trial in trials)
    return next(trial for trial in trials if trial.samples_per_s >= GOOD_ENOUGH * most)


def can_be_tuned(plan: Plan) -> bool:
    """Return True if training speed can be measured. Custom networks are excluded, because they may do more than compute."""
    return plan.study.packs and not plan.custom_networks


def median_point(plan: Plan) -> Point:
    """Return the point of median work, which represents the sweep in a trial."""
    points = sorted(plan.spec.points, key=lambda point: plan.estimate(point).work)
    return points[len(points) // 2]


def candidates(plan: Plan, placements: Iterable[Slots], pack: int | None) -> Mapping[Slots, tuple[int, ...]]:
    """Return ascending pack sizes by placement, the simplest placement first. ``pack`` is None if any size is allowed.

    Raises:
        ConfigurationError: if there are fewer than two candidates.
    """
    sizes = _pack_sizes(len(plan.spec.seeds)) if pack is None else (pack,)
    result = {slots: tuple(size for size in sizes if _is_possible(plan, slots, size)) for slots in placements}
    if not all(result.values()) or sum(map(len, result.values())) < 2:
        raise ConfigurationError(
            f"{plan.spec.name}: nothing to tune: with these options, this number of runs and this memory, only one placement "
            "and pack size is possible"
        )
    return result


def tuning_file() -> CacheFile[Trials]:
    """Return the cache file of the trials."""
    return CacheFile(cache_folder() / "tuned.json", "tuned", Trials, most=MAX_ENTRIES)


def read_trials(plan: Plan, machine: Machine, slots: Slots) -> Trials:
    """Return the stored trials for this sweep on the devices of these slots; empty if there are none."""
    return tuning_file().read().get(_key(plan, machine, slots), ()) if can_be_tuned(plan) else ()


def save_trials(plan: Plan, machine: Machine, slots: Slots, trials: Trials) -> None:
    """Store trials in place of earlier ones.

    Raises:
        ConfigurationError: if the cache cannot be written.
    """
    tuning_file().put(_key(plan, machine, slots), trials)


def _key(plan: Plan, machine: Machine, slots: Slots) -> str:
    spec = cast(TrainingSpec, plan.spec)
    train = spec.train
    return content_hash(
        {
            "machine": machine.fingerprint,
            "cores": machine.cores,
            "torch": torch_version(),
            "devices": sorted({f"{slot.device.label} {slot.device.name}" for slot in slots}),
            "network": spec.network.model_dump(mode="json"),
            "train": [train.batch_size, train.optimizer, train.precision, train.regulariser_weight > 0],
            "images": image_shape(spec.data),
        }
    )


def _pack_sizes(seeds: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … and the number of seeds."""
    powers = [2**exponent for exponent in range(seeds.bit_length()) if 2**exponent < seeds]
    return (*powers, seeds)


def _is_possible(plan: Plan, slots: Slots, size: int) -> bool:
    """Return True if packs of this size leave no slot idle and fit in memory at every point."""
    if count_packs(plan.runs, size) < len(slots):
        return False
    largest = max(plan.estimate(point).memory_bytes or 0 for point in plan.spec.points)
    return all(
        slot.jobs * size * largest <= MEMORY_FRACTION * slot.device.memory_bytes
        for slot in slots
        if slot.device.memory_bytes is not None
    )
