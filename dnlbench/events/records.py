"""The kinds of event. Times are seconds since the epoch (UTC) in ``time``, durations are seconds."""

from __future__ import annotations

import math
import time
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dnlbench.events.commands import Command
from dnlbench.machine import Code, Machine, Node, Sources

RunStatus = Literal["ok", "failed", "oom", "diverged", "cancelled", "skipped"]
Measure: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A time, a rate or another figure that is a finite number whatever happens."""
Positive: TypeAlias = Annotated[int, Field(ge=1, le=10**9)]


class Event(BaseModel):
    """Base of all events. Numbers that are not finite are written as strings, since JSON has no other place for them."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    time: float = Field(default_factory=time.time)


class DataInfo(BaseModel):
    """The data as they were used."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    """Hash of the images, labels and shape that were trained on, not of the files they came from."""
    samples: int
    """Number of samples in the training split."""
    input_shape: tuple[int, int, int]
    """Channels, height and width of one image; of a sample that is no image 1, positions and channels."""
    classes: int | None
    """None where nothing is classified."""
    evaluation_sha256: str | None = None
    """The same hash of the evaluation split; None where it is not used, and in records of versions before 0.8."""
    evaluation_samples: int | None = None
    """None where it is not used or not recorded."""

    @property
    def loaded_bytes(self) -> int:
        """Memory that the images of both splits take, a byte for each value."""
        return (self.samples + (self.evaluation_samples or 0)) * math.prod(self.input_shape)

    def differing_split(self, other: DataInfo) -> str | None:
        """``training`` or ``evaluation`` if that split is another one in ``other``; evaluation only if both record a hash."""
        if (self.sha256, self.classes) != (other.sha256, other.classes):
            return "training"
        hashes = {self.evaluation_sha256, other.evaluation_sha256} - {None}
        return "evaluation" if len(hashes) > 1 else None


class RunStarted(Event):
    """A worker began a run, or took it up again."""

    event: Literal["run-started"] = "run-started"
    run_id: str
    attempt: int
    device: str
    """The slot's device, such as ``cpu`` or ``cuda:1``."""
    device_name: str
    threads: int
    jobs: int = 1
    """Runs of the sweep that could go on side by side on the device."""
    shared_device: bool = False
    """Whether they shared the device, or more CPU cores than there are, so that the throughput is not that of a run alone."""
    pack_size: int = 1
    parameters: int
    flops_per_sample: float | None = None
    """Floating-point operations that training on one sample takes: products alone, two for each multiply-add."""
    peak_flops: float | None = None
    """The most of them per second that a product of matrices reached on the slot, in the run's precision."""
    from_epoch: int = 0
    """Epochs that are kept from an earlier attempt."""
    from_step: int = 0
    """Training steps of the epoch after those that are kept too."""
    node: Node | None = None
    """The machine of a cluster that it is on; None for the engine's own."""


class EpochRecord(BaseModel):
    """One pass over the training split.

    Beside the fields below it holds the metrics that the study declares (`dnlbench.studies.EpochMetric`), each under its name.
    """

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")
    __pydantic_extra__: dict[str, float | None]

    epoch: Positive
    """Counted from 1."""
    train_loss: float
    """Mean over the samples seen in this epoch, each at the parameters of its own training step, without R_L."""
    seconds: Measure
    """Training alone: warm-up and evaluation are outside."""
    samples_per_s: Measure

    def value(self, name: str) -> float | None:
        """The metric of that name; None where it was not measured."""
        return self.__dict__.get(name, (self.__pydantic_extra__ or {}).get(name))


class EpochDone(Event, EpochRecord):
    """A run completed an epoch."""

    event: Literal["epoch-done"] = "epoch-done"
    run_id: str
    epoch: int
    seconds: float
    """Whatever a clock said; a profile holds sound values only."""
    samples_per_s: float


class NetworkMeasured(Event):
    """Measurements of a training run that belong to no epoch."""

    event: Literal["network-measured"] = "network-measured"
    run_id: str
    stage: Literal["start", "final"]
    """``start``: of the initial weights and first training steps. ``final``: of the weights after the last epoch."""
    epoch: int
    """Epochs done: 1 at the start, since the first training steps belong to epoch 1."""
    measurements: dict[str, float]


class Measured(Event):
    """What a run without epochs has found. In place of epochs it counts as one."""

    event: Literal["measured"] = "measured"
    run_id: str
    epoch: Literal[1] = 1
    seconds: float
    measurements: dict[str, float | tuple[float, ...]]
    """By the names of the study's quantities; lists are curves, for charts."""


class RunError(BaseModel):
    """Why a run did not end well."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    log: str | None = None
    """The end of the run's log, traceback included."""


class RunEnded(Event):
    """The last word on an attempt."""

    event: Literal["run-ended"] = "run-ended"
    run_id: str
    status: RunStatus
    requested: bool = False
    """Whether somebody asked for this end: then the run is not done again until somebody asks for that."""
    peak_memory_bytes: int | None = None
    """The most bytes that the tensors of one training step take: weights, gradients, optimizer state, activations. None for
    a run that did not come that far."""
    error: RunError | None = None


class RunPaused(Event):
    """A worker put the run aside, as it was asked to, to be taken up again at this very place."""

    event: Literal["run-paused"] = "run-paused"
    run_id: str
    epoch: int
    """Epochs that are complete."""
    step: int
    """Training steps of the epoch after."""


class RunRequeued(Event):
    """Somebody asked for a run that had ended to be tried again."""

    event: Literal["run-requeued"] = "run-requeued"
    run_id: str


class EngineStarted(Event):
    """An engine took the run directory."""

    event: Literal["engine-started"] = "engine-started"
    pid: int
    machine: Machine
    code: Code
    slots: tuple[str, ...]
    pack_size: int = 1
    session: str | None = None
    """Where runs wait for their turns: the name of the session whose other side takes the turns between."""


class Prepared(Event):
    """The first worker is ready: the data are loaded and every network of the plan can be built."""

    event: Literal["prepared"] = "prepared"
    data: DataInfo
    code: Sources = Sources()
    """The code that custom networks consist of. Empty if there are none, and in journals written by 0.7 or earlier."""
    torch: str
    device_name: str
    warnings: tuple[str, ...] = ()
    """What the user should know of how the data were read, each a sentence."""


class RunLeased(Event):
    """The scheduler gave a run to a slot. Those of a pack are given to it at the same time."""

    event: Literal["run-leased"] = "run-leased"
    run_id: str
    attempt: int
    slot: str


class RunReturned(Event):
    """A run came back from its slot without having ended, or before the rest of its pack, and waits again."""

    event: Literal["run-returned"] = "run-returned"
    run_id: str
    attempt: int
    slot: str
    error: RunError | None = None
    """Why it was lost; None if it was put aside on request."""


class SlotDisabled(Event):
    """A slot lost one run after the other and gets no more."""

    event: Literal["slot-set-aside"] = "slot-set-aside"
    slot: str
    reason: str


class DiskFull(Event):
    """The run directory's disk took no more; nothing is begun until it does."""

    event: Literal["disk-full"] = "disk-full"
    message: str


class DiskFree(Event):
    """The run directory's disk takes files again."""

    event: Literal["disk-free"] = "disk-free"


class CommandDone(Event):
    """The engine obeyed a command, or refused to."""

    event: Literal["command-done"] = "command-done"
    command: Command
    refused: bool
    answer: str


class EngineEnded(Event):
    """The engine let go of the run directory."""

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
    """One line of ``events.jsonl``; pydantic's ``ValidationError`` if it is none."""
    return _RUN_EVENT.validate_json(line)


def read_journal_event(line: bytes) -> JournalEvent:
    """One line of ``journal.jsonl``; pydantic's ``ValidationError`` if it is none."""
    return _JOURNAL_EVENT.validate_json(line)
