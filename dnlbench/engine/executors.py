"""Executors by name: how each places a sweep, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dnlbench.engine.placement import Placement, default_root, placement_of, read_recorded, resolve
from dnlbench.events import CLUSTER
from dnlbench.executor.base import Executor
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.packing import count_packs, resolve_pack_size
from dnlbench.executor.ray.connecting import connected, head_address
from dnlbench.executor.ray.executor import RayExecutor
from dnlbench.executor.ray.head import Head
from dnlbench.executor.ray.inventory import capacity, device_of_any, kind_of, read_nodes
from dnlbench.machine import Machine, Slot, read_machine
from dnlbench.registry import DeclaredParts
from dnlbench.store import ANY, Execution, RunDir

if TYPE_CHECKING:
    from dnlbench.engine.request import RunRequest


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A sweep for which an executor is opened."""

    request: RunRequest
    run_dir: RunDir
    """The run directory, which contains the plan."""
    placement: Placement
    slots: tuple[Slot, ...]
    """The slots of the placement that have work."""
    on_message: Callable[[str], None]
    """Shows a message to the user."""


@dataclass(frozen=True, kw_only=True)
class ExecutorType:
    """The declaration of an executor. The methods place a sweep on this machine; a cluster overrides them."""

    summary: str
    create: Callable[[Opening], Executor]
    """Creates the executor. It starts no worker before `Executor.prepare`."""
    jobs: int | None = None
    """Default number of runs at a time. None: one for each core, or for each GPU."""
    tuned: bool = False
    """The measurements of ``dnlbench tune`` apply."""
    has_logs: bool = False
    """Workers write logs into the run directory, which messages refer to."""
    on_this_machine: bool = True
    """Runs never leave this machine, as paired benchmarks require."""

    def connected(self, request: RunRequest) -> AbstractContextManager[None]:
        """Return the context in which a sweep is placed and runs."""
        return nullcontext()

    def default_root(self, request: RunRequest, folder: Path) -> Path:
        """Return the default run directory, relative to ``folder``. It is called without a connection."""
        machine = read_machine()
        return default_root(resolve(request, machine, folder), machine)

    def choose_placement(self, request: RunRequest, machine: Machine) -> Placement:
        """Return the slots and the pack size for a request.

        Raises:
            ConfigurationError: if the requested devices or numbers are not available.
        """
        return placement_of(resolve(request, machine), machine)


class _Cluster(ExecutorType):
    """An executor on a Ray cluster."""

    def connected(self, request: RunRequest) -> AbstractContextManager[None]:
        return connected(request.ray_address, insecure=request.ray_insecure)

    def default_root(self, request: RunRequest, folder: Path) -> Path:
        """Return a folder that does not depend on the current machines of the cluster."""
        execution = Execution.here(
            device_kind=request.device,
            threads=request.threads or 1,
            pack_size=resolve_pack_size(request.plan, request.pack),
            machine=ANY,
        )
        return RunDir.default_root(request.plan, execution, jobs=request.jobs or 0)

    def choose_placement(self, request: RunRequest, machine: Machine) -> Placement:
        if recorded := read_recorded(request):
            threads, pack = request.threads or recorded.threads, request.pack or recorded.pack_size
            request = replace(request, threads=threads, pack=pack)
        nodes = read_nodes()
        kind = kind_of(nodes, request.device)
        threads = request.threads or 1
        room = capacity(nodes, kind, threads)
        pack_size = resolve_pack_size(request.plan, request.pack)
        jobs = min(request.jobs or room, count_packs(request.plan.runs, pack_size))
        slot = Slot(name=CLUSTER, device=device_of_any(nodes, kind), threads=threads)
        slots = tuple(slot.model_copy(update={"name": f"{CLUSTER}/{number}"}) for number in range(jobs))
        return Placement(machine=machine, slots=slots, pack_size=pack_size, nodes=nodes)


def _create_ray(opening: Opening) -> Executor:
    return RayExecutor(
        opening.run_dir,
        opening.slots,
        checkpoint_s=opening.request.checkpoint_s,
        plan=opening.request.plan,
        pack_size=opening.placement.pack_size,
        nodes=opening.placement.nodes,
        head=Head(head_address()),
        on_message=opening.on_message,
    )


EXECUTORS = DeclaredParts(
    kind="executor",
    built_in={
        "local": ExecutorType(
            summary="Train in worker processes on this machine.",
            create=lambda opening: LocalExecutor(
                opening.run_dir, opening.slots, checkpoint_s=opening.request.checkpoint_s
            ),
            tuned=True,
            has_logs=True,
        ),
        "inline": ExecutorType(
            summary="Train in this process, one run at a time, for debugging.",
            create=lambda opening: InlineExecutor(
                opening.run_dir, opening.slots, checkpoint_s=opening.request.checkpoint_s
            ),
            jobs=1,
        ),
        "ray": _Cluster(summary="Train on the machines of a Ray cluster.", create=_create_ray, on_this_machine=False),
    },
    declaration=ExecutorType,
)
"""Executors by their name in ``dnlbench run --executor``."""
