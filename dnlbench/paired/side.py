"""One side of a session: an engine in a process of its own, seen through its run directory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnlbench.engine.launch import EngineProcess
from dnlbench.engine.request import RunRequest, write_request
from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.events import Command, DataInfo
from dnlbench.files import LineFollower
from dnlbench.paired.interpreter import Interpreter
from dnlbench.paired.record import read_runs
from dnlbench.paired.turns import Key, SideName
from dnlbench.store import RunDir, leave_command

LOOK_S = 0.05
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


class Side:
    """An engine whose runs wait for their turns."""

    def __init__(self, name: SideName, request: RunRequest, interpreter: Interpreter) -> None:
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
        self.slots = 1
        self.pack_size = 1
        self.data: DataInfo | None = None
        """What it trains on, once that is loaded."""
        self.warnings: tuple[str, ...] = ()
        """What the user should know of how that was read."""
        self.waiting: dict[Key, str] = {}
        """Ids of the runs that have not had their turn."""
        self._had_a_turn = False

    @property
    def exit_code(self) -> int | None:
        """None while it is at work."""
        return self._process.poll()

    @property
    def has_saved(self) -> bool:
        """Whether it has saved a profile, once it has ended: one that was interrupted before its first turn has not."""
        return self.exit_code in (0, 1) or self._had_a_turn

    def prepare(self) -> None:
        """Waits until its data are loaded and its runs wait for their turns, or until it has found that none is left.

        Raises:
            ConfigurationError: if it ended before that, with what it said.
        """
        while True:
            ended = self.exit_code is not None  # asked first: its last events are read after that
            for event in self._read_journal():
                if event.get("event") == "prepared":
                    self.data = DataInfo.model_validate(event["data"])
                    self.warnings = tuple(event.get("warnings", ()))
                if event.get("event") == "engine-started":
                    self.slots, self.pack_size = len(event["slots"]), int(event.get("pack_size", 1))
                if event.get("event") == "command-done":  # its own: nobody else was told of it
                    waiting = set(event["command"]["run_ids"])
                    self.waiting = {key: run for key, run in read_runs(self.run_dir).items() if run in waiting}
                    return
            if ended and self.data and self.exit_code in (0, 1):
                return
            if ended:
                raise ConfigurationError(f"the {self.name} side, {self._interpreter.path}: {self._engine.problem()}")
            time.sleep(LOOK_S)

    def take_turn(self, keys: Sequence[Key]) -> Iterator[RunEnd]:
        """Has it do runs that wait, all at the same time, and tells of each as soon as it has ended.

        Raises:
            EngineError: if the engine ends before they do, with what it said.
        """
        runs = {key: self.waiting.pop(key) for key in keys}
        followers = {key: LineFollower(self.run_dir.events_path(run)) for key, run in runs.items()}
        for key, follower in followers.items():
            before = _last_end(_parse(follower.read()))
            if before is not None and before.get("requested"):  # somebody cancelled it while it waited
                del runs[key]
        began, rates = time.time(), dict[Key, list[Mapping[str, Any]]]()
        self._release(list(runs.values()))
        while runs:
            gone = self.exit_code is not None
            for key in list(runs):
                events = _parse(followers[key].read())
                rates.setdefault(key, []).extend(event for event in events if event.get("event") == "epoch-done")
                end = _last_end(events)
                if end is not None:
                    del runs[key]
                    seconds = float(end["time"]) - began
                    yield RunEnd(key=key, status=str(end["status"]), seconds=seconds, samples_per_s=_mean(rates[key]))
            if runs and gone:
                raise EngineError(f"the {self.name} side ended in the middle of its turn: {self._engine.problem()}")
            time.sleep(LOOK_S)

    def _release(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        with contextlib.suppress(FileNotFoundError):  # it has just ended, as its process will tell
            leave_command(self.run_dir.control_path, Command(action="resume", run_ids=tuple(run_ids)))

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
        self._had_a_turn = any(event.get("event") == "run-leased" for event in self._read_journal())

    def _read_journal(self) -> list[dict[str, Any]]:
        return _parse(self._engine.new_lines())


def _parse(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def _last_end(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    marks = [event for event in events if event.get("event") in ("run-started", "run-ended", "run-requeued")]
    return marks[-1] if marks and marks[-1]["event"] == "run-ended" else None


def _mean(epochs: Sequence[Mapping[str, Any]]) -> float | None:
    seconds = sum(float(epoch["seconds"]) for epoch in epochs)
    samples = sum(float(epoch["samples_per_s"]) * float(epoch["seconds"]) for epoch in epochs)
    return samples / seconds if seconds > 0 else None
