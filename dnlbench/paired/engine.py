"""One side of a session: an engine in a process of its own, seen through its run directory."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dnlbench.engine.launch import EngineProcess
from dnlbench.engine.request import RunRequest, write_request
from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.events import Command, Prepared
from dnlbench.paired.interpreter import Interpreter
from dnlbench.paired.schedule import Key, Role
from dnlbench.store import RunDir, RunFollower, SweepState, send_command

POLL_S = 0.05
"""Seconds between two looks: they cost next to nothing, and a turn that has ended is to be noticed."""
LEAVE_S = 60.0
"""How long an engine may take to put its runs aside and to save its profile."""
KEEP_S = 3600.0
"""The same of one that keeps its weights, which are read and written once more."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run of a turn ended."""

    key: Key
    status: str
    seconds: float
    """From when it was given its turn."""
    samples_per_s: float | None
    """Mean over its epochs; None of a study without any."""


class PairedEngine:
    """An engine whose runs wait for their turns."""

    def __init__(self, name: Role, request: RunRequest, interpreter: Interpreter) -> None:
        """Starts an engine, which ends with this process; what it prints goes to ``engine.log`` in its run directory."""
        assert request.run_dir is not None, "each side has one of its own"
        self.name = name
        self.run_dir = RunDir(request.run_dir)
        self._patience_s = KEEP_S if request.keep_weights else LEAVE_S
        self._interpreter = interpreter
        write_request(request, self.run_dir)
        self._engine = EngineProcess(
            self.run_dir, python=interpreter.path, environment=interpreter.environment, parent_pipe=True
        )
        self._process = self._engine.process
        self.waiting: dict[Key, str] = {}
        """Ids of the runs that have not had their turn."""

    @property
    def state(self) -> SweepState:
        return self._engine.journal.state

    @property
    def slots(self) -> int:
        return len(self.state.slots)

    @property
    def pack_size(self) -> int:
        return self.state.engine.pack_size if self.state.engine else 1

    @property
    def prepared(self) -> Prepared:
        """What it trains on, and what the user should know of how that was read; once it is prepared."""
        assert self.state.prepared is not None, "see `prepare`"
        return self.state.prepared

    @property
    def exit_code(self) -> int | None:
        """None while it is at work."""
        return self._process.poll()

    @property
    def has_saved(self) -> bool:
        """Whether it has saved a profile, once it has ended: one that was interrupted before its first turn has not."""
        return self.exit_code in (0, 1) or self.state.has_worked

    def prepare(self) -> None:
        """Waits until its data are loaded and its runs wait for their turns, or until it has found that none is left.

        Raises:
            ConfigurationError: if it ended before that, with what it said.
        """
        while True:
            ended = self.exit_code is not None  # asked first: its last events are read after that
            self._engine.journal.poll()
            if self.state.last_command is not None:  # its own: nobody else was told of it
                waiting = set(self.state.last_command.command.run_ids)
                self.waiting = {key: run for key, run in self.run_dir.read_run_ids().items() if run in waiting}
                return
            if ended and self.state.prepared and self.exit_code in (0, 1):
                return
            if ended:
                raise ConfigurationError(f"the {self.name} side, {self._interpreter.path}: {self._engine.problem()}")
            time.sleep(POLL_S)

    def run_group(self, keys: Sequence[Key]) -> Iterator[RunEnd]:
        """Has it do runs that wait, all at the same time, and tells of each as soon as it has ended.

        Raises:
            EngineError: if the engine ends before they do, with what it said.
        """
        runs = {key: self.waiting.pop(key) for key in keys}
        followers = {key: RunFollower(self.run_dir, run) for key, run in runs.items()}
        for key, follower in followers.items():
            follower.poll()
            if follower.history.ended and follower.history.ended.requested:  # somebody cancelled it while it waited
                del runs[key]
        began = time.time()
        self._release(list(runs.values()))
        while runs:
            has_exited = self.exit_code is not None
            for key in list(runs):
                before = followers[key].history.ended
                followers[key].poll()
                history = followers[key].history
                if history.ended is not None and history.ended != before:
                    del runs[key]
                    status, seconds = history.ended.status, history.ended.time - began
                    yield RunEnd(key=key, status=status, seconds=seconds, samples_per_s=history.samples_per_s)
            if runs and has_exited:
                raise EngineError(f"the {self.name} side ended in the middle of its turn: {self._engine.problem()}")
            time.sleep(POLL_S)

    def _release(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        with contextlib.suppress(FileNotFoundError):  # it has just ended, as its process will tell
            send_command(self.run_dir.control_path, Command(action="resume", run_ids=tuple(run_ids)))

    def finish(self) -> None:
        """Waits until it has saved its profile, which it does once nothing is left to do."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._patience_s)

    def interrupt(self) -> None:
        """Asks it to end as by Ctrl+C: a run under way is put aside, and a partial profile saved.

        Once only: to be asked again would interrupt it at that.
        """
        if self._process.poll() is None:
            self._process.terminate()

    def end(self) -> None:
        """Waits until it has ended, which it was asked to; in the end by force, with which its workers end too."""
        try:
            self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._engine.journal.poll()
