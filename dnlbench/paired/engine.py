"""An engine of a paired benchmark: a separate process, observed through its run directory."""

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
"""Time between two polls, in seconds: short, to notice the end of a run soon."""
STOP_TIMEOUT_S = 60.0
"""Maximum time to suspend runs and save the profile, in seconds."""
SAVE_WEIGHTS_TIMEOUT_S = 3600.0
"""Maximum time for an engine that also saves weights, in seconds."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a run."""

    key: Key
    status: str
    seconds: float
    """Time since its group was started."""
    samples_per_s: float | None
    """Mean over epochs; None for studies without epochs."""


class PairedEngine:
    """An engine whose runs start paused and are resumed group by group."""

    def __init__(self, name: Role, request: RunRequest, interpreter: Interpreter) -> None:
        """Start the engine. It exits with this process and prints to ``engine.log`` in its run directory."""
        assert request.run_dir is not None, "base and head have separate run directories"
        self.name = name
        self.run_dir = RunDir(request.run_dir)
        self._patience_s = SAVE_WEIGHTS_TIMEOUT_S if request.keep_weights else STOP_TIMEOUT_S
        self._interpreter = interpreter
        write_request(request, self.run_dir)
        self._engine = EngineProcess(
            self.run_dir, python=interpreter.path, environment=interpreter.environment, parent_pipe=True
        )
        self._process = self._engine.process
        self.waiting: dict[Key, str] = {}
        """Ids of the runs that have not started."""

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
        """The data and warnings of a prepared engine."""
        assert self.state.prepared is not None, "see `prepare`"
        return self.state.prepared

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while it is running."""
        return self._process.poll()

    @property
    def has_saved(self) -> bool:
        """True if the exited engine saved a profile; an engine interrupted before its first run saves none."""
        return self.exit_code in (0, 1) or self.state.has_worked

    def prepare(self) -> None:
        """Wait until the data are loaded and the runs are paused, or until the engine exits because no run is left.

        Raises:
            ConfigurationError: if the engine exited before, with its message.
        """
        while True:
            has_exited = self.exit_code is not None  # checked first, so that its last events are still read
            self._engine.journal.poll()
            if self.state.last_command is not None:  # the initial pause: no other command can have arrived yet
                waiting = set(self.state.last_command.command.run_ids)
                self.waiting = {key: run for key, run in self.run_dir.read_run_ids().items() if run in waiting}
                return
            if has_exited and self.state.prepared and self.exit_code in (0, 1):
                return
            if has_exited:
                raise ConfigurationError(f"{self.name} ({self._interpreter.path}): {self._engine.problem()}")
            time.sleep(POLL_S)

    def run_group(self, keys: Sequence[Key]) -> Iterator[RunEnd]:
        """Run paused runs at the same time, and yield the end of each.

        Raises:
            EngineError: if the engine exits before the runs end, with its message.
        """
        runs = {key: self.waiting.pop(key) for key in keys}
        followers = {key: RunFollower(self.run_dir, run) for key, run in runs.items()}
        for key, follower in followers.items():
            follower.poll()
            if follower.history.ended and follower.history.ended.requested:  # cancelled by the user while it was paused
                del runs[key]
        started_s = time.time()
        self._release(list(runs.values()))
        while runs:
            has_exited = self.exit_code is not None
            for key in list(runs):
                before = followers[key].history.ended
                followers[key].poll()
                history = followers[key].history
                if history.ended is not None and history.ended != before:
                    del runs[key]
                    status, seconds = history.ended.status, history.ended.time - started_s
                    yield RunEnd(key=key, status=status, seconds=seconds, samples_per_s=history.samples_per_s)
            if runs and has_exited:
                raise EngineError(f"the engine of the {self.name} exited during a run: {self._engine.problem()}")
            time.sleep(POLL_S)

    def _release(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        with contextlib.suppress(FileNotFoundError):  # the engine has just exited, which the caller notices
            send_command(self.run_dir.control_path, Command(action="resume", run_ids=tuple(run_ids)))

    def finish(self) -> None:
        """Wait until the engine has saved its profile, after its last run."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._patience_s)

    def interrupt(self) -> None:
        """Interrupt the engine, which suspends its runs and saves a partial profile.

        Call this once: a second interrupt would abort the saving.
        """
        if self._process.poll() is None:
            self._process.terminate()

    def end(self) -> None:
        """Wait until the interrupted engine has exited. Kill it, and with it its workers, after ``STOP_TIMEOUT_S``."""
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._engine.journal.poll()
