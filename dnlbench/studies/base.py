"""The base of studies: spec, points and seeds, measured quantities, and an estimate of each point's size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Annotated, Any, Literal, NoReturn, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dnlbench import units
from dnlbench.events.epochs import FIELDS
from dnlbench.stats import Interval, Range
from dnlbench.studies.added import completed, essential

InputShape = tuple[int, ...]
"""Shape of one input: channels, height and width of an image; any other number of axes for other data."""


class Section(BaseModel):
    """A table of a spec: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def refuse(key: str, value: Any, reason: str) -> NoReturn:
    """Reject the value of a dotted key that is inconsistent with the rest of its spec."""
    raise PydanticCustomError("does_not_fit", "{reason}", {"key": key, "value": value, "reason": reason})


Settings = tuple[tuple[str, Any], ...]
"""Dotted keys of a spec with their values, in the order of the keys. Values are hashable: lists are tuples."""


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return settings in the order of their keys, from plain values."""
    return tuple((key, hashable(values[key])) for key in sorted(values))


def hashable(value: Any) -> Any:
    """Return a plain value with tuples in place of lists."""
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def series_name(network: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a network with its settings: ``densenet lr=0.01``.

    A key is shortened to its last part, unless another key of the settings has the same one.
    """
    if not settings:
        return network
    last = Counter(key.rpartition(".")[2] for key in settings)
    short = {key: end if last[end := key.rpartition(".")[2]] == 1 else key for key in settings}
    return " ".join([network, *(f"{short[key]}={_value_text(settings[key])}" for key in sorted(settings))])


def _value_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_value_text, value))
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A combination of network, depth and settings of a grid. The runs of a point differ only in the seed."""

    network: str
    depth: int
    settings: Settings = ()
    """Settings of the sweep's grid; empty without a grid."""

    @property
    def series(self) -> str:
        """Name of the network with its settings. Points of equal series differ only in depth and are fitted over depth."""
        return series_name(self.network, dict(self.settings))

    @property
    def title(self) -> str:
        """Readable title: ``densenet lr=0.01 L=8``."""
        return f"{self.series} L={self.depth}"

    def without(self, key: str) -> Point:
        """Return the point without one of its settings."""
        return replace(self, settings=tuple(each for each in self.settings if each[0] != key))

    @property
    def identity(self) -> dict[str, Any]:
        """Part of the hash of a run id that identifies the point."""
        grid = {"settings": dict(self.settings)} if self.settings else {}
        return {"network": self.network, "depth": self.depth, **grid}


@dataclass(frozen=True, kw_only=True)
class Match:
    """The setting that gives a depth the budget of a reference depth, as far as whole numbers can."""

    quantity: str
    """The budget: parameters, flops or time."""
    key: str
    """Dotted key of the spec."""
    value: int
    mismatch: float
    """The estimated budget over that of the reference depth, minus 1."""

    @property
    def text(self) -> str:
        """Return ``growth_rate 9 (+0.4 %)``."""
        return f"{self.key.rpartition('.')[2]} {self.value} ({units.percent(self.mismatch, signed=True)})"


class StudySpec(Section):
    """The common part of the specs of all studies."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of the sweep; its files are named after it. Letters, digits, dots, dashes and underscores, 64 at most."""
    study: str
    """The study of the sweep. The other keys depend on it."""
    sweep: Any
    """The study's `dnlbench.studies.axes.Axes`."""

    @classmethod
    def from_saved(cls, saved: object) -> Self:
        """Read a saved spec. Keys that did not exist in its version get the value that describes that version's computation.

        Raises:
            ValidationError: if the document is not a spec of this study.
        """
        document = completed(cls, saved) if isinstance(saved, Mapping) else saved
        return cls.model_validate_json(json.dumps(document), strict=True)

    @property
    def networks(self) -> Collection[str]:
        """Names of the networks, in the order of the spec."""
        raise NotImplementedError

    @property
    def custom_networks(self) -> tuple[str, ...]:
        """Names of the networks whose code is not part of dnlbench."""
        return ()

    @property
    def custom_parts(self) -> tuple[str, ...]:
        """The ``module:object`` of all parts whose code is not part of dnlbench. Profiles record their source files."""
        return ()

    @property
    def points(self) -> tuple[Point, ...]:
        """All points, in the order of the networks, then of the settings, then of the depths."""
        return tuple(
            Point(network=name, depth=depth, settings=settings)
            for name in self.networks
            for settings in self.sweep.settings
            for depth in self.sweep.depths
        )

    def with_settings(self, settings: Settings) -> Self:
        """Return the spec with some of its keys set, and without a grid.

        Raises:
            ValidationError: if the values are not valid together.
        """
        if not self.sweep.grid:
            return self
        document = self.model_dump(mode="json")
        document["sweep"]["grid"] = {}
        document.pop("tune", None)  # it chooses among the values of a grid
        for key, value in settings:
            *tables, name = key.split(".")
            reduce(lambda table, part: table.setdefault(part, {}), tables, document)[name] = value
        return type(self).model_validate_json(json.dumps(document), strict=True)

    @model_validator(mode="after")
    def _grid_is_valid(self) -> Self:
        """Validate the values of the grid, each with all others.

        The spec is validated with the same model, so that what is wrong with a value is reported as without a grid.
        """
        for key, values in self.sweep.grid.items():
            if reason := self.fixed_in_grid(key):
                refuse(f"sweep.grid.{key}", list(values), reason)
        for settings in self.sweep.settings if self.sweep.grid else ():
            try:
                self.with_settings(settings)
            except ValidationError as error:
                _refuse_setting(error, settings)
        return self

    def with_all_data(self) -> Self:
        """Return a spec without a grid that uses all data that the points of this one use parts of."""
        return self.with_settings(self.sweep.settings[0])

    def fixed_in_grid(self, key: str) -> str:
        """Return the reason why a key must have one value in a sweep; empty if it may be an axis."""
        if key.partition(".")[0] in ("name", "study", "sweep"):
            return "is no setting of a run; a grid varies keys of the other tables"
        return ""

    def at(self, point: Point) -> Self:
        """Return the spec that the runs of a point compute. The result is its own spec at this point."""
        spec = self.with_settings(point.settings)
        match = spec.matched(point)
        if match is None:
            return spec
        section, _, key = match.key.partition(".")
        return spec.model_copy(update={section: getattr(spec, section).model_copy(update={key: match.value})})

    def matched(self, point: Point) -> Match | None:
        """Return the setting that is chosen for the depth of a point; None if all depths have the settings of the spec."""
        return None

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.sweep.seeds)

    @property
    def epochs(self) -> int:
        """Epochs of each run; 1 in studies without epochs."""
        return 1

    def settings(self) -> dict[str, Any]:
        """Return the spec without its name and file locations."""
        return self.model_dump(mode="json", exclude={"name": True})

    def run_settings(self) -> dict[str, Any]:
        """Return the settings that a single run depends on besides its point and seed: all except the axes.

        Two specs with equal run settings share their runs. If a run of few epochs is the beginning of a longer run, the study
        excludes the number of epochs.
        """
        return {key: value for key, value in self.settings().items() if key != "sweep"}

    def identity(self) -> dict[str, Any]:
        """Return the settings that are hashed. Specs with equal identities have the same results.

        Keys of later versions are omitted if they describe the computation of earlier versions (see `dnlbench.studies.added`).
        """
        return essential(type(self), self.settings())

    def run_identity(self) -> dict[str, Any]:
        return essential(type(self), self.run_settings())


def _refuse_setting(error: ValidationError, settings: Settings) -> NoReturn:
    """Report the first error of a spec with the settings of a grid, at the key of the grid that has it."""
    details = error.errors()[0]
    path = details.get("ctx", {}).get("key") or ".".join(str(part) for part in details["loc"] if isinstance(part, str))
    key = next((key for key, _ in settings if path == key or path.startswith(f"{key}.")), settings[0][0])
    others = "" if path == key else f" with {series_name('', dict(settings)).strip()}: {path}"
    refuse(f"sweep.grid.{key}", dict(settings)[key], f"{others.strip()} {details['msg']}".strip())


NOT_A_POWER = 0.01
"""Level of the lack-of-fit test of powers of depth."""
ORDER_TOLERANCE = 0.1
"""Tolerance of orders: agreement with the expected order, and the order above which values count as falling."""
FitModel = Literal["power", "growth", "limit", "curve-limit"]
POWERS: tuple[FitModel, ...] = ("power", "growth")
"""Models that are a power of depth without a limit."""
Direction = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Described:
    """The common fields of quantities and per-epoch metrics."""

    name: str
    """Field of a profile's runs, or key of its epochs, with the values."""
    label: str
    unit: str = ""
    """Empty for dimensionless values."""
    better: Direction | None = None
    shown_as: Literal["number", "count", "bytes", "percent"] = "number"
    hardware_dependent: bool = False
    """The values depend on the hardware: only runs on equal machines are compared, and a pack counts once."""
    range: Range = "any"
    """The range of possible values. Intervals and axes stay inside it."""


@dataclass(frozen=True, kw_only=True)
class OverEpochs:
    """A value of a run that follows from a metric of its epochs."""

    metric: str
    value: Literal["lowest", "epoch of the lowest", "mean of the last"]
    epochs: int = 1
    """Number of epochs for the mean."""


@dataclass(frozen=True, kw_only=True)
class Quantity(Described):
    """A value that a study measures once per run."""

    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    """Mean over seeds. It is geometric if an order of convergence is fitted, since the fit uses logarithms. Values that are
    not all positive always have the arithmetic mean."""
    tolerance: float = 0.01
    """Relative difference below which two values are considered equal."""
    timed: bool = False
    """The value depends on the machine's state at the time, like throughput and unlike peak memory."""
    follows: str = ""
    """Name of a quantity with the same information. Comparisons then give no separate verdict for this one. Empty: none."""
    alias: str = ""
    """Short name in rules. Empty: no short name."""
    bound: float | None = None
    """In theory the value is 0. Rounding stays below this bound, so smaller values agree with theory and with each other.
    None: theory does not predict 0."""
    table: str = ""
    """Title of the table with this quantity. Empty: the main table."""
    over_epochs: OverEpochs | None = None
    """Computed from the epochs when a profile is made. None: measured by the run, or the value of the last epoch."""
    compared: bool = True
    """`dnlbench.comparison` compares it between profiles."""


@dataclass(frozen=True, kw_only=True)
class EpochMetric(Described):
    """A value that a study measures once per epoch. Profiles, tables, charts and exports are generated from it."""

    range: Range = "positive"
    log: bool = False
    """The default axis is logarithmic."""
    tag: str = ""
    """Name in TensorBoard. Empty: ``epoch/`` and the metric's name."""

    def last(self, **changes: Any) -> Quantity:
        """Return the value after the last epoch as a quantity, with the given fields of `Quantity`."""
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
"""Every study with epochs measures throughput and training loss."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdicts about each network: from the fitted power of depth, and the prediction of theory."""

    observed: Callable[[Interval], str]
    """Returns the verdict from the order ``p`` of ``C L^-p`` with its interval."""
    rule: str
    """The meaning of the verdicts, in a line."""
    measured_as: str = ""
    """The measurement with the index of theory's verdict. It is equal in all runs of a network. Empty: theory has none."""
    by_theory: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DepthFit:
    """A fit of a quantity over depth, for each network."""

    quantity: str
    model: FitModel
    """``power``: ``C L^-p``, one curve per seed. ``growth``: the same, shown as ``C L^q``. ``limit``: ``a + C L^-p``, with
    independent samples at each depth. ``curve-limit``: ``a + C L^-p``, one deterministic curve per seed, where each seed is a
    separate problem."""
    expected_order: float | None = None
    """Order ``p`` that theory predicts for all networks."""
    at_least: bool = False
    """Theory bounds the values by ``C L^-p``, so a higher order agrees with it too. The limit of local orders is compared
    with such a bound, since it is asymptotic. An exact prediction is compared with the mean slope."""
    unless: str | None = None
    """A measurement that only runs outside the assumptions of theory have."""
    expected_from: str | None = None
    """The measurement with ``p`` if it differs between networks. Networks without a predicted order lack it."""
    verdict: Verdict | None = None
    """Verdicts about the fit, for powers only."""
    at_most_chance: bool = False
    """Limits never exceed ln(classes), the cross-entropy of guessing."""
    rate: str | None = None
    """The quantity with the throughput, from which the cost of the next doubling is computed."""


TUNED_LOSS = "tuned_loss"
"""Name of the quantity `Tuning.loss`."""
BEST_VALUE = "best_value"
"""Name of the quantity `Tuning.setting`."""
TUNED = (TUNED_LOSS, BEST_VALUE)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A setting whose best value is chosen at each network and depth, among the values of a grid."""

    key: str
    """Dotted key of the grid."""
    quantity: str
    """Name of the quantity that the best value minimizes."""
    loss: Quantity
    """The quantity at the best value."""
    setting: Quantity
    """The best value."""
    at_most_chance: bool = False
    """Limits of the loss never exceed ln(classes)."""

    def measured_in(self, study: Study) -> Quantity:
        """Return the quantity that the best value minimizes."""
        return next(quantity for quantity in study.quantities if quantity.name == self.quantity)

    @property
    def loss_fit(self) -> DepthFit:
        """The fit of the loss at the best value over depth."""
        return DepthFit(quantity=self.loss.name, model="limit", at_most_chance=self.at_most_chance)

    def observed(self, exponent: Interval, misfit_p: float | None) -> str:
        """Return whether the best value depends on depth, from the exponent of its growth."""
        if misfit_p is not None and misfit_p < NOT_A_POWER:
            return "changes with depth, not as a power of L"
        if exponent.low is None or exponent.high is None or exponent.low <= 0 <= exponent.high:
            return "no dependence on depth detected"
        return "grows with depth" if exponent.estimate > 0 else "falls with depth"


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The quantities that show whether gradients explode or vanish with depth."""

    norm: str
    """Norm of the full gradient."""
    ratio: str
    """Gradient norm of the first part of a network divided by that of the last part."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A quantity that measures the cost of depth. The cost grows like ``L^q``."""

    quantity: str
    label: str
    """A single word for a column head."""
    inverse: bool = False
    """The cost is the inverse of the quantity, for example time per sample of throughput."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimated size and cost of a run, computed without building its network. None: unknown."""

    parameters: int | None
    memory_bytes: int | None
    work: float
    """Relative cost, for the order of runs and the time left. It is comparable only within one sweep."""


class Estimator(Protocol):
    """Estimates the size of a point's runs on given data."""

    def __call__(self, spec: Any, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
        """Return the estimate. ``shape`` and ``classes`` are None until the data are known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Study:
    """A kind of sweep."""

    name: str
    title: str
    """The research question in one line, for reports and figures."""
    spec: type[StudySpec]
    runner: str
    """``module:class`` of the study's `dnlbench.runners.base.Runner`, which only workers import."""
    quantities: tuple[Quantity, ...]
    """The first one is the study's main result."""
    epoch_metrics: tuple[EpochMetric, ...] = ()
    """Metrics in the order of charts, the training loss first. Empty if runs have no epochs."""
    estimate: Estimator
    to_save_memory: str
    """Changes of the spec that reduce memory."""
    fits: tuple[DepthFit, ...] = ()
    costs: tuple[Cost, ...] = ()
    contrasts: tuple[str, ...] = ()
    """Names of quantities that are tested within a profile, between depths and between networks. Their values vary randomly
    between seeds, do not depend on the hardware, and have a better direction."""
    against_budget: tuple[tuple[str, str], ...] = ()
    """Names of the losses that are shown against the budget of a run, each with the epoch metric whose last value it is."""
    plotted: tuple[str, ...] = ()
    """Names of quantities without a fit that figures over depth show in addition to those with one."""
    stability: Stability | None = None
    tuning: Tuning | None = None
    """Set by ``adapt`` for a sweep that tunes a setting. `quantities` then has both of its quantities."""
    packs: bool = False
    """Runs that differ only in the seed can be batched."""
    workload_version: int
    """Increased whenever equal specs no longer mean equal computations."""
    adapt: Callable[[Study, Mapping[str, Any]], Study] | None = None
    """Returns the study with the declarations that depend on the settings of a sweep. None: no declaration does."""

    def of(self, settings: Mapping[str, Any]) -> Study:
        """Return the study with the declarations for a sweep, such as the unit of its loss and its custom metrics.

        ``settings`` is a spec as a dict. It may come from a file, and any of it may be missing.
        """
        return self.adapt(self, settings) if self.adapt else self

    @property
    def summary(self) -> str:
        """The line of the study in ``dnlbench list``."""
        return self.title

    @property
    def fitted(self) -> tuple[str, ...]:
        """Names of the quantities with a fit over depth."""
        tuned = TUNED if self.tuning else ()
        return (*tuned, *(fit.quantity for fit in self.fits))

    @property
    def has_epochs(self) -> bool:
        """True if runs train in epochs, false if they are a single measurement."""
        return bool(self.epoch_metrics)

    def epoch_metric(self, metric: EpochMetric) -> EpochMetric:
        """Return the study's declaration of a metric, with its unit in this study."""
        return next((each for each in self.epoch_metrics if each.name == metric.name), metric)

    @property
    def has_chance_level(self) -> bool:
        """True if ln(classes), the cross-entropy of guessing, is a bound of the study's main loss."""
        return any(fit.at_most_chance for fit in self.fits)

    @property
    def epoch_columns(self) -> tuple[str, ...]:
        """Keys of an epoch in profiles, tables and exports."""
        return tuple(dict.fromkeys([*FIELDS, *(metric.name for metric in self.epoch_metrics)]))
