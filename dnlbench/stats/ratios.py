"""Ratios of two samples, computed as differences of logarithms, and their tests over seeds.

For logarithms "twice as large" and "half as large" are equally far from no difference. Intervals and p values both derive from
the t statistic of a `LogRatio`, so they never contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench.stats.intervals import Interval, exp, mean_of, variance_of
from dnlbench.stats.student import t_quantile, t_tail


@dataclass(frozen=True, kw_only=True)
class LogRatio:
    """An estimate of the logarithm of a ratio: ``(estimate - truth) / error`` has a Student t distribution."""

    estimate: float
    error: float | None
    """Standard error; None for a single replicate, 0 without any spread."""
    freedom: float | None
    """Degrees of freedom; None without an error, or if it is 0."""
    n: int
    """Number of replicates or pairs; for two independent samples that of the smaller one."""

    @property
    def ratio(self) -> Interval:
        half = self._half_width()
        return Interval(
            estimate=exp(self.estimate),
            low=None if half is None else exp(self.estimate - half),
            high=None if half is None else exp(self.estimate + half),
            n=self.n,
        )

    def _half_width(self) -> float | None:
        if self.error is None or self.freedom is None:
            return self.error
        return t_quantile(self.freedom) * self.error

    @property
    def inverse(self) -> LogRatio:
        return LogRatio(estimate=-self.estimate, error=self.error, freedom=self.freedom, n=self.n)

    def p(self) -> float | None:
        """Return the two-sided p value that the ratio is 1; None without an error."""
        above, below = self.p_above(0.0), self.inverse.p_above(0.0)
        return None if above is None or below is None else min(1.0, 2 * min(above, below))

    def p_above(self, bound: float) -> float | None:
        """Return the one-sided p value that the logarithm is at most ``bound``; None without an error."""
        if self.error is None:
            return None
        distance = self.estimate - bound
        if self.freedom is None or self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return t_tail(self.freedom, distance / self.error)


def paired_log_ratio(reference: Sequence[float], candidate: Sequence[float]) -> LogRatio:
    """Compute the mean of ``log(candidate_i / reference_i)``, as in a paired t test.

    Raises:
        ValueError: if the samples differ in length, are empty or contain a value that is not positive and finite.
    """
    if len(reference) != len(candidate):
        raise ValueError(f"pairs need samples of one length, not {len(reference)} and {len(candidate)}")
    logs = [c - r for r, c in zip(_logs(reference), _logs(candidate), strict=True)]
    n, mean = len(logs), mean_of(logs)
    if n == 1:
        return LogRatio(estimate=mean, error=None, freedom=None, n=n)
    return LogRatio(estimate=mean, error=math.sqrt(variance_of(logs, mean) / n), freedom=n - 1, n=n)


def welch_log_ratio(reference: Sequence[float], candidate: Sequence[float]) -> LogRatio:
    """Compute the difference of the mean logarithms of two independent samples, as in Welch's t test.

    Raises:
        ValueError: if a sample is empty or contains a value that is not positive and finite.
    """
    samples = (_logs(reference), _logs(candidate))
    means = [mean_of(sample) for sample in samples]
    difference, n = means[1] - means[0], min(len(sample) for sample in samples)
    if n < 2:
        return LogRatio(estimate=difference, error=None, freedom=None, n=n)
    errors = [variance_of(sample, mean) / len(sample) for sample, mean in zip(samples, means, strict=True)]
    total = sum(errors)
    if total == 0:
        return LogRatio(estimate=difference, error=0.0, freedom=None, n=n)
    freedom = total**2 / sum(error**2 / (len(sample) - 1) for error, sample in zip(errors, samples, strict=True))
    return LogRatio(estimate=difference, error=math.sqrt(total), freedom=freedom, n=n)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values.

    Raises:
        ValueError: if there are no values, or one that is not positive and finite.
    """
    return exp(mean_of(_logs(values)))


def _logs(values: Sequence[float]) -> list[float]:
    if not values:
        raise ValueError("the ratio of no values is not defined")
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a ratio needs positive finite values, not {value}")
    return [math.log(value) for value in values]


_FEWEST_PAIRS = 2
"""Fewer pairs have no interval, but all runs unpaired may have one."""

_ROUNDING = 1e-12
"""A smaller standard error of logarithms is rounding: the values of each sample, or their ratios, are equal."""


@dataclass(frozen=True, kw_only=True)
class RatioTest:
    """The ratio of candidate to reference with its test, or the reason for a missing ratio."""

    log_ratio: LogRatio | None = None
    ratios: tuple[tuple[int, float], ...] = ()
    """Ratio by seed, for the seeds in both samples."""
    paired: bool = False
    problem: str = ""
    """The reason for a missing ratio; empty if there is one."""

    @property
    def p(self) -> float | None:
        """The two-sided p value of the hypothesis that the ratio is 1."""
        return None if self.log_ratio is None else self.log_ratio.p()

    @property
    def chance_p(self) -> float | None:
        """The p value; None for values without spread beyond rounding, whose p value is practically 0 or 1.

        A test without spread uses none of the error of a family of tests.
        """
        error = None if self.log_ratio is None else self.log_ratio.error
        return None if error is None or error < _ROUNDING else self.p

    @property
    def ratio(self) -> Interval | None:
        return None if self.log_ratio is None else self.log_ratio.ratio

    def without_spread(self) -> RatioTest:
        """Return the ratio without error, if the spread of the values does not measure it."""
        if self.log_ratio is None:
            return self
        return replace(self, log_ratio=replace(self.log_ratio, error=None, freedom=None))


def ratio_test(ours: Mapping[int, float], theirs: Mapping[int, float], *, may_be_paired: bool) -> RatioTest:
    """Test the ratio of two sets of values by seed: ``theirs`` over ``ours``."""
    if not ours or not theirs:
        return RatioTest(problem="no finished run in the " + ("candidate" if ours else "reference"))
    common = [seed for seed in ours if seed in theirs]
    paired = may_be_paired and (ours.keys() == theirs.keys() or len(common) >= _FEWEST_PAIRS)
    try:
        if paired:
            log_ratio = paired_log_ratio([ours[seed] for seed in common], [theirs[seed] for seed in common])
        else:
            log_ratio = welch_log_ratio(list(ours.values()), list(theirs.values()))
    except ValueError as error:
        return RatioTest(paired=paired, problem=str(error))
    ratios = tuple((seed, theirs[seed] / ours[seed]) for seed in common)
    return RatioTest(log_ratio=log_ratio, ratios=ratios, paired=paired)


def seeds_left_out(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    names: tuple[str, str] = ("in the reference", "in the candidate"),
) -> str:
    """Describe the seeds without a partner in the other sample; empty if there are none."""
    missing = (ours.keys() - theirs.keys(), theirs.keys() - ours.keys())
    parts = [f"{seeds_text(seeds)} (only {name})" for name, seeds in zip(names, missing, strict=True) if seeds]
    return f"the pairs leave out {' and '.join(parts)}" if parts else ""


def seeds_text(seeds: set[int]) -> str:
    """Format seeds: ``seeds 1, 2``."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
