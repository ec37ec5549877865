"""What depth costs: values, lines of the exponents, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from dnlbench.profiles import Profile
from dnlbench.report.figures import figure_svg
from dnlbench.report.figures.cost import cost_block
from dnlbench.report.figures.depth import depth_block
from dnlbench.report.figures.draw import frame_of
from dnlbench.report.figures.subject import subject_of
from dnlbench.report.html.curves import charts
from dnlbench.report.html.scale import scale_over
from dnlbench.studies import STUDIES
from dnlbench.tui.figures import depth_figure
from dnlbench.tui.plot.framing import framed
from dnlbench.tui.plot.view import View
from tests.report.figures.drawn import marks, read
from tests.report.figures.made_up import curve, of_runs, run_of

Draw = Callable[..., Profile]


def test_a_panel_for_each_cost_with_the_slope_of_its_exponent(sweep: Draw) -> None:
    profile = sweep(depths=(2, 4, 8, 16, 32))
    throughput, memory = cost_block(subject_of([profile])).panels
    assert (throughput.y.text, memory.y.text) == ("throughput (samples/s)", "peak memory (MiB)")
    for panel, exponent in ((throughput, -1.5), (memory, 1.0)):
        assert panel.y.scale == "log"
        for line in panel.curves:
            assert list(line.x) == [8, 32]
            assert math.log(line.y[1] / line.y[0]) / math.log(4) == pytest.approx(exponent)
    by_key = {series.key: series for series in memory.series}
    assert list(by_key["densenet"].y) == [3 * depth for depth in (2, 4, 8, 16, 32)]


def test_the_exponents_are_told(sweep: Draw) -> None:
    notes = cost_block(subject_of([sweep(networks=("densenet",))])).notes
    assert notes[1:] == (
        "Time, that is 1 / throughput, ~ L^q at the largest depths, q [95 %]: densenet\u00a01.50\u00a0[1.50,\u00a01.50].",
        "Memory ~ L^q at the largest depths, q [95 %]: densenet\u00a01.00\u00a0[1.00,\u00a01.00].",
    )


def test_memory_has_the_unit_of_its_largest_value(sweep: Draw) -> None:
    losses = curve("densenet", 16, 0, 3)
    others = {("densenet", 16, s): run_of("densenet", 16, s, losses, peak_memory_bytes=5 * 2**30) for s in range(3)}
    drawn = read(figure_svg([sweep(networks=("densenet",), others=others)], "cost"))
    assert "peak memory (GiB)" in drawn.texts
    found = [drawn.value(1, y, log=True) for _, y in marks(drawn.named("series", "peak_memory_bytes")["densenet"])]
    assert found == pytest.approx([6 / 1024, 12 / 1024, 24 / 1024, 5], rel=2e-3)


def test_runs_that_were_carried_out_otherwise_are_told(sweep: Draw) -> None:
    others = {("densenet", 2, 0): run_of("densenet", 2, 0, curve("densenet", 2, 0, 3), threads=2)}
    notes = cost_block(subject_of([sweep(networks=("densenet",), others=others)])).notes
    assert "densenet: not in the exponent, because carried out otherwise: 1 run." in notes


def test_one_depth_has_no_exponent_and_says_so(sweep: Draw) -> None:
    block = cost_block(subject_of([sweep(networks=("densenet",), depths=(4,))]))
    assert all(panel.curves == () for panel in block.panels)
    assert "No exponent of the time of densenet: an exponent needs at least 2 depths, not 1." in block.notes


def test_packed_timings_are_not_passed_off_as_those_of_single_runs(sweep: Draw) -> None:
    packed = {("densenet", 2, s): run_of("densenet", 2, s, curve("densenet", 2, s, 3), pack_size=3) for s in range(3)}
    notes = cost_block(subject_of([sweep(networks=("densenet",), others=packed)])).notes
    assert (
        "Trained in packs of 3 runs: throughput and memory are not those of runs alone, and count once a pack." in notes
    )


def test_no_axis_goes_below_a_throughput_of_zero_or_beyond_an_accuracy_of_one(sweep: Draw) -> None:
    base = sweep(networks=("densenet",), seeds=2)
    far = {0: 0.2, 1: 5.0}
    runs = [
        run.model_copy(update={"samples_per_s": 100.0 * far[run.seed], "evaluation_accuracy": (0.5, 1.0)[run.seed]})
        for run in base.runs
    ]
    profile = of_runs(base, runs)
    for name, ends in (("samples_per_s", (0.0, math.inf)), ("evaluation_accuracy", (0.0, 1.0))):
        (quantity,) = [q for q in STUDIES["training"].quantities if q.name == name]
        panels = depth_block(subject_of([profile]), [quantity], log=False).panels
        low, high = frame_of(panels, [2, 4, 8, 16]).y
        figure = depth_figure([profile.summary], quantity)
        scale = framed(figure, View(log_y=False)).frame.y
        (chart,) = [c for c in charts([profile]) if quantity.label in c.title.lower()]
        axis = replace(chart.y, log=False)
        bands = [v for each in chart.series for v in (*each.low, *each.high) if v is not None]
        html = scale_over([v for each in chart.series for v in each.y], axis, bands)
        for bottom, top in ((low, high), (scale.low, scale.high), (html.low, html.high)):
            assert ends[0] <= bottom < top <= ends[1]
            assert top <= 1000  # the interval at two seeds is wide; the values are seen all the same
