"""Worker processes on this machine, one warm process for each slot."""

from __future__ import annotations

import select
import selectors
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dnlbench.errors import DnlbenchError, EngineError
from dnlbench.events import Prepared, RunError
from dnlbench.executor.base import HEARTBEAT_TIMEOUT_S, Attempts, Cause, Executor, SlotFreed, WorkerFailure
from dnlbench.executor.processes import JsonLinesProcess, error_in
from dnlbench.machine import Slot, oom_kills
from dnlbench.store import RunDir

START_TIMEOUT_S = 300.0
"""Maximum time for a worker to import torch, which takes long from a cold or remote disk."""
EXIT_TIMEOUT_S = 3.0
"""Time that a worker gets to exit after its pipe was closed."""
MAX_IDLE_RESTARTS = 20
"""Maximum number of idle workers in a row that are replaced on one slot."""
EXTERNAL_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that neither a device nor, usually, a network sends: somebody stopped the process."""


class WorkerProcess(JsonLinesProcess):
    """A child process that executes runs; see `dnlbench.executor.worker` for its end of the pipe."""

    def __init__(self, run_dir: RunDir, slot: Slot, checkpoint_s: float) -> None:
        self.slot = slot
        self.job: Attempts | None = None
        log = run_dir.slot_log_path(slot.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            arguments = str(run_dir.root), slot.model_dump_json(), str(checkpoint_s)
            super().__init__("dnlbench.executor.worker", *arguments, slot=slot, log=output)
        self._ready = self._run_started = False
        self._launched = self._heard = time.monotonic()
        self._oom_kills = oom_kills()

    @property
    def is_ready(self) -> bool:
        """True if the process is alive and has imported torch."""
        return self._ready and self.poll() is None

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the last heartbeat; 0 while the process imports torch, unless that takes longer than the timeout."""
        now = time.monotonic()
        return now - self._heard if self._ready else max(0.0, now - self._launched - START_TIMEOUT_S)

    @property
    def is_late(self) -> bool:
        """True if the process did not start in time, or sent no heartbeat within the timeout."""
        return self.heartbeat_age_s > (HEARTBEAT_TIMEOUT_S if self._ready else 0.0)

    def begin(self, job: Attempts, prepared: Prepared) -> None:
        self.job, self._run_started, self._oom_kills = job, False, oom_kills()
        fields = {"data": prepared.data.model_dump(mode="json"), "code": prepared.code.model_dump()}
        self.send({"runs": dict(job), **fields})

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Read the replies that have arrived. The second value is True if the worker closed its end of the pipe."""
        messages, closed = self.receive()
        self._heard = time.monotonic()
        self._ready = self._ready or any("ready" in message for message in messages)
        self._run_started = self._run_started or any("started" in message for message in messages)
        return [message for message in messages if not message.keys() & {"ready", "heartbeat", "started"}], closed

    def dismiss(self, patience_s: float) -> WorkerFailure:
        """Wait until the process exits, kill it after ``patience_s`` seconds, and return how it ended."""
        code = self.leave(patience_s)
        who, when = (
            f"the worker process {self.process.pid}",
            "during a run" if self._run_started else "before it started its run",
        )
        cause: Cause = "killed" if -code in EXTERNAL_SIGNALS else "process"
        if code >= 0:
            error = RunError(type="WorkerLost", message=f"{who} exited with code {code} {when}")
        elif code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            cause, remedy = "host-memory", "use fewer --jobs, which leaves more memory for each run"
            error = RunError(
                type="HostOutOfMemory",
                message=f"{who} was killed by the system {when} because memory ran out: {remedy}",
            )
        else:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            error = RunError(type="WorkerLost", message=f"{who} was killed by {name} {when}")
        return WorkerFailure(cause=cause, error=error, started=self._run_started)


class LocalExecutor(Executor):
    """Worker processes, one for each slot. A worker that exited is replaced when its slot needs one."""

    def __init__(self, run_dir: RunDir, slots: Sequence[Slot], *, checkpoint_s: float) -> None:
        self._run_dir = run_dir
        self._slots = slots
        self._checkpoint_s = checkpoint_s
        self._prepared: Prepared | None = None
        self.has_checked = False
        """True if a worker of this executor has loaded the data and accepted the plan."""
        self.preparation_error: DnlbenchError | None = None
        """The error that an idle worker reported while it loaded the data or checked the plan."""
        self._workers: dict[str, WorkerProcess] = {}
        self._idle_restarts: Counter[str] = Counter()
        """Number of workers started without a run since the slot's last run ended."""
        self._selector = selectors.DefaultSelector()

    def prepare(self) -> Prepared:
        """Start all workers. Only the first one touches the data at first, so that a download happens once."""
        for slot in self._slots:
            self._launch(slot)
        first, *others = self._workers.values()
        self._prepared, self.has_checked = self._prepare(first), True
        for worker in others:
            worker.send({"prepare": True})  # they load the data in the background
        return self._prepared

    def _prepare(self, worker: WorkerProcess) -> Prepared:
        worker.send({"prepare": True})
        while not worker.is_late:
            if not select.select([worker.replies], [], [], 1.0)[0]:
                continue
            replies, closed = worker.read()
            for reply in replies:
                if error := error_in(reply):
                    raise error
                return Prepared.model_validate(reply["prepared"])
            if closed:
                break
        worker.kill()
        log = self._run_dir.slot_log_path(worker.slot.name)
        how = self._dismiss(worker).error.message.replace("before it started its run", "before it was ready")
        custom_networks = sorted(self._run_dir.read_plan().custom_networks)
        suspects = f". A custom network may have ended it: {', '.join(custom_networks)}" if custom_networks else ""
        raise EngineError(f"{how}{suspects}. Its log: {log}")

    @property
    def is_prepared(self) -> bool:
        return self._prepared is not None

    def take_over(self, prepared: Prepared) -> None:
        """Use the result of another executor's `prepare`, which then need not be called here."""
        self._prepared = prepared

    def start(self, slot: Slot, attempts: Attempts) -> None:
        worker = self._workers.get(slot.name)
        if worker is not None and worker.poll() is not None:  # it exited while it was idle
            self._dismiss(worker)
            worker = None
        worker = worker or self._launch(slot)
        assert self._prepared is not None, "prepare comes first"
        worker.begin(attempts, self._prepared)

    def warm_up(self, slot: Slot) -> None:
        """Replace a worker that exited, a limited number of times. After that, the next run reports the problem."""
        worker = self._workers.get(slot.name)
        if worker is not None and worker.poll() is None:
            return
        if worker is not None:
            self._dismiss(worker)
        if self._idle_restarts[slot.name] < MAX_IDLE_RESTARTS:
            self._idle_restarts[slot.name] += 1
            self._launch(slot).send({"prepare": True})

    def is_warm(self, slot: Slot) -> bool:
        worker = self._workers.get(slot.name)
        return worker is not None and worker.is_ready

    def suspend(self, slot: Slot) -> None:
        """Send a message to the worker, which saves a checkpoint and stays alive."""
        worker = self._workers.get(slot.name)
        if worker is not None and worker.job is not None:
            worker.send({"suspend": dict(worker.job)})

    def end(self, slot: Slot) -> None:
        """Send SIGKILL to the worker and its children, which also ends stopped processes."""
        worker = self._workers.get(slot.name)
        if worker is not None:
            worker.kill()
            self._dismiss(worker)

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        freed: list[SlotFreed] = []
        deadline = time.monotonic() + timeout_s
        for worker in self._workers.values():
            worker.poll()  # kills descendants of a dead worker, which may keep its pipe open
        while True:
            left = deadline - time.monotonic()
            for key, _ in self._selector.select(max(0.0, left)):
                freed += list(self._read_replies(key.data))
            if freed or left <= 0:
                return freed

    def heartbeat_age_s(self, slot: Slot) -> float:
        worker = self._workers.get(slot.name)
        return worker.heartbeat_age_s if worker is not None else 0.0

    def _read_replies(self, worker: WorkerProcess) -> Iterator[SlotFreed]:
        replies, closed = worker.read()
        for reply in replies:
            self.has_checked |= "prepared" in reply
            if worker.job is None:
                self.preparation_error = error_in(reply) or self.preparation_error
            if "prepared" not in reply and worker.job is not None:
                job, worker.job = worker.job, None
                self._idle_restarts[worker.slot.name] = 0
                yield SlotFreed(slot=worker.slot, run_ids=tuple(job), failure=_failure(reply))
        if closed or any(reply.get("exiting") for reply in replies):
            how = self._dismiss(worker)
            if worker.job is not None:
                yield SlotFreed(slot=worker.slot, run_ids=tuple(worker.job), failure=how)

    def _launch(self, slot: Slot) -> WorkerProcess:
        worker = WorkerProcess(self._run_dir, slot, self._checkpoint_s)
        self._workers[slot.name] = worker
        self._selector.register(worker.replies, selectors.EVENT_READ, worker)
        return worker

    def _dismiss(self, worker: WorkerProcess, patience_s: float = EXIT_TIMEOUT_S) -> WorkerFailure:
        self._selector.unregister(worker.replies)
        del self._workers[worker.slot.name]
        return worker.dismiss(patience_s)

    def close(self) -> None:
        """Close the pipes of all workers first, so that they exit at the same time."""
        for worker in self._workers.values():
            worker.close_input()
        deadline = time.monotonic() + EXIT_TIMEOUT_S
        for worker in list(self._workers.values()):
            self._dismiss(worker, patience_s=max(0.0, deadline - time.monotonic()))
        self._selector.close()


def _failure(reply: Mapping[str, Any]) -> WorkerFailure | None:
    """Return the failure if a reply reports one that is not the fault of its runs."""
    error = reply.get("refused")
    return WorkerFailure(cause=reply["blame"] or "process", error=RunError.model_validate(error)) if error else None
