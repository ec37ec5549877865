"""A table of the cost of depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import CostRecord, Profile
from dnlbench.report.grid import Column, Grid
from dnlbench.studies import Cost, Study


def cost_grids(profile: Profile) -> Iterator[Grid]:
    """Yield a table with a column for each cost if there is a fitted exponent."""
    study = profile.declared
    if all(record.problem for record in profile.summary.costs):
        return
    networks = list(dict.fromkeys(record.series for record in profile.summary.costs))
    yield Grid(
        title="Cost vs. depth",
        columns=[
            Column(head="network", no_wrap=True),
            *(Column(head=f"q of {cost.label} ~ L^q [95 % CI]", numeric=True) for cost in study.costs),
            Column(head="seeds", numeric=True, drop_order=2),
            Column(head="fitted L", numeric=True, drop_order=1),
        ],
        rows=[_row([r for r in profile.summary.costs if r.series == network], study.costs) for network in networks],
        note="\n".join(_reading(profile.summary.costs, study)),
    )


def _row(records: Sequence[CostRecord], costs: Sequence[Cost]) -> list[str]:
    by_quantity = {record.quantity: record for record in records}
    by_cost = [by_quantity.get(cost.quantity) for cost in costs]
    fitted = [record for record in records if not record.problem]
    return [
        records[0].series,
        *(_exponent(record) if record else units.NOTHING for record in by_cost),
        _distinct([str(record.n) for record in fitted]),
        _distinct([", ".join(map(str, record.depths)) for record in fitted]),
    ]


def _exponent(record: CostRecord) -> str:
    """Format an exponent with two decimals, which is finer than any timing."""
    if record.exponent is None:
        return units.NOTHING
    value, *bounds = (
        units.NOTHING if number is None else f"{round(number, 2) + 0.0:.2f}"  # avoids -0.00
        for number in (record.exponent, record.exponent_low, record.exponent_high)
    )
    return value if record.n == 1 else f"{value} [{', '.join(bounds)}]"


def _distinct(texts: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(texts)) or units.NOTHING


def _reading(records: Sequence[CostRecord], study: Study) -> Iterator[str]:
    names = {quantity.name: quantity.label for quantity in study.quantities}
    definitions = (f"{cost.label} is {'1 / ' if cost.inverse else ''}{names[cost.quantity]}" for cost in study.costs)
    yield f"{', '.join(definitions)}; q: slope of log cost vs. log L, mean over seeds"
    labels = {cost.quantity: cost.label for cost in study.costs}
    for record in records:
        if record.problem:
            yield f"{labels[record.quantity]} of {record.series}: {record.problem}"
    left_out = {record.series: record.left_out for record in records if record.left_out and not record.problem}
    for network, count in left_out.items():
        yield f"{network}: {units.counted(count, 'run')} with different execution settings excluded"
