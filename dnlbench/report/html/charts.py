"""Charts on a page: each as a picture, which the page's script replaces, and with its values as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dnlbench import units
from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import epoch_charts, metrics_of
from dnlbench.charts.model import Chart
from dnlbench.charts.mpl import chart_svg
from dnlbench.charts.source import sources_of
from dnlbench.charts.web import describe
from dnlbench.profiles import Profile
from dnlbench.report.grid import Column, Grid
from dnlbench.report.html.markup import Markup, lines, tag
from dnlbench.report.html.page import folded
from dnlbench.report.html.tables import table

STATIC_WIDTH_IN = 5.0
"""Width of the picture where scripts are off, which is scaled to the page: text is as large as around it."""
MAX_TABLE_COLUMNS = 8
"""Columns of a chart's table; if there are more values, some of them with the first and the last."""


def charts_of(profiles: Sequence[Profile]) -> list[Chart]:
    """All charts of profiles of one study, the reference first: the loss of each network, and each main quantity over depth."""
    sources = sources_of(profiles)
    study = sources[0].study
    over_epochs = [each for metric in metrics_of(sources)[:1] for each in epoch_charts(sources, metric)]
    shown = [each for each in depth_quantities(sources) if not each.table or each.name in study.plotted]
    return [chart for chart in (*over_epochs, *(depth_chart(sources, each) for each in shown)) if chart.series]


def chart_figures(charts: Sequence[Chart]) -> Markup:
    """All charts, in as many columns as there is room for."""
    return tag("div", *(_figure(chart, place) for place, chart in enumerate(charts)), class_="charts")


def _figure(chart: Chart, place: int) -> Markup:
    note = lines("\n".join([*chart.profiles, *chart.fits, *chart.notes]))
    head = tag("figcaption", tag("h3", chart.title), tag("p", note, class_="note"))
    bare = replace(chart, subject="", profiles=(), fits=(), notes=())  # which stand above
    svg = Markup(chart_svg([bare], width=STATIC_WIDTH_IN))
    still = tag("div", svg, class_="static", role="img", aria_label=describe(chart))
    return tag("figure", head, still, folded("As a table", _values(chart)), data_chart=place)


def _values(chart: Chart) -> Markup:
    measured = [each for each in chart.series if each.role == "mean"] or chart.series
    places = sorted({x for each in measured for x in each.x})
    if len(places) > MAX_TABLE_COLUMNS:
        step = (len(places) - 1) / (MAX_TABLE_COLUMNS - 1)
        places = [places[round(k * step)] for k in range(MAX_TABLE_COLUMNS)]
    rows = []
    for each in chart.series:
        if each.role == "mean" or (each.joined and each.role in ("run", "fit")):
            known = dict(zip(each.x, each.y, strict=True))
            rows.append([each.label, *(units.number(known.get(place)) for place in places)])
    heads = [Column(head="curve", no_wrap=True), *(Column(head=f"{place:g}", numeric=True) for place in places)]
    return table(Grid(title=f"{chart.y.text} by {chart.x.text}", columns=heads, rows=rows))
