"""The types of events. ``time`` is in seconds since the epoch (UTC); durations are in seconds."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dnlbench.events.commands import Command
from dnlbench.machine import Code, Machine, Node, Sources

RunStatus = Literal["ok", "failed", "oom", "diverged", "cancelled", "skipped"]
Measure: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A time, a rate or another value that is always finite."""
Positive: TypeAlias = Annotated[int, Field(ge=1, le=10**9)]


class Event(BaseModel):
    """Base of all events. Non-finite numbers are written as strings, because JSON has no representation for them."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    time: float = Field(default_factory=time.time)


Inputs = Literal["images", "values", "tokens"]
Targets = Literal["classes", "values", "tokens"]
_BYTES: dict[Inputs, int] = {"images": 1, "values": 4, "tokens": 8}
"""Memory of one value."""


class DataInfo(BaseModel):
    """The data that were used."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    """Hash of the training images, labels and shape, not of the files they came from."""
    samples: int
    """Number of samples in the training split."""
    input_shape: tuple[int, ...]
    """Channels, height and width of an image; the shape of one sample of other data. In studies without training data 1,
    positions and channels."""
    inputs: Inputs = "images"
    """``images``: uint8, (C, H, W). ``values``: floats of any shape. ``tokens``: integers, (T,). Older records have images."""
    classes: int | None
    """Number of outputs of a network: classes, values of a regression target, or tokens of the vocabulary. None if a study has
    no training data."""
    targets: Targets = "classes"
    """``classes``: a class per sample. ``values``: floats per sample. ``tokens``: a token per position."""
    evaluation_sha256: str | None = None
    """The same hash for the evaluation split; None if it is not used, and in records of versions before 0.8."""
    evaluation_samples: int | None = None
    """None if it is not used or not recorded."""
    streamed: bool = False
    """Batches are read when they are needed, so the data are not in memory."""

    @property
    def loaded_bytes(self) -> int:
        """Memory of the inputs of both splits."""
        if self.streamed:
            return 0
        return (self.samples + (self.evaluation_samples or 0)) * math.prod(self.input_shape) * _BYTES[self.inputs]

    @property
    def choices(self) -> int | None:
        """Number of classes or tokens that a prediction chooses from; None if the targets are values."""
        return None if self.targets == "values" else self.classes

    def differing_split(self, other: DataInfo) -> str | None:
        """Return ``training`` or ``evaluation`` if that split differs from ``other``; evaluation only if both record a hash."""
        if (self.sha256, self.classes, self.targets) != (other.sha256, other.classes, other.targets):
            return "training"
        hashes = {self.evaluation_sha256, other.evaluation_sha256} - {None}
        return "evaluation" if len(hashes) > 1 else None


class RunStarted(Event):
    """A worker started or resumed a run."""

    event: Literal["run-started"] = "run-started"
    run_id: str
    attempt: int
    device: str
    """The slot's device, such as ``cpu`` or ``cuda:1``."""
    device_name: str
    threads: int
    jobs: int = 1
    """Number of the sweep's jobs on the device at a time."""
    shared_device: bool = False
    """True if they shared the device, or used more CPU cores than there are. The throughput is then not that of a run alone."""
    pack_size: int = 1
    parameters: int
    samples: int | None = None
    """Training samples per epoch; None in studies without training data, and in records of versions before 0.8."""
    flops_per_sample: float | None = None
    """Floating-point operations for training on one sample: matrix products only, two per multiply-add."""
    peak_flops: float | None = None
    """Maximum measured FLOP/s of a matrix product on the slot, in the run's precision."""
    from_epoch: int = 0
    """Epochs kept from an earlier attempt."""
    from_step: int = 0
    """Training steps kept of the next epoch."""
    node: Node | None = None
    """The cluster machine on which the run executes; None on the engine's machine."""


class EpochRecord(BaseModel):
    """A pass over the training split.

    The record also contains the metrics that the study declares (`dnlbench.studies.EpochMetric`), each under its name.
    """

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")
    __pydantic_extra__: dict[str, float | None]

    epoch: Positive
    """Number of the epoch, from 1."""
    train_loss: float
    """Mean loss over the samples of this epoch, each at the parameters of its own training step, without R_L."""
    seconds: Measure
    """Training time without warm-up and evaluation."""
    samples_per_s: Measure

    def value(self, name: str) -> float | None:
        """Return the metric of that name; None if it was not measured."""
        return self.__dict__.get(name, (self.__pydantic_extra__ or {}).get(name))


class EpochDone(Event, EpochRecord):
    """A run completed an epoch."""

    event: Literal["epoch-done"] = "epoch-done"
    run_id: str
    epoch: int
    seconds: float
    """Duration by the clock, unchecked; a profile contains only valid durations."""
    samples_per_s: float


class NetworkMeasured(Event):
    """Measurements of a training run that belong to no epoch."""

    event: Literal["network-measured"] = "network-measured"
    run_id: str
    stage: Literal["start", "final"]
    """``start``: measured at the initial weights and in the first training steps. ``final``: measured after the last epoch."""
    epoch: int
    """Number of completed epochs; 1 for ``start``, because the first training steps belong to epoch 1."""
    measurements: dict[str, float]


class Measured(Event):
    """The results of a run without epochs. They count as one epoch."""

    event: Literal["measured"] = "measured"
    run_id: str
    epoch: Literal[1] = 1
    seconds: float
    measurements: dict[str, float | tuple[float, ...]]
    """Values by the names of the study's quantities; lists are curves for charts."""


class RunError(BaseModel):
    """The reason why a run did not succeed."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    log: str | None = None
    """The end of the run's log, including a traceback."""


class RunEnded(Event):
    """The last event of an attempt."""

    event: Literal["run-ended"] = "run-ended"
    run_id: str
    status: RunStatus
    requested: bool = False
    """True if a user requested this end. The run is then not executed again until a user requests it."""
    peak_memory_bytes: int | None = None
    """Peak bytes of the tensors of a training step: weights, gradients, optimizer state, activations. None if the run did not
    complete a step."""
    error: RunError | None = None


class RunPaused(Event):
    """A worker suspended the run on request. The run can resume from exactly this step."""

    event: Literal["run-paused"] = "run-paused"
    run_id: str
    epoch: int
    """Number of completed epochs."""
    step: int
    """Training steps of the next epoch."""


class RunRequeued(Event):
    """A user requested that a run that had ended be executed again."""

    event: Literal["run-requeued"] = "run-requeued"
    run_id: str


class EngineStarted(Event):
    """An engine started in the run directory."""

    event: Literal["engine-started"] = "engine-started"
    pid: int
    machine: Machine
    code: Code
    slots: tuple[str, ...]
    pack_size: int = 1
    session: str | None = None
    """The paired benchmark that resumes the runs of this engine in turn with those of the other environment; None without one.
    """


class PointMemory(BaseModel):
    """The memory of a run of a custom network, extrapolated from training steps on a few samples."""

    model_config = ConfigDict(frozen=True)

    network: str
    depth: int
    settings: dict[str, Any] = {}
    """Values of the grid; empty without one."""
    step_bytes: int
    """Peak memory of a training step on a full batch."""


class Prepared(Event):
    """The first worker is ready: the data are loaded, and every network of the plan can be built."""

    event: Literal["prepared"] = "prepared"
    data: DataInfo
    code: Sources = Sources()
    """The code of custom parts. Empty if there are none, and in journals of version 0.7 or earlier."""
    torch: str
    device_name: str
    warnings: tuple[str, ...] = ()
    """Warnings about how the data were read, one sentence each."""
    memory: tuple[PointMemory, ...] = ()
    """The memory of custom networks. Empty without any, and in journals of versions before 0.9."""


class RunLeased(Event):
    """The scheduler assigned a run to a slot. Runs of a pack are assigned at the same time."""

    event: Literal["run-leased"] = "run-leased"
    run_id: str
    attempt: int
    slot: str


class RunReturned(Event):
    """A run that has not ended left its slot, or left its pack before the others ended, and waits again."""

    event: Literal["run-returned"] = "run-returned"
    run_id: str
    attempt: int
    slot: str
    error: RunError | None = None
    """The failure; None if the run was suspended on request."""


class SlotDisabled(Event):
    """A slot was disabled after repeated failures and gets no more runs."""

    event: Literal["slot-set-aside"] = "slot-set-aside"
    slot: str
    reason: str


class DiskFull(Event):
    """The run directory's disk is full. The sweep is paused until there is room."""

    event: Literal["disk-full"] = "disk-full"
    message: str


class DiskFree(Event):
    """The run directory's disk has room again."""

    event: Literal["disk-free"] = "disk-free"


class CommandDone(Event):
    """The engine executed or rejected a command."""

    event: Literal["command-done"] = "command-done"
    command: Command
    refused: bool
    answer: str


class EngineEnded(Event):
    """The engine ended."""

    event: Literal["engine-ended"] = "engine-ended"
    reason: Literal["done", "interrupted", "error"]


RunEvent = Annotated[
    RunStarted | EpochDone | NetworkMeasured | Measured | RunPaused | RunEnded | RunRequeued,
    Field(discriminator="event"),
]
JournalEvent = Annotated[
    EngineStarted | Prepared | RunLeased | RunReturned | SlotDisabled | DiskFull | DiskFree | CommandDone | EngineEnded,
    Field(discriminator="event"),
]

_RUN_EVENT: TypeAdapter[RunEvent] = TypeAdapter(RunEvent)
_JOURNAL_EVENT: TypeAdapter[JournalEvent] = TypeAdapter(JournalEvent)


def read_run_event(line: bytes) -> RunEvent:
    """Parse one line of ``events.jsonl``; raise pydantic's ``ValidationError`` if it is not an event."""
    return _RUN_EVENT.validate_json(line)


def read_journal_event(line: bytes) -> JournalEvent:
    """Parse one line of ``journal.jsonl``; raise pydantic's ``ValidationError`` if it is not an event."""
    return _JOURNAL_EVENT.validate_json(line)
