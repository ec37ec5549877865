"""Format values of quantities, verdicts, ratios, p values and remarks on tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from dnlbench import units
from dnlbench.comparison import Cell
from dnlbench.profiles import ContrastRecord, IntervalRecord
from dnlbench.stats import Interval
from dnlbench.studies import Quantity

MAX_NAMED = 3
"""Rows listed by name; more are counted."""

T = TypeVar("T", Cell, ContrastRecord)


def quantity_head(quantity: Quantity) -> str:
    """Return the column head of a quantity: its label with the unit."""
    return f"{quantity.label} ({quantity.unit})" if quantity.shown_as != "bytes" and quantity.unit else quantity.label


def both_ends(rows: Iterable[Sequence[str]]) -> str:
    """Explain asymmetric intervals if any cell has one; empty otherwise."""
    return "; [ ]: bounds of asymmetric intervals" if any(" [" in cell for row in rows for cell in row) else ""


def value_text(quantity: Quantity, interval: Interval | None) -> str:
    """Format a mean with its interval; bytes without interval."""
    if interval is None:
        return units.NOTHING
    if quantity.shown_as == "bytes":
        return units.size(interval.estimate)
    return units.estimated(interval.estimate, interval.low, interval.high, quantity.shown_as)


def mean_text(quantity: Quantity, record: IntervalRecord | None) -> str:
    """Format a mean without its interval."""
    return value_text(quantity, Interval(estimate=record.mean, low=None, high=None, n=record.n) if record else None)


def verdict_text(verdict: str | None) -> str:
    """Format a verdict; a dash without one."""
    return verdict or units.NOTHING


def p_text(value: float | None) -> str:
    """Format a p value with three decimals."""
    if value is None:
        return units.NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ratio_text(ratio: Interval | None) -> str:
    """Format a ratio with three decimals: ``1.020 [0.970, 1.060]``."""
    if ratio is None:
        return units.NOTHING
    if ratio.low is None or ratio.high is None:
        return _factor(ratio.estimate)
    return f"{_factor(ratio.estimate)} [{_factor(ratio.low)}, {_factor(ratio.high)}]"


def _factor(value: float) -> str:
    """Format a factor with three decimals; very small and very large ones in scientific notation."""
    return f"{value:.3f}" if 1e-3 <= value < 1e5 else units.number(value)


def named(labels: Sequence[str], noun: str) -> str:
    """List the labels of a few rows; count many rows."""
    return ", ".join(labels) if len(labels) <= MAX_NAMED else f"{len(labels)} {noun}"


def pairing(tests: Sequence[T], where: Callable[[Sequence[T]], str]) -> Iterator[str]:
    """Yield the kinds of test."""
    unpaired = [test for test in tests if not test.paired]
    if len(unpaired) < len(tests):
        yield "paired by seed"
    if unpaired:
        yield "Welch test" if len(unpaired) == len(tests) else f"Welch test at {where(unpaired)}"


def reasons(tests: Sequence[T], where: Callable[[Sequence[T]], str]) -> Iterator[str]:
    """Yield each reason once, with its rows."""
    for verdict, reason in dict.fromkeys((test.verdict, test.reason) for test in tests if test.reason):
        affected = [test for test in tests if (test.verdict, test.reason) == (verdict, reason)]
        yield f"{verdict} at {where(affected)}: {reason}"
