"""Preview of a sweep before it starts: number of runs, estimated memory and time, and problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dnlbench import units
from dnlbench.errors import DnlbenchError
from dnlbench.report.grid import Grid
from dnlbench.report.plan import plan_preview

if TYPE_CHECKING:  # imported where needed at run time: a form is painted before its preview is computed
    from dnlbench.estimates import DurationEstimator
    from dnlbench.events import DataInfo
    from dnlbench.machine import Machine, Slot
    from dnlbench.plan import Plan
    from dnlbench.studies import Point


@dataclass(frozen=True, kw_only=True)
class PlanPreview:
    """A spec's runs, with estimates for this machine."""

    runs: int
    grid: Grid
    """The points, under the title ``27 runs = 3 networks × 3 depths × 3 seeds``."""
    memory_bytes: int | None
    """Estimated memory of the largest run; None if no run has an estimate."""
    concurrency: str
    """``2 at a time on cpu (A CPU), 1 thread each``."""
    sweep_s: float | None
    """Estimated duration of the sweep in seconds; None without earlier sweeps of the same settings."""
    problems: tuple[str, ...]
    """Reasons why the sweep does not fit, each with a remedy."""
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        memory = f" · up to {units.size(self.memory_bytes)} per run" if self.memory_bytes is not None else ""
        seconds = f" · about {units.seconds(self.sweep_s)}" if self.sweep_s is not None else ""
        trouble = " · ✗ does not fit" if self.problems else ""
        return f"{units.counted(self.runs, 'run')}{memory}{seconds}{trouble}"


def preview_plan(
    plan: Plan, machine: Machine, slots: tuple[Slot, ...], estimator: DurationEstimator | None, *, pack_size: int = 1
) -> PlanPreview:
    """Return the preview of a plan on these slots, with up to ``pack_size`` batched seeds.

    ``estimator`` knows the durations of earlier sweeps with the same settings; None if there are none.
    """
    runs = len(plan.spec.points) * len(plan.spec.seeds)
    needs = {point: plan.estimate(point).memory_bytes for point in plan.spec.points}
    too_large = {point for point, need in needs.items() if _is_too_large(need, slots)}
    title = f"{units.counted(runs, 'run')} = {_sum(plan)}"
    return PlanPreview(
        runs=runs,
        grid=plan_preview(plan, title, run_s=_run_seconds(plan, slots, estimator), too_large=too_large),
        memory_bytes=max((need for need in needs.values() if need is not None), default=None),
        concurrency=_concurrency(slots, pack_size),
        sweep_s=_sweep_seconds(plan, slots, estimator, pack_size),
        problems=_memory_problems(plan, slots, pack_size),
        notes=tuple(_notes(plan, machine, slots, estimator)),
    )


def _is_too_large(need: int | None, slots: tuple[Slot, ...]) -> bool:
    from dnlbench.executor.capacity import ESTIMATE_TOLERANCE

    memories = [slot.device.memory_bytes for slot in slots if slot.device.memory_bytes is not None]
    return need is not None and bool(memories) and need / (1 + ESTIMATE_TOLERANCE) > min(memories)


def _memory_problems(plan: Plan, slots: tuple[Slot, ...], pack_size: int) -> tuple[str, ...]:
    from dnlbench.executor.capacity import check_memory

    try:
        return check_memory(plan, _assumed_data(plan), slots, pack_size=pack_size)
    except DnlbenchError as error:
        return (str(error),)


def _assumed_data(plan: Plan) -> DataInfo:
    """Return the data's properties as far as they are known without reading a file."""
    from dnlbench.events import DataInfo

    data = getattr(plan.spec, "data", None)
    known = getattr(data, "known_input", None)
    shape, classes = known or ((3, 32, 32), 10)
    samples = getattr(data, "known_samples", None) or 0  # a folder is not read during typing
    return DataInfo(name=plan.spec.name, sha256="", samples=samples, input_shape=shape, classes=classes)


def _notes(plan: Plan, machine: Machine, slots: tuple[Slot, ...], estimator: DurationEstimator | None) -> Iterator[str]:
    if getattr(getattr(plan.spec, "data", None), "known_input", ()) is None:
        yield "Estimates assume 3×32×32 images in 10 classes until the sweep reads the folder."
    if any(plan.estimate(point).memory_bytes is None for point in plan.spec.points):
        yield "Parameters and memory of custom networks are not estimated."
    if estimator is None:
        first = "epochs" if plan.study.has_epochs else "runs"
        yield "Cost is the computation of a run relative to the cheapest run."
        yield f"Time is estimated after the first {first}: this machine has run no sweep with these settings yet."
    for device in {slot.device.label: slot.device for slot in slots}.values():
        if device.kind != "cpu" and device.busy:
            yield f"{device.label} is busy with other work: {device.busy}."
    yield from (f"{device.text}." for device in machine.unusable if not device.hidden)


def _sum(plan: Plan) -> str:
    """Return the factors of the number of runs: ``3 networks × 3 depths × 3 seeds``. Empty optional axes are omitted."""
    factors = ((name.replace("_", " "), count) for name, count in plan.spec.sweep.sizes.items())
    return " × ".join(f"{count:,} {name if count != 1 else name.removesuffix('s')}" for name, count in factors)


def _concurrency(slots: tuple[Slot, ...], pack_size: int) -> str:
    from dnlbench.executor.packing import at_a_time

    devices = {slot.device.label: slot.device for slot in slots}
    names = ", ".join(f"{label} ({device.name})" for label, device in devices.items())
    threads = slots[0].threads
    return f"{at_a_time(len(slots), pack_size)} on {names}, {threads} CPU thread{'s' if threads > 1 else ''} each"


def _run_seconds(plan: Plan, slots: tuple[Slot, ...], estimator: DurationEstimator | None) -> dict[Point, float]:
    from dnlbench.estimates import Task

    if estimator is None:
        return {}
    first = {run.point: run for run in reversed(plan.runs)}
    names = [slot.name for slot in slots]
    return {
        point: sum(estimator.duration_s(Task(runs=(run,), epochs=run.epochs), name) for name in names) / len(names)
        for point, run in first.items()
    }


def _sweep_seconds(
    plan: Plan, slots: tuple[Slot, ...], estimator: DurationEstimator | None, pack_size: int
) -> float | None:
    from dnlbench.estimates import Task, pack, schedule

    if estimator is None:
        return None
    tasks = [Task(runs=(run,), epochs=run.epochs) for run in plan.runs]
    return schedule(estimator, pack(tasks, pack_size), {slot.name: 0.0 for slot in slots}).seconds
