"""Messages between the engine and a remote worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dnlbench.executor.base import WorkerFailure
from dnlbench.machine import Slot


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """The configuration shared by all remote workers of a sweep."""

    sweep: bytes
    """Content of ``sweep.json``: the plan and the software it requires, which a machine that joins later may not have."""
    slots: int
    """Number of slots of the sweep."""
    checkpoint_s: float
    folder: Path
    """The engine's working folder, which contains modules and data."""
    run_dir: Path
    """The engine's run directory. If a remote worker has access to it, checkpoints are copied through it."""
    secret: str
    """Content of ``cluster.secret`` in the run directory. A folder without the same content is another directory."""
    names: Mapping[str, str]
    """Names of the cluster's machines by Ray's node id, for machines that were present at the start."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The machine on which Ray placed a remote worker."""

    slot: Slot
    """The slot with its machine and its device there."""
    sees_run_dir: bool
    """True if the machine has access to the engine's run directory."""


@dataclass(frozen=True, kw_only=True)
class SharedCheckpoint:
    """A checkpoint in the run's folder of the shared run directory."""

    path: Path
    sha256: str


Checkpoint = bytes | SharedCheckpoint
"""The content of a checkpoint, or its location."""


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """The state from which a remote worker resumes a run."""

    lines: tuple[bytes, ...]
    """Lines of the run's events so far."""
    checkpoint: bytes | None
    """None if there is no checkpoint, or if it is in the shared directory."""


@dataclass(frozen=True, kw_only=True)
class RunUpdate:
    """News of an attempt since the last report."""

    run_id: str
    attempt: int
    first: int
    """Number of the attempt's events before these."""
    lines: tuple[bytes, ...]
    checkpoint: Checkpoint | None = None
    """The latest checkpoint if it is new. It relies only on these events and earlier ones."""
    log_from: int
    log: bytes
    """Output of the attempt from byte ``log_from`` on."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The state of a remote worker."""

    time: float
    """Time by the worker's clock when the report was sent."""
    is_warm: bool
    is_ready: bool
    """True if a worker process there has loaded the data and accepted the plan."""
    heartbeat_age_s: float
    """Age of the last heartbeat of its worker process."""
    updates: tuple[RunUpdate, ...] = ()
    log: bytes = b""
    """Output of its worker process between runs since the last report."""
    freed: tuple[str, ...] | None = None
    """The runs that it returned; None while it has runs, or has none to return."""
    failure: WorkerFailure | None = None
    """The reason why it returned runs that have not ended."""


ResumeStates = Mapping[str, ResumeState]
"""Resume states by run id."""
