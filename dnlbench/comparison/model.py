"""The result of a comparison, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnlbench.events import RunStatus
from dnlbench.profiles import Verdict
from dnlbench.stats import Interval, LogRatio
from dnlbench.studies import Quantity

Match = Literal["network", "depth"]
"""``network``: match network and depth. ``depth``: match the depth only, for one network of each profile."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting or property in which the profiles differ."""

    what: str
    """The name of the property, such as ``spec train.lr`` or ``machine torch``."""
    reference: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class NewFailure:
    """A run that succeeded in the reference and failed in the candidate."""

    network: str
    depth: int
    seed: int
    status: RunStatus
    """The status in the candidate."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The comparison of one quantity at one point."""

    network: str
    depth: int
    quantity: Quantity
    reference: Interval | None
    """Mean over seeds. None if no run has a value, or if a hardware-dependent value was measured on different hardware."""
    candidate: Interval | None
    ratio: Interval | None
    """Candidate over reference, a geometric mean; None if undefined. Throughput and utilization have no interval and are not
    comparable unless they come from a paired benchmark."""
    ratios: tuple[tuple[int, float], ...]
    """Seed and candidate over reference, for the seeds with a value in both profiles, paired or not. Empty without a ratio."""
    paired: bool
    """True if the ratio is over pairs of equal seed."""
    p: float | None
    """Two-sided p value of the t test that the ratio is 1. None without an interval, and for a quantity that follows another
    one."""
    p_adjusted: float | None
    """The p value adjusted by Holm's method over all points of this quantity and over the families of the comparison."""
    verdict: Verdict | None
    """The verdict; None for a quantity that follows another one, whose verdict counts."""
    reason: str
    """The reason for any verdict but better, worse or no difference; failed runs; the seeds left out. May be empty."""


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The comparison of one quantity of one network over all depths, which gates test.

    The geometric mean over the depths is taken within each seed, and the seeds are the replicates. Depths of one seed are not
    independent, so intervals that pool depths and seeds are too narrow.
    """

    network: str
    quantity: Quantity
    depths: tuple[int, ...]
    """The depths that contribute."""
    seeds: tuple[int, ...]
    """The seeds with a value at each of the depths; if unpaired, in either profile."""
    ratio: Interval | None
    """Candidate over reference; None if undefined."""
    ratios: tuple[tuple[int, float], ...]
    """Seed and geometric mean of candidate over reference, for the seeds that both profiles have at all the depths."""
    log_ratio: LogRatio | None
    """The logarithm of ``ratio``, with standard error and degrees of freedom."""
    paired: bool
    p: float | None
    """Two-sided p value that the ratio is 1. None without an interval, and for a quantity that follows another one."""
    p_adjusted: float | None
    """The p value adjusted by Holm's method over the networks of this quantity and over the families of the comparison."""
    verdict: Verdict | None
    """The verdict; None for a quantity that follows another one."""
    reason: str
    """The reason for any other verdict than better, worse or no difference, or the failed runs. May be empty."""
    left_out: str
    """The depths and seeds that do not contribute, with the reason; empty if all do."""
    unjudged: tuple[int, ...]
    """Depths where both profiles have values that cannot be compared, or only the reference has a best value. The
    candidate may be worse there, so no gate passes."""
    advisory: str
    """The reason for a ratio without verdict, such as throughputs measured at different times; otherwise empty."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of a candidate with the reference."""

    study: str
    quantities: tuple[Quantity, ...]
    """The quantities of the study of the reference."""
    reference: str
    candidate: str
    """Name and time of each profile."""
    interleaved: str | None
    """The session of the paired benchmark, which pairs throughputs too. None without one."""
    differences: tuple[Difference, ...]
    cells: tuple[Cell, ...]
    """The cells by quantity, then by point in the order of the reference."""
    overall: tuple[Overall, ...]
    """The overall values by quantity, then by network in the order of the reference."""
    new_failures: tuple[NewFailure, ...]
    """The new failures in the order of the reference. Unfinished runs are not failures."""
    unfinished: tuple[tuple[str, int, int], ...]
    """Network, depth and seed of the runs that succeeded in the reference and are unfinished or missing in the candidate."""
    missing: tuple[tuple[str, int], ...]
    """Network and depth of the points that only the reference has. Nothing is compared there."""

    families: int
    """Number of test families that share the error of 5 %: the cells and the overall values of each quantity whose values have
    a spread."""
    match: Match

    def counts(self) -> dict[str, int]:
        """Count the cells by verdict."""
        verdicts = [cell.verdict for cell in self.cells if cell.verdict is not None]
        return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
