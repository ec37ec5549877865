"""Where a sweep is carried out, and where it lives.

What the request leaves open is as in a run directory that was begun, else as `dnlbench.engine.tuning` measured it, else by
default: a run with one thread for each core, or a run for each GPU, and no packs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dnlbench.engine.request import RunRequest
from dnlbench.errors import RunDirError
from dnlbench.events import CLUSTER
from dnlbench.executor.packing import count_packs, resolve_pack_size
from dnlbench.executor.ray.inventory import ClusterNode, capacity, device_of_any, kind_of, read_nodes
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.tuning import Trial, best, read_trials
from dnlbench.machine import Machine, Slot, read_machine
from dnlbench.store import ANY, Execution, RunDir

OnMessage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a sweep is carried out."""

    machine: Machine
    slots: tuple[Slot, ...]
    pack_size: int
    nodes: tuple[ClusterNode, ...] = ()
    """The machines of the cluster that it is carried out on; none for this machine alone."""


def find_run_dir(
    request: RunRequest, *, suffix: str = "", folder: Path = Path(), on_message: OnMessage | None = None
) -> Path:
    """Where a sweep lives: as asked, or one folder for all sweeps of a name that can share their runs.

    On a cluster it is the same folder whatever machines that has at the time. Where the code of custom networks has changed
    since, it is the first of ``<folder>-2``, ``-3``, … that holds no results of other code.
    """
    if request.run_dir is not None:
        return request.run_dir
    usual = _usual_root(request, folder)
    first = root = usual.with_name(usual.name + suffix)
    number, message = 1, ""
    while changed := RunDir(folder / root).changed_code(request.plan):
        number += 1
        earlier, root = root, first.with_name(f"{first.name}-{number}")
        message = f"{', '.join(changed)} changed since the runs in {earlier}; this sweep uses {root}"
    if message and on_message is not None:
        on_message(message)
    return root


def _usual_root(request: RunRequest, folder: Path) -> Path:
    if request.executor == "ray":
        return _cluster_root(request)
    machine = read_machine()
    return _default_root(resolve(request, machine, folder), machine)


def choose_placement(request: RunRequest, machine: Machine | None = None) -> Placement:
    """Where the runs of a request are carried out, and how many of them together.

    Raises:
        ConfigurationError: if that cannot be done as asked.
    """
    machine = machine or read_machine()
    if request.executor == "ray":
        return cluster_placement(_with_recorded(request, machine), machine)
    return placement_of(resolve(request, machine), machine)


def resolve(request: RunRequest, machine: Machine, folder: Path = Path()) -> RunRequest:
    """What the request leaves open as it was begun or tuned."""
    request = _with_recorded(request, machine)
    trials = _matching_trials(request, machine) if request.executor == "local" else []
    if not trials:
        return request
    tuned = [
        replace(request, jobs=trial.jobs, threads=trial.threads, pack=trial.pack_size)
        for trial in (best(trials), *trials)
    ]
    started = (
        variant for variant in (request, *tuned) if RunDir(folder / _default_root(variant, machine)).sweep_path.exists()
    )
    return tuned[0] if request.run_dir is not None else next(started, tuned[0])


def _matching_trials(request: RunRequest, machine: Machine) -> list[Trial]:
    """Those that have what the user has fixed."""
    asked = {"jobs": request.jobs, "threads": request.threads, "pack_size": request.pack}
    return [
        trial
        for trial in read_trials(request.plan, machine, slots_of(request, machine))
        if all(value in (None, getattr(trial, name)) for name, value in asked.items())
    ]


def _with_recorded(request: RunRequest, machine: Machine) -> RunRequest:
    """What is left open is as it is in a run directory that is gone on with."""
    if request.run_dir is None:
        return request
    try:
        recorded = RunDir(request.run_dir).read_execution()
    except RunDirError:
        return request
    if request.pack is None:
        request = replace(request, pack=recorded.pack_size)
    if request.executor == "ray":
        return replace(request, threads=request.threads or recorded.threads)
    on_cpu = recorded.device_kind == slots_of(request, machine)[0].device.kind == "cpu"
    if on_cpu and request.jobs is None and request.threads is None:
        request = replace(request, threads=recorded.threads)
    return request


def placement_of(request: RunRequest, machine: Machine) -> Placement:
    """As the request says, with defaults for what it leaves open."""
    pack_size = resolve_pack_size(request.plan, request.pack)
    slots = slots_of(request, machine, packs=count_packs(request.plan.runs, pack_size))
    return Placement(machine=machine, slots=slots, pack_size=pack_size)


def cluster_placement(request: RunRequest, machine: Machine) -> Placement:
    """Where the runs are carried out of the cluster that is connected to.

    Raises:
        ConfigurationError: if it has no such devices, or machines that cannot take part.
    """
    nodes = read_nodes()
    kind = kind_of(nodes, request.device)
    threads = request.threads or 1
    room = capacity(nodes, kind, threads)
    pack_size = resolve_pack_size(request.plan, request.pack)
    jobs = min(request.jobs or room, count_packs(request.plan.runs, pack_size))
    slot = Slot(name=CLUSTER, device=device_of_any(nodes, kind), threads=threads)
    slots = tuple(slot.model_copy(update={"name": f"{CLUSTER}/{number}"}) for number in range(jobs))
    return Placement(machine=machine, slots=slots, pack_size=pack_size, nodes=nodes)


def _cluster_root(request: RunRequest) -> Path:
    execution = Execution.here(
        device_kind=request.device,
        threads=request.threads or 1,
        pack_size=resolve_pack_size(request.plan, request.pack),
        machine=ANY,
    )
    return RunDir.default_root(request.plan, execution, jobs=request.jobs or 0)


def _default_root(request: RunRequest, machine: Machine) -> Path:
    jobs = len(slots_of(request, machine))  # not fewer if the sweep happens to have few runs
    return RunDir.default_root(request.plan, execution_of(placement_of(request, machine)), jobs=jobs)


def slots_of(request: RunRequest, machine: Machine, packs: int | None = None) -> tuple[Slot, ...]:
    """Those that a request asks for; not more than ``packs``, if that is given."""
    jobs = 1 if request.executor == "inline" and request.jobs is None else request.jobs
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
    """What the bits of results depend on, beside the spec."""
    return Execution.here(
        device_kind=placement.slots[0].device.kind,
        threads=placement.slots[0].threads,
        pack_size=placement.pack_size,
        machine=ANY if placement.nodes else placement.machine.fingerprint,
    )
