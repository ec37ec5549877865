"""Quantities over depth: points, fits, limits, orders and notes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest

from dnlbench.charts.depth import CLEARANCE, depth_chart
from dnlbench.charts.model import Chart
from dnlbench.charts.source import sources_of
from dnlbench.charts.terminal.cursor import values_at
from dnlbench.charts.terminal.draw import draw
from dnlbench.charts.terminal.text import Theme
from dnlbench.charts.terminal.view import View
from dnlbench.profiles import Profile
from dnlbench.studies import STUDIES
from tests.charts.read_svg import marks, plot_svg, points, read, style_of
from tests.charts.synthetic import MODELS, run_of

Draw = Callable[..., Profile]
ERROR = {"type": "Made", "message": "made up"}


def chart_of(profile: Profile, name: str = "final_train_loss", *, log: bool | None = None) -> Chart:
    (quantity,) = [q for q in STUDIES[profile.study].quantities if q.name == name]
    return depth_chart(sources_of([profile]), quantity, log=log)


@pytest.mark.parametrize("log", [True, False])
def test_points_fit_and_limit_agree_with_the_ticks(sweep: Draw, log: bool) -> None:
    profile = sweep()
    svg = read(plot_svg([profile], "depth", log=log))
    depths = svg.ticks(0, "x")
    assert list(depths) == ["2", "4", "8", "16", "∞"]
    for fit in profile.summary.fits:
        (limit,) = svg.named("limit", key=f"{fit.network}-limit").values()
        ((_, y), (end, _)) = points(limit)
        assert fit.limit is not None
        assert svg.value(0, y, log=log) == pytest.approx(fit.limit, rel=1e-3)
        assert end == pytest.approx(depths["∞"], abs=6)  # beside those of the others
        means = {
            p.depth: p.quantities["final_train_loss"].mean for p in profile.summary.points if p.network == fit.network
        }
        (series,) = svg.named("series", key=fit.network).values()
        for (x, y), (depth, mean) in zip(marks(series), means.items(), strict=True):
            assert x == pytest.approx(depths[str(depth)], abs=1e-3)
            assert svg.value(0, y, log=log) == pytest.approx(mean, rel=1e-3)
        (curve,) = svg.named("curve", key=f"{fit.network}-fit").values()
        start, end_of_curve = points(curve)[0], points(curve)[-1]
        assert start[0] == pytest.approx(depths["2"], abs=1e-3)
        assert fit.constant is not None
        assert fit.order is not None
        assert svg.value(0, start[1], log=log) == pytest.approx(fit.limit + fit.constant * 2**-fit.order, rel=1e-3)
        assert svg.value(0, end_of_curve[1], log=log) == pytest.approx(
            fit.limit + fit.constant * 32**-fit.order, rel=1e-3
        )


def test_the_limit_has_its_interval(sweep: Draw) -> None:
    profile = sweep()
    svg = read(plot_svg([profile], "depth"))
    fit = profile.summary.fits[0]
    (interval,) = svg.named("interval", key=f"{fit.network}-limit").values()
    ends = [svg.value(0, y, log=False) for _, y in points(interval)]
    assert ends == pytest.approx([fit.limit_low, fit.limit_high], rel=2e-3)


def test_the_notes_report_the_fits(sweep: Draw) -> None:
    text = " ".join(read(plot_svg([sweep()], "depth")).texts).replace("\u00a0", " ")
    (fits,) = re.findall(r"Final training loss \[95 %\]: (.*?)\. ", text + " ")
    for network, (_, _, order) in MODELS.items():
        result = re.search(rf"{network}: L → ∞ ([\d.]+) \[[\d.]+, [\d.]+\] nats, order ([\d.]+)", fits)
        assert result is not None
        assert float(result[2]) == pytest.approx(order, abs=0.1)


def test_depths_that_are_no_powers_of_two_have_their_ticks(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(depths=(3, 5, 10, 24))], "depth"))
    assert list(svg.ticks(0, "x")) == ["3", "5", "10", "24", "∞"]
    assert "depth L" in svg.texts
    assert "final training loss (nats)" in svg.texts


@pytest.mark.parametrize(
    ("low", "high", "arrows"),
    [(0.19, 0.21, []), (0.19, None, ["above"]), (0.0, 40.0, ["above"]), (None, 0.21, ["below"]), (None, None, [])],
)
def test_an_open_interval_of_a_limit_ends_in_an_arrow(
    sweep: Draw, low: float | None, high: float | None, arrows: list[str]
) -> None:
    profile = sweep(networks=("densenet",))
    fit = profile.summary.fits[0].model_copy(update={"limit_low": low, "limit_high": high})
    changed = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": (fit,)})})
    svg = read(plot_svg([changed], "depth"))
    result = [name for name in ("above", "below") if svg.named(name)]
    assert result == arrows


def test_without_a_fit_lines_connect_the_points_and_a_note_gives_the_reason(sweep: Draw) -> None:
    profile = sweep(depths=(2, 4, 8))
    chart = chart_of(profile)
    assert all(series.joined and series.role == "mean" for series in chart.series)
    names = ", ".join(MODELS)
    assert chart.fits == (f"no limit of {names}: too few depths: 3, a limit needs at least 4",)


def test_one_seed_has_no_interval_and_a_note(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(seeds=1)], "depth"))
    assert svg.named("bars") == {}
    assert "Each point is one seed." in svg.texts


def test_one_depth_is_a_point(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(depths=(8,))], "depth"))
    assert list(svg.ticks(0, "x")) == ["8"]


def test_failed_runs_have_a_cross_at_the_mean_or_at_the_edge(sweep: Draw) -> None:
    others = {("densenet", 4, 0): run_of("densenet", 4, 0, [9.0, math.nan], status="diverged", error=ERROR)}
    others |= {("densenet", 16, s): run_of("densenet", 16, s, [], status="oom", error=ERROR) for s in range(3)}
    profile = sweep(networks=("densenet",), others=others)
    crosses = {(each.x[0], each.y[0]) for each in chart_of(profile).series if each.failed}
    mean = next(p for p in profile.summary.points if p.depth == 4).quantities["final_train_loss"]
    assert mean.n == 2
    assert {cross for cross in crosses if not math.isnan(cross[1])} == {(4.0, mean.mean)}
    assert {x for x, _ in crosses} == {4.0, 16.0}
    assert list(read(plot_svg([profile], "depth")).ticks(0, "x")) == ["2", "4", "8", "16"]


def test_wide_values_have_a_logarithmic_axis(sweep: Draw) -> None:
    near, far = sweep(), sweep(others={("densenet", 16, s): run_of("densenet", 16, s, [1e-3]) for s in range(3)})
    assert chart_of(near).y.scale == "linear"
    assert chart_of(far).y.scale == "log"
    assert chart_of(near, log=True).y.scale == "log"


def test_each_profile_has_a_fit_a_limit_and_a_letter(sweep: Draw) -> None:
    svg = read(plot_svg([sweep(), sweep(name="second", networks=("densenet",))], "depth"))
    assert set(svg.named("limit")) == {f"A-{network}-limit" for network in MODELS} | {"B-densenet-limit"}
    assert "stroke-dasharray" in style_of(svg.named("curve")["B-densenet-fit"])
    assert "stroke-dasharray" not in style_of(svg.named("curve")["A-densenet-fit"])
    assert any(text.startswith("B: second") for text in svg.texts)


def test_orders_are_shown_with_the_expected_slope(problems: Draw) -> None:
    """Each seed is a different problem: errors of order 1 and 2, geometric means on the fitted line."""
    profile = problems(
        "forward-limit",
        {"error_max": lambda d, s: (s + 1) / d, "error_end": lambda d, s: (s + 1) / d**2},
    )
    svg = read(plot_svg([profile]))
    assert svg.texts.count("depth L") == 2
    assert {"largest error", "error of the last state", "expected order 1"} <= set(svg.texts)
    text = " ".join(svg.texts).replace("\u00a0", " ")
    assert "Points: geometric mean over n = 3 seeds, each a different problem; faint lines: single seeds." in text
    assert "Largest error [95 %]: local-tanh: order 1 [1, 1] (locally 1.00, 1.00, 1.00), theory at least 1." in text
    assert (
        "Error of the last state [95 %]: local-tanh: order 2 [2, 2] (locally 2.00, 2.00, 2.00), theory at least 1."
        in text
    )
    curve = points(svg.named("curve", "error_max")["local-tanh-fit"])
    measured = marks(svg.named("series", "error_max")["local-tanh"])
    assert curve[0] == pytest.approx(measured[0], abs=1e-3)
    assert svg.value(0, curve[-1][1], log=True) == pytest.approx(
        6 ** (1 / 3) / 64, rel=1e-3
    )  # at twice the largest depth
    (theory,) = svg.named("curve", "error_max", "order-1.0").values()
    values = [svg.value(0, y, log=True) for _, y in points(theory)]
    assert values == pytest.approx([CLEARANCE * 3 / 4, CLEARANCE * 3 / 64], rel=1e-3)
    assert len(svg.named("series", "error_max")) == 4


def test_limits_of_problems_show_each_seed(problems: Draw) -> None:
    profile = problems(
        "optimum-limit",
        {"optimal_value": lambda d, s: 0.01 * (s + 1) + 0.01 / d, "distance": lambda d, s: (2 + s) / d},
    )
    value, distance = chart_of(profile, "optimal_value"), chart_of(profile, "distance")
    assert [each.role for each in value.series] == ["run", "run", "run", "mean", "fit", "limit"]
    assert value.series[-1].y[0] == pytest.approx(0.02)
    assert distance.y.scale == "log"
    assert all(each.role != "limit" for each in distance.series)
    assert {"optimal value J_L*", "sum of distances"} <= set(read(plot_svg([profile])).texts)


def test_quantities_are_chosen_by_name(sweep: Draw) -> None:
    svg = read(plot_svg([sweep()], "depth", quantities=["peak_memory_bytes", "samples_per_s"]))
    assert {"peak memory (MiB)", "throughput (samples/s)"} <= set(svg.texts)
    assert "final training loss (nats)" not in svg.texts


def test_charts_show_the_mean_of_the_fit(problems: Draw) -> None:
    """Regression: errors of 1 and 4 were plotted at 2 in print and at 2.5 ± 19 elsewhere."""
    profile = problems(
        "forward-limit", {"error_max": lambda depth, seed: (8.0, 32.0)[seed] / depth}, depths=(8, 16, 32), seeds=2
    )
    chart = chart_of(profile, "error_max")
    one, four, mean, fit, theory = chart.series
    assert (list(one.y), list(four.y)) == ([1.0, 0.5, 0.25], [4.0, 2.0, 1.0])
    assert list(mean.y) == pytest.approx([2.0, 1.0, 0.5])
    assert (mean.low, mean.high, mean.n) == (None, None, 2)
    assert [dict(zip(fit.x, fit.y, strict=True))[depth] for depth in mean.x] == pytest.approx([2.0, 1.0, 0.5])
    assert (fit.x[0], fit.x[-1], *theory.x) == pytest.approx((8.0, 64.0, 8.0, 64.0))
    assert (chart.y.scale, chart.x.scale, chart.x.ticks) == ("log", "log", "depth")
    assert chart.notes == (
        "Points: geometric mean over n = 2 seeds, each a different problem; faint lines: single seeds.",
    )
    means = {point.depth: point.quantities["error_max"].mean for point in profile.summary.points}
    assert list(means.values()) == pytest.approx([2.0, 1.0, 0.5])  # what tables show
    svg = read(plot_svg([profile], "depth"))
    (group,) = [svg.named("series")[key] for key in svg.named("series") if "seed" not in key]
    assert [svg.value(0, y, log=True) for _, y in marks(group)] == pytest.approx([2.0, 1.0, 0.5], rel=1e-3)
    assert [reading(chart, depth) for depth in (8, 16, 32)] == pytest.approx([2.0, 1.0, 0.5])  # in the terminal
    rows, columns = marks_in_the_terminal(chart)
    assert rows[1] - rows[0] == pytest.approx(rows[2] - rows[1], abs=1)
    assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=1)


def reading(chart: Chart, depth: float) -> float | None:
    (result,) = [each for each in values_at(chart, View(), depth).readings if each.key == "local-tanh"]
    return result.y


def marks_in_the_terminal(chart: Chart) -> tuple[list[int], list[int]]:
    """Return the lines and columns of the markers of the mean."""
    lines = draw(chart, View(), 100, 40, Theme(foreground="#ffffff", background="#000000")).lines
    result = [
        (line, column) for line, text in enumerate(map(str, lines)) for column, sign in enumerate(text) if sign == "●"
    ]
    result.sort(key=lambda mark: mark[1])
    return [line for line, _ in result], [column for _, column in result]


def test_intervals_beyond_the_possible_range_are_cut_with_a_note(sweep: Draw) -> None:
    """Profiles of version 0.7 and earlier have symmetric intervals."""
    profile = sweep(networks=("densenet",))
    first, *others = profile.summary.points
    quantities = {name: each.model_copy(update={"low": -1.0}) for name, each in first.quantities.items()}
    summary = profile.summary.model_copy(
        update={"points": (first.model_copy(update={"quantities": quantities}), *others)}
    )
    old = profile.model_copy(update={"summary": summary})
    for log in (True, False):
        chart = chart_of(old, log=log)
        assert "1 interval bound below 0 cut at the axis: no value can lie there." in chart.notes
        svg = read(plot_svg([old], "depth", log=log))
        assert "nan" not in " ".join(svg.texts)
        assert svg.named("bars", key="densenet")


def test_a_note_names_arithmetic_means_of_nonpositive_values(problems: Draw) -> None:
    profile = problems("forward-limit", {"error_max": lambda d, s: s / d}, depths=(8, 16, 32), seeds=2)
    chart = chart_of(profile, "error_max")
    assert list(next(each for each in chart.series if each.role == "mean").y) == [1 / 16, 1 / 32, 1 / 64]
    assert chart.notes[0].startswith("Points: geometric mean (arithmetic if a value is not positive) over n = 2 seeds")
    assert chart.y.scale == "log"  # of the means
