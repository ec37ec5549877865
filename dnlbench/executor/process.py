"""One worker process, seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from dnlbench.events import RunError
from dnlbench.executor.base import SILENCE_S, Attempts, Cause, Loss
from dnlbench.machine import Slot, oom_kills
from dnlbench.store import RunDir

START_S = 300.0
"""How long a worker may take to import torch, which is long from a cold or distant disk."""
LEAVE_S = 3.0
"""How long a worker may take to leave once its pipe is closed."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that no device and hardly a network sends: somebody wanted the process to end."""


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
    """A child with a pipe for commands and one for replies; `dnlbench.executor.worker` is the other side."""

    def __init__(self, run_dir: RunDir, slot: Slot, checkpoint_s: float) -> None:
        self.slot = slot
        self.job: Attempts | None = None
        """What it is at."""
        log = run_dir.slot_log_path(slot.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        # -P: a file in the current folder must not hide an installed package
        command = [sys.executable, "-P", "-m", "dnlbench.executor.worker"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, str(run_dir.root), slot.model_dump_json(), str(checkpoint_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **environment_of(slot)},
                start_new_session=True,  # Ctrl+C in the terminal is for the engine, which ends its workers itself
            )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        self._torn = b""
        self._ready = self._begun = False
        self._launched = self._heard = time.monotonic()
        self._oom_kills = oom_kills()

    @property
    def is_ready(self) -> bool:
        """Whether it has imported torch, and lives."""
        return self._ready and self.process.poll() is None

    @property
    def silent_s(self) -> float:
        """Seconds without a sign of life, which it gives every second once torch is imported."""
        now = time.monotonic()
        return now - self._heard if self._ready else max(0.0, now - self._launched - START_S)

    @property
    def is_late(self) -> bool:
        """Whether it should have been ready long ago, or has fallen silent."""
        return self.silent_s > (SILENCE_S if self._ready else 0.0)

    def begin(self, job: Attempts) -> None:
        """Takes note of what it is at from now on."""
        self.job = job
        self._begun = False
        self._oom_kills = oom_kills()

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
        self._begun = self._begun or any("begun" in message for message in messages)
        return [message for message in messages if not message.keys() & {"ready", "beat", "begun"}], not content

    def refusal(self, reply: Mapping[str, Any]) -> Loss | None:
        """What a reply says of runs that the worker could not carry out, through no fault of theirs."""
        refused = reply.get("refused")
        if not refused:
            return None
        error = RunError(type=refused["type"], message=refused["message"])
        return Loss(cause=reply.get("blame") or "process", error=error)

    def kill(self) -> None:
        """Ends it and all its children at once; a stopped process too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of one that has just died
            os.killpg(self.process.pid, signal.SIGKILL)

    def close_pipe(self) -> None:
        """Tells it to leave."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def see_off(self, patience_s: float) -> Loss:
        """Waits for its end, by force if it lingers, and says how it ended."""
        self.close_pipe()
        assert self.process.stdout is not None
        self.process.stdout.close()
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        return self._how_it_ended(code)

    def _how_it_ended(self, code: int) -> Loss:
        who, when = f"the worker process {self.process.pid}", "in mid-run" if self._begun else "before it began its run"
        if code >= 0:
            return self._lost("process", "WorkerLost", f"{who} ended with code {code} {when}")
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            remedy = "fewer --jobs leave more for each run"
            return self._lost("host-memory", "HostOutOfMemory", f"{who} was ended by the system {when}: {remedy}")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause: Cause = "killed" if -code in FROM_OUTSIDE else "process"
        return self._lost(cause, "WorkerLost", f"{who} was ended by {name} {when}")

    def _lost(self, cause: Cause, kind: str, message: str) -> Loss:
        return Loss(cause=cause, error=RunError(type=kind, message=message), begun=self._begun)
