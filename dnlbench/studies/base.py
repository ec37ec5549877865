"""What a study is: a spec, its points and seeds, the quantities it measures and an estimate of each point's size."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NoReturn, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from dnlbench.events.epochs import FIELDS
from dnlbench.stats import Range
from dnlbench.studies.added import completed, essential

InputShape = tuple[int, int, int]
"""Channels, height and width of one image."""


class Section(BaseModel):
    """One table of a spec: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def refuse(key: str, value: Any, reason: str) -> NoReturn:
    """Refuse the value of a dotted key that does not fit the rest of its spec."""
    raise PydanticCustomError("does_not_fit", "{reason}", {"key": key, "value": value, "reason": reason})


@dataclass(frozen=True, kw_only=True)
class Point:
    """One place on the sweep's axes; its runs differ only in the seed."""

    network: str
    depth: int


class StudySpec(Section):
    """The part that the specs of all studies share."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of the sweep; its files are named after it. Letters, digits, dots, dashes and underscores, 64 at most."""
    study: str
    """What the sweep measures; decides which other keys exist."""
    sweep: Any
    """The study's `dnlbench.studies.axes.Axes`."""

    @classmethod
    def from_saved(cls, saved: object) -> Self:
        """The spec of a saved document; keys that its version did not have mean what that version computed.

        Raises:
            ValidationError: if the document is no spec of this study.
        """
        document = completed(cls, saved) if isinstance(saved, Mapping) else saved
        return cls.model_validate_json(json.dumps(document), strict=True)

    @property
    def networks(self) -> Collection[str]:
        """The names of the networks, in the order of the spec."""
        raise NotImplementedError

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(Point(network=name, depth=depth) for name in self.networks for depth in self.sweep.depths)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.sweep.seeds)

    @property
    def epochs(self) -> int:
        """How many epochs each run has; 1 in studies whose runs have none."""
        return 1

    def settings(self) -> dict[str, Any]:
        """What was asked for, without labels and places."""
        return self.model_dump(mode="json", exclude={"name": True})

    def run_settings(self) -> dict[str, Any]:
        """The settings without the axes: what a single run depends on beside its point and seed.

        Two specs that agree in it share their runs. A study whose runs of few epochs are the beginning of those of many
        leaves the number of epochs out.
        """
        return {key: value for key, value in self.settings().items() if key != "sweep"}

    def identity(self) -> dict[str, Any]:
        """The settings as they are hashed: two specs with equal identities ask for the same results.

        Keys of later versions are left out where they ask for what was computed before (see `dnlbench.studies.added`).
        """
        return essential(type(self), self.settings())

    def run_identity(self) -> dict[str, Any]:
        return essential(type(self), self.run_settings())


FitModel = Literal["power", "limit", "curve-limit"]
Direction = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Described:
    """The fields that quantities and per-epoch metrics share."""

    name: str
    """Field of the profile's runs, or key of its epochs, that holds the values."""
    label: str
    unit: str = ""
    """Empty for a pure number."""
    better: Direction | None = None
    shown_as: Literal["number", "count", "bytes", "percent"] = "number"
    hardware_dependent: bool = False
    """The values depend on the hardware: only runs on equal machines are compared, and a pack counts once."""
    range: Range = "any"
    """The range of possible values; intervals and axes keep to it."""


@dataclass(frozen=True, kw_only=True)
class Quantity(Described):
    """Something a study measures once per run."""

    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    """How values of several seeds are averaged: geometric where an order of convergence is fitted, as the fit is through
    logarithms. Values that are not all above 0 have the arithmetic mean."""
    tolerance: float = 0.01
    """Relative difference below which two values count as the same for every purpose."""
    timed: bool = False
    """Whether it depends on the machine's state at the time, as a throughput does and a peak of memory does not."""
    follows: str = ""
    """Name of the quantity that says the same, so that this one gets no verdict of its own in comparisons; empty: none."""
    alias: str = ""
    """What it may be called for short, in rules; empty: only its name."""
    bound: float | None = None
    """Theory says that it is 0 but for rounding, which stays below this: smaller values agree with theory and with each
    other. None: theory does not say so."""
    table: str = ""
    """Title of the table that shows it; empty: the main one."""
    compared: bool = True
    """Whether `dnlbench.compare` compares it between profiles."""


@dataclass(frozen=True, kw_only=True)
class EpochMetric(Described):
    """Something a study measures once per epoch. Profiles, tables, charts and exports follow from this declaration."""

    range: Range = "positive"
    log: bool = False
    """Draw it on a logarithmic axis at first."""
    tag: str = ""
    """Name in TensorBoard; empty: the metric's own, below ``epoch``."""

    def last(self, **changes: Any) -> Quantity:
        """The value after the last epoch as a quantity of the run, with the given fields of `Quantity`."""
        shared = {field.name: getattr(self, field.name) for field in fields(Described)}
        return Quantity(**shared, **changes)


TRAIN_LOSS = EpochMetric(
    name="train_loss", label="training loss", unit="nats", better="lower", log=True, tag="loss/train"
)
THROUGHPUT = EpochMetric(
    name="samples_per_s",
    label="throughput",
    unit="samples/s",
    better="higher",
    shown_as="count",
    hardware_dependent=True,
    tag="throughput/samples_per_s",
)
"""With the training loss what every study with epochs measures."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said of each network in a word: by theory beforehand, and by whether the fitted values fall to 0."""

    measured_as: str
    """The measurement that holds the place of theory's word; equal in all runs of a network."""
    by_theory: tuple[str, ...]
    seen: tuple[str, str]
    """Where the values are not seen to fall like a power of depth, and where they are."""


@dataclass(frozen=True, kw_only=True)
class DepthFit:
    """How a quantity is expected to go with depth: a fit for each network."""

    quantity: str
    model: FitModel
    """``power``: ``C L^-p``, one curve a seed. ``limit``: ``a + C L^-p`` through samples that are independent between depths.
    ``curve-limit``: the same through one deterministic curve a seed, each seed being a problem of its own."""
    expected_order: float | None = None
    """``p`` as theory has it, of all networks."""
    at_least: bool = False
    """Whether theory bounds the values by ``C L^-p``, so that a higher order agrees with it too. The limit of local orders is
    compared with a bound, since that is about the limit; a value is compared with the mean slope."""
    unless: str | None = None
    """The measurement that runs hold where theory says nothing of them; the others lack it."""
    expected_from: str | None = None
    """The measurement that holds ``p`` where it differs between networks; runs of networks without one lack it."""
    verdict: Verdict | None = None
    """Of a ``power``."""
    at_most_chance: bool = False
    """Whether no limit is above ln(classes), the cross-entropy of a network that guesses."""
    rate: str | None = None
    """The quantity that holds the throughput, from which the cost of the next doubling follows."""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The quantities that tell whether gradients explode or vanish with depth."""

    norm: str
    """Norm of the whole gradient."""
    ratio: str
    """Norm at the first part of a network over that at the last."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A quantity that tells what depth costs, as it grows like ``L^q``."""

    quantity: str
    label: str
    """One word, for the head of a column."""
    inverse: bool = False
    """Whether the cost is one over the quantity, as the time of a sample is one over the throughput."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run of a point will take, foreseen without building it. None: not foreseeable."""

    parameters: int | None
    memory_bytes: int | None
    work: float
    """Relative cost of the run, for ordering and time left; comparable only within one sweep."""


class Estimator(Protocol):
    """Foresees the size of a point's runs on given data."""

    def __call__(self, spec: Any, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
        """The estimate; ``shape`` and ``classes`` are None as long as the data are not known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Study:
    """One kind of sweep."""

    name: str
    question: str
    """What it answers, in one line."""
    spec: type[StudySpec]
    quantities: tuple[Quantity, ...]
    """The first one is the study's main result."""
    epoch_metrics: tuple[EpochMetric, ...] = ()
    """In the order in which charts offer them, the training loss first; empty if runs have no epochs."""
    estimate: Estimator
    to_save_memory: str
    """What in a spec makes its runs smaller."""
    fits: tuple[DepthFit, ...] = ()
    costs: tuple[Cost, ...] = ()
    contrasts: tuple[str, ...] = ()
    """Names of quantities that are tested within a profile, depth against depth and network against network. Their values
    differ by chance between seeds, do not depend on the machine and have a better direction."""
    plotted: tuple[str, ...] = ()
    """Names of quantities without a trend that a figure over depth shows beside those that have one."""
    stability: Stability | None = None
    packs: bool = False
    """Whether runs that differ only in the seed can be carried out together."""
    workload_version: int
    """Raised whenever equal specs stop meaning equal computations."""

    @property
    def has_epochs(self) -> bool:
        """Whether runs go by epochs, or find everything in one go."""
        return bool(self.epoch_metrics)

    @property
    def epoch_columns(self) -> tuple[str, ...]:
        """Keys of an epoch in profiles, tables and exports."""
        return tuple(dict.fromkeys([*FIELDS, *(metric.name for metric in self.epoch_metrics)]))
