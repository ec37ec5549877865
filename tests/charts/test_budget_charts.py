"""Charts of losses against budgets: points named by depth, the Pareto front, and both renderers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dnlbench.charts.budgets import budget_chart, budget_charts
from dnlbench.charts.figure import figure_layout
from dnlbench.charts.model import Chart
from dnlbench.charts.mpl import chart_svg
from dnlbench.charts.mpl.styles import FRONT
from dnlbench.charts.source import sources_of
from dnlbench.charts.terminal.draw import draw
from dnlbench.charts.terminal.view import View
from dnlbench.charts.web import chart_data
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.profiles.budgets import BUDGETS
from dnlbench.studies import STUDIES, TRAIN_LOSS

Draw = Callable[..., Profile]
LOSS = STUDIES["training"].quantities[0]
PARAMETERS, FLOPS, TIME, MEMORY = BUDGETS


@pytest.fixture
def charts(sweep: Draw) -> dict[str, Chart]:
    return {chart.key.rpartition("-")[2]: chart for chart in budget_charts(sources_of([sweep(depths=(2, 4, 8))]), LOSS)}


def test_there_is_a_chart_for_each_known_budget(charts: dict[str, Chart]) -> None:
    assert list(charts) == ["parameters", "time", "memory"]
    assert [chart.x.text for chart in charts.values()] == ["parameters", "training time (s)", "peak memory (MiB)"]
    assert {chart.x.scale for chart in charts.values()} == {"log"}


def test_points_are_means_named_by_depth(charts: dict[str, Chart], sweep: Draw) -> None:
    (densenet, *_) = charts["parameters"].series
    points = [point for point in sweep(depths=(2, 4, 8)).summary.points if point.network == "densenet"]
    assert list(densenet.names) == ["2", "4", "8"]
    assert list(densenet.x) == [200.0, 400.0, 800.0]
    assert list(densenet.y) == [point.quantities["final_train_loss"].mean for point in points]


def test_the_front_runs_through_the_best_points(charts: dict[str, Chart]) -> None:
    *networks, front = charts["parameters"].series
    assert (front.role, front.label) == ("front", "Pareto front")
    best = [min(each.y[k] for each in networks) for k in range(3)]
    assert list(front.y) == best


def test_the_best_depth_at_a_time_is_listed(charts: dict[str, Chart]) -> None:
    assert charts["parameters"].fits == ()
    assert any(line.startswith("densenet, best depth at ") and " L = " in line for line in charts["time"].fits)


def test_all_renderers_show_the_names_of_points(charts: dict[str, Chart]) -> None:
    chart = charts["memory"]
    drawing = "\n".join(draw(chart, View(), 100, 24).lines)
    assert all(f"▲{depth}" in drawing for depth in (2, 4, 8))
    assert FRONT.color in chart_svg([chart])
    assert chart_data([chart])["charts"][0]["series"][0]["names"] == ["2", "4", "8"]


def test_a_zoomed_chart_keeps_the_names_of_its_points(charts: dict[str, Chart]) -> None:
    from dnlbench.charts.terminal.curves import as_viewed

    zoomed = as_viewed(charts["parameters"], View(x=(300.0, 900.0))).series[0]
    assert (list(zoomed.x), list(zoomed.names)) == ([400.0, 800.0], ["4", "8"])


def test_two_profiles_have_two_fronts(sweep: Draw) -> None:
    chart = budget_chart(sources_of([sweep(), sweep()]), LOSS, PARAMETERS)
    assert [each.key for each in chart.series if each.role == "front"] == ["A Pareto front", "B Pareto front"]


def test_a_figure_of_budgets(sweep: Draw, problems: Draw) -> None:
    layout = figure_layout([sweep()], ["budget"], metric=TRAIN_LOSS)
    assert [chart.key for block in layout.blocks for chart in block.charts] == [
        "final_train_loss-parameters",
        "final_train_loss-time",
        "final_train_loss-memory",
    ]
    with pytest.raises(
        ConfigurationError, match="only losses are plotted against budgets; choose --quantity final_train"
    ):
        figure_layout([sweep()], ["budget"], metric=TRAIN_LOSS, quantities=["samples_per_s"])
    other = problems("forward-limit", {"error_discrete": lambda d, s: 1 / d})
    with pytest.raises(ConfigurationError, match="study forward-limit has no losses against budgets"):
        figure_layout([other], ["budget"], metric=TRAIN_LOSS)
