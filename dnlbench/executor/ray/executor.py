"""An executor whose slots are on the machines of a Ray cluster.

Each slot is a resource claim. Ray finds a machine for it, assigns the GPU, and reports if the machine is lost. An actor on
that machine is the slot's remote worker, which runs a local executor; the event replica writes what the worker reports.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dnlbench import units
from dnlbench.errors import EngineError
from dnlbench.events import Prepared, RunError
from dnlbench.executor.base import Attempts, Executor, SlotFreed, WorkerFailure
from dnlbench.executor.processes import error_in
from dnlbench.executor.ray.actors import Actors, Handle, Kind
from dnlbench.executor.ray.claims import INITIAL_CLAIM_BYTES, Claims, claim_fits
from dnlbench.executor.ray.failures import MAX_DEATHS, Backoff, failure_of, is_crowded
from dnlbench.executor.ray.head import Head
from dnlbench.executor.ray.inventory import ClusterNode
from dnlbench.executor.ray.messages import Report, WorkerConfig
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.files import is_disk_full, write_atomically
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.store import RunDir

ROOM_TIMEOUT_S = 10.0
"""Time without free resources after which the user is told what the sweep waits for."""
POLL_INTERVAL_S = 0.5
"""Seconds between two checks for resources."""


class RayExecutor(Executor):
    """An executor whose slots are wherever Ray has resources. The connection to Ray must outlive it."""

    def __init__(
        self,
        run_dir: RunDir,
        slots: Sequence[Slot],
        *,
        checkpoint_s: float,
        plan: Plan,
        pack_size: int,
        nodes: Sequence[ClusterNode],
        head: Head | None = None,
        on_message: Callable[[str], None] = lambda message: None,
        actor: type | None = None,
    ) -> None:
        """Make no call to Ray yet.

        Args:
            run_dir: the engine's run directory.
            slots: slots of the sweep, all of the same kind.
            checkpoint_s: maximum seconds between checkpoints.
            plan: the plan of the sweep.
            pack_size: maximum number of runs in a pack.
            nodes: machines of the cluster.
            head: the cluster's head, which is checked regularly.
            on_message: called with a text while the sweep waits for resources.
            actor: see `Actors`.
        """
        self._run_dir, self._slots, self._plan, self._pack_size = run_dir, slots, plan, pack_size
        self._head, self._on_message = head, on_message
        able = [node for node in nodes if node.cpus >= slots[0].threads] or nodes
        self._largest_bytes = max(node.memory_bytes for node in able)
        self._config = WorkerConfig(
            sweep=run_dir.sweep_path.read_bytes(),
            slots=len(slots),
            checkpoint_s=checkpoint_s,
            folder=Path.cwd(),
            run_dir=run_dir.root.resolve(),
            secret=secrets.token_hex(16),
            names={node.node_id: node.name for node in nodes},
        )
        self._actors = Actors(self._config, actor)
        self._backoff = Backoff()
        self._replica = EventReplica(run_dir)
        self._prepared: Prepared | None = None
        self._claims: Claims | None = None
        self._returned: list[SlotFreed] = []
        """Slots whose runs never reached a remote worker."""
        self._is_crowded = False

    def prepare(self) -> Prepared:
        """Wait for resources for one remote worker, which loads the data and checks the plan."""
        write_atomically(self._run_dir.secret_path, self._config.secret.encode())
        slot, started, reported = self._slots[0], time.monotonic(), False
        while self._prepared is None:
            self.warm_up(slot)
            self.wait(POLL_INTERVAL_S)
            handle = self._actors.of(slot)
            has_placement = handle is not None and handle.placement is not None
            if not (reported or has_placement) and time.monotonic() - started > ROOM_TIMEOUT_S:
                reported = True
                self._on_message(f"waiting for free resources on the cluster: {_claimed(slot, INITIAL_CLAIM_BYTES)}")
        self._claims = Claims(
            self._plan,
            self._prepared.data,
            self._slots,
            left=[run for run in self._plan.runs if not self._run_dir.read_history(run).done],
            pack_size=self._pack_size,
            largest_bytes=self._largest_bytes,
            measured=self._prepared.memory,
        )
        return self._prepared

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Pass the runs to the slot's remote worker. Replace the worker if its memory claim is too small or far too large."""
        assert self._claims is not None, "prepare comes first"
        needed = self._claims.of(attempts)
        handle = self._actors.of(slot)
        if handle is not None and not claim_fits(handle.memory_bytes, needed):
            self.end(slot)
            handle = None
        handle = handle or self._spawn(slot, needed)
        handle.job, handle.is_warm = attempts, False
        try:
            self._replica.begin(attempts, time.time())
            shared = handle.placement is not None and handle.placement.sees_run_dir
            states = self._replica.resume_states(attempts, shared=shared)
        except OSError as error:
            self._returned += self._give_up_for_disk(handle, error)
            return
        self._actors.expect(handle, "done", handle.actor.start.remote(dict(attempts), states))

    def warm_up(self, slot: Slot) -> None:
        """Request resources for the slot if it has no remote worker. The remote worker starts its own worker process."""
        if self._actors.of(slot) or self._is_crowded or self._backoff.remaining_s(slot.name):
            return
        self._spawn(slot, self._claims.of_slot(self._slots.index(slot)) if self._claims else INITIAL_CLAIM_BYTES)

    def is_open(self, slot: Slot) -> bool:
        """Return True if the slot has a machine whose worker has accepted the plan."""
        handle = self._actors.of(slot)
        return handle is not None and handle.is_ready

    def is_warm(self, slot: Slot) -> bool:
        handle = self._actors.of(slot)
        return handle is not None and handle.is_warm

    def suspend(self, slot: Slot) -> None:
        """Forward the request to the remote worker. Runs that still wait for resources are returned."""
        handle = self._actors.of(slot)
        if handle is None or handle.job is None:
            return
        if handle.placement is None:
            self._returned.append(SlotFreed(slot=slot, run_ids=tuple(handle.job)))
            self.end(slot)
        else:
            handle.actor.suspend.options(concurrency_group="suspend").remote(dict(handle.job))

    def end(self, slot: Slot) -> None:
        """Kill the remote worker and its worker process. The slot has to wait for resources again."""
        handle = self._actors.of(slot)
        if handle is not None:
            if handle.job is not None:
                self._replica.end(handle.job)
            self._actors.kill(handle)

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Process the results of all remote workers.

        Raises:
            EngineError: if the cluster is gone, or if remote workers keep dying.
        """
        if self._head is not None:
            self._head.require()
        deadline = time.monotonic() + timeout_s
        freed, self._returned = self._returned, []
        self._make_room()
        while not freed:
            if self._prepared is not None:
                self._actors.poll()
            freed = [slot for answer in self._actors.answers(deadline) for slot in self._take(*answer)]
            if time.monotonic() >= deadline:
                break
        return freed

    def heartbeat_age_s(self, slot: Slot) -> float:
        """Return the seconds since the last heartbeat of the worker; 0 while it waits for resources."""
        handle = self._actors.of(slot)
        return handle.heartbeat_age_s(self._actors.poll_s) if handle is not None else 0.0

    def close(self) -> None:
        self._actors.close()
        with suppress(OSError):
            self._run_dir.secret_path.unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Kill idle remote workers if runs starve, since they may occupy the resources that these runs need."""
        self._is_crowded = is_crowded(handle.starved_s for handle in self._actors)
        if self._is_crowded:
            for handle in self._actors:
                if handle.job is None:
                    self.end(handle.slot)

    def _spawn(self, slot: Slot, wanted_bytes: int) -> Handle:
        handle = self._actors.spawn(slot, min(wanted_bytes, self._largest_bytes))
        if self._prepared is not None:
            self._actors.expect(handle, "done", handle.actor.take_over.remote(self._prepared))
        return handle

    def _take(self, handle: Handle, kind: Kind, answer: Any) -> Iterator[SlotFreed]:
        if isinstance(answer, Exception):
            yield from self._give_up(handle, self._count_death(handle, answer))
            return
        handle.heard()
        if kind == "placed":
            handle.placement = answer
        elif kind == "prepared":
            if not isinstance(answer, Prepared):
                raise error_in(answer) or EngineError(str(answer))
            self._prepared, handle.is_ready = answer, True
        if self._prepared is None:
            self._actors.expect(handle, "prepared", handle.actor.prepare.remote())
        elif kind != "done":
            self._actors.rest(handle)
        if kind == "report":
            yield from self._take_report(handle, answer)
            if handle.is_ready:
                self._backoff.reset(handle.slot.name)

    def _take_report(self, handle: Handle, report: Report) -> Sequence[SlotFreed]:
        handle.hears(report)
        try:
            for update in report.updates:
                self._replica.take(update, ahead_s=handle.ahead_s)
            self._replica.log(handle.slot.name, report.log)
        except OSError as error:
            return self._give_up_for_disk(handle, error)
        if report.freed is None or handle.job is None:
            return []
        self._replica.end(handle.job)
        handle.job = None
        return [SlotFreed(slot=handle.slot, run_ids=report.freed, failure=report.failure)]

    def _count_death(self, handle: Handle, error: Exception) -> WorkerFailure:
        """Log the death of a remote worker and start the slot's backoff.

        Raises:
            EngineError: if many of the slot's workers have died and no other slot has a ready one.
        """
        failure = failure_of(error, handle.where)
        self._replica.log(handle.slot.name, f"{failure.error.message}\n".encode())
        deaths = self._backoff.add(handle.slot.name)
        if deaths > MAX_DEATHS and not any(other.is_ready for other in self._actors if other is not handle):
            raise EngineError(
                f"{deaths} remote workers died on the cluster before they reported anything; the last error: "
                f"{failure.error.message}"
            )
        return failure

    def _give_up(self, handle: Handle, failure: WorkerFailure) -> Sequence[SlotFreed]:
        """Kill a remote worker and return its slot with its runs."""
        job = handle.job
        self.end(handle.slot)
        return [SlotFreed(slot=handle.slot, run_ids=tuple(job), failure=failure)] if job else []

    def _give_up_for_disk(self, handle: Handle, error: OSError) -> Sequence[SlotFreed]:
        """Kill a remote worker because the engine's disk is full.

        Raises:
            OSError: if the error has another reason.
        """
        if not is_disk_full(error):
            raise error
        run_error = RunError(type=type(error).__name__, message=str(error))
        return self._give_up(handle, WorkerFailure(cause="disk", error=run_error))


def _claimed(slot: Slot, memory_bytes: int) -> str:
    """Describe a claim: ``1 CPU, a GPU and 1.0 GiB``."""
    gpu = ", a GPU" if slot.device.kind == "cuda" else ""
    return f"{slot.threads} CPU{'s' if slot.threads > 1 else ''}{gpu} and {units.size(memory_bytes)}"
