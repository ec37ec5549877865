"""The profile format: JSON in UTF-8 with a schema version, raw samples and everything derived from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from dnlbench.events import DataInfo, EpochRecord, RunError, RunStatus
from dnlbench.events.records import Measure, Positive
from dnlbench.machine import Code, Machine, Node, Sources
from dnlbench.profiles.verdicts import Verdict
from dnlbench.stats import Interval
from dnlbench.stats.tuning import Edge
from dnlbench.studies import STUDIES, FitModel, Point, Study
from dnlbench.studies.added import completed
from dnlbench.studies.base import BEST_VALUE, TUNED_LOSS, Match, series_name, settings_of

SCHEMA = "dnlbench.profile/2"
Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]


class Record(BaseModel):
    """Part of a profile. Non-finite numbers are the strings "NaN", "Infinity" and "-Infinity"."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", populate_by_name=True)


class SeriesRecord(Record):
    """A network with its settings of the grid."""

    network: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """Values of the sweep's grid by dotted key. Empty without a grid, and in profiles of versions before 0.8."""

    @property
    def series(self) -> str:
        """Name of the network with its settings; see `dnlbench.studies.base.Point.series`."""
        return series_name(self.network, self.settings)


class PointRecord(SeriesRecord):
    """A network with its settings at a depth."""

    depth: Positive

    @property
    def point(self) -> Point:
        return Point(network=self.network, depth=self.depth, settings=settings_of(self.settings))


class AttemptRecord(Record):
    """An attempt at a run."""

    attempt: Count
    started: datetime
    ended: datetime | None
    """End time; None if the process died without a final event."""
    status: RunStatus | Literal["paused"] | None
    device: str
    node: str | None = None
    """Name of the cluster machine; None for the ``machine`` of the profile."""
    fingerprint: str | None = None
    """Fingerprint of the cluster machine; None for the ``machine`` of the profile."""
    device_name: str | None = None
    """Model of the device; None in older profiles."""
    from_epoch: Count = 0
    """Number of epochs taken over from the previous attempt."""
    from_step: Count = 0
    """Number of training steps of the next epoch taken over too."""


class RunMetadata(PointRecord):
    """The identity, status and device of a run."""

    run_id: str
    seed: Count
    status: RunStatus
    device: str | None
    """The device; None for a run that never started, as all optional fields below."""
    device_name: str | None = None
    node: Node | None = None
    """The cluster machine; None for the ``machine`` of the profile."""


class MatchRecord(Record):
    """The setting that ``[match]`` chose for the depth of a run."""

    quantity: str
    """The budget that all depths share: parameters, flops or time."""
    key: str
    """Dotted key of the spec."""
    value: Positive
    mismatch: float
    """The estimated budget over that of the reference depth, minus 1."""

    @property
    def text(self) -> str:
        """Return ``growth_rate 9 (+0.4 %)``."""
        return Match(**self.model_dump()).text


class RunRecord(RunMetadata):
    """A run with all its measurements."""

    matched: MatchRecord | None = None
    """None if all depths have the settings of the spec."""

    threads: Positive | None = None
    jobs: Positive | None = None
    """Maximum number of concurrent runs of the sweep on the device."""
    shared_device: bool = False
    pack_size: Positive | None
    parameters: Count | None
    samples: Count | None = None
    """Training samples per epoch; None in studies without training data, and in profiles of versions before 0.8: those of the
    ``data`` of the profile."""
    flops_per_sample: Measure | None = None
    """Floating-point operations of matrix products per training sample. None if torch cannot count them, in other studies and
    in older profiles, as the next two fields."""
    peak_flops: Measure | None = None
    """Highest measured rate of a matrix product on the run's slot in its precision, in operations per second."""
    utilisation: Measure | None = None
    """``samples_per_s`` times ``pack_size`` times ``flops_per_sample`` over ``peak_flops``."""
    epochs: tuple[EpochRecord, ...]
    final_train_loss: float | None
    """Training loss of the last finished epoch."""
    samples_per_s: Measure | None
    """Samples of all epochs over their seconds."""
    evaluation_accuracy: float | None = None
    """Accuracy after the last epoch, if evaluated."""
    gradient_norm_median: float | None = None
    """Median gradient norm of the last finished epoch; None in profiles of versions before 0.8."""
    peak_memory_bytes: Count | None
    estimated_memory_bytes: Count | None = Field(
        default=None, validation_alias=AliasChoices("estimated_memory_bytes", "foreseen_memory_bytes")
    )
    """Peak memory estimated by the plan. None for custom networks and in profiles without it. Profiles of 0.7 and before call
    the key ``foreseen_memory_bytes``."""
    measurements: dict[str, float | tuple[float, ...]] = Field(default_factory=dict)
    """Values by quantity, and curves for charts. Empty in training profiles before 0.8."""
    weights_sha256: str | None = None
    """SHA-256 of the final weights in ``<profile without .json>.weights/<run_id>.pt``; None if they were not kept."""
    attempts: tuple[AttemptRecord, ...]
    error: RunError | None


class IntervalRecord(Record):
    """A mean over seeds with its 95 % t interval."""

    mean: float
    """Geometric for a quantity whose order of convergence is fitted, arithmetic otherwise."""
    low: float | None
    """Lower bound within the quantity's range; the interval may be asymmetric. None for a single value, or if all values are at
    an end of the range. Profiles of 0.7 and before have the symmetric interval."""
    high: float | None
    n: Count
    """Number of values. The runs of a pack share one value of throughput, utilization and memory; profiles of 0.7 and before
    count each run."""

    @property
    def interval(self) -> Interval:
        return Interval(estimate=self.mean, low=self.low, high=self.high, n=self.n)


class PointSummary(PointRecord):
    """The runs of one network at one depth, summarized over seeds."""

    parameters: Count | None
    statuses: dict[str, Count]
    """Number of runs by status."""
    quantities: dict[str, IntervalRecord]
    """Means by quantity over the runs that are ``ok``, without quantities that no run has. Hardware-dependent quantities
    (throughput, memory) are means over the runs on one model of device and machine: the most common one of the point, in a tie
    the most common one of the network."""
    left_out: Count = 0
    """Number of ``ok`` runs excluded from hardware-dependent means, because they ran on other hardware than most, or moved. In
    profiles of versions before 0.7 such runs count."""


class FitRecord(SeriesRecord):
    """The fit of a quantity over depth for one network. Intervals are at 95 %; None: not determined."""

    quantity: str
    model: FitModel
    """``power``: ``C L^-order``. ``limit``: a curve of a form that fits. ``curve-limit``: ``limit + C L^-order``. See
    `dnlbench.studies.DepthFit`."""
    depths: tuple[Positive, ...]
    order: float | None = None
    order_low: float | None = None
    order_high: float | None = None
    expected_order: float | None = None
    """The order that theory predicts."""
    at_least: bool = False
    """True if theory bounds the values from above, so that a higher order agrees with it too."""
    agrees: bool | None = None
    """True if the order is within 0.1 of the prediction. For a bound: True if ``order_limit`` is not below it by more than 0.1,
    None if only part of its interval is."""
    local_orders: tuple[float, ...] = ()
    """Orders between successive depths, means over the seeds. Only if theory has a bound."""
    order_limit: float | None = None
    """The limit of the local orders; see `dnlbench.stats.orders`."""
    order_limit_low: float | None = None
    order_limit_high: float | None = None
    theory: str = ""
    """The verdict of theory for the network. Empty in studies without verdicts, as the next field."""
    seen: str = ""
    """The verdict of the fit."""
    constant: float | None = None
    """``C``: of a power for depths in layers, of other forms for depths in units of the smallest one."""
    form: str = ""
    """Name of the form in `dnlbench.stats.forms` of the fitted curve ``base + C x(L)``. Empty without a curve, for the model
    ``power``, and in profiles of 0.7 and before, whose fits were never refused, as the next fields."""
    shape: float | None = None
    """The shape parameter of the form."""
    base: float | None = None
    """The limit of the curve, even if ``limit`` is undetermined."""
    forms: tuple[str, ...] = ()
    """All forms that are not rejected at 1 %."""
    limit: float | None = None
    """The value at infinite depth; its interval is the hull over the forms that are not rejected."""
    limit_low: float | None = None
    limit_high: float | None = None
    undetermined: str = ""
    """The reason why the values do not determine a limit, although a curve fits."""
    fitted_value: float | None = None
    """The curve at the largest depth."""
    next_value: float | None = None
    """Expected at twice the largest depth."""
    next_low: float | None = None
    next_high: float | None = None
    next_gain: float | None = None
    """The fitted value at the largest depth minus the next value."""
    next_gain_low: float | None = None
    next_gain_high: float | None = None
    next_time_factor: float | None = None
    """Estimated time of a sample at twice the largest depth, over that at the largest depth."""
    shrinking: tuple[float, ...] = ()
    """Ratios of successive differences of the means, if each depth is twice the previous one."""
    residual: float | None = None
    """Root mean square relative misfit."""
    misfit_p: float | None = None
    """p value of the lack-of-fit test; None for curves without noise."""
    refused: str = ""
    """The reason why no curve fits. Then limit, order and everything derived from them are None."""
    best_depth: Positive | None = None
    """The measured depth with the best mean, if the fit is refused or the limit undetermined."""
    best_value: float | None = None
    """The mean at the best depth."""
    best_low: float | None = None
    best_high: float | None = None
    problem: str = ""
    """The reason for a missing fit; empty if there is one, or if it is refused."""

    @property
    def is_fitted(self) -> bool:
        """True if a curve was fitted and not refused."""
        return not (self.problem or self.refused)


class CostRecord(SeriesRecord):
    """The growth ``L^exponent`` of a cost with depth for one network; see `dnlbench.studies.Cost`."""

    quantity: str
    depths: tuple[Positive, ...]
    """The largest depths, over which the exponent is fitted."""
    exponent: float | None = None
    """Mean of the slopes of the seeds."""
    exponent_low: float | None = None
    """Lower bound of the 95 % t interval over seeds; None for a single seed."""
    exponent_high: float | None = None
    n: Count = 0
    """Number of seeds with a value at each of the depths; the seeds of a pack count as one."""
    left_out: Count = 0
    """Number of excluded runs, with other hardware, threads, concurrent runs or pack size than most."""
    problem: str = ""
    """The reason for a missing exponent; empty if there is one."""


class ContrastRecord(PointRecord):
    """A quantity at one point over the same quantity at another point of the profile, with its test."""

    against: PointRecord
    """The same network at the depth before, or the profile's first network at the same depth."""
    quantity: str
    ratio: float | None
    """Geometric mean of the ratios by seed; None if undefined."""
    low: float | None
    """Lower bound of the 95 % t interval of the log ratio, not adjusted for the number of tests. None for a single seed."""
    high: float | None
    n: Count
    """Number of pairs of seeds; unpaired, the seeds of the point with fewer of them."""
    paired: bool
    """True for a t test over pairs of equal seed, False for Welch's test."""
    p: float | None
    """Two-sided p value that the ratio is 1."""
    p_adjusted: float | None
    """The p value adjusted by Holm's method over all contrasts of the quantity in the profile."""
    verdict: Verdict
    reason: str = ""
    """The reason for any verdict but better, worse or no difference, and the seeds left out. May be empty."""

    @property
    def interval(self) -> Interval | None:
        if self.ratio is None:
            return None
        return Interval(estimate=self.ratio, low=self.low, high=self.high, n=self.n)


class TriedRecord(Record):
    """A value of the tuned setting with its loss."""

    value: float
    loss: IntervalRecord | None = None
    """Mean over the runs that are ``ok``; None if there are none."""
    diverged: bool = False
    """True if a seed diverged, which rules the value out."""


class TunedRecord(PointRecord):
    """The best value of the tuned setting at a point; see `dnlbench.stats.tuning`."""

    key: str
    """Dotted key of the setting. The other settings of the grid are in ``settings``."""
    tried: tuple[TriedRecord, ...]
    """By increasing value."""
    best: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval; None if it lies outside the tried values, or for a single seed."""
    high: float | None = None
    edge: Edge = ""
    """The ends of the tried values that may be the best."""
    loss: IntervalRecord | None = None
    """The loss at the best value, from seeds that did not choose it. None for a single seed."""
    problem: str = ""
    """The reason for a missing best value; empty if there is one."""

    @property
    def means(self) -> PointSummary:
        """The best value and the loss at it, as results of a point."""
        quantities = {} if self.loss is None else {TUNED_LOSS: self.loss}
        if self.best is not None:
            n = self.loss.n if self.loss else 1
            quantities[BEST_VALUE] = IntervalRecord(mean=self.best, low=self.low, high=self.high, n=n)
        start = {"network": self.network, "settings": self.settings, "depth": self.depth}
        return PointSummary(**start, parameters=None, statuses={}, quantities=quantities)


class Summary(Record):
    """The values derived from the runs; `dnlbench profiles validate` recomputes them."""

    points: tuple[PointSummary, ...]
    fits: tuple[FitRecord, ...] = ()
    """Empty in studies without any, and in profiles of versions before 0.3."""
    costs: tuple[CostRecord, ...] = ()
    """Empty in studies without any, and in profiles of versions before 0.5."""
    tuned: tuple[TunedRecord, ...] = ()
    """Empty if the sweep tunes no setting."""
    contrasts: tuple[ContrastRecord, ...] = ()
    """Contrasts of depths, then of networks. Empty in studies without any. Files of versions before 0.8 have none; they are
    computed on reading."""

    @property
    def all_points(self) -> tuple[PointSummary, ...]:
        """The points of the runs, then those of tuned results."""
        return (*self.points, *(record.means for record in self.tuned))


class ProfileMetadata(Record):
    """The part of a profile before its runs: study, spec, code, machine and data."""

    schema_: Annotated[
        Literal["dnlbench.profile/2"],
        BeforeValidator(lambda schema: SCHEMA if schema == "dnlbench.profile/1" else schema),
        Field(alias="schema"),
    ] = "dnlbench.profile/2"
    """A profile of schema 1 is read as one without a grid."""
    study: str
    name: str
    state: Literal["complete", "partial"]
    """Partial: some runs were cancelled or never started."""
    created: datetime
    """End of the last run."""
    spec: dict[str, Any]
    """The spec in its current form. Keys that an older file lacks have the values from before they existed."""
    spec_hash: str
    workload_version: int
    code: Code
    custom_code: Sources = Sources()
    """Source files of the custom networks; empty without any, and in profiles of versions before 0.8."""
    machine: Machine
    data: DataInfo
    interleaved: str | None = None
    """Name of the session of a paired benchmark, None without one. Throughputs of two profiles of one session are comparable,
    since their runs alternated on the same slots."""

    @property
    def declared(self) -> Study:
        """The study with the quantities, metrics and fits of this sweep."""
        return STUDIES[self.study].of(self.spec)

    @field_validator("spec")
    @classmethod
    def _complete(cls, spec: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        study = STUDIES.get(info.data.get("study", ""))
        return completed(study.spec, spec) if study else spec


class Profile(ProfileMetadata):
    """The saved result of a sweep."""

    runs: tuple[RunRecord, ...]
    summary: Summary

    def to_json(self) -> bytes:
        """Return the profile as indented JSON with a final line break."""
        return (self.model_dump_json(indent=1, by_alias=True) + "\n").encode()
