"""Results against depth of a sweep that may still be running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dnlbench.charts.depth import depth_chart
from dnlbench.charts.model import Chart
from dnlbench.charts.source import Source
from dnlbench.charts.transfer import transfer_charts
from dnlbench.profiles import run_record, summarize
from dnlbench.studies import Quantity
from dnlbench.watch import SweepView


def live_source(view: SweepView) -> Source:
    """Return means and fits as in a profile. A run that has not ended counts with its latest values."""
    study, classes = view.plan.study, view.prepared.data.choices if view.prepared else None
    runs = [run_record(run, view.histories[run.run_id], study, live=True) for run in view.plan.runs]
    final = all(view.is_over(run) for run in view.plan.runs)
    return Source(study=study, runs=runs, summary=summarize(runs, study, classes=classes), final=final)


def result_chart(sources: Sequence[Source], quantities: Sequence[Quantity], index: int) -> Chart:
    """Return a chart of results, in a circle: the loss over the tuned setting by network, then quantities over depth."""
    transfer = _transfer(sources)
    index %= len(transfer) + len(quantities)
    return transfer[index] if index < len(transfer) else depth_chart(sources, quantities[index - len(transfer)])


def axis_chart(sources: Sequence[Source], quantity: Quantity, index: int) -> Chart:
    """Return a chart of the tuned loss, in a circle: over depth, then over the tuned setting by network."""
    transfer = _transfer(sources)
    index %= 1 + len(transfer)
    return transfer[index - 1] if index else depth_chart(sources, quantity)


def _transfer(sources: Sequence[Source]) -> list[Chart]:
    """Return the charts with their networks in the titles, since a screen shows one at a time."""
    return [replace(chart, title=f"{chart.title}, {chart.subject}") for chart in transfer_charts(sources)]
