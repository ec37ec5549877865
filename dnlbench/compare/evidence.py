"""What two sets of values by seed say of their ratio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dnlbench.stats import Interval, LogRatio, paired_log_ratio, welch_log_ratio

_FEWEST_PAIRS = 2
"""Fewer pairs have no interval, while all the runs together may have one."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A ratio of candidate to reference, or why there is none."""

    log_ratio: LogRatio | None = None
    ratios: tuple[tuple[int, float], ...] = ()
    """By seed, of the seeds on both sides."""
    paired: bool = False
    problem: str = ""
    """Why there is no ratio; empty if there is one."""

    @property
    def p(self) -> float | None:
        """Two-sided, that the ratio is 1."""
        return None if self.log_ratio is None else self.log_ratio.p()

    @property
    def ratio(self) -> Interval | None:
        """With its interval."""
        return None if self.log_ratio is None else self.log_ratio.ratio

    def without_spread(self) -> Evidence:
        """The ratio alone, where the spread of the values says nothing about how well it is known."""
        if self.log_ratio is None:
            return self
        return replace(self, log_ratio=replace(self.log_ratio, error=None, freedom=None))


def weigh(ours: Mapping[int, float], theirs: Mapping[int, float], *, may_be_paired: bool) -> Evidence:
    """Holds values against each other: paired by seed, or not at all where too few seeds are on both sides."""
    if not ours or not theirs:
        return Evidence(problem="no finished run in the " + ("candidate" if ours else "reference"))
    paired = may_be_paired and pairable(ours, theirs)
    common = [seed for seed in ours if seed in theirs]
    try:
        if paired:
            log_ratio = paired_log_ratio([ours[seed] for seed in common], [theirs[seed] for seed in common])
        else:
            log_ratio = welch_log_ratio(list(ours.values()), list(theirs.values()))
    except ValueError as error:
        return Evidence(paired=paired, problem=str(error))
    return Evidence(
        log_ratio=log_ratio, ratios=tuple((seed, theirs[seed] / ours[seed]) for seed in common), paired=paired
    )


def pairable(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    """Whether there are enough seeds on both sides, or no others."""
    return ours.keys() == theirs.keys() or len(ours.keys() & theirs.keys()) >= _FEWEST_PAIRS


def left_out(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """The seeds that are in no pair, because the other side has no value for them; empty if there are none."""
    sides = (("reference", ours.keys() - theirs.keys()), ("candidate", theirs.keys() - ours.keys()))
    parts = [f"{named(seeds)} (only in the {side})" for side, seeds in sides if seeds]
    return f"the pairs leave out {' and '.join(parts)}" if parts else ""


def named(seeds: set[int]) -> str:
    """``seeds 1, 2``."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
