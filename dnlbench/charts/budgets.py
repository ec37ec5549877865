"""Charts of quantities against the budget of a run: parameters, operations, time and memory, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.charts.depth import TICKS
from dnlbench.charts.epochs import seeds_text
from dnlbench.charts.model import Axis, Chart, Identity, Series, Ticks
from dnlbench.charts.scales import with_scale
from dnlbench.charts.source import Identities, Source, failed_note, profiles_of
from dnlbench.profiles.budgets import BUDGETS, Budget, BudgetPoint, best_depths, budget_points
from dnlbench.studies import Quantity

_PREFIXED: dict[units.Kind, Ticks] = {"count": "count"}


def budget_charts(sources: Sequence[Source], quantity: Quantity, *, log: bool | None = None) -> tuple[Chart, ...]:
    """Build a chart for each budget that points with this quantity have."""
    charts = (budget_chart(sources, quantity, budget, log=log) for budget in BUDGETS)
    return tuple(chart for chart in charts if chart.series)


def budget_chart(sources: Sequence[Source], quantity: Quantity, budget: Budget, *, log: bool | None = None) -> Chart:
    """Build one chart of all networks: a point for each depth, named by it, and the Pareto front of each source."""
    points = [budget_points(source.runs, quantity, budget, source.samples) for source in sources]
    spent = [each.spent for group in points for each in group]
    divisor, unit = (1.0, budget.unit) if budget.kind == "count" else units.scale_for(spent, budget.kind)
    identities = Identities.of_sources(sources)
    series = [
        each
        for index, (source, group) in enumerate(zip(sources, points, strict=True))
        for each in _series(source, index, group, identities, divisor)
    ]
    counts = [each.value.n for group in points for each in group]
    chart = Chart(
        key=f"{quantity.name}-{budget.name}",
        title=f"{quantity.label[0].upper()}{quantity.label[1:]} vs. {budget.label}",
        x=Axis(label=budget.label, unit=unit, scale="log", ticks=_PREFIXED.get(budget.kind, "number")),
        y=Axis(label=quantity.label, unit=quantity.unit, range=quantity.range, ticks=TICKS[quantity.shown_as]),
        series=tuple(series),
        profiles=profiles_of(sources),
        fits=tuple(line for source in sources for line in _best_lines(source, quantity, budget)),
        notes=(*_reading(counts), *failed_note(sources)),
        empty=f"no run has {quantity.label} and {budget.label}",
    )
    return with_scale(chart, prefer_log=quantity.better == "lower", log=log)


def _series(
    source: Source, index: int, points: Sequence[BudgetPoint], identities: Identities, divisor: float
) -> Iterator[Series]:
    for network in identities.networks:
        group = sorted((each for each in points if each.point.series == network), key=lambda each: each.spent)
        if group:
            identity = identities.network(network, index)
            yield Series(
                key=source.name(identity.label),
                label=source.name(identity.label),
                role="mean",
                x=tuple(each.spent / divisor for each in group),
                y=tuple(each.value.estimate for each in group),
                low=tuple(math.nan if each.value.low is None else each.value.low for each in group),
                high=tuple(math.nan if each.value.high is None else each.value.high for each in group),
                names=tuple(str(each.point.depth) for each in group),
                identity=identity,
                points=True,
                joined=False,
            )
    front = sorted((each for each in points if each.on_front), key=lambda each: each.spent)
    if len(front) > 1:
        yield Series(
            key=source.name("Pareto front"),
            label=source.name("Pareto front"),
            role="front",
            x=tuple(each.spent / divisor for each in front),
            y=tuple(each.value.estimate for each in front),
            identity=Identity(profile=index),
        )


def _best_lines(source: Source, quantity: Quantity, budget: Budget) -> Iterator[str]:
    metric = dict(source.study.against_budget).get(quantity.name)
    if metric and budget.grows:
        for best in best_depths(source.runs, metric, budget, source.samples):
            yield f"{source.name(best.network)}, best depth at {budget.text(best.at)}: {best.text}"


def _reading(counts: Sequence[int]) -> Iterator[str]:
    if counts:
        suffix = "" if max(counts) == 1 else " with 95 % t intervals"
        yield f"Points: {seeds_text(counts)}{suffix}; the number at a point is its depth L."
