"""Choose the slots and the run directory of a sweep.

Options that the request leaves open are taken from an existing run directory, else from the measurements of
`dnlbench.engine.tuning`, else from the defaults: one run with one thread for each core, or one run for each GPU, and no packs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dnlbench.engine.request import RunRequest
from dnlbench.errors import RunDirError
from dnlbench.executor.packing import count_packs, resolve_pack_size
from dnlbench.executor.ray.inventory import ClusterNode
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.tuning import Trial, best, read_trials
from dnlbench.machine import Machine, Slot, read_machine
from dnlbench.store import ANY, Execution, RunDir

OnMessage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The slots on which a sweep runs."""

    machine: Machine
    slots: tuple[Slot, ...]
    pack_size: int
    nodes: tuple[ClusterNode, ...] = ()
    """Machines of the cluster; empty without a cluster."""


def find_run_dir(
    request: RunRequest, *, suffix: str = "", folder: Path = Path(), on_message: OnMessage | None = None
) -> Path:
    """Return the run directory of a sweep: the requested one, or a default shared by all sweeps with compatible runs.

    The default does not depend on the current machines of a cluster. After a change to the code of custom networks, it is the
    first of ``<folder>-2``, ``-3``, … without results of other code.
    """
    if request.run_dir is not None:
        return request.run_dir
    usual = request.executor_type.default_root(request, folder)
    first = root = usual.with_name(usual.name + suffix)
    number, message = 1, ""
    while changed := RunDir(folder / root).changed_code(request.plan):
        number += 1
        earlier, root = root, first.with_name(f"{first.name}-{number}")
        message = f"{', '.join(changed)} changed since the runs in {earlier}; this sweep uses {root}"
    if message and on_message is not None:
        on_message(message)
    return root


def choose_placement(request: RunRequest, machine: Machine | None = None) -> Placement:
    """Return the slots and the pack size for a request.

    Raises:
        ConfigurationError: if the requested devices or numbers are not available.
    """
    return request.executor_type.choose_placement(request, machine or read_machine())


def resolve(request: RunRequest, machine: Machine, folder: Path = Path()) -> RunRequest:
    """Fill in the open options of a request from an existing run directory or from tuning."""
    request = _with_recorded(request, machine)
    trials = _matching_trials(request, machine) if request.executor_type.tuned else []
    if not trials:
        return request
    tuned = [
        replace(request, jobs=trial.jobs, threads=trial.threads, pack=trial.pack_size)
        for trial in (best(trials), *trials)
    ]
    started = (
        variant for variant in (request, *tuned) if RunDir(folder / default_root(variant, machine)).sweep_path.exists()
    )
    return tuned[0] if request.run_dir is not None else next(started, tuned[0])


def _matching_trials(request: RunRequest, machine: Machine) -> list[Trial]:
    """Return the trials that match the options fixed by the user."""
    fixed = {"jobs": request.jobs, "threads": request.threads, "pack_size": request.pack}
    return [
        trial
        for trial in read_trials(request.plan, machine, slots_of(request, machine))
        if all(value in (None, getattr(trial, name)) for name, value in fixed.items())
    ]


def read_recorded(request: RunRequest) -> Execution | None:
    """Return the settings of the existing run directory of a request; None without one."""
    if request.run_dir is None:
        return None
    try:
        return RunDir(request.run_dir).read_execution()
    except RunDirError:
        return None


def _with_recorded(request: RunRequest, machine: Machine) -> RunRequest:
    """Fill in the open options of a request from its existing run directory."""
    recorded = read_recorded(request)
    if recorded is None:
        return request
    if request.pack is None:
        request = replace(request, pack=recorded.pack_size)
    on_cpu = recorded.device_kind == slots_of(request, machine)[0].device.kind == "cpu"
    if on_cpu and request.jobs is None and request.threads is None:
        request = replace(request, threads=recorded.threads)
    return request


def placement_of(request: RunRequest, machine: Machine) -> Placement:
    """Return the placement for a request, with defaults for its open options."""
    pack_size = resolve_pack_size(request.plan, request.pack)
    slots = slots_of(request, machine, packs=count_packs(request.plan.runs, pack_size))
    return Placement(machine=machine, slots=slots, pack_size=pack_size)


def default_root(request: RunRequest, machine: Machine) -> Path:
    """Return the default run directory for a request whose options are resolved."""
    jobs = len(slots_of(request, machine))  # independent of the number of runs
    return RunDir.default_root(request.plan, execution_of(placement_of(request, machine)), jobs=jobs)


def slots_of(request: RunRequest, machine: Machine, packs: int | None = None) -> tuple[Slot, ...]:
    """Return the requested slots, at most ``packs`` of them."""
    jobs = request.executor_type.jobs if request.jobs is None else request.jobs
    return choose_slots(
        machine.devices,
        machine.cores,
        device=request.device,
        jobs=jobs,
        threads=request.threads,
        tasks=packs,
        unusable=machine.unusable,
    )


def execution_of(placement: Placement) -> Execution:
    """Return the settings, other than the spec, that affect the bits of results."""
    return Execution.here(
        device_kind=placement.slots[0].device.kind,
        threads=placement.slots[0].threads,
        pack_size=placement.pack_size,
        machine=ANY if placement.nodes else placement.machine.fingerprint,
    )
