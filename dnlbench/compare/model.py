"""What a comparison says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnlbench.events import RunStatus
from dnlbench.profiles import Verdict
from dnlbench.stats import Interval, LogRatio
from dnlbench.studies import Quantity

Match = Literal["network", "depth"]
"""``network``: network and depth. ``depth``: the depth alone; one network of each side."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that is not the same on both sides."""

    what: str
    """Such as ``spec train.lr`` or ``machine torch``."""
    reference: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class NewFailure:
    """A run that ended well in the reference and badly in the candidate."""

    network: str
    depth: int
    seed: int
    status: RunStatus
    """How it ended in the candidate."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One quantity at one point."""

    network: str
    depth: int
    quantity: Quantity
    reference: Interval | None
    """Mean over seeds; None where no run has a value, and where they depend on hardware and its runs were on several."""
    candidate: Interval | None
    ratio: Interval | None
    """Candidate over reference, a geometric mean; None where none can be stated. Without an interval for a throughput or
    utilization from another moment, which is not comparable."""
    ratios: tuple[tuple[int, float], ...]
    """Seed, and candidate over reference there, of the seeds that both sides have a value for; whether or not they are paired.
    Empty where no ratio can be stated."""
    paired: bool
    """Whether the ratio is over pairs of equal seed."""
    p: float | None
    """Two-sided, that the ratio is 1: of the t test that ``ratio`` is the interval of. None without an interval, and for a
    quantity that follows another one."""
    p_adjusted: float | None
    """By Holm's method, over all points of this quantity and over the families of the comparison."""
    verdict: Verdict | None
    """None for a quantity that follows another one, whose verdict is the one that counts."""
    reason: str
    """Why the verdict is not better, worse or no difference; or what failed; and the seeds left out. May be empty."""


@dataclass(frozen=True, kw_only=True)
class Overall:
    """One quantity of one network: a single figure for all depths, which is what a gate looks at.

    The geometric mean over the depths is taken within each seed, and the seeds are the replicates. Depth and seed together
    would not be independent ones: intervals from a pool of them cover the truth too seldom.
    """

    network: str
    quantity: Quantity
    depths: tuple[int, ...]
    """Those that contribute."""
    seeds: tuple[int, ...]
    """Those that have a value at each of the depths; where they are not paired, on either side."""
    ratio: Interval | None
    """Candidate over reference; None where none can be stated."""
    ratios: tuple[tuple[int, float], ...]
    """Seed, and its geometric mean of candidate over reference, of the seeds that both sides have at all the depths."""
    log_ratio: LogRatio | None
    """What ``ratio`` is the interval of, with standard error and degrees of freedom."""
    paired: bool
    p: float | None
    """Two-sided, that the ratio is 1; None without an interval, and for a quantity that follows another one."""
    p_adjusted: float | None
    """By Holm's method, over the networks that have this quantity and over the families of the comparison."""
    verdict: Verdict | None
    """None for a quantity that follows another one."""
    reason: str
    """Why the verdict is not better, worse or no difference; or what failed. May be empty."""
    left_out: str
    """Depths and seeds that do not contribute, and why; empty if all do."""
    unjudged: tuple[int, ...]
    """Those of these depths where both sides have values, which must not be held against each other: nobody knows whether the
    candidate is worse there, and no gate passes."""
    advisory: str
    """Why there is a ratio but no verdict, such as a throughput from another moment; empty otherwise."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One candidate against the reference."""

    study: str
    reference: str
    candidate: str
    """Name and time of each profile."""
    interleaved: str | None
    """The session in which the runs of both took turns, so that what depends on the machine's state is paired too; None where
    they did not."""
    differences: tuple[Difference, ...]
    cells: tuple[Cell, ...]
    """By quantity, then by point in the order of the reference."""
    overall: tuple[Overall, ...]
    """By quantity, then by network in the order of the reference."""
    new_failures: tuple[NewFailure, ...]
    """In the order of the reference. Runs that were never finished are none."""
    unfinished: tuple[tuple[str, int, int], ...]
    """Network, depth and seed of the runs that ended well in the reference and were not finished in the candidate, or are not
    even there."""
    missing: tuple[tuple[str, int], ...]
    """Network and depth of the points that the reference has and the candidate has not, so that nothing was compared there."""

    families: int
    """Families of tests that share the error of 5 %: the cells and the overall figures of each quantity, where chance plays a
    part in them."""
    match: Match

    def counts(self) -> dict[str, int]:
        """How many cells have each verdict."""
        verdicts = [cell.verdict for cell in self.cells if cell.verdict is not None]
        return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
