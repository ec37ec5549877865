"""Autotune the placement of a sweep on this machine, and cache the result for `dnlbench.engine.placement`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dnlbench.engine.placement import slots_of
from dnlbench.engine.request import RunRequest
from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.executor import probe
from dnlbench.executor.tuning import Slots, Trial, Trials, can_be_tuned, candidates, median_point, save_trials
from dnlbench.machine import Machine, Slot, read_machine
from dnlbench.plan import Plan
from dnlbench.studies import Point

Measure = Callable[[Plan, Point, Sequence[Slot], Sequence[int]], Mapping[int, float]]
"""The signature of `dnlbench.executor.probe.measure`."""


def tune(request: RunRequest, measure: Measure = probe.measure) -> Trials:
    """Measure every placement and pack size that the request leaves open, and cache the result.

    On the CPU, the candidates are one run with one thread for each core, and one run at a time on all cores.

    Raises:
        ConfigurationError: if there is nothing to choose from, or the result cannot be stored.
        EngineError: if all measurements fail. Single placements that fail are skipped.
    """
    plan, machine = request.plan, read_machine()
    if not can_be_tuned(plan):
        raise ConfigurationError(
            f"{plan.spec.name}: dnlbench tune supports only training sweeps of built-in networks. Set --jobs, --threads and "
            "--pack of dnlbench run by hand"
        )
    placements = _placements(request, machine)
    point = median_point(plan)
    trials, problem = list[Trial](), ""
    for slots, sizes in candidates(plan, placements, request.pack).items():
        try:
            rates = measure(plan, point, slots, sizes)
        except EngineError as error:
            rates, problem = {}, f": {error}"
        for size, rate in rates.items():
            trials.append(Trial(jobs=len(slots), threads=slots[0].threads, pack_size=size, samples_per_s=rate))
    if not trials:
        raise EngineError(f"{plan.spec.name}: measuring {point.network} L={point.depth} failed{problem}")
    save_trials(plan, machine, placements[0], tuple(trials))
    return tuple(trials)


def _placements(request: RunRequest, machine: Machine) -> list[Slots]:
    by_default = slots_of(request, machine)
    is_open = request.jobs is None and request.threads is None and machine.cores > 1
    if not is_open or by_default[0].device.kind != "cpu":
        return [by_default]
    return [by_default, slots_of(replace(request, jobs=1, threads=machine.cores), machine)]
