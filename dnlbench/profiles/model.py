"""The profile's form: JSON in UTF-8, numbered from the first version on, raw samples beside everything derived from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dnlbench.events import DataInfo, EpochRecord, RunError, RunStatus
from dnlbench.events.records import Measure, Positive
from dnlbench.machine import Code, Machine, Node, Sources
from dnlbench.profiles.verdicts import Verdict
from dnlbench.stats import Interval
from dnlbench.studies import STUDIES, FitModel, Point
from dnlbench.studies.added import completed

SCHEMA = "dnlbench.profile/1"
Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]


class Record(BaseModel):
    """Part of a profile. Numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity"."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", populate_by_name=True)


class AttemptRecord(Record):
    """One try at a run."""

    attempt: Count
    started: datetime
    ended: datetime | None
    """None if its process was lost before it could say."""
    status: RunStatus | Literal["paused"] | None
    device: str
    node: str | None = None
    """Name of the machine of a cluster that it was on; None for the profile's own ``machine``."""
    fingerprint: str | None = None
    """That machine's; None for the profile's own."""
    device_name: str | None = None
    """The device's model; None in profiles that do not tell."""
    from_epoch: Count = 0
    """Epochs kept from the attempt before."""
    from_step: Count = 0
    """Training steps of the epoch after those that were kept too."""


class RunMetadata(Record):
    """Which run it is, how it ended and on what."""

    run_id: str
    network: str
    depth: Positive
    seed: Count
    status: RunStatus
    device: str | None
    """None for a run that never started; so for all fields below that may be None."""
    device_name: str | None = None
    node: Node | None = None
    """The machine of a cluster that it was on; None for the profile's own ``machine``."""

    @property
    def point(self) -> Point:
        return Point(network=self.network, depth=self.depth)


class RunRecord(RunMetadata):
    """One seed at one point, with all that was measured."""

    threads: Positive | None = None
    jobs: Positive | None = None
    """Runs of the sweep that could go on side by side on the device."""
    shared_device: bool = False
    pack_size: Positive | None
    parameters: Count | None
    flops_per_sample: Measure | None = None
    """Floating-point operations that training on one sample takes, in products alone; None where torch can count none, in
    studies other than training, and in profiles that do not tell. So for the two fields that go with it."""
    peak_flops: Measure | None = None
    """The most of them per second that a product of matrices reached on the run's slot, in its precision."""
    utilisation: Measure | None = None
    """``samples_per_s`` times ``pack_size`` times ``flops_per_sample`` over ``peak_flops``."""
    epochs: tuple[EpochRecord, ...]
    final_train_loss: float | None
    """Of the last epoch done."""
    samples_per_s: Measure | None
    """Samples of all epochs over their seconds."""
    evaluation_accuracy: float | None = None
    """After the last epoch, where it was asked for."""
    gradient_norm_median: float | None = None
    """Of the last epoch done; None in profiles of versions before 0.8."""
    peak_memory_bytes: Count | None
    estimated_memory_bytes: Count | None = Field(
        default=None, validation_alias=AliasChoices("estimated_memory_bytes", "foreseen_memory_bytes")
    )
    """Peak memory estimated by the plan. None for custom networks and in profiles without it. Profiles of 0.7 and before call
    the key ``foreseen_memory_bytes``."""
    measurements: dict[str, float | tuple[float, ...]] = Field(default_factory=dict)
    """By quantity, and curves for charts. Of training: the initial and the final network; empty in profiles before 0.8."""
    weights_sha256: str | None = None
    """Of the file with its final weights, ``<profile without .json>.weights/<run_id>.pt``; None where none was kept."""
    attempts: tuple[AttemptRecord, ...]
    error: RunError | None


class IntervalRecord(Record):
    """A mean over seeds with its 95 % t interval."""

    mean: float
    """Geometric for a quantity whose order of convergence is fitted, arithmetic otherwise."""
    low: float | None
    """Inside the quantity's range, so the mean need not be in the middle; None for a single value, and where all values are at
    an end of the range. Profiles of 0.7 and before have the symmetric interval."""
    high: float | None
    n: Count
    """Values. The runs of a pack have one value of throughput, utilisation and memory in common; in profiles of 0.7 and
    before they counted one by one."""

    @property
    def interval(self) -> Interval:
        return Interval(estimate=self.mean, low=self.low, high=self.high, n=self.n)


class PointSummary(Record):
    """All seeds of one network at one depth."""

    network: str
    depth: Positive
    parameters: Count | None
    statuses: dict[str, Count]
    """How many runs ended in which way."""
    quantities: dict[str, IntervalRecord]
    """By the study's names, over the runs that are ``ok``; a quantity that no run has is left out. What depends on the machine
    (throughput, memory) is over the runs of one device model on one model of machine alone: that which most of the point's
    runs were on, of equally common ones that which most of the network's were on."""
    left_out: Count = 0
    """Runs that are ``ok`` and count in no mean of what depends on the machine, because they were on other hardware than most,
    or moved from one to another. In profiles of versions before 0.7 such runs count."""


class FitRecord(Record):
    """How a quantity goes with depth, of one network. Intervals are at 95 %; None: not determined."""

    network: str
    quantity: str
    model: FitModel
    """``power``: ``C L^-order``. ``limit``: a curve of a form that fits. ``curve-limit``: ``limit + C L^-order``. See
    `dnlbench.studies.DepthFit`."""
    depths: tuple[Positive, ...]
    order: float | None = None
    order_low: float | None = None
    order_high: float | None = None
    expected_order: float | None = None
    """What theory says."""
    at_least: bool = False
    """Whether theory bounds the values from above, so that a higher order agrees with it too."""
    agrees: bool | None = None
    """Whether the order is within 0.1 of that. Of a bound: whether ``order_limit`` is not below it by more than 0.1; None also
    where only a part of its interval is."""
    local_orders: tuple[float, ...] = ()
    """Between successive depths, means over the seeds; where theory has a bound."""
    order_limit: float | None = None
    """What they tend to; see `dnlbench.stats.orders`."""
    order_limit_low: float | None = None
    order_limit_high: float | None = None
    theory: str = ""
    """The word that theory has for the network; empty in studies without verdicts. So for the next one."""
    seen: str = ""
    """The word for what the fit shows."""
    constant: float | None = None
    """``C``, of a power for depths that count from 1; of another form for depths that count from the smallest one."""
    form: str = ""
    """Of ``base + C x(L)``, the curve that stands for those that fit: a name in `dnlbench.stats.forms`. Empty where no curve is
    fitted, for a ``power``, and in profiles of 0.7 and before, whose fits were never refused. So for the next fields."""
    shape: float | None = None
    """The number of the form."""
    base: float | None = None
    """The curve's own limit, even where ``limit`` is undetermined."""
    forms: tuple[str, ...] = ()
    """All forms that the values do not reject at 1 %."""
    limit: float | None = None
    """The value at infinite depth; its interval is the hull over the forms that are not rejected."""
    limit_low: float | None = None
    limit_high: float | None = None
    undetermined: str = ""
    """Why a curve that fits has no limit that the values can tell."""
    fitted_value: float | None = None
    """The curve at the largest depth."""
    next_value: float | None = None
    """Expected at twice the largest depth."""
    next_low: float | None = None
    next_high: float | None = None
    next_gain: float | None = None
    """How much that is less than the fitted value at the largest depth."""
    next_gain_low: float | None = None
    next_gain_high: float | None = None
    next_time_factor: float | None = None
    """How many times as long a sample will take at twice the largest depth, by the last depths' throughput."""
    shrinking: tuple[float, ...] = ()
    """By what factor the differences of successive means fall, where each depth is twice the one before."""
    residual: float | None = None
    """Root mean square relative misfit."""
    misfit_p: float | None = None
    """p of the test for lack of fit; None for curves without noise."""
    refused: str = ""
    """Why no curve fits; then there is neither a limit nor an order, nor what follows from them."""
    best_depth: Positive | None = None
    """The depth with the best mean of those measured, where the fit is refused or its limit undetermined."""
    best_value: float | None = None
    """That mean."""
    best_low: float | None = None
    best_high: float | None = None
    problem: str = ""
    """Why there is no fit; empty if there is one, or if it is refused."""

    @property
    def is_fitted(self) -> bool:
        """Whether a curve was fitted and stands."""
        return not (self.problem or self.refused)


class CostRecord(Record):
    """How a cost grows with depth, like ``L^exponent``, of one network; see `dnlbench.studies.Cost`."""

    network: str
    quantity: str
    depths: tuple[Positive, ...]
    """The largest ones, which the exponent is fitted over."""
    exponent: float | None = None
    """Mean over the seeds, each with a slope of its own."""
    exponent_low: float | None = None
    """Of the 95 % t interval over seeds; None for a single one."""
    exponent_high: float | None = None
    n: Count = 0
    """Seeds that have a value at each of the depths; the seeds of a pack count as one."""
    left_out: Count = 0
    """Runs on another machine or device, with other threads, other runs beside them or in packs of another size than most."""
    problem: str = ""
    """Why there is no exponent; empty if there is one."""


class PointRecord(Record):
    """A network at a depth."""

    network: str
    depth: Positive


class ContrastRecord(PointRecord):
    """A quantity at one point over the same quantity at another point of the profile, with its test."""

    against: PointRecord
    """The same network at the depth before, or the profile's first network at the same depth."""
    quantity: str
    ratio: float | None
    """Geometric mean of the ratios by seed; None where none can be stated."""
    low: float | None
    """Of the 95 % t interval of the log ratio, which is not adjusted for the number of tests. None for a single seed."""
    high: float | None
    n: Count
    """Pairs of seeds; unpaired, the seeds of the point with fewer of them."""
    paired: bool
    """Whether the t test is over pairs of equal seed; otherwise it is Welch's."""
    p: float | None
    """Two-sided, that the ratio is 1."""
    p_adjusted: float | None
    """By Holm's method, over all contrasts of the quantity in the profile."""
    verdict: Verdict
    reason: str = ""
    """Why the verdict is not better, worse or no difference, and the seeds left out. May be empty."""

    @property
    def interval(self) -> Interval | None:
        if self.ratio is None:
            return None
        return Interval(estimate=self.ratio, low=self.low, high=self.high, n=self.n)


class Summary(Record):
    """What follows from the runs; `dnlbench profiles validate` computes it again."""

    points: tuple[PointSummary, ...]
    fits: tuple[FitRecord, ...] = ()
    """Empty in studies without any, and in profiles of versions before 0.3."""
    costs: tuple[CostRecord, ...] = ()
    """Empty in studies without any, and in profiles of versions before 0.5."""
    contrasts: tuple[ContrastRecord, ...] = ()
    """Depth against depth, then network against network. Empty in studies without any. Profiles of versions before 0.8 have
    none in the file; they are computed on reading."""


class ProfileMetadata(Record):
    """What was asked, when and on what it was found: all of a profile that stands before its runs."""

    schema_: Annotated[Literal["dnlbench.profile/1"], Field(alias="schema")] = "dnlbench.profile/1"
    study: str
    name: str
    state: Literal["complete", "partial"]
    """Partial: some runs were cancelled or never started."""
    created: datetime
    """When the last of its runs ended."""
    spec: dict[str, Any]
    """With the keys of later versions, which mean in a file without them what was computed before they existed."""
    spec_hash: str
    workload_version: int
    code: Code
    custom_code: Sources = Sources()
    """What the custom networks were made of; empty without any, and in profiles of versions before 0.8."""
    machine: Machine
    data: DataInfo
    interleaved: str | None = None
    """Name of the session in which the runs of this profile and of another took turns on the same slots; None where they did
    not. Two profiles of one session may be held against each other in what depends on the state of the machine."""

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
        """Indented, one final line break."""
        return (self.model_dump_json(indent=1, by_alias=True) + "\n").encode()
