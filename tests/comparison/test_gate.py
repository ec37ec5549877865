"""What a gate says of results whose truth is planted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from scipy import stats as scipy_stats

from dnlbench.comparison import MEASURED_APART, Finding, Gate, Rule, compare, gate, parse_rule
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile, summarize
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
SPREAD = (0.99, 1.0, 1.01, 1.005, 0.995)


@pytest.fixture
def sides(make_profile: MakeProfile) -> Callable[..., tuple[Profile, Profile]]:
    """Two profiles of a session, whose ratios are the given factors with a little spread over five seeds."""

    def make(
        networks: Sequence[str] = ("densenet",), session: str | None = "ab", **factors: float
    ) -> tuple[Profile, Profile]:
        base = make_profile({(n, L): [1 / L + 0.01 * s for s in range(5)] for n in networks for L in (2, 4)})
        return tuple(  # type: ignore[return-value]  # there are two of them
            profile.model_copy(update={"interleaved": session}) for profile in (base, changed(base, factors))
        )

    return make


def changed(profile: Profile, factors: Mapping[str, float]) -> Profile:
    runs = tuple(
        run.model_copy(
            update={name: getattr(run, name) * factor * SPREAD[run.seed] for name, factor in factors.items()}
        )
        for run in profile.runs
    )
    return profile.model_copy(update={"runs": runs})


def judged(sides: tuple[Profile, Profile], *rules: str, floors: Mapping[str, float] | None = None) -> Gate:
    parsed = [parse_rule(rule, sides[0].declared) for rule in rules]
    return gate([compare(*sides)], parsed, floors or {})


def only(found: Gate) -> Finding:
    (finding,) = found.findings
    assert finding.outcome == found.outcome
    return finding


Sides = Callable[..., tuple[Profile, Profile]]


@pytest.mark.parametrize(
    ("rule", "factors", "outcome"),
    [
        ("throughput:5%", {"samples_per_s": 1 / 1.15}, "fail"),
        ("throughput:5%", {"samples_per_s": 1.15}, "pass"),
        ("throughput:5%", {"samples_per_s": 1.0}, "pass"),
        ("throughput:5%", {"samples_per_s": 1 / 1.05}, "inconclusive"),
        ("throughput:20%", {"samples_per_s": 1 / 1.15}, "pass"),
        ("throughput:worse", {"samples_per_s": 1 / 1.15}, "fail"),
        ("loss:2%", {"final_train_loss": 1.05}, "fail"),
        ("loss:2%", {"final_train_loss": 0.95}, "pass"),
        ("loss:2%", {"final_train_loss": 1.02}, "inconclusive"),
        ("loss:worse", {"final_train_loss": 1.05}, "fail"),
        ("loss:worse", {"final_train_loss": 0.95}, "pass"),
        ("loss:worse", {"final_train_loss": 1.008}, "inconclusive"),
        ("loss:worse", {"final_train_loss": 1.0}, "pass"),
        ("memory:10%", {"peak_memory_bytes": 1.2}, "fail"),
        ("memory:10%", {"samples_per_s": 0.5}, "pass"),
    ],
)
def test_three_outcomes_at_a_tolerance(sides: Sides, rule: str, factors: dict[str, float], outcome: str) -> None:
    finding = only(judged(sides(**factors), rule))
    assert finding.outcome == outcome
    assert (finding.network, finding.depths) == ("densenet", (2, 4))
    assert (finding.reason == "") == (outcome != "inconclusive")


def test_the_effect_is_how_many_times_as_bad(sides: Sides) -> None:
    slower = only(judged(sides(samples_per_s=0.8), "throughput:5%")).effect
    larger = only(judged(sides(final_train_loss=1.25), "loss:2%")).effect
    for effect in (slower, larger):
        assert effect is not None
        assert effect.estimate == pytest.approx(1.25, rel=1e-3)
        assert effect.low is not None
        assert effect.high is not None
        assert effect.low < 1.25 < effect.high


def test_equal_bits_pass_every_rule(sides: Sides) -> None:
    base, _ = sides()
    found = judged((base, base), "loss:worse", "throughput:worse", "memory:worse", "throughput:5%", "failed")
    assert (found.outcome, {finding.outcome for finding in found.findings}) == ("pass", {"pass"})


def test_a_tolerance_is_never_below_the_floor(sides: Sides) -> None:
    for rule in ("throughput:5%", "throughput:worse"):
        finding = only(judged(sides(samples_per_s=1 / 1.15), rule, floors={"samples_per_s": 0.2}))
        assert (finding.outcome, finding.tolerance) == ("pass", 0.2)
    finding = only(judged(sides(samples_per_s=1 / 1.15), "throughput:5%", floors={"samples_per_s": 0.01}))
    assert (finding.outcome, finding.tolerance) == ("fail", 0.05)
    finding = only(judged(sides(samples_per_s=1 / 1.15), "throughput:5%", floors={"final_train_loss": 0.5}))
    assert finding.outcome == "fail"


def test_the_p_value_is_of_the_one_sided_test_at_the_tolerance(sides: Sides) -> None:
    found = compare(*sides(samples_per_s=1 / 1.06)).overall
    figure = next(figure for figure in found if figure.quantity.name == "samples_per_s")
    slowdowns = [-math.log(ratio) for _, ratio in figure.ratios]
    expected = scipy_stats.ttest_1samp(slowdowns, math.log(1.05), alternative="greater").pvalue
    assert only(judged(sides(samples_per_s=1 / 1.06), "throughput:5%")).p_adjusted == pytest.approx(expected)


def test_networks_and_candidates_are_corrected_together(sides: Sides) -> None:
    """What fails alone does not as one of many, and the reason says so; other rules change nothing."""
    bad = {"samples_per_s": 1 / 1.0622}
    rule, other = (parse_rule(text, STUDIES["training"]) for text in ("throughput:5%", "loss:worse"))
    base, slower = sides(**bad)
    assert gate([compare(base, slower)], [rule]).outcome == "fail"
    assert gate([compare(base, slower)], [other, rule, parse_rule("failed", STUDIES["training"])]).outcome == "fail"
    many = gate([compare(base, slower), compare(base, base), compare(base, base)], [other, rule])
    assert [finding.rule for finding in many.findings] == [other, rule] * 3
    assert many.findings[1].outcome == many.outcome == "inconclusive"
    assert many.findings[1].reason == "worse than allowed, but not significant after correction for 3 tests"
    networks = judged(sides(("densenet", "plain", "resnet")), "throughput:5%")
    assert {finding.outcome for finding in networks.findings} == {"pass"}


def test_without_a_tolerance_a_failure_has_to_be_surer(sides: Sides) -> None:
    """With p between 0.005 and 0.025, which would be enough with one."""
    worse = sides(final_train_loss=1.0135)
    finding = only(judged(worse, "loss:worse"))
    assert finding.p_adjusted is not None
    assert 0.005 < finding.p_adjusted < 0.025
    assert (finding.outcome, finding.reason) == ("inconclusive", "worse than allowed, but not significant")
    assert only(judged(worse, "loss:0.001%")).outcome == "fail"


def test_a_throughput_from_another_moment_does_not_gate(sides: Sides) -> None:
    finding = only(judged(sides(session=None, samples_per_s=0.5), "throughput:5%"))
    assert finding.outcome == "not comparable"
    assert finding.reason == MEASURED_APART
    assert finding.p_adjusted is None
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"pack_size": 3}, "pack size differs: 1 and 3"), ({"shared_device": True}, "shared device differs")],
)
def test_another_way_of_running_does_not_gate(sides: Sides, change: dict[str, Any], reason: str) -> None:
    base, other = sides(samples_per_s=0.5)
    runs = tuple(run.model_copy(update=change) for run in other.runs)
    finding = only(judged((base, other.model_copy(update={"runs": runs})), "throughput:5%"))
    assert finding.outcome == "not comparable"
    assert reason in finding.reason


def test_shared_devices_on_both_sides_do_not_gate(sides: Sides) -> None:
    both = [
        side.model_copy(update={"runs": tuple(run.model_copy(update={"shared_device": True}) for run in side.runs)})
        for side in sides(samples_per_s=0.5)
    ]
    assert only(judged((both[0], both[1]), "throughput:5%")).outcome == "not comparable"
    assert only(judged((both[0], both[1]), "memory:5%")).outcome == "pass"


def test_another_machine_does_not_gate(sides: Sides) -> None:
    base, other = sides(samples_per_s=0.5)
    other = other.model_copy(update={"machine": other.machine.model_copy(update={"fingerprint": "f" * 16})})
    finding = only(judged((base, other), "throughput:5%"))
    assert (finding.outcome, finding.reason, finding.effect) == ("not comparable", "other machine", None)


def with_status(profile: Profile, status: str, seed: int = 1) -> Profile:
    return profile.model_copy(
        update={
            "runs": tuple(
                run.model_copy(update={"status": status}) if (run.seed, run.depth) == (seed, 4) else run
                for run in profile.runs
            )
        }
    )


@pytest.mark.parametrize("status", ["failed", "oom", "diverged"])
def test_a_new_failure_fails_by_every_rule(sides: Sides, status: str) -> None:
    base, other = sides(("densenet", "plain"))
    bad = with_status(other, status)
    bad = bad.model_copy(
        update={
            "runs": tuple(
                run.model_copy(update={"status": "ok"}) if run.network == "plain" else run for run in bad.runs
            )
        }
    )
    for rule in ("failed", "loss:2%", "loss:worse", "throughput:5%", "memory:10%"):
        found = judged((base, bad), rule)
        assert [finding.outcome for finding in found.findings] == ["fail", "pass"]
        assert found.findings[0].reason.startswith(f"seed 1 {status} at L=4")
    assert judged((bad, base), "failed").outcome == "pass"
    assert judged((bad, bad), "failed").outcome == "pass"


@pytest.mark.parametrize("status", ["cancelled", "skipped"])
def test_what_was_never_finished_cannot_be_told_to_be_well(sides: Sides, status: str) -> None:
    base, other = sides()
    finding = only(judged((base, with_status(other, status)), "failed"))
    assert (finding.outcome, finding.reason) == (
        "inconclusive",
        "unfinished or missing in the candidate: seed 1 at L=4",
    )
    fewer = other.model_copy(update={"runs": tuple(run for run in other.runs if run.seed != 1)})
    assert only(judged((base, fewer), "failed")).outcome == "inconclusive"
    assert judged((fewer, base), "failed").outcome == "pass"


def test_what_the_candidate_lacks_is_named_and_does_not_pass(sides: Sides) -> None:
    base, other = sides(("densenet", "plain"))

    def only_with(**kept: Any) -> Profile:
        runs = (run for run in other.runs if all(getattr(run, name) == value for name, value in kept.items()))
        return other.model_copy(update={"runs": tuple(runs)})

    found = judged((base, only_with(network="plain")), "loss:2%", "failed")
    assert [(f.network, f.outcome) for f in found.findings] == [
        ("plain", "pass"),
        ("densenet", "not comparable"),
        ("plain", "pass"),
        ("densenet", "inconclusive"),
    ]
    assert found.findings[1].reason == "not in the candidate"
    assert found.outcome == "inconclusive"
    found = judged((base, only_with(depth=2)), "loss:2%")
    assert found.outcome == "pass"
    assert {f.reason for f in found.findings} == {"leaves out L=4: not in the candidate"}
    assert judged((base, only_with(depth=2)), "failed").outcome == "inconclusive"


def test_a_floor_never_makes_a_rule_without_tolerance_stricter(sides: Sides) -> None:
    slower = sides(samples_per_s=0.98)
    assert judged(slower, "throughput:worse").outcome == "pass"
    assert judged(slower, "throughput:worse", floors={"samples_per_s": 0.005}).outcome == "pass"
    assert judged(sides(samples_per_s=0.85), "throughput:worse", floors={"samples_per_s": 0.005}).outcome == "fail"


def test_one_seed_is_inconclusive(make_profile: MakeProfile) -> None:
    base, other = (make_profile({("plain", 2): [loss]}, interleaved="ab") for loss in (0.1, 0.9))
    finding = only(judged((base, other), "loss:worse"))
    assert (finding.outcome, finding.reason) == ("inconclusive", "one seed gives no interval")


def test_what_no_run_has_cannot_be_judged(sides: Sides) -> None:
    found = judged(sides(), "accuracy:1%", "loss:2%")
    assert found.outcome == "not comparable"
    assert [(finding.outcome, finding.reason) for finding in found.findings] == [
        ("not comparable", "no run has a value"),
        ("pass", ""),
    ]


def test_a_failure_outweighs_what_cannot_be_judged(sides: Sides) -> None:
    assert judged(sides(session=None, final_train_loss=1.5), "throughput:5%", "loss:2%").outcome == "fail"
    assert judged(sides(session=None, final_train_loss=1.02), "throughput:5%", "loss:2%").outcome == "not comparable"
    assert judged(sides(final_train_loss=1.02), "throughput:5%", "loss:2%").outcome == "inconclusive"


def test_what_can_be_judged_only_in_part_does_not_pass(sides: Sides) -> None:
    base, other = sides(("densenet", "plain"))
    runs = tuple(run.model_copy(update={"jobs": 2}) if run.network == "plain" else run for run in other.runs)
    found = judged((base, other.model_copy(update={"runs": runs})), "throughput:5%")
    assert [finding.outcome for finding in found.findings] == ["pass", "not comparable"]
    assert found.outcome == "inconclusive"


def test_every_candidate_has_to_be_judged(sides: Sides) -> None:
    """Even one that has the name and time of another."""
    base, other = sides()
    apart = other.model_copy(update={"interleaved": None})
    found = gate([compare(base, other), compare(base, apart)], [parse_rule("throughput:5%", STUDIES["training"])])
    assert [finding.outcome for finding in found.findings] == ["pass", "not comparable"]
    assert found.outcome == "not comparable"


def test_nothing_to_judge(sides: Sides) -> None:
    rule = parse_rule("failed", STUDIES["training"])
    assert gate([], [rule]).outcome == "not comparable"
    assert gate([compare(*sides())], []).outcome == "pass"
    with pytest.raises(ConfigurationError, match="the training study has no such quantity"):
        gate([compare(*sides())], [Rule(quantity="error_max", text="error_max:worse")])


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, "pass"), (1.1, "fail"), (1 / 1.1, "fail"), (1.02, "inconclusive")]
)
def test_without_a_better_direction_either_way_counts(sides: Sides, factor: float, outcome: str) -> None:
    def measured(profile: Profile) -> Profile:
        runs = tuple(
            run.model_copy(update={"measurements": {"optimal_value": run.final_train_loss}}) for run in profile.runs
        )
        spec = {"name": "x", "study": "optimum-limit", "sweep": {}}
        summary = summarize(runs, STUDIES["optimum-limit"])
        changes = {"study": "optimum-limit", "spec": spec, "runs": runs, "summary": summary}
        return profile.model_copy(update=changes)

    base, other = map(measured, sides(final_train_loss=factor))
    finding = only(judged((base, other), "optimal_value:2%"))
    assert finding.outcome == outcome
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(max(factor, 1 / factor), rel=1e-3)
