"""Costs over depth: values, lines of the exponents, and notes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from dnlbench.charts.depth import depth_chart
from dnlbench.charts.model import Chart
from dnlbench.charts.mpl.axes import frame_of
from dnlbench.charts.source import sources_of
from dnlbench.profiles import Profile
from dnlbench.studies import STUDIES
from tests.charts.read_svg import marks, plot_svg, read
from tests.charts.synthetic import curve, of_runs, run_of

Draw = Callable[..., Profile]
TRAINING = {quantity.name: quantity for quantity in STUDIES["training"].quantities}


def costs_of(profile: Profile) -> list[Chart]:
    sources = sources_of([profile])
    return [depth_chart(sources, TRAINING[name]) for name in ("samples_per_s", "peak_memory_bytes")]


def test_a_panel_for_each_cost_with_the_slope_of_its_exponent(sweep: Draw) -> None:
    profile = sweep(depths=(2, 4, 8, 16, 32))
    throughput, memory = costs_of(profile)
    assert (throughput.y.text, memory.y.text) == ("throughput (samples/s)", "peak memory (MiB)")
    for panel, exponent in ((throughput, -1.5), (memory, 1.0)):
        assert panel.y.scale == "log"
        lines = [each for each in panel.series if each.role == "fit"]
        assert len(lines) == 3
        for line in lines:
            assert list(line.x) == [8, 64]  # fitted over the depths 8, 16 and 32
            assert math.log(line.y[1] / line.y[0]) / math.log(8) == pytest.approx(exponent)
    by_key = {series.key: series for series in memory.series}
    assert list(by_key["densenet"].y) == [3 * depth for depth in (2, 4, 8, 16, 32)]


def test_notes_report_the_exponents(sweep: Draw) -> None:
    throughput, memory = costs_of(sweep(networks=("densenet",)))
    assert throughput.fits == ("densenet: time ~ L^1.50 [1.50, 1.50]",)
    assert memory.fits == ("densenet: memory ~ L^1.00 [1.00, 1.00]",)


def test_memory_has_the_unit_of_its_largest_value(sweep: Draw) -> None:
    losses = curve("densenet", 16, 0, 3)
    others = {("densenet", 16, s): run_of("densenet", 16, s, losses, peak_memory_bytes=5 * 2**30) for s in range(3)}
    svg = read(plot_svg([sweep(networks=("densenet",), others=others)], "cost"))
    assert "peak memory (GiB)" in svg.texts
    result = [svg.value(1, y, log=True) for _, y in marks(svg.named("series", "peak_memory_bytes")["densenet"])]
    assert result == pytest.approx([6 / 1024, 12 / 1024, 24 / 1024, 5], rel=2e-3)


def test_runs_with_different_execution_settings_are_reported(sweep: Draw) -> None:
    others = {("densenet", 2, 0): run_of("densenet", 2, 0, curve("densenet", 2, 0, 3), threads=2)}
    (throughput, _) = costs_of(sweep(networks=("densenet",), others=others))
    assert "densenet: the exponent excludes 1 run with different execution settings." in throughput.notes


def test_one_depth_has_no_exponent_and_a_note(sweep: Draw) -> None:
    (throughput, memory) = costs_of(sweep(networks=("densenet",), depths=(4,)))
    assert all(each.role == "mean" for each in (*throughput.series, *memory.series))
    assert throughput.fits == ("no exponent of densenet: an exponent needs at least 2 depths, not 1",)


def test_a_note_reports_batched_timings(sweep: Draw) -> None:
    packed = {("densenet", 2, s): run_of("densenet", 2, s, curve("densenet", 2, s, 3), pack_size=3) for s in range(3)}
    note = "Packs of 3 runs: throughput and memory are measured per pack, not per run, and count once."
    assert all(note in chart.notes for chart in costs_of(sweep(networks=("densenet",), others=packed)))


def test_no_axis_goes_below_a_throughput_of_zero_or_beyond_an_accuracy_of_one(sweep: Draw) -> None:
    base = sweep(networks=("densenet",), seeds=2)
    far = {0: 0.2, 1: 5.0}
    runs = [
        run.model_copy(update={"samples_per_s": 100.0 * far[run.seed], "evaluation_accuracy": (0.5, 1.0)[run.seed]})
        for run in base.runs
    ]
    profile = of_runs(base, runs)
    for name, ends in (("samples_per_s", (0.0, math.inf)), ("evaluation_accuracy", (0.0, 1.0))):
        chart = depth_chart(sources_of([profile]), TRAINING[name], log=False)
        low, high = frame_of([chart]).y
        assert ends[0] <= low < high <= ends[1]
        assert high <= 1000  # the interval at two seeds is wide; the values are seen all the same
