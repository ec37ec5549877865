"""One worker process, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from dnlbench.events import RunError
from dnlbench.executor.base import SILENCE_S, Attempts, Cause, WorkerFailure
from dnlbench.executor.child import Child
from dnlbench.machine import Slot, oom_kills
from dnlbench.store import RunDir

START_S = 300.0
"""How long a worker may take to import torch, which is long from a cold or distant disk."""
LEAVE_S = 3.0
"""How long a worker may take to leave once its pipe is closed."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that no device and hardly a network sends: somebody wanted the process to end."""


class WorkerProcess(Child):
    """A child that carries out runs; `dnlbench.executor.worker` is the other side."""

    def __init__(self, run_dir: RunDir, slot: Slot, checkpoint_s: float) -> None:
        self.slot = slot
        self.job: Attempts | None = None
        """What it is at."""
        log = run_dir.slot_log_path(slot.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            arguments = str(run_dir.root), slot.model_dump_json(), str(checkpoint_s)
            super().__init__("dnlbench.executor.worker", *arguments, slot=slot, log=output)
        self._torn = b""
        self._ready = self._begun = False
        self._launched = self._heard = time.monotonic()
        self._oom_kills = oom_kills()

    @property
    def is_ready(self) -> bool:
        """Whether it has imported torch, and lives."""
        return self._ready and self.poll() is None

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

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The replies to commands that have come in, and whether the worker has closed its side."""
        content = os.read(self.replies, 1 << 16)
        *lines, self._torn = (self._torn + content).split(b"\n")
        self._heard = time.monotonic()
        messages = [json.loads(line) for line in lines]
        self._ready = self._ready or any("ready" in message for message in messages)
        self._begun = self._begun or any("begun" in message for message in messages)
        return [message for message in messages if not message.keys() & {"ready", "beat", "begun"}], not content

    def refusal(self, reply: Mapping[str, Any]) -> WorkerFailure | None:
        """What a reply says of runs that the worker could not carry out, through no fault of theirs."""
        refused = reply.get("refused")
        if not refused:
            return None
        error = RunError(type=refused["type"], message=refused["message"])
        return WorkerFailure(cause=reply.get("blame") or "process", error=error)

    def see_off(self, patience_s: float) -> WorkerFailure:
        """Waits for its end, by force if it lingers, and says how it ended."""
        self.close_input()
        os.close(self.replies)
        try:
            code = self.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.wait()
        return self._how_it_ended(code)

    def _how_it_ended(self, code: int) -> WorkerFailure:
        who, when = f"the worker process {self.process.pid}", "in mid-run" if self._begun else "before it began its run"
        if code >= 0:
            return self._lost("process", "WorkerLost", f"{who} ended with code {code} {when}")
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            remedy = "fewer --jobs leave more for each run"
            return self._lost("host-memory", "HostOutOfMemory", f"{who} was ended by the system {when}: {remedy}")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause: Cause = "killed" if -code in FROM_OUTSIDE else "process"
        return self._lost(cause, "WorkerLost", f"{who} was ended by {name} {when}")

    def _lost(self, cause: Cause, kind: str, message: str) -> WorkerFailure:
        return WorkerFailure(cause=cause, error=RunError(type=kind, message=message), begun=self._begun)
