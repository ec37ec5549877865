"""Rules on depths and networks within a profile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.comparison import Gate, candidate_of, gate, parse_rule
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile, contrasts_of, save_profile
from dnlbench.report.junit import comparison_junit
from dnlbench.stats import holm
from dnlbench.studies import STUDIES
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
RISING = {
    ("densenet", 2): [0.40, 0.41, 0.42, 0.40],
    ("densenet", 4): [0.20, 0.21, 0.215, 0.205],
    ("plain", 2): [0.401, 0.411, 0.4195, 0.4],
    ("plain", 4): [0.80, 0.81, 0.85, 0.79],
}


def judged(profile: Profile, *rules: str) -> Gate:
    return gate([candidate_of(profile, "x")], [parse_rule(rule, STUDIES["training"]) for rule in rules])


def test_a_depth_that_is_worse_than_the_one_before_fails(make_profile: MakeProfile) -> None:
    found = judged(make_profile(RISING), "depth:loss:worse")
    assert [(f.network, f.depths, f.outcome) for f in found.findings] == [
        ("densenet", (2, 4), "pass"),
        ("plain", (2, 4), "fail"),
    ]
    assert found.outcome == "fail"
    effect = found.findings[1].effect
    assert effect is not None
    assert effect.estimate == pytest.approx((0.8 * 0.81 * 0.85 * 0.79 / 0.401 / 0.411 / 0.4195 / 0.4) ** 0.25)


def test_a_network_that_is_worse_than_the_first_one_fails(make_profile: MakeProfile) -> None:
    found = judged(make_profile(RISING), "network:loss:5%")
    assert [(f.network, f.depths, f.outcome) for f in found.findings] == [
        ("plain / densenet", (2,), "pass"),
        ("plain / densenet", (4,), "fail"),
    ]


def test_p_values_are_one_sided_and_adjusted_over_the_rules_contrasts(make_profile: MakeProfile) -> None:
    profile = make_profile(RISING)
    tests = [contrast.test.log_ratio for contrast in contrasts_of(profile.runs, TRAINING.quantities[0])][:2]
    expected = holm([None if test is None else test.p_above(0.0) for test in tests])
    assert [f.p_adjusted for f in judged(profile, "depth:loss:worse").findings] == pytest.approx(expected)


def test_a_run_that_diverges_at_the_larger_depth_fails(make_profile: MakeProfile) -> None:
    profile = make_profile(RISING)
    runs = tuple(
        run.model_copy(update={"status": "diverged"})
        if (run.network, run.depth, run.seed) == ("densenet", 4, 1)
        else run
        for run in profile.runs
    )
    found = judged(profile.model_copy(update={"runs": runs}), "depth:loss:5%").findings[0]
    assert (found.outcome, found.reason) == ("fail", "seed 1 diverged at densenet L=4")


def test_a_single_depth_cannot_be_judged(make_profile: MakeProfile) -> None:
    found = judged(make_profile({("plain", 2): [0.3, 0.4]}), "depth:loss:worse")
    assert (found.outcome, found.findings[0].reason) == ("not comparable", "the profile has a single depth")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("depth:throughput:5%", "does not test throughput within a profile; it tests loss (final_train_loss)"),
        ("depth:loss", "unknown"),
        ("depth:failed", "unknown"),
        ("depth:loss:better", "is neither 'worse' nor a percentage"),
    ],
)
def test_rules_that_cannot_be_asked_for_are_refused(rule: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_rule(rule, STUDIES["training"])
    assert said in str(refused.value)


def test_compare_applies_them_to_the_candidate(make_profile: MakeProfile, tmp_path: Path, run_cli: RunCli) -> None:
    flat = {point: [0.4, 0.41, 0.42, 0.4] for point in RISING}
    good, bad = (save_profile(make_profile(v), tmp_path / n) for v, n in ((flat, "good.json"), (RISING, "bad.json")))
    done = run_cli("compare", good, bad, "--fail-on", "depth:loss:worse", "--format", "json")
    assert done.returncode == 3
    assert "fail: depth:loss:worse of plain at L = 2 → 4: degradation 1.992" in done.stderr
    findings = json.loads(done.stdout)["gate"]["findings"]
    assert [(f["rule"], f["outcome"]) for f in findings] == [("depth:loss:worse", "pass"), ("depth:loss:worse", "fail")]
    assert run_cli("compare", bad, good, "--fail-on", "depth:loss:worse").returncode == 0
    csv = run_cli("compare", good, bad, "--fail-on", "depth:loss:worse", "--format", "csv")
    assert ",final_train_loss,plain,2 → 4," in csv.stdout


def test_junit_has_a_case_for_each_contrast(make_profile: MakeProfile) -> None:
    found = comparison_junit([], [], judged(make_profile(RISING), "network:loss:5%"))
    assert 'name="network:loss:5% plain / densenet L=2 of x"' in found
    assert 'name="network:loss:5% plain / densenet L=4 of x"' in found
