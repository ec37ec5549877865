"""Quantities over depth: points, fits, limits, orders, and what stands below."""

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
from dnlbench.charts.terminal.text import Look
from dnlbench.charts.terminal.view import View
from dnlbench.profiles import Profile
from dnlbench.studies import STUDIES
from tests.charts.read_svg import marks, plot_svg, points, read, style_of
from tests.charts.synthetic import LAWS, run_of

Draw = Callable[..., Profile]
ERROR = {"type": "Made", "message": "made up"}


def chart_of(profile: Profile, name: str = "final_train_loss", *, log: bool | None = None) -> Chart:
    (quantity,) = [q for q in STUDIES[profile.study].quantities if q.name == name]
    return depth_chart(sources_of([profile]), quantity, log=log)


@pytest.mark.parametrize("log", [True, False])
def test_points_fit_and_limit_lie_where_the_ticks_say(sweep: Draw, log: bool) -> None:
    profile = sweep()
    drawn = read(plot_svg([profile], "depth", log=log))
    depths = drawn.ticks(0, "x")
    assert list(depths) == ["2", "4", "8", "16", "∞"]
    for fit in profile.summary.fits:
        (limit,) = drawn.named("limit", key=f"{fit.network}-limit").values()
        ((_, y), (end, _)) = points(limit)
        assert fit.limit is not None
        assert drawn.value(0, y, log=log) == pytest.approx(fit.limit, rel=1e-3)
        assert end == pytest.approx(depths["∞"], abs=6)  # beside those of the others
        means = {
            p.depth: p.quantities["final_train_loss"].mean for p in profile.summary.points if p.network == fit.network
        }
        (series,) = drawn.named("series", key=fit.network).values()
        for (x, y), (depth, mean) in zip(marks(series), means.items(), strict=True):
            assert x == pytest.approx(depths[str(depth)], abs=1e-3)
            assert drawn.value(0, y, log=log) == pytest.approx(mean, rel=1e-3)
        (curve,) = drawn.named("curve", key=f"{fit.network}-fit").values()
        start, end_of_curve = points(curve)[0], points(curve)[-1]
        assert start[0] == pytest.approx(depths["2"], abs=1e-3)
        assert fit.constant is not None
        assert fit.order is not None
        assert drawn.value(0, start[1], log=log) == pytest.approx(fit.limit + fit.constant * 2**-fit.order, rel=1e-3)
        assert drawn.value(0, end_of_curve[1], log=log) == pytest.approx(
            fit.limit + fit.constant * 32**-fit.order, rel=1e-3
        )


def test_the_limit_has_its_interval(sweep: Draw) -> None:
    profile = sweep()
    drawn = read(plot_svg([profile], "depth"))
    fit = profile.summary.fits[0]
    (interval,) = drawn.named("interval", key=f"{fit.network}-limit").values()
    ends = [drawn.value(0, y, log=False) for _, y in points(interval)]
    assert ends == pytest.approx([fit.limit_low, fit.limit_high], rel=2e-3)


def test_the_fits_are_told_below(sweep: Draw) -> None:
    text = " ".join(read(plot_svg([sweep()], "depth")).texts).replace("\u00a0", " ")
    (said,) = re.findall(r"Final training loss \[95 %\]: (.*?)\. ", text + " ")
    for network, (_, _, order) in LAWS.items():
        found = re.search(rf"{network}: L → ∞ ([\d.]+) \[[\d.]+, [\d.]+\] nats, order ([\d.]+)", said)
        assert found is not None
        assert float(found[2]) == pytest.approx(order, abs=0.1)


def test_depths_that_are_no_powers_of_two_have_their_ticks(sweep: Draw) -> None:
    drawn = read(plot_svg([sweep(depths=(3, 5, 10, 24))], "depth"))
    assert list(drawn.ticks(0, "x")) == ["3", "5", "10", "24", "∞"]
    assert "depth L" in drawn.texts
    assert "final training loss (nats)" in drawn.texts


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
    drawn = read(plot_svg([changed], "depth"))
    found = [name for name in ("above", "below") if drawn.named(name)]
    assert found == arrows


def test_without_a_fit_lines_join_the_points_and_the_reason_is_told(sweep: Draw) -> None:
    profile = sweep(depths=(2, 4, 8))
    chart = chart_of(profile)
    assert all(series.joined and series.role == "mean" for series in chart.series)
    names = ", ".join(LAWS)
    assert chart.fits == (f"no limit of {names}: too few depths: 3, a limit needs at least 4",)


def test_one_seed_has_no_interval_and_says_so(sweep: Draw) -> None:
    drawn = read(plot_svg([sweep(seeds=1)], "depth"))
    assert drawn.named("bars") == {}
    assert "Each point is one seed." in drawn.texts


def test_one_depth_is_a_point(sweep: Draw) -> None:
    drawn = read(plot_svg([sweep(depths=(8,))], "depth"))
    assert list(drawn.ticks(0, "x")) == ["8"]


def test_bad_runs_have_a_cross_at_the_others_mean_or_at_the_edge(sweep: Draw) -> None:
    others = {("densenet", 4, 0): run_of("densenet", 4, 0, [9.0, math.nan], status="diverged", error=ERROR)}
    others |= {("densenet", 16, s): run_of("densenet", 16, s, [], status="oom", error=ERROR) for s in range(3)}
    profile = sweep(networks=("densenet",), others=others)
    crosses = {(each.x[0], each.y[0]) for each in chart_of(profile).series if each.failed}
    mean = next(p for p in profile.summary.points if p.depth == 4).quantities["final_train_loss"]
    assert mean.n == 2
    assert {cross for cross in crosses if not math.isnan(cross[1])} == {(4.0, mean.mean)}
    assert {x for x, _ in crosses} == {4.0, 16.0}
    assert list(read(plot_svg([profile], "depth")).ticks(0, "x")) == ["2", "4", "8", "16"]


def test_values_far_apart_have_a_logarithmic_axis(sweep: Draw) -> None:
    near, far = sweep(), sweep(others={("densenet", 16, s): run_of("densenet", 16, s, [1e-3]) for s in range(3)})
    assert chart_of(near).y.scale == "linear"
    assert chart_of(far).y.scale == "log"
    assert chart_of(near, log=True).y.scale == "log"


def test_each_profile_has_its_own_fit_limit_and_letter(sweep: Draw) -> None:
    drawn = read(plot_svg([sweep(), sweep(name="second", networks=("densenet",))], "depth"))
    assert set(drawn.named("limit")) == {f"A-{network}-limit" for network in LAWS} | {"B-densenet-limit"}
    assert "stroke-dasharray" in style_of(drawn.named("curve")["B-densenet-fit"])
    assert "stroke-dasharray" not in style_of(drawn.named("curve")["A-densenet-fit"])
    assert any(text.startswith("B: second") for text in drawn.texts)


def test_orders_stand_beside_the_expected_slope(problems: Draw) -> None:
    """Each seed a problem of its own: errors of order 1 and 2, geometric means on the fitted line."""
    profile = problems(
        "forward-limit",
        {"error_max": lambda d, s: (s + 1) / d, "error_end": lambda d, s: (s + 1) / d**2},
    )
    drawn = read(plot_svg([profile]))
    assert drawn.texts.count("depth L") == 2
    assert {"largest error", "error of the last state", "expected order 1"} <= set(drawn.texts)
    text = " ".join(drawn.texts).replace("\u00a0", " ")
    assert "Points: geometric mean over n = 3 seeds, each a different problem; faint lines: single seeds." in text
    assert "Largest error [95 %]: local-tanh: order 1 [1, 1] (locally 1.00, 1.00, 1.00), theory at least 1." in text
    assert (
        "Error of the last state [95 %]: local-tanh: order 2 [2, 2] (locally 2.00, 2.00, 2.00), theory at least 1."
        in text
    )
    curve = points(drawn.named("curve", "error_max")["local-tanh-fit"])
    measured = marks(drawn.named("series", "error_max")["local-tanh"])
    assert curve[0] == pytest.approx(measured[0], abs=1e-3)
    assert drawn.value(0, curve[-1][1], log=True) == pytest.approx(
        6 ** (1 / 3) / 64, rel=1e-3
    )  # at twice the largest depth
    (theory,) = drawn.named("curve", "error_max", "order-1.0").values()
    values = [drawn.value(0, y, log=True) for _, y in points(theory)]
    assert values == pytest.approx([CLEARANCE * 3 / 4, CLEARANCE * 3 / 64], rel=1e-3)
    assert len(drawn.named("series", "error_max")) == 4


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
    drawn = read(plot_svg([sweep()], "depth", quantities=["peak_memory_bytes", "samples_per_s"]))
    assert {"peak memory (MiB)", "throughput (samples/s)"} <= set(drawn.texts)
    assert "final training loss (nats)" not in drawn.texts


def test_every_chart_shows_the_mean_that_the_fit_goes_through(problems: Draw) -> None:
    """Errors of 1 and 4 were drawn at 2 in print and at 2.5 ± 19 elsewhere."""
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
    drawn = read(plot_svg([profile], "depth"))
    (group,) = [drawn.named("series")[key] for key in drawn.named("series") if "seed" not in key]
    assert [drawn.value(0, y, log=True) for _, y in marks(group)] == pytest.approx([2.0, 1.0, 0.5], rel=1e-3)
    assert [reading(chart, depth) for depth in (8, 16, 32)] == pytest.approx([2.0, 1.0, 0.5])  # in the terminal
    rows, columns = marks_in_the_terminal(chart)
    assert rows[1] - rows[0] == pytest.approx(rows[2] - rows[1], abs=1)
    assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=1)


def reading(chart: Chart, depth: float) -> float | None:
    (found,) = [each for each in values_at(chart, View(), depth).readings if each.key == "local-tanh"]
    return found.y


def marks_in_the_terminal(chart: Chart) -> tuple[list[int], list[int]]:
    """Lines and columns of the mean's marks."""
    lines = draw(chart, View(), 100, 40, Look(foreground="#ffffff", background="#000000")).lines
    found = [
        (line, place) for line, text in enumerate(map(str, lines)) for place, sign in enumerate(text) if sign == "●"
    ]
    found.sort(key=lambda mark: mark[1])
    return [line for line, _ in found], [place for _, place in found]


def test_intervals_that_reach_where_no_value_can_lie_are_cut_and_told(sweep: Draw) -> None:
    """Profiles of 0.7 and before have symmetric intervals."""
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
        drawn = read(plot_svg([old], "depth", log=log))
        assert "nan" not in " ".join(drawn.texts)
        assert drawn.named("bars", key="densenet")


def test_a_mean_that_cannot_be_geometric_is_said_to_be_arithmetic(problems: Draw) -> None:
    profile = problems("forward-limit", {"error_max": lambda d, s: s / d}, depths=(8, 16, 32), seeds=2)
    chart = chart_of(profile, "error_max")
    assert list(next(each for each in chart.series if each.role == "mean").y) == [1 / 16, 1 / 32, 1 / 64]
    assert chart.notes[0].startswith(
        "Points: geometric mean (arithmetic if a value is not positive) over n = 2 seeds"
    )
    assert chart.y.scale == "log"  # of the means
