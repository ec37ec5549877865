"""How values of quantities, verdicts, ratios and p values are written, and what is remarked on tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from dnlbench import units
from dnlbench.compare import Cell
from dnlbench.profiles import ContrastRecord, IntervalRecord
from dnlbench.stats import Interval
from dnlbench.studies import Quantity

NAMED = 3
"""More rows than this are counted, not named."""

T = TypeVar("T", Cell, ContrastRecord)


def quantity_head(quantity: Quantity) -> str:
    """Label with unit, for the head of a column."""
    return f"{quantity.label} ({quantity.unit})" if quantity.shown_as != "bytes" and quantity.unit else quantity.label


def both_ends(rows: Iterable[Sequence[str]]) -> str:
    """How to read the intervals among table cells that state both ends; empty if there are none."""
    return ", [ ] its ends where one is much nearer" if any(" [" in cell for row in rows for cell in row) else ""


def value_text(quantity: Quantity, interval: Interval | None) -> str:
    """A mean with its interval; of bytes the mean alone."""
    if interval is None:
        return units.NOTHING
    if quantity.shown_as == "bytes":
        return units.size(interval.estimate)
    return units.estimated(interval.estimate, interval.low, interval.high, quantity.shown_as)


def mean_text(quantity: Quantity, record: IntervalRecord | None) -> str:
    """A mean alone."""
    return value_text(quantity, Interval(estimate=record.mean, low=None, high=None, n=record.n) if record else None)


def verdict_text(verdict: str | None) -> str:
    """A verdict in a table; a dash where a quantity has none of its own."""
    return verdict or units.NOTHING


def p_text(value: float | None) -> str:
    """A p value to the thousandth."""
    if value is None:
        return units.NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ratio_text(ratio: Interval | None) -> str:
    """``1.02 [0.97, 1.06]``, always to the thousandth."""
    if ratio is None:
        return units.NOTHING
    if ratio.low is None or ratio.high is None:
        return _factor(ratio.estimate)
    return f"{_factor(ratio.estimate)} [{_factor(ratio.low)}, {_factor(ratio.high)}]"


def _factor(value: float) -> str:
    """To the thousandth, as far as that says something and fits a column."""
    return f"{value:.3f}" if 1e-3 <= value < 1e5 else units.number(value)


def named(labels: Sequence[str], noun: str) -> str:
    """The labels of a few rows; of many rows their number."""
    return ", ".join(labels) if len(labels) <= NAMED else f"{len(labels)} {noun}"


def pairing(tests: Sequence[T], where: Callable[[Sequence[T]], str]) -> Iterator[str]:
    """The kinds of test; nothing where there is no test."""
    unpaired = [test for test in tests if not test.paired]
    if len(unpaired) < len(tests):
        yield "paired by seed"
    if unpaired:
        yield "Welch" if len(unpaired) == len(tests) else f"but Welch at {where(unpaired)}"


def reasons(tests: Sequence[T], where: Callable[[Sequence[T]], str]) -> Iterator[str]:
    """Each reason once, with the rows that it holds for."""
    for verdict, reason in dict.fromkeys((test.verdict, test.reason) for test in tests if test.reason):
        alike = [test for test in tests if (test.verdict, test.reason) == (verdict, reason)]
        yield f"{verdict} at {where(alike)}: {reason}"
