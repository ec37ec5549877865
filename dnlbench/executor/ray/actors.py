"""The actors on a Ray cluster: one remote worker for each slot, and its pending calls."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from dnlbench.executor.base import Attempts
from dnlbench.executor.ray.inventory import name_of_newcomer
from dnlbench.executor.ray.messages import Placement, Report, WorkerConfig
from dnlbench.executor.ray.remote_worker import RemoteWorker
from dnlbench.machine import Slot

POLL_S = 0.5
"""Maximum time that a call of `RemoteWorker.poll` waits for something to report."""
POLLS_PER_S = 400
"""Maximum rate of empty reports from all remote workers together. With many workers, each is polled less often."""
GATHER_S, LONGEST_GATHER_S = 5e-5, 0.1
"""Time for which results are collected before they are read, per pending call, and its maximum. Asking Ray which calls have
finished takes time for each of them."""
LEAVE_S = 5.0
"""Time that remote workers get to clean up."""

Kind = Literal["placed", "prepared", "report", "done"]


@dataclass(eq=False)
class Handle:
    """The engine's handle of a slot's remote worker."""

    slot: Slot
    actor: Any
    memory_bytes: int
    placement: Placement | None = None
    """None while Ray has no free resources for it."""
    job: Attempts | None = None
    is_warm: bool = False
    is_ready: bool = False
    ahead_s: float = math.inf
    """Offset of the engine's clock from the worker's clock: the smallest one observed, since reports take time to arrive."""
    _heard: float = field(default_factory=lambda: time.monotonic())
    _worker_heartbeat_age_s: float = 0.0

    @property
    def where(self) -> str:
        """The slot and, if known, its machine: ``ray/3 on node-name``."""
        node = self.placement.slot.node if self.placement else None
        return f"{self.slot.name} on {node.name}" if node else self.slot.name

    def heard(self) -> None:
        self._heard = time.monotonic()

    def hears(self, report: Report) -> None:
        self.ahead_s = min(self.ahead_s, time.time() - report.time)
        self.is_warm, self.is_ready = report.is_warm, self.is_ready or report.is_ready
        self._worker_heartbeat_age_s = report.heartbeat_age_s

    @property
    def starved_s(self) -> float:
        """Seconds that its runs have waited for resources; 0 without runs or once it has been placed."""
        return time.monotonic() - self._heard if self.job is not None and self.placement is None else 0.0

    def heartbeat_age_s(self, patience_s: float) -> float:
        """Return the seconds since the last heartbeat, less the ``patience_s`` that a reply may take; 0 before it is placed."""
        if self.placement is None:
            return 0.0
        return max(self._worker_heartbeat_age_s, time.monotonic() - self._heard - patience_s)


class Actors:
    """Create, call and kill actors. Ray itself retries nothing; the scheduler does, because it knows what was saved."""

    def __init__(self, config: WorkerConfig, actor: type | None) -> None:
        """Make no call to Ray yet. ``actor`` replaces the real remote workers, for benchmarks."""
        self._config, self._actor = config, actor or RayRemoteWorker
        self._handles: dict[str, Handle] = {}
        self._awaited: dict[Any, tuple[Handle, Kind]] = {}
        self._idle: list[Handle] = []
        """Handles without a pending report. They are polled after all other calls have been sent."""

    @cached_property
    def _class(self) -> Any:
        import ray

        # no retries by Ray, and a separate queue for requests to suspend
        return ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"suspend": 1})(self._actor)

    @cached_property
    def _config_reference(self) -> Any:
        """A reference to the shared configuration, which saves a copy for each actor; the plan of a large sweep is large."""
        import ray

        return ray.put(self._config)

    def spawn(self, slot: Slot, memory_bytes: int) -> Handle:
        """Request resources for a slot's remote worker. The result has the kind ``placed``."""
        gpus = 1 if slot.device.kind == "cuda" else 0
        claim = {"num_cpus": slot.threads, "num_gpus": gpus, "memory": memory_bytes}
        actor = self._class.options(**claim).remote(self._config_reference, slot)
        handle = self._handles[slot.name] = Handle(slot=slot, actor=actor, memory_bytes=memory_bytes)
        self.expect(handle, "placed", actor.describe.remote())
        return handle

    def of(self, slot: Slot) -> Handle | None:
        return self._handles.get(slot.name)

    def kill(self, handle: Handle) -> None:
        """Kill a remote worker and drop its pending calls."""
        import ray

        del self._handles[handle.slot.name]
        self._awaited = {answer: entry for answer, entry in self._awaited.items() if entry[0] is not handle}
        self._idle = [other for other in self._idle if other is not handle]
        ray.kill(handle.actor, no_restart=True)

    def expect(self, handle: Handle, kind: Kind, answer: object) -> None:
        self._awaited[answer] = handle, kind

    def rest(self, handle: Handle) -> None:
        """Include the remote worker in the next poll, because it has no pending call."""
        self._idle.append(handle)

    def poll(self) -> None:
        """Request reports from all remote workers without a pending call."""
        for handle in self._idle:
            self.expect(handle, "report", handle.actor.poll.remote(self.poll_s))
        self._idle = []

    @property
    def poll_s(self) -> float:
        return max(POLL_S, len(self._handles) / POLLS_PER_S)

    def answers(self, deadline: float) -> Iterator[tuple[Handle, Kind, Any]]:
        """Yield the results that arrive before the deadline. An error of Ray replaces a result that cannot arrive."""
        import ray

        left, awaited = max(0.0, deadline - time.monotonic()), list(self._awaited)
        if not awaited:
            time.sleep(left)
        elif ray.wait(awaited, num_returns=1, timeout=left)[0]:
            gather_s = min(LONGEST_GATHER_S, GATHER_S * len(awaited))
            time.sleep(max(0.0, min(gather_s, deadline - time.monotonic())))
            for answer in ray.wait(awaited, num_returns=len(awaited), timeout=0)[0]:
                if answer not in self._awaited:
                    continue  # its worker was killed because of another result in this batch
                handle, kind = self._awaited.pop(answer)
                try:
                    result = ray.get(answer)
                except ray.exceptions.RayError as error:
                    result = error
                yield handle, kind, result

    def close(self) -> None:
        """Let all remote workers clean up, then kill them."""
        import ray

        answers = [handle.actor.close.remote() for handle in self if handle.placement is not None]
        if answers:
            ray.wait(answers, num_returns=len(answers), timeout=LEAVE_S)
        for handle in self:
            self.kill(handle)

    def __iter__(self) -> Iterator[Handle]:
        return iter(list(self._handles.values()))


class RayRemoteWorker(RemoteWorker):
    """A remote worker in a Ray actor."""

    def __init__(self, config: WorkerConfig, slot: Slot) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        offer = next((node for node in ray.nodes() if node["NodeID"] == here), {"NodeID": here, "Resources": {}})
        name = config.names.get(here) or name_of_newcomer(offer, config.names.values())
        super().__init__(config, slot, name=name, cpus=float(offer["Resources"].get("CPU", 0.0)))
        threading.Thread(target=self._leave_with_raylet, args=(os.getppid(),), daemon=True).start()

    def _leave_with_raylet(self, raylet: int) -> None:
        """Exit when the raylet of this machine is gone; otherwise the process would wait for calls forever."""
        while os.getppid() == raylet:
            time.sleep(1.0)
        self.clear_up()
        os._exit(1)
