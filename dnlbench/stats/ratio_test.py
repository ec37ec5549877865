"""Ratio of two sets of values by seed, with its test: paired by seed, or by Welch's test where too few seeds are shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dnlbench.stats.intervals import Interval
from dnlbench.stats.ratios import LogRatio, paired_log_ratio, welch_log_ratio

_FEWEST_PAIRS = 2
"""Fewer pairs have no interval, while all the runs together may have one."""

_ROUNDING = 1e-12
"""A standard error of logarithms below this is rounding: the values of each side, or their ratios, are equal."""


@dataclass(frozen=True, kw_only=True)
class RatioTest:
    """A ratio of candidate to reference, or the reason why there is none."""

    log_ratio: LogRatio | None = None
    ratios: tuple[tuple[int, float], ...] = ()
    """Ratio by seed, for the seeds on both sides."""
    paired: bool = False
    problem: str = ""
    """Why there is no ratio; empty if there is one."""

    @property
    def p(self) -> float | None:
        """The two-sided p value of the hypothesis that the ratio is 1."""
        return None if self.log_ratio is None else self.log_ratio.p()

    @property
    def chance_p(self) -> float | None:
        """The same where chance plays a part; None for values without any spread beyond rounding, whose p is as good as 0 or 1.

        A test without spread takes no share of the error that a family of tests may make.
        """
        error = None if self.log_ratio is None else self.log_ratio.error
        return None if error is None or error < _ROUNDING else self.p

    @property
    def ratio(self) -> Interval | None:
        return None if self.log_ratio is None else self.log_ratio.ratio

    def without_spread(self) -> RatioTest:
        """The ratio alone, where the spread of the values says nothing about its error."""
        if self.log_ratio is None:
            return self
        return replace(self, log_ratio=replace(self.log_ratio, error=None, freedom=None))


def ratio_test(ours: Mapping[int, float], theirs: Mapping[int, float], *, may_be_paired: bool) -> RatioTest:
    """Test the ratio of two sets of values by seed: ``theirs`` over ``ours``."""
    if not ours or not theirs:
        return RatioTest(problem="no finished run in the " + ("candidate" if ours else "reference"))
    paired = may_be_paired and _pairable(ours, theirs)
    common = [seed for seed in ours if seed in theirs]
    try:
        if paired:
            log_ratio = paired_log_ratio([ours[seed] for seed in common], [theirs[seed] for seed in common])
        else:
            log_ratio = welch_log_ratio(list(ours.values()), list(theirs.values()))
    except ValueError as error:
        return RatioTest(paired=paired, problem=str(error))
    ratios = tuple((seed, theirs[seed] / ours[seed]) for seed in common)
    return RatioTest(log_ratio=log_ratio, ratios=ratios, paired=paired)


def _pairable(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    return ours.keys() == theirs.keys() or len(ours.keys() & theirs.keys()) >= _FEWEST_PAIRS


def seeds_left_out(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    names: tuple[str, str] = ("in the reference", "in the candidate"),
) -> str:
    """The seeds without a partner on the other side, in a phrase; empty if there are none."""
    missing = (ours.keys() - theirs.keys(), theirs.keys() - ours.keys())
    parts = [f"{seeds_text(seeds)} (only {name})" for name, seeds in zip(names, missing, strict=True) if seeds]
    return f"the pairs leave out {' and '.join(parts)}" if parts else ""


def seeds_text(seeds: set[int]) -> str:
    """``seeds 1, 2``."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
