"""The worker, the only module of the executors that imports torch: a separate process for `local`, this process for `inline`.

The process is started with the run directory and its slot as arguments. It executes commands, see
`dnlbench.executor.processes`::

    {"prepare": true}                            {"prepared": {…}}  or  {"refused": {"type": …, "message": …}}
    {"runs": {"<run id>": 1, …},                 {"started": true}, then {"ended": true}
     "data": {…}, "code": {…}}                     or  {"refused": …, "blame": "disk", "device", "pack" or null}
    {"suspend": {"<run id>": 1, …}}              no reply; the current runs end

Run ids come with their attempt numbers; several runs are a pack. A reply contains ``"exiting": true`` if the worker takes
no further command. The worker also sends ``ready`` once it has imported torch, and ``heartbeat`` every second. Events of a
run do not go through this pipe; the worker writes them into the run directory.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from dnlbench.errors import DataError, RunDirError, SpecError
from dnlbench.events import DataInfo, Prepared, RunEnded, RunError, RunEvent, RunPaused
from dnlbench.executor.base import Attempts
from dnlbench.executor.processes import Parent, error_reply
from dnlbench.machine import Slot, Sources
from dnlbench.plan import title
from dnlbench.runners import create_runner
from dnlbench.runners.base import Job, Member
from dnlbench.runners.custom_code import FAILURES
from dnlbench.runners.failures import Blame, PackError, blame, classify
from dnlbench.store import RunDir

HEARTBEAT_INTERVAL_S = 1.0
"""Seconds between two heartbeats."""
IGNORED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""Batch systems may send these to all processes of a job before its time limit. The engine then suspends the runs."""


class Worker:
    """Execute runs of a run directory's plan on one slot and write their events."""

    def __init__(self, run_dir: RunDir, slot: Slot, checkpoint_s: float) -> None:
        self._run_dir = run_dir
        changed = run_dir.read_execution().software_differences()
        if changed:
            raise RunDirError(
                f"{run_dir.root}: the software here is not what the sweep started with: {'; '.join(changed)}. "
                "Start the sweep again, or undo the change and resume it."
            )
        self._plan = run_dir.read_plan()
        self._runner = create_runner(self._plan, slot, checkpoint_s=checkpoint_s)
        self._suspend_requested: Attempts | None = None

    def prepare(self) -> Prepared:
        return self._runner.prepare()

    def check_unchanged(self, data: DataInfo, code: Sources) -> None:
        """Check that data and custom networks are the ones that the sweep started with.

        Raises:
            DataError: if the data have changed.
            SpecError: if the code of a custom part has changed.
        """
        if split := data.differing_split(self._runner.data_info):
            raise DataError(f"the {split} data have changed since the sweep started")
        changed = self._runner.code_changes(code)
        if changed:
            raise SpecError(f"the custom code has changed since the sweep started: {', '.join(changed)}")

    def suspend(self, attempts: Attempts) -> None:
        """Ask these attempts to stop at their next training step. Any thread may call this, even after the runs have ended."""
        self._suspend_requested = attempts

    @staticmethod
    def blame(error: BaseException) -> Blame | None:
        return blame(error)

    def run(self, attempts: Attempts) -> Iterator[RunEvent]:
        """Execute a run or a pack. Each event is in the run directory before it is yielded.

        The last event of each run is ``RunEnded`` or ``RunPaused``.

        Raises:
            Exception: an error that is not the fault of the runs; see `dnlbench.runners.failures.blame`.
        """
        with ExitStack() as stack:
            writers = {run_id: self._run_dir.events_writer(run_id) for run_id in attempts}
            for writer in writers.values():
                stack.callback(writer.close)
            for event in self._events(attempts):
                line = event.model_dump_json(exclude_none=True)
                writers[event.run_id].write(line, durable=True)  # a checkpoint may rely on it
                yield event

    def _events(self, attempts: Attempts) -> Iterator[RunEvent]:
        members = tuple(self._member(run_id, attempt) for run_id, attempt in attempts.items())
        try:
            yield from self._runner.run(
                Job(members=members, should_suspend=lambda: self._suspend_requested == attempts)
            )
        except FAILURES as error:
            if blame(error) is not None:
                raise
            first, *others = members
            with self._run_dir.open_log(attempts).open("a", encoding="utf-8") as log:
                traceback.print_exception(error, file=log)
            if others:
                cause = f"{type(error).__name__}: {error}"
                raise PackError(
                    f"{title([member.run for member in members])} cannot train together: {cause}"
                ) from error
            yield self._failed(first, error)

    def _member(self, run_id: str, attempt: int) -> Member:
        run = self._plan.by_id[run_id]
        return Member(
            run=run,
            attempt=attempt,
            folder=self._run_dir.run_path(run_id),
            epochs_known=len(self._run_dir.read_history(run, all_epochs=True).epochs),
        )

    def _failed(self, member: Member, error: BaseException) -> RunEnded:
        log = self._run_dir.log_tail(member.run.run_id, member.attempt)
        return RunEnded(
            run_id=member.run.run_id,
            status=classify(error),
            error=RunError(type=type(error).__name__, message=str(error), log=log),
        )


def main() -> None:
    """Run the worker process."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, lambda *_: None)
    # Absolute, because a network may change the current folder.
    run_dir, slot = RunDir(Path(sys.argv[1]).absolute()), Slot.model_validate_json(sys.argv[2])
    checkpoint_s = float(sys.argv[3])
    faulthandler.enable()
    worker: Worker | Exception | None = None

    def suspend(message: dict[str, Any]) -> bool:
        if "suspend" in message and isinstance(worker, Worker):
            worker.suspend(message["suspend"])
        return "suspend" in message

    parent = Parent(urgent=suspend)
    threading.Thread(target=_send_heartbeats, args=(parent,), daemon=True).start()
    try:
        worker = Worker(run_dir, slot, checkpoint_s)  # imports torch
    except Exception as error:
        worker = error  # reported in reply to the next command
    parent.send({"ready": True})
    while True:
        reply = _execute(worker, run_dir, parent.receive(), parent)
        parent.send(reply)
        if reply.get("exiting"):
            return  # a failed run may leave memory or a device in a bad state; the next run gets a new process


def _send_heartbeats(parent: Parent) -> None:
    while True:
        parent.send({"heartbeat": True})
        time.sleep(HEARTBEAT_INTERVAL_S)


def _execute(worker: Worker | Exception, run_dir: RunDir, command: dict[str, Any], parent: Parent) -> dict[str, Any]:
    try:
        if isinstance(worker, Exception):
            raise worker
        if "runs" not in command:
            return {"prepared": worker.prepare().model_dump(mode="json")}
        attempts = command["runs"]
        last: dict[str, RunEvent | None] = dict.fromkeys(attempts)
        with _output_in(run_dir.open_log(attempts)):
            worker.check_unchanged(DataInfo.model_validate(command["data"]), Sources.model_validate(command["code"]))
            parent.send({"started": True})
            for event in worker.run(attempts):
                last[event.run_id] = event
        return {"ended": True, "exiting": not all(map(_is_healthy, last.values()))}
    except Exception as error:
        with suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exception(error)
        return {**error_reply(error), "blame": blame(error), "exiting": True}


def _is_healthy(last: RunEvent | None) -> bool:
    """Return True if a run's last event shows that the process can execute another run."""
    return isinstance(last, RunPaused) or (isinstance(last, RunEnded) and last.status in ("ok", "diverged"))


@contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """Redirect all output of this process, including that of C libraries, to a file."""
    saved = os.dup(1), os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for target, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, target)
            os.close(descriptor)


if __name__ == "__main__":
    main()
