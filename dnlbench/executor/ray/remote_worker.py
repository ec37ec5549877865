"""A slot on another machine: a local executor in its own folder there, which reports its progress to the engine.

This module does not depend on the transport of the reports; `dnlbench.executor.ray.executor` uses Ray.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR

from filelock import FileLock, Timeout

from dnlbench.errors import ConfigurationError, DeviceError, DnlbenchError
from dnlbench.events import Prepared, RunEnded, RunPaused, read_run_event
from dnlbench.executor.base import Attempts, SlotFreed, WorkerFailure
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.processes import error_reply
from dnlbench.executor.ray.messages import (
    Checkpoint,
    Placement,
    Report,
    ResumeState,
    ResumeStates,
    RunUpdate,
    SharedCheckpoint,
    WorkerConfig,
)
from dnlbench.files import LineFollower, write_atomically
from dnlbench.machine import (
    Device,
    Slot,
    cpu_device,
    find_devices,
    node_of,
    read_machine,
    usable_cores,
    why_unusable,
)
from dnlbench.store import CheckpointFiles, Execution, RunDir

POLL_INTERVAL_S = 0.2
"""Seconds between two checks of a run's files. Fast epochs are reported in batches."""
LOG_BYTES, LAST_LOG_BYTES = 2**18, 2**24
"""Maximum bytes of log in a report, where the rest follows in later reports, and in the last report of an attempt."""
NEW_S = 60.0
"""Minimum age in seconds of a folder that may be removed; a newer one may not have its lock yet."""
PREFIX = "dnlbench-remote-worker-"


class RemoteWorker:
    """Execute runs on the machine where this object is created, one run or pack at a time."""

    def __init__(self, config: WorkerConfig, slot: Slot, *, name: str, cpus: float) -> None:
        """Take a slot on the machine ``name``, which offers ``cpus`` CPUs to all sweeps together.

        Raises:
            ConfigurationError: if the machine's software differs from the engine's.
            DeviceError: if it has no device of the required kind.
        """
        _require_same(config, name)
        with suppress(OSError):  # the engine's folder may not exist here
            os.chdir(config.folder)
        self._slot = _slot_here(config, slot, name, cpus)
        self._root, self._lock = _new_folder()
        self._run_dir = RunDir(self._root)
        write_atomically(self._run_dir.sweep_path, config.sweep)
        self._shared = RunDir(config.run_dir) if _is_shared(config) else None
        self._local = LocalExecutor(self._run_dir, [self._slot], checkpoint_s=config.checkpoint_s)
        self._watchers: tuple[_RunWatcher, ...] = ()
        self._suspend_requested: Attempts = {}
        """The attempts that were last asked to stop."""
        self._log = _LogFollower(self._run_dir.slot_log_path(self._slot.name))

    def describe(self) -> Placement:
        return Placement(slot=self._slot, sees_run_dir=self._shared is not None)

    def prepare(self) -> Prepared | dict[str, dict[str, str]]:
        """Load the data and check the plan; see `Executor.prepare` and `error_reply`."""
        try:
            return self._local.prepare()
        except DnlbenchError as error:
            return error_reply(error)

    def take_over(self, prepared: Prepared) -> None:
        """Reuse the result of another remote worker's `prepare` and start a worker process."""
        self._local.take_over(prepared)
        self._local.warm_up(self._slot)

    def start(self, attempts: Attempts, resume_states: ResumeStates) -> None:
        for run_id, state in resume_states.items():
            self._restore(run_id, state)
        self._watchers = tuple(
            _RunWatcher(self._run_dir, self._shared, run_id, attempt, log=index == 0)
            for index, (run_id, attempt) in enumerate(attempts.items())
        )
        self._local.start(self._slot, attempts)
        self._suspend_if_requested()  # the request may arrive first, because it is handled concurrently

    def _restore(self, run_id: str, state: ResumeState) -> None:
        folder = self._run_dir.run_path(run_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._run_dir.events_path(run_id).write_bytes(b"".join(line + b"\n" for line in state.lines))
        content = state.checkpoint
        if content is None and self._shared is not None:
            content = CheckpointFiles(self._shared.run_path(run_id)).last()
        if content is not None:
            CheckpointFiles(folder).save(content)

    def suspend(self, attempts: Attempts) -> None:
        """Ask these attempts, running or about to start, to stop at the next training step. Any thread may call this."""
        self._suspend_requested = dict(attempts)
        self._suspend_if_requested()

    def _suspend_if_requested(self) -> None:
        if (
            self._watchers
            and {watcher.run_id: watcher.attempt for watcher in self._watchers} == self._suspend_requested
        ):
            self._local.suspend(self._slot)

    def poll(self, timeout_s: float) -> Report:
        """Wait at most ``timeout_s`` seconds for something to report.

        Raises:
            DnlbenchError: if an idle worker process rejects the data or the device of this machine.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            freed = self._local.wait(max(0.0, min(POLL_INTERVAL_S, left)))
            if self._local.preparation_error is not None:
                raise self._local.preparation_error
            report = self._make_report(freed)
            if report.updates or report.freed is not None or left <= POLL_INTERVAL_S:
                return report

    def _make_report(self, freed: Sequence[SlotFreed]) -> Report:
        updates = tuple(filter(None, [watcher.poll(last=bool(freed)) for watcher in self._watchers]))
        report = Report(
            time=time.time(),
            is_warm=self._local.is_warm(self._slot),
            is_ready=self._local.has_checked,
            heartbeat_age_s=self._local.heartbeat_age_s(self._slot),
            updates=updates,
            log=self._log.read(),
        )
        if freed:
            report = replace(report, freed=freed[0].run_ids, failure=self._localize_disk_failure(freed[0].failure))
            for watcher in self._watchers:
                shutil.rmtree(self._run_dir.run_path(watcher.run_id), ignore_errors=True)
            self._watchers = ()
        if not self._watchers and self._local.is_prepared:
            self._local.warm_up(self._slot)  # replaces a worker that exited
        return report

    def _localize_disk_failure(self, failure: WorkerFailure | None) -> WorkerFailure | None:
        """Convert a full disk on this machine to a device failure, because the engine only waits for its own disk."""
        if failure is None or failure.cause != "disk":
            return failure
        name = self._slot.node.name if self._slot.node else "the machine"
        message = f"on {name}, in {self._root}: {failure.error.message}"
        return WorkerFailure(cause="device", error=failure.error.model_copy(update={"message": message}))

    def close(self) -> None:
        self._local.close()
        self._lock.release()
        self.clear_up()

    def clear_up(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class _RunWatcher:
    """Track a running attempt and how much of it was reported."""

    def __init__(self, run_dir: RunDir, shared: RunDir | None, run_id: str, attempt: int, *, log: bool) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self._events = LineFollower(run_dir.events_path(run_id))
        self._events.read()  # skips the events of earlier attempts
        self._reported = 0
        self._files = CheckpointFiles(run_dir.run_path(run_id))
        self._sha256 = self._files.sha256
        self._shared = shared.run_path(run_id) if shared is not None else None
        self._log = _LogFollower(run_dir.log_path(run_id, attempt)) if log else None

    def poll(self, *, last: bool) -> RunUpdate | None:
        """Return what is new, or None."""
        checkpoint = self._checkpoint()  # before the events, so that those that it relies on are included
        lines = self._events.read()
        if lines and isinstance(read_run_event(lines[-1]), RunEnded | RunPaused):
            checkpoint = self._checkpoint() or checkpoint  # the last checkpoint may have been written in between
        log_from = self._log.offset if self._log else 0
        log = self._log.read(LAST_LOG_BYTES if last else LOG_BYTES) if self._log else b""
        if not lines and checkpoint is None and not log:
            return None
        first, self._reported = self._reported, self._reported + len(lines)
        return RunUpdate(
            run_id=self.run_id,
            attempt=self.attempt,
            first=first,
            lines=tuple(lines),
            checkpoint=checkpoint,
            log_from=log_from,
            log=log,
        )

    def _checkpoint(self) -> Checkpoint | None:
        if self._files.sha256 in (self._sha256, None):
            return None
        content = self._files.last()
        sha256 = hashlib.sha256(content).hexdigest() if content is not None else None
        if content is None or sha256 is None or sha256 == self._sha256:
            return None  # its hash is recorded, but the file is not there yet
        self._sha256 = sha256
        if self._shared is None:
            return content
        path = self._shared / f"checkpoint.incoming-{self.attempt}.pt"
        try:
            write_atomically(path, content)
        except OSError:  # the engine will get the same error, and waits for room
            return content
        return SharedCheckpoint(path=path, sha256=sha256)


class _LogFollower:
    """Read additions to a text file in parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0

    def read(self, limit: int = LOG_BYTES) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(limit)
        except FileNotFoundError:
            return b""
        self.offset += len(content)
        return content


def _require_same(config: WorkerConfig, name: str) -> None:
    wrong = Execution.model_validate(json.loads(config.sweep)["execution"]).software_differences()
    if wrong:
        raise ConfigurationError(
            f"{name} cannot join the sweep: {'; '.join(wrong)}. Install the same versions on both machines."
        )


def _slot_here(config: WorkerConfig, slot: Slot, name: str, cpus: float) -> Slot:
    device = _device_here(slot.device.kind, name)
    threads = slot.threads
    on_cpu = device.kind == "cpu"  # a GPU belongs to a single slot
    jobs = min(config.slots, max(1, int(cpus // threads))) if on_cpu else 1
    shared = on_cpu and jobs * threads > usable_cores()
    changes = {"device": device, "jobs": jobs, "shared": shared, "node": node_of(read_machine(), name)}
    return slot.model_copy(update=changes)


def _device_here(kind: str, name: str) -> Device:
    """Return the CPU, or the single GPU that is visible to this process."""
    if kind == "cpu":
        return cpu_device()
    devices = find_devices()
    if devices.usable[0].kind != "cuda":
        raise DeviceError(f"{name}: was assigned a GPU, but has no usable one{why_unusable(devices.unusable)}")
    return devices.usable[0]


def _is_shared(config: WorkerConfig) -> bool:
    """Return True if this machine has access to the engine's run directory."""
    try:
        return RunDir(config.run_dir).secret_path.read_text() == config.secret
    except OSError:
        return False


def _new_folder() -> tuple[Path, FileLock]:
    """Create a locked folder for this process, and remove folders whose processes have ended."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        lock = FileLock(left / "lock")
        with suppress(Timeout, OSError):
            status = left.lstat()
            if status.st_uid != os.getuid() or not S_ISDIR(status.st_mode) or time.time() - status.st_mtime < NEW_S:
                continue  # another user's lock might be a link to one of our files, which locking would truncate
            lock.acquire(timeout=0)
            shutil.rmtree(left, ignore_errors=True)
            lock.release()
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = FileLock(root / "lock")
    lock.acquire(timeout=0)
    return root, lock
