"""What is left open of the way to carry out a training sweep, decided by measurement.

Two questions are answered by one trial at the sweep's point of median work:

- on the CPU, whether runs go side by side with one thread each, or one at a time on all cores;
- how many seeds of a point train together.

Answers are remembered for the machine and its software, see `dnlbench.executor.remembered`, in two ways: for the sweep, whose
run directory depends on them, so that one that is extended by depths, seeds or epochs is found again; and for everything that
the speed depends on, for other sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from dnlbench import units
from dnlbench.executor.packing import at_a_time, count_packs
from dnlbench.executor.probe import image_of
from dnlbench.executor.remembered import Choice, Figure, Measured
from dnlbench.machine import Machine, Slot, source_hash, torch_version
from dnlbench.plan import Plan
from dnlbench.spec import content_hash
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.folders import count_images
from dnlbench.studies.training.spec import DataSettings, is_factory

WORTH_S = 120.0
"""A sweep that is foreseen to be shorter is not worth a measurement, which takes some 20 seconds."""
CORE_RATE = 2e9
"""`Estimate.work` that a core does in a second of training, forward and backward; on the careful side, so that sweeps of a few
minutes are not held up."""
DEVICE_RATE = 2e11
"""The same of a GPU on networks that hardly fill it."""
AS_GOOD = 0.95
"""Share of the best throughput from which on a simpler way is taken."""
MEMORY_SHARE = 0.8
"""Of a device's memory that a trial, and what is chosen by it, may be foreseen to take."""
MOST_COUNTED = 50_000
"""Files that are counted at most: that many make a long sweep, and listing more on a distant disk would take long itself."""
_SAMPLES = {"digits": 1500, "cifar10": 50_000, "svhn": 73_257}

Slots = tuple[Slot, ...]
Measure = Callable[[Plan, Point, Sequence[Slot], Sequence[int]], Mapping[int, float]]
"""As `dnlbench.executor.probe.measure`."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Several ways to carry out a plan on a machine, of which nobody has chosen one."""

    plan: Plan
    machine: Machine
    ways: Mapping[Slots, tuple[int, ...]]
    """Growing pack sizes of each placement; the placement that is taken if they are equally good comes first."""

    @cached_property
    def point(self) -> Point:
        """The one that is tried: of median work."""
        points = sorted(self.plan.spec.points, key=lambda point: self.plan.estimate(point).work)
        return points[len(points) // 2]

    @property
    def key(self) -> str:
        """Identity of what the speed depends on, and of what there is to choose from."""
        spec = cast(TrainingSpec, self.plan.spec)
        train = spec.train
        return content_hash(
            {
                **_setting(self.machine),
                "ways": [[_place(slots), sizes] for slots, sizes in self.ways.items()],
                "network": spec.network.model_dump(mode="json"),
                "train": [train.batch_size, train.optimizer, train.precision, train.regulariser_weight > 0],
                "point": [self.point.network, self.point.depth],
                "images": image_of(spec.data),
            }
        )


def can_be_tuned(plan: Plan) -> bool:
    """Whether there is anything to measure. A user's own networks may do more than compute, and are not tried."""
    return isinstance(plan.spec, TrainingSpec) and not any(is_factory(name) for name in plan.spec.sweep.networks)


def sweep_key(plan: Plan, machine: Machine, slots: Slots, asked: Sequence[int | None]) -> str:
    """Identity of what a sweep shares with all those that it can share its runs with.

    Args:
        plan: of the sweep.
        machine: where it is carried out.
        slots: if nothing is measured.
        asked: what the user has fixed, and None for what not.
    """
    sweep = {"name": plan.spec.name, "settings": plan.settings_hash, "place": _place(slots), "asked": list(asked)}
    return content_hash({**_setting(machine), "sweep": sweep})


def find_question(plan: Plan, machine: Machine, placements: Sequence[Slots], pack: int | None) -> Question | None:
    """What is to be measured; None if there is nothing to choose from.

    Args:
        plan: one that can be tuned.
        machine: where it is carried out.
        placements: the one that is taken if they are equally good comes first.
        pack: how many runs train together; None if that is open.
    """
    if any(len(slots) > len(plan.runs) for slots in placements):
        return None
    sizes = (pack,) if pack is not None else tuple(_pack_sizes(len(plan.spec.seeds)))
    ways = {slots: tuple(size for size in sizes if _is_possible(plan, slots, size)) for slots in placements}
    ways = {slots: fitting for slots, fitting in ways.items() if fitting}
    if len(ways) < len(placements) or sum(map(len, ways.values())) < 2:
        return None
    return Question(plan=plan, machine=machine, ways=ways)


def is_worth_measuring(plan: Plan, slots: Slots) -> bool:
    """Whether the sweep is long enough."""
    return foreseen_s(plan, slots) >= WORTH_S


def foreseen_s(plan: Plan, slots: Slots) -> float:
    """Seconds that the sweep may take: an order of magnitude."""
    spec = cast(TrainingSpec, plan.spec)
    total = sum(plan.work.values()) * count_samples(spec.data) * spec.epochs
    rate = CORE_RATE * sum(slot.threads for slot in slots)
    if slots[0].device.kind != "cpu":
        rate = DEVICE_RATE * len({slot.device.label for slot in slots})
    return total / rate


def count_samples(data: DataSettings) -> int:
    """Number of samples that are trained on. Images in folders are counted, up to `MOST_COUNTED`, and not read."""
    if data.dataset == "synthetic":
        samples = data.samples or 1024
    elif data.dataset == "image-folder":
        samples = count_images(data.folder(training=True), MOST_COUNTED)
    else:
        samples = _SAMPLES[data.dataset]
    return min(samples, data.limit or samples)


def answer(question: Question, measure: Measure) -> Measured | None:
    """Measures; None if that did not succeed for every placement."""
    found = {}
    for slots, sizes in question.ways.items():
        found[slots] = dict(measure(question.plan, question.point, slots, sizes))
        if not found[slots]:
            return None
    best = [_best(slots, rates) for slots, rates in found.items()]
    most = max(figure.samples_per_s for figure in best)
    chosen = next(figure for figure in best if figure.samples_per_s >= AS_GOOD * most)
    figures = tuple(_figure(slots, size, rate) for slots, rates in found.items() for size, rate in rates.items())
    choice = Choice(jobs=chosen.jobs, threads=chosen.threads, pack_size=chosen.pack_size)
    return Measured(choice=choice, figures=figures)


def describe(measured: Measured) -> str:
    """What was chosen, and from what: ``2 runs at a time, 1 thread each (512 samples/s); 1 run, 2 threads (431)``."""
    chosen = [figure for figure in measured.figures if _is(figure, measured.choice)]
    others = [figure for figure in measured.figures if not _is(figure, measured.choice)]
    rates = [f"{_way(figure)}: {units.count(figure.samples_per_s)} samples/s" for figure in (*chosen, *others)]
    return f"measured, and chosen the first: {'; '.join(rates)}"


def _pack_sizes(seeds: int) -> list[int]:
    """1, 2, 4, … and all seeds."""
    powers = [2**exponent for exponent in range(seeds.bit_length()) if 2**exponent < seeds]
    return [*powers, seeds]


def _is_possible(plan: Plan, slots: Slots, size: int) -> bool:
    """Whether packs of that size leave no slot idle, and fit in memory at every point."""
    if size > 1 and count_packs(plan.runs, size) < len(slots):
        return False
    largest = max(plan.estimate(point).memory_bytes or 0 for point in plan.spec.points)
    return all(
        slot.jobs * size * largest <= MEMORY_SHARE * slot.device.memory_bytes
        for slot in slots
        if slot.device.memory_bytes is not None
    )


def _best(slots: Slots, rates: Mapping[int, float]) -> Figure:
    """The smallest pack size that is as good as any."""
    most = max(rates.values())
    size = min(size for size, rate in rates.items() if rate >= AS_GOOD * most)
    return _figure(slots, size, rates[size])


def _figure(slots: Slots, size: int, rate: float) -> Figure:
    return Figure(jobs=len(slots), threads=slots[0].threads, pack_size=size, samples_per_s=rate)


def _is(figure: Figure, choice: Choice) -> bool:
    return (figure.jobs, figure.threads, figure.pack_size) == (choice.jobs, choice.threads, choice.pack_size)


def _way(way: Choice) -> str:
    threads = f"{way.threads} thread{'s' if way.threads > 1 else ''}"
    return f"{at_a_time(way.jobs, way.pack_size)} with {threads}{' each' if way.jobs > 1 else ''}"


def _setting(machine: Machine) -> dict[str, Any]:
    return {
        "machine": machine.fingerprint,
        "cores": machine.cores,
        "torch": torch_version(),
        "source": source_hash(),
    }


def _place(slots: Slots) -> list[Any]:
    devices = sorted({f"{slot.device.label} {slot.device.name}" for slot in slots})
    return [devices, len(slots), slots[0].threads]
