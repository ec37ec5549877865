"""Tuned results of a profile: planted best values, other settings of the grid, and the fits and tests of the losses at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dnlbench.charts.depth import depth_chart
from dnlbench.charts.epochs import epoch_charts
from dnlbench.charts.figure import figure_layout
from dnlbench.charts.source import sources_of
from dnlbench.charts.transfer import transfer_charts
from dnlbench.comparison import candidate_of, compare, gate, parse_rule
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile, RunRecord, check_profile, read_profile, save_profile
from dnlbench.profiles.summary import summarize
from dnlbench.profiles.tuning import runs_at_best, tuned_runs
from dnlbench.report.export import Labeled, make_table
from dnlbench.report.html.profile import profile_html
from dnlbench.report.latex import profile_latex
from dnlbench.report.profile import profile_grids
from dnlbench.report.tuning import tuned_grids
from dnlbench.stats import fit_limit, holm, ratio_test
from dnlbench.studies import STUDIES, TRAIN_LOSS
from dnlbench.studies.base import BEST_VALUE, TUNED_LOSS

MakeProfile = Callable[..., Profile]
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
DEPTHS = (1, 2, 4, 8)
SEEDS = range(4)


def planted(network: str, depth: int) -> tuple[float, float]:
    """Return the best rate and the loss at it."""
    return (0.1 * depth**-0.5, 0.2 + 0.6 / depth) if network == "densenet" else (0.03, 1.0)


def shift(seed: int, rate: float, depth: int) -> float:
    return 0.02 * math.sin(17.0 * seed + 31.0 * math.log(rate) + 7.0 * depth)


def runs_of(plain: Profile) -> Iterator[RunRecord]:
    for rate in RATES:
        for run in plain.runs:
            best, loss = planted(run.network, run.depth)
            value = loss * math.exp(0.2 * math.log(rate / best) ** 2 + shift(run.seed, rate, run.depth))
            (epoch,) = run.epochs
            yield run.model_copy(
                update={
                    "run_id": run.run_id.replace(f"-L{run.depth}-", f"-L{run.depth}-lr{rate}-"),
                    "settings": {"train.lr": rate},
                    "final_train_loss": value,
                    "epochs": (epoch.model_copy(update={"train_loss": value}),),
                }
            )


@pytest.fixture
def tuned(make_profile: MakeProfile) -> Callable[..., Profile]:
    def make(change: Callable[[RunRecord], RunRecord] = lambda run: run) -> Profile:
        plain = make_profile({(name, depth): [1.0] * 4 for name in ("densenet", "resnet") for depth in DEPTHS})
        spec: dict[str, Any] = {**plain.spec, "tune": {"over": "train.lr", "by": "train_loss"}}
        spec["sweep"] = {**spec["sweep"], "grid": {"train.lr": list(RATES)}}
        runs = tuple(change(run) for run in runs_of(plain))
        summary = summarize(runs, STUDIES["training"].of(spec), classes=10)
        return plain.model_copy(update={"runs": runs, "spec": spec, "summary": summary})

    return make


def test_planted_best_values_and_losses_are_recovered(tuned: Callable[..., Profile]) -> None:
    records = tuned().summary.tuned
    assert [(record.network, record.depth) for record in records] == [
        (name, depth) for name in ("densenet", "resnet") for depth in DEPTHS
    ]
    for record in records:
        best, loss = planted(record.network, record.depth)
        assert (record.key, record.settings, record.edge, record.problem) == ("train.lr", {}, "", "")
        assert record.best == pytest.approx(best, rel=0.1)
        assert record.loss is not None
        assert record.loss.mean == pytest.approx(loss, rel=0.03)
        assert [each.value for each in record.tried] == list(RATES)


def test_the_growth_of_the_best_value_has_a_verdict(tuned: Callable[..., Profile]) -> None:
    densenet, resnet = (fit for fit in tuned().summary.fits if fit.quantity == BEST_VALUE)
    assert densenet.order == pytest.approx(0.5, abs=0.05)
    assert densenet.seen == "falls with depth"
    assert resnet.seen == "no dependence on depth detected"


def test_limits_and_contrasts_are_those_of_the_losses_at_the_best_value(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    values: dict[tuple[str, int], dict[int, float]] = {}
    for run in tuned_runs(profile.runs, profile.declared):
        values.setdefault((run.network, run.depth), {})[run.seed] = float(run.measurements[TUNED_LOSS])  # type: ignore[arg-type]
    samples = [list(values["densenet", depth].values()) for depth in DEPTHS]
    fit = next(fit for fit in profile.summary.fits if (fit.quantity, fit.network) == (TUNED_LOSS, "densenet"))
    expected = fit_limit(list(DEPTHS), samples, cap=math.log(10))
    assert (fit.form, fit.base, fit.refused) == (expected.form, expected.base, "")  # type: ignore[union-attr]
    contrasts = profile.summary.contrasts
    assert {each.quantity for each in contrasts} == {TUNED_LOSS}
    tests = [
        ratio_test(
            values[each.against.network, each.against.depth], values[each.network, each.depth], may_be_paired=True
        )
        for each in contrasts
    ]
    assert [each.p_adjusted for each in contrasts] == pytest.approx(holm([test.chance_p for test in tests]))


def test_a_diverged_value_is_named_and_cannot_be_the_best(tuned: Callable[..., Profile]) -> None:
    def diverge(run: RunRecord) -> RunRecord:
        bad = (run.network, run.depth, run.seed, run.settings["train.lr"]) == ("densenet", 1, 2, 0.3)
        return run.model_copy(update={"status": "diverged"}) if bad else run

    profile = tuned(diverge)
    record = profile.summary.tuned[0]
    assert [each.value for each in record.tried if each.diverged] == [0.3]
    assert record.best == pytest.approx(0.1)
    assert record.edge in ("high", "both")
    note = next(tuned_grids(profile)).note
    assert "cannot be the best: densenet L=1: 0.3" in note
    assert "--grid train.lr=0.003,0.01,0.03,0.1,0.17,0.3 --extend" in note


@pytest.mark.parametrize(
    ("factor", "edge", "grid"),
    [(100, "low", "0.09,0.3,1,3,10,30"), (0.01, "high", "3e-05,0.0001,0.0003,0.001,0.003,0.009")],
)
def test_at_the_end_of_the_grid_the_note_extends_it(
    tuned: Callable[..., Profile], factor: float, edge: str, grid: str
) -> None:
    """The same losses at other rates: the best one lies beyond the first or the last."""

    def moved(run: RunRecord) -> RunRecord:
        rate, best = run.settings["train.lr"] * factor, planted(run.network, run.depth)[0]
        value = math.exp(0.2 * math.log(rate / best) ** 2 / 10 + shift(run.seed, rate, run.depth) / 100)
        return run.model_copy(update={"settings": {"train.lr": rate}, "final_train_loss": value, "epochs": ()})

    profile = tuned(moved)
    assert {record.edge for record in profile.summary.tuned} == {edge}
    assert f"--grid train.lr={grid} --extend" in next(tuned_grids(profile)).note


def test_a_tuned_profile_is_written_read_and_validated(tuned: Callable[..., Profile], tmp_path: Path) -> None:
    profile = tuned()
    save_profile(profile, tmp_path / "x.json")
    assert read_profile(tmp_path / "x.json") == profile
    assert check_profile(profile) == []
    changed = profile.summary.tuned[0].model_copy(update={"best": 0.2})
    summary = profile.summary.model_copy(update={"tuned": (changed, *profile.summary.tuned[1:])})
    assert any("summary" in problem for problem in check_profile(profile.model_copy(update={"summary": summary})))


def test_profiles_are_compared_at_their_best_values(tuned: Callable[..., Profile]) -> None:
    def worse(run: RunRecord) -> RunRecord:
        assert run.final_train_loss is not None
        loss = run.final_train_loss * (1.3 if run.network == "densenet" else 1.0)
        (epoch,) = run.epochs
        return run.model_copy(
            update={"final_train_loss": loss, "epochs": (epoch.model_copy(update={"train_loss": loss}),)}
        )

    overall = {
        result.network: result
        for result in compare(tuned(), tuned(worse)).overall
        if result.quantity.name == TUNED_LOSS
    }
    assert {name: each.verdict for name, each in overall.items()} == {"densenet": "worse", "resnet": "no difference"}
    assert overall["densenet"].ratio is not None
    assert overall["densenet"].ratio.estimate == pytest.approx(1.3)


def scaled(factor: float) -> Callable[[RunRecord], RunRecord]:
    return lambda run: run.model_copy(update={"final_train_loss": factor * (run.final_train_loss or 0.0)})


def diverging(run: RunRecord) -> RunRecord:
    bad = run.network == "resnet" and run.depth == 8 and run.settings["train.lr"] > 0.01
    return run.model_copy(update={"status": "diverged"}) if bad else run


@pytest.mark.parametrize(
    ("change", "outcomes"),
    [
        (scaled(1.0), {"densenet": "pass", "resnet": "pass"}),
        (scaled(1.3), {"densenet": "fail", "resnet": "fail"}),
        (diverging, {"densenet": "pass", "resnet": "inconclusive"}),
    ],
)
def test_gates_test_the_loss_at_the_best_value(
    tuned: Callable[..., Profile], change: Callable[[RunRecord], RunRecord], outcomes: dict[str, str]
) -> None:
    base = tuned()
    comparison = compare(base, tuned(change))
    result = gate([comparison], [parse_rule("tuned_loss:5%", base.declared)])
    assert {finding.network: finding.outcome for finding in result.findings} == outcomes
    assert all(set(finding.depths) <= set(DEPTHS) for finding in result.findings)
    left_out = {each.network: each.left_out for each in comparison.overall if each.quantity.name == TUNED_LOSS}
    assert ("leaves out L=8: no best value in the candidate" in left_out["resnet"]) == (change is diverging)


def test_failed_and_missing_runs_count_once(tuned: Callable[..., Profile]) -> None:
    comparison = compare(tuned(), tuned(diverging))
    assert len(comparison.new_failures) == 3 * 4
    assert {failure.network for failure in comparison.new_failures} == {f"resnet lr={rate:g}" for rate in RATES[2:]}
    assert (comparison.unfinished, comparison.missing) == ((), ())


def test_a_rule_on_best_values_needs_two_tuned_profiles(tuned: Callable[..., Profile]) -> None:
    base = tuned()
    other = base.model_copy(update={"spec": {**base.spec, "tune": {"over": None, "by": "train_loss"}}})
    result = gate([compare(base, other)], [parse_rule("tuned_loss:5%", base.declared)])
    assert (result.outcome, len(result.findings)) == ("not comparable", 1)
    assert result.findings[0].reason == "a profile has no best values, or they are of another setting"
    with pytest.raises(ConfigurationError, match="unknown; a rule is"):
        parse_rule("tuned_loss:5%", other.declared)


def test_rules_within_a_tuned_profile_test_the_loss_at_the_best_value(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    rule = parse_rule("depth:tuned_loss:worse", profile.declared)
    result = gate([candidate_of(profile, "x")], [rule])
    assert {finding.depths for finding in result.findings} == {(1, 2), (2, 4), (4, 8)}
    with pytest.raises(ConfigurationError, match="does not test loss within a profile; it tests tuned_loss"):
        parse_rule("depth:loss:worse", profile.declared)


def test_the_transfer_chart_has_a_curve_for_each_depth_and_the_best_values(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    densenet, resnet = transfer_charts(sources_of([profile]))
    assert (densenet.subject, resnet.subject) == ("densenet", "resnet")
    *depths, best = densenet.series
    assert [each.label for each in depths] == ["L=1", "L=2", "L=4", "L=8"]
    assert list(depths[0].x) == list(RATES)
    point = next(p for p in profile.summary.points if p.settings == {"train.lr": 0.03} and p.depth == 1)
    assert depths[0].y[2] == point.quantities["final_train_loss"].mean
    assert list(best.x) == sorted(record.best or 0 for record in profile.summary.tuned[:4])
    assert densenet.x.scale == "log"
    assert len(figure_layout([profile], ["transfer"], metric=TRAIN_LOSS).blocks[0].charts) == 2


def test_a_transfer_chart_needs_a_setting_that_all_profiles_tune(
    tuned: Callable[..., Profile], make_profile: MakeProfile
) -> None:
    profiles = [tuned(), make_profile({("densenet", 2): [0.1]})]
    with pytest.raises(ConfigurationError, match="nothing to plot: the profiles have no tuned setting in common"):
        figure_layout(profiles, ["transfer"], metric=TRAIN_LOSS)


def test_curves_over_epochs_are_those_nearest_to_the_best_value(tuned: Callable[..., Profile]) -> None:
    densenet, resnet = epoch_charts(sources_of([tuned()]), TRAIN_LOSS)
    assert (densenet.subject, resnet.subject) == ("densenet", "resnet")
    assert [each.label for each in densenet.series] == ["L=1", "L=2", "L=4", "L=8"]
    assert "Curves at the tried lr nearest to the best one." in densenet.notes


def test_the_chart_over_depth_has_only_tuned_networks(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    assert profile.declared.tuning is not None
    chart = depth_chart(sources_of([profile]), profile.declared.tuning.loss)
    means = [each.label for each in chart.series if each.role == "mean"]
    assert means == ["densenet", "resnet"]
    assert any("resnet" in line for line in chart.fits)


def test_reports_and_exports_show_the_best_values(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    first = next(profile_grids(profile))
    assert [row[:2] for row in first.rows[:2]] == [["densenet", "1"], ["densenet", "2"]]
    assert "best lr" in profile_html(profile)
    assert "best lr" in profile_latex(profile)
    table = make_table([Labeled(label="x", profile=profile)], "tuned")
    rows = [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]
    assert [row["best"] for row in rows] == [record.best for record in profile.summary.tuned]
    assert rows[0]["loss_n"] == 4


def test_runs_nearest_to_the_best_value(tuned: Callable[..., Profile]) -> None:
    profile = tuned()
    nearest = runs_at_best(profile.runs, profile.summary.tuned)
    assert {(run.depth, run.settings["train.lr"]) for run in nearest if run.network == "densenet"} == {
        (1, 0.1), (2, 0.1), (4, 0.03), (8, 0.03)
    }  # fmt: skip
