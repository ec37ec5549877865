"""Charts on a page: still ones, each with its values as a table, and the data that its script makes them live with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnlbench import units
from dnlbench.report.grid import Column, Grid
from dnlbench.report.html.chart import CROSS, MARKS, Chart
from dnlbench.report.html.markup import Markup, tag
from dnlbench.report.html.page import folded
from dnlbench.report.html.still import figure
from dnlbench.report.html.tables import table

SHOWN_VALUES = 8
"""Columns of a chart's table; of more values it has some, the first and the last among them."""


def drawn(charts: Sequence[Chart]) -> Markup:
    """All charts, in as many columns as there is room for."""
    return tag(
        "div",
        *(figure(chart, place, folded("As a table", _values(chart))) for place, chart in enumerate(charts)),
        class_="charts",
    )


def chart_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script reads."""
    return {"charts": [chart.plain() for chart in charts], "marks": MARKS, "cross": CROSS}


def _values(chart: Chart) -> Markup:
    places = sorted({x for each in chart.series for x in each.x})
    if len(places) > SHOWN_VALUES:
        step = (len(places) - 1) / (SHOWN_VALUES - 1)
        places = [places[round(k * step)] for k in range(SHOWN_VALUES)]
    heads = [Column(head=f"{place:g}", figures=True) for place in places]
    rows = []
    for each in chart.series:
        known = dict(zip(each.x, each.y, strict=True))
        rows.append([each.name, *(units.number(known.get(place)) for place in places)])
    return table(
        Grid(title=f"{chart.y.label} by {chart.x.label}", columns=[Column(head="curve", whole=True), *heads], rows=rows)
    )
