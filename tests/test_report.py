"""Tables as Rich draws them in terminals of common widths, and what stands below them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from dnlbench.comparison import MEASURED_APART, Comparison, Gate, compare, gate, parse_rule
from dnlbench.profiles import IntervalRecord, Profile, summarize
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_json
from dnlbench.report.gate import gate_grid, gate_lines
from dnlbench.report.grid import Column, Grid
from dnlbench.report.profile import profile_grids
from dnlbench.report.values import p_text
from dnlbench.studies import STUDIES
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
LOSSES = {
    ("densenet", 2): [0.3012, 0.3998, 0.5001],
    ("dense-attention", 2): [0.2002, 0.2133, 0.2251],
    ("dense-gaussian", 4): [0.2001, 0.2102, 0.2203],
}


def drawn(grids: Sequence[Grid], width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for grid in grids:
            console.print(grid.to_rich(width))
    return capture.get()


def changed(profile: Profile) -> Profile:
    """Losses that are better at one point, equal at the next and vary at the last; a lower throughput."""
    factors = dict(zip(LOSSES, ((0.6,) * 3, (1.0,) * 3, (0.7, 1.0, 1.4)), strict=True))
    runs = tuple(
        run.model_copy(
            update={
                "final_train_loss": (run.final_train_loss or 0) * factors[run.network, run.depth][run.seed],
                "samples_per_s": 900.0 + run.seed,
            }
        )
        for run in profile.runs
    )
    return profile.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING)})


def note(comparison: Comparison) -> str:
    """Below the table of losses."""
    return next(grid.note for grid in comparison_grids(comparison) if grid.title.startswith("Final training loss"))


@pytest.mark.parametrize("width", [160, 80, 60, 40])
def test_a_comparison_never_cuts_networks_and_verdicts(make_profile: MakeProfile, width: int) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    candidate = changed(base)
    machine = base.machine.model_copy(update={"fingerprint": "f" * 16})
    seen = set()
    for other in (candidate, candidate.model_copy(update={"machine": machine})):
        comparison = compare(base, other)
        text = drawn([grid for grid in comparison_grids(comparison) if grid.title != "Differences"], width)
        assert "…" not in text
        for point in LOSSES:
            rows = [line for line in text.splitlines() if line.split()[:2] == [point[0], str(point[1])]]
            verdicts = [cell.verdict for cell in comparison.cells if (cell.network, cell.depth) == point]
            for row, verdict in zip(rows, verdicts, strict=True):
                assert row.rstrip().endswith(f"  {verdict}")
            seen |= set(verdicts)
    assert seen == {"better", "worse", "no difference", "inconclusive", "not comparable"}


def test_a_comparison_leaves_out_columns_from_the_left(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    grid = next(grid for grid in comparison_grids(compare(base, base)) if grid.title.startswith("Final"))
    heads = {width: drawn([grid], width).partition("──")[0].splitlines()[-1].split() for width in (160, 80, 60, 40)}
    ratio = ["ratio", "[95", "%", "CI]"]
    assert heads[160] == ["network", "L", "reference", "candidate", *ratio, "(Holm)", "verdict"]
    assert heads[80] == ["network", "L", "candidate", *ratio, "verdict"]
    assert heads[60] == ["network", "L", *ratio, "verdict"]
    assert heads[40] == ["network", "L", "verdict"]


def test_a_table_that_just_fits_is_shown_whole() -> None:
    columns = [Column(head="aaaa", numeric=True, drop_order=1), Column(head="bbbb", no_wrap=True)]
    grid = Grid(title="t", columns=columns, rows=[["1234", "word"]])
    assert "1234  word" in drawn([grid], 10)
    assert "1234" not in drawn([grid], 9)


def test_columns_go_by_rank_and_from_the_left() -> None:
    ranks = (2, 1, 0, 1)
    columns = [Column(head=name * 4, drop_order=rank, no_wrap=True) for name, rank in zip("abcd", ranks, strict=True)]
    grid = Grid(title="t", columns=columns, rows=[["a", "b", "c", "d"]])
    assert [drawn([grid], width).splitlines()[1].split() for width in (22, 21, 15, 9)] == [
        ["aaaa", "bbbb", "cccc", "dddd"],
        ["aaaa", "cccc", "dddd"],
        ["aaaa", "cccc"],
        ["cccc"],
    ]


@pytest.mark.parametrize("width", [160, 80, 60, 40])
def test_a_profile_never_cuts_networks_and_its_main_result(make_profile: MakeProfile, width: int) -> None:
    text = drawn(list(profile_grids(make_profile(LOSSES, rate=12345.0))), width)
    assert "…" not in text
    for network in ("densenet", "dense-attention", "dense-gaussian"):
        assert f"\n{network} " in text
    assert "0.213 ± 0.031" in text
    assert ("12.357 ± 0.031 k" in text) == (width > 60)


@pytest.mark.parametrize(
    ("estimated", "share"),
    [
        ([0.976, 1.0, 1.124], "98 to 112 %"),
        ([1.051, 1.049, None], "105 %"),
        ([None, None, 12.0], "1200 %"),
        ([None, None, None], None),
    ],
)
def test_the_plans_memory_is_held_against_the_measured_one(
    make_profile: MakeProfile, estimated: list[float | None], share: str | None
) -> None:
    profile = make_profile({("densenet", 2): [0.3, 0.4, 0.5]})
    runs = tuple(
        run.model_copy(update={"estimated_memory_bytes": factor and round(factor * (run.peak_memory_bytes or 0))})
        for run, factor in zip(profile.runs, estimated, strict=True)
    )
    grid = next(profile_grids(profile.model_copy(update={"runs": runs})))
    expected = [f"memory: the plan estimated {share} of the measured peaks"] if share else []
    few = "no depth limit of final training loss of densenet: too few depths: 1, a limit needs at least 4"
    assert grid.note.splitlines()[1:] == [*expected, few]
    assert grid.to_markdown().splitlines()[-1] == few


def test_runs_without_a_measured_peak_say_nothing_of_the_plan(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3, 0.4]})
    runs = tuple(
        run.model_copy(update={"estimated_memory_bytes": 1000, "peak_memory_bytes": peak})
        for run, peak in zip(profile.runs, (None, 0), strict=True)
    )
    assert "memory:" not in drawn(list(profile_grids(profile.model_copy(update={"runs": runs}))), 160)


def test_causes_go_on_in_the_next_line(make_profile: MakeProfile) -> None:
    profile = make_profile({("dense-attention", 2): [0.1]}, status="failed")
    assert profile.runs[0].error is not None
    error = profile.runs[0].error.model_copy(update={"message": "a cause of " + "many words " * 9 + "x" * 70})
    runs = (profile.runs[0].model_copy(update={"error": error}),)
    text = drawn(list(profile_grids(profile.model_copy(update={"runs": runs})))[1:], 60)
    assert "…" not in text
    assert "dense-attention-L2-s0-00000000  failed" in text
    assert text.count("x") == 70


def test_the_note_says_what_is_paired(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)

    def with_seeds(*networks: str) -> Profile:
        """Other seeds at some networks."""
        runs = tuple(
            run.model_copy(update={"seed": run.seed + (10 if run.network in networks else 0)}) for run in base.runs
        )
        return base.model_copy(update={"runs": runs})

    everywhere = with_seeds("densenet", "dense-attention", "dense-gaussian")
    assert ", paired by seed; lower" in note(compare(base, base))
    assert ", Welch test; lower" in note(compare(base, everywhere))
    assert ", paired by seed, Welch test at densenet L=2; lower" in note(compare(base, with_seeds("densenet")))
    bad = make_profile({("densenet", 2): [math.nan, math.nan]}, status="diverged")
    assert "reference; lower" in note(compare(bad, bad))


def test_a_ratio_without_end_is_written_in_every_format(make_profile: MakeProfile) -> None:
    base, far = make_profile({("plain", 1): [1.0, 1.0]}), make_profile({("plain", 1): [1e-300, 1e300]})
    comparison = compare(base, far)
    assert "1.000 [0, ∞]" in drawn(list(comparison_grids(comparison)), 80)
    content = json.loads(comparison_json([comparison]), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    cell = content["comparisons"][0]["cells"][0]
    assert (cell["ratio"]["low"], cell["ratio"]["high"], cell["verdict"]) == (0.0, "Infinity", "inconclusive")
    assert ",0.0,Infinity," in comparison_csv([comparison])


def test_the_width_of_an_interval_has_one_source() -> None:
    record = IntervalRecord(mean=2.0, low=1.0, high=4.0, n=3)
    assert record.interval.half_width == 1.5
    assert record.model_dump() == {"mean": 2.0, "low": 1.0, "high": 4.0, "n": 3}


def regressed(make_profile: MakeProfile) -> Gate:
    """Of a candidate with one failed, one slower and one noisy network, all of which have long names."""
    base = make_profile(LOSSES, interleaved="ab")
    candidate = changed(base)
    runs = tuple(
        run.model_copy(update={"status": "oom"}) if run.network == "densenet" and run.seed == 2 else run
        for run in candidate.runs
    )
    rules = [
        parse_rule(rule, STUDIES["training"]) for rule in ("loss:worse", "throughput:5%", "accuracy:worse", "failed")
    ]
    return gate([compare(base, candidate.model_copy(update={"runs": runs}))], rules, {"samples_per_s": 0.02})


@pytest.mark.parametrize("width", [160, 80, 60, 50])
def test_a_gate_never_cuts_rules_networks_and_outcomes(make_profile: MakeProfile, width: int) -> None:
    found = regressed(make_profile)
    text = drawn([gate_grid(found)], width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("──")) + 1
    rows = [line.rstrip() for line in lines[start : start + len(found.findings)]]
    for finding, row in zip(found.findings, rows, strict=True):
        assert row.startswith("newly failed" if finding.rule.text == "failed" else finding.rule.text)
        assert f" {finding.network} " in row
        assert row.endswith(f"  {finding.outcome}")
    assert {finding.outcome for finding in found.findings} == {"pass", "fail", "inconclusive", "not comparable"}


def test_a_gate_in_lines_names_rule_network_depths_effect_and_reason(make_profile: MakeProfile) -> None:
    lines = list(gate_lines(regressed(make_profile)))
    assert lines[0].startswith(
        "fail: loss:worse of densenet at L = 2: degradation 0.600 [0.600, 0.600]: seed 2 oom at L=2"
    )
    assert "not comparable: accuracy:worse of densenet: no run has a value" in lines
    assert "pass: failed of dense-attention at L = 2" in lines
    assert len(lines) == 12


def test_a_floor_that_counts_is_told(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    rule = [parse_rule("throughput:1%", STUDIES["training"])]
    assert "noise floor of 2 %" in gate_grid(gate([compare(base, base)], rule, {"samples_per_s": 0.02})).note
    assert "noise" not in gate_grid(gate([compare(base, base)], rule, {"samples_per_s": 0.005})).note


def test_overall_figures_are_a_table_of_their_own(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    grid = next(grid for grid in comparison_grids(compare(base, changed(base))) if grid.title == "All depths combined")
    assert [row[:3] for row in grid.rows[:3]] == [
        ["final training loss", "densenet", "2"],
        ["final training loss", "dense-attention", "2"],
        ["final training loss", "dense-gaussian", "4"],
    ]
    assert [row[-1] for row in grid.rows[:3]] == ["better", "no difference", "inconclusive"]
    assert "final training loss of dense-gaussian: inconclusive: the interval contains 1" in grid.note
    assert grid.note.endswith(f"dense-gaussian: not comparable: {MEASURED_APART}")
    assert max(map(len, drawn([grid], 80).splitlines())) <= 80
    assert "0.600 [0.600, 0.600]" in drawn([grid], 80)


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0, "<0.001"), (0.00099, "<0.001"), (0.04996, "0.050")])
def test_p_values(p: float | None, text: str) -> None:
    assert p_text(p) == text
