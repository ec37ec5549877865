"""Worker processes on this machine, one warm process for each slot."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dnlbench.errors import EngineError, rebuild
from dnlbench.events import Prepared, RunError
from dnlbench.executor.base import SlotFreed
from dnlbench.machine import Slot
from dnlbench.store import RunDir

SILENCE_S = 60.0
"""How long a worker may give no sign of life, which it does every second, before it counts as lost."""
START_S = 300.0
"""The same while it imports torch, which takes long from a cold or distant disk."""
LEAVE_S = 3.0
"""How long a worker may take to leave once its pipe is closed."""


def environment_of(slot: Slot) -> Mapping[str, str]:
    """What has to be set before a worker imports torch: the one device it sees, and the threads of its libraries."""
    threads = str(slot.threads)
    return {
        "CUDA_VISIBLE_DEVICES": slot.device.uuid or str(slot.device.index) if slot.device.kind == "cuda" else "",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


class WorkerProcess:
    """One worker, seen from outside."""

    def __init__(self, run_dir: RunDir, slot: Slot) -> None:
        self.slot = slot
        self.run_id: str | None = None
        log = run_dir.slot_log_path(slot.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                # -P: a file in the current folder must not hide an installed package
                [sys.executable, "-P", "-m", "dnlbench.executor.worker", str(run_dir.root), slot.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **environment_of(slot)},
                start_new_session=True,  # Ctrl+C in the terminal is for the engine, which ends its workers itself
            )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        self._torn = b""
        self._ready = False
        self._heard = time.monotonic()

    def is_silent(self, silence_s: float) -> bool:
        """Whether it has given no sign of life for too long: it is stopped, or its machine is."""
        return time.monotonic() - self._heard > (silence_s if self._ready else START_S)

    def send(self, command: Mapping[str, Any]) -> None:
        """Gives a command. A worker that is gone does not take it; its closed pipe tells."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The replies to commands that have come in, and whether the worker has closed its side."""
        content = os.read(self.output, 1 << 16)
        *lines, self._torn = (self._torn + content).split(b"\n")
        self._heard = time.monotonic()
        messages = [json.loads(line) for line in lines]
        self._ready = self._ready or any("ready" in message for message in messages)
        return [message for message in messages if "ready" not in message and "beat" not in message], not content

    def kill(self) -> None:
        """Ends it and all its children at once; a stopped process too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, patience_s: float = LEAVE_S) -> RunError:
        """Sees the worker off, by force if it lingers, and says how it ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        return _how_it_ended(self.process.pid, code)


def _how_it_ended(pid: int, code: int) -> RunError:
    if code >= 0:
        return RunError(type="WorkerLost", message=f"the worker process {pid} ended with code {code} in mid-run")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    cause = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return RunError(type="WorkerLost", message=f"the worker process {pid} was ended by {name} in mid-run{cause}")


class LocalExecutor:
    """Worker processes, one for each slot. A worker that ended is replaced when its slot gets the next run."""

    def __init__(self, run_dir: RunDir, slots: Sequence[Slot], *, silence_s: float = SILENCE_S) -> None:
        self._run_dir = run_dir
        self._slots = slots
        self._silence_s = silence_s
        self._data_sha256 = ""
        self._workers: dict[str, WorkerProcess] = {}
        self._selector = selectors.DefaultSelector()

    def prepare(self) -> Prepared:
        """Starts all workers; the first one alone touches the data, so that a download happens once."""
        for slot in self._slots:
            self._launch(slot)
        first = self._workers[self._slots[0].name]
        first.send({"prepare": True})
        while not first.is_silent(self._silence_s):
            if not select.select([first.output], [], [], 1.0)[0]:
                continue
            replies, gone = first.read()
            for reply in replies:
                if "refused" in reply:
                    raise rebuild(reply["refused"]["type"], reply["refused"]["message"])
                prepared = Prepared.model_validate(reply["prepared"])
                self._data_sha256 = prepared.data.sha256
                return prepared
            if gone:
                break
        first.kill()
        log = self._run_dir.slot_log_path(first.slot.name)
        raise EngineError(
            f"{self._dismiss(first).message.replace('in mid-run', 'before it was ready')}. Its log: {log}"
        )

    def start(self, slot: Slot, run_id: str, attempt: int) -> None:
        """Gives the run to the slot's worker."""
        worker = self._workers.get(slot.name)
        if worker is not None and worker.process.poll() is not None:  # it ended while it had nothing to do
            self._dismiss(worker)
            worker = None
        worker = worker or self._launch(slot)
        worker.run_id = run_id
        worker.send({"run": run_id, "attempt": attempt, "data": self._data_sha256})

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Listens to all workers."""
        freed: list[SlotFreed] = []
        deadline = time.monotonic() + timeout_s
        while not freed and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                freed += list(self._listen_to(key.data))
            freed += list(self._end_the_silent())
        return freed

    def _end_the_silent(self) -> Iterator[SlotFreed]:
        for worker in list(self._workers.values()):
            if worker.is_silent(self._silence_s):
                worker.kill()
                self._dismiss(worker)
                if worker.run_id is not None:
                    message = (
                        f"the worker process {worker.process.pid} gave no sign of life for {self._silence_s:.0f} s"
                    )
                    yield SlotFreed(
                        slot=worker.slot, run_id=worker.run_id, lost=RunError(type="Silent", message=message)
                    )

    def _listen_to(self, worker: WorkerProcess) -> Iterator[SlotFreed]:
        replies, gone = worker.read()
        for reply in replies:
            run_id, worker.run_id = worker.run_id, None
            if run_id is not None:
                yield SlotFreed(slot=worker.slot, run_id=run_id, lost=_refusal(reply))
        if gone or any(reply["leaving"] for reply in replies):
            how = self._dismiss(worker)
            if worker.run_id is not None:
                yield SlotFreed(slot=worker.slot, run_id=worker.run_id, lost=how)

    def _launch(self, slot: Slot) -> WorkerProcess:
        worker = WorkerProcess(self._run_dir, slot)
        self._workers[slot.name] = worker
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _dismiss(self, worker: WorkerProcess, patience_s: float = LEAVE_S) -> RunError:
        self._selector.unregister(worker.output)
        del self._workers[worker.slot.name]
        return worker.end(patience_s)

    def close(self) -> None:
        """Closes every worker's pipe first, so that all leave at the same time."""
        for worker in self._workers.values():
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + LEAVE_S
        for worker in list(self._workers.values()):
            self._dismiss(worker, patience_s=max(0.0, deadline - time.monotonic()))
        self._selector.close()


def _refusal(reply: Mapping[str, Any]) -> RunError | None:
    refused = reply.get("refused")
    return RunError(type=refused["type"], message=refused["message"]) if refused else None
