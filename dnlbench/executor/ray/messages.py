"""What goes between the engine and a remote worker, which has one of its slots on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dnlbench.executor.base import WorkerFailure
from dnlbench.machine import Slot


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What all remote workers of a sweep are to be."""

    sweep: bytes
    """``sweep.json``: the plan, and the software that it needs, which a machine that joins later may not have."""
    slots: int
    """How many the sweep has in all."""
    checkpoint_s: float
    folder: Path
    """Where the engine works, which finds modules and data there."""
    run_dir: Path
    """The engine's, which a remote worker may see too: then checkpoints go through it."""
    secret: str
    """What stands in its ``cluster.secret``. Where there is another one, or none, it is not the same directory."""
    names: Mapping[str, str]
    """Of the cluster's machines, by Ray's id, as far as they were there at the beginning."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a remote worker has become."""

    slot: Slot
    """With its machine and the device that it has there."""
    sees_run_dir: bool
    """Whether it is the engine's run directory that it sees where that is."""


@dataclass(frozen=True, kw_only=True)
class SharedCheckpoint:
    """A checkpoint that lies in the run's folder in the shared directory."""

    path: Path
    sha256: str


Checkpoint = bytes | SharedCheckpoint
"""Itself, or where it is."""


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """Where a run stands, for a remote worker that is to resume it."""

    lines: tuple[bytes, ...]
    """Its events so far."""
    checkpoint: bytes | None
    """None where there is none, and where it is in the shared directory."""


@dataclass(frozen=True, kw_only=True)
class RunUpdate:
    """What has happened in an attempt at a run since the last report."""

    run_id: str
    attempt: int
    first: int
    """How many of the attempt's events came before these."""
    lines: tuple[bytes, ...]
    checkpoint: Checkpoint | None = None
    """The last one if it is new. It counts on these events and earlier ones only."""
    log_from: int
    log: bytes
    """What the attempt has printed from that byte on."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How things stand at a remote worker."""

    time: float
    """By its own clock, when it was sent."""
    is_warm: bool
    is_ready: bool
    """Whether a worker there has loaded the data and found nothing wrong."""
    heartbeat_age_s: float
    """Of its worker."""
    updates: tuple[RunUpdate, ...] = ()
    log: bytes = b""
    """What its worker has printed between runs since the last report."""
    freed: tuple[str, ...] | None = None
    """The runs that it has let go of; None while it has them, or has none."""
    failure: WorkerFailure | None = None
    """Why it let go of those of them that have not ended."""


ResumeStates = Mapping[str, ResumeState]
"""By run id."""
