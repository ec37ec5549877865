"""Charts on a page: a static image that the script replaces, and a table of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dnlbench import units
from dnlbench.charts.budgets import budget_charts
from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import epoch_charts, metrics_of
from dnlbench.charts.model import Chart
from dnlbench.charts.mpl import chart_svg
from dnlbench.charts.source import sources_of
from dnlbench.charts.transfer import transfer_charts
from dnlbench.charts.web import describe
from dnlbench.profiles import Profile
from dnlbench.report.grid import Column, Grid
from dnlbench.report.html.markup import Markup, lines, tag
from dnlbench.report.html.page import folded
from dnlbench.report.html.tables import table

STATIC_WIDTH_IN = 5.0
"""Width of the static image, which matches the text size of the page."""
MAX_TABLE_COLUMNS = 8
"""Maximum number of value columns in the table of a chart. A longer series is sampled, including its first and last value."""


def charts_of(profiles: Sequence[Profile]) -> list[Chart]:
    """Return all charts of profiles of one study.

    They are the main metric of each network, its loss over the tuned setting, each main quantity over depth, and the main loss
    against each budget.
    """
    sources = sources_of(profiles)
    study = sources[0].study
    over_epochs = [each for metric in metrics_of(sources)[:1] for each in epoch_charts(sources, metric)]
    shown = [each for each in depth_quantities(sources) if not each.table or each.name in study.plotted]
    over_depth = [depth_chart(sources, each) for each in shown]
    losses = [each for each in shown if each.name in dict(study.against_budget)]
    over_budget = [chart for each in losses[:1] for chart in budget_charts(sources, each)]
    charts = (*over_epochs, *transfer_charts(sources), *over_depth, *over_budget)
    return [chart for chart in charts if chart.series]


def chart_figures(charts: Sequence[Chart]) -> Markup:
    """Return all charts, in as many columns as fit."""
    return tag("div", *(_figure(chart, index) for index, chart in enumerate(charts)), class_="charts")


def _figure(chart: Chart, index: int) -> Markup:
    note = lines("\n".join([*chart.profiles, *chart.fits, *chart.notes]))
    head = tag("figcaption", tag("h3", chart.title), tag("p", note, class_="note"))
    bare = replace(chart, subject="", profiles=(), fits=(), notes=())  # the caption contains them
    svg = Markup(chart_svg([bare], width=STATIC_WIDTH_IN))
    image = tag("div", svg, class_="static", role="img", aria_label=describe(chart))
    return tag("figure", head, image, folded("Data table", _values(chart)), data_chart=index)


def _values(chart: Chart) -> Markup:
    measured = [each for each in chart.series if each.role == "mean"] or chart.series
    xs = sorted({x for each in measured for x in each.x})
    if len(xs) > MAX_TABLE_COLUMNS:
        step = (len(xs) - 1) / (MAX_TABLE_COLUMNS - 1)
        xs = [xs[round(k * step)] for k in range(MAX_TABLE_COLUMNS)]
    rows = []
    for each in chart.series:
        if each.role == "mean" or (each.joined and each.role in ("run", "fit")):
            known = dict(zip(each.x, each.y, strict=True))
            rows.append([each.label, *(units.number(known.get(x)) for x in xs)])
    heads = [Column(head="curve", no_wrap=True), *(Column(head=f"{x:g}", numeric=True) for x in xs)]
    return table(Grid(title=f"{chart.y.text} by {chart.x.text}", columns=heads, rows=rows))
