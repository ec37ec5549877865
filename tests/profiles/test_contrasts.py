"""Depth against depth and network against network within a profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dnlbench.profiles import Contrast, Profile, check_profile, contrasts_of, read_profile, save_profile, summarize
from dnlbench.stats import holm
from dnlbench.studies import STUDIES
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
LOSS = TRAINING.quantities[0]
LOSSES = {
    ("densenet", 2): [0.40, 0.44, 0.42],
    ("densenet", 4): [0.20, 0.23, 0.205],
    ("densenet", 8): [0.19, 0.24, 0.2],
    ("plain", 2): [0.9, 0.8, 0.7],
    ("plain", 8): [1.9, 1.7, 2.2],
}


def contrasts(profile: Profile) -> dict[tuple[str, int, str, int], Contrast]:
    found = contrasts_of(profile.runs, LOSS)
    return {(c.point.network, c.point.depth, c.against.network, c.against.depth): c for c in found}


def changed(profile: Profile, where: Callable[[Any], bool], **changes: Any) -> Profile:
    runs = tuple(run.model_copy(update=changes) if where(run) else run for run in profile.runs)
    return profile.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING)})


def test_each_depth_is_tested_against_the_one_before_and_each_network_against_the_first(
    make_profile: MakeProfile,
) -> None:
    found = contrasts(make_profile(LOSSES))
    assert list(found) == [
        ("densenet", 4, "densenet", 2),
        ("densenet", 8, "densenet", 4),
        ("plain", 8, "plain", 2),
        ("plain", 2, "densenet", 2),
        ("plain", 8, "densenet", 8),
    ]
    raw = []
    for (network, depth, other, before), contrast in found.items():
        expected = scipy_stats.ttest_rel(np.log(LOSSES[network, depth]), np.log(LOSSES[other, before]))
        interval = expected.confidence_interval(0.95)
        ratio = contrast.test.ratio
        assert ratio is not None
        logs = np.log(LOSSES[network, depth]).mean() - np.log(LOSSES[other, before]).mean()
        assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx(np.exp([logs, interval.low, interval.high]))
        assert contrast.test.p == pytest.approx(expected.pvalue)
        assert (contrast.test.paired, ratio.n) == (True, 3)
        raw.append(contrast.test.p)
    assert [contrast.p_adjusted for contrast in found.values()] == pytest.approx(holm(raw))
    assert [c.verdict for c in found.values()] == ["better", "inconclusive", "inconclusive", "inconclusive", "worse"]


def test_without_common_seeds_the_test_is_welchs(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.4, 0.44, 0.42], ("densenet", 4): [0.2, 0.23, 0.205, 0.21, 0.22, 0.2]})
    runs = tuple(run for run in profile.runs if run.depth == 2 or run.seed > 2)
    (found,) = contrasts_of(runs, LOSS)
    expected = scipy_stats.ttest_ind(np.log([0.21, 0.22, 0.2]), np.log([0.4, 0.44, 0.42]), equal_var=False)
    assert found.test.p == pytest.approx(expected.pvalue)
    assert (found.test.paired, found.reason) == (False, "")


def test_seeds_without_a_partner_are_named(make_profile: MakeProfile) -> None:
    gap = changed(make_profile(LOSSES), lambda r: (r.network, r.depth, r.seed) == ("densenet", 8, 1), status="oom")
    found = contrasts(gap)["densenet", 8, "densenet", 4]
    assert found.test.ratio is not None
    assert found.test.ratio.n == 2
    assert found.reason.endswith("the pairs leave out seed 1 (only at densenet L=4)")


def test_divergence_at_the_deeper_point_is_worse_and_survivors_prove_nothing(make_profile: MakeProfile) -> None:
    gone = changed(
        make_profile(LOSSES), lambda r: (r.network, r.depth, r.seed) == ("densenet", 4, 1), status="diverged"
    )
    found = contrasts(gone)
    down, up = found["densenet", 4, "densenet", 2], found["densenet", 8, "densenet", 4]
    assert (down.verdict, down.reason) == ("worse", "seed 1 diverged at densenet L=4")
    assert (up.verdict, up.reason) == ("inconclusive", "seed 1 diverged at densenet L=4, which the ratio leaves out")
    assert up.test.ratio is not None


def test_one_seed_and_no_run_decide_nothing(make_profile: MakeProfile) -> None:
    (one,) = contrasts_of(make_profile({("plain", 2): [0.3], ("plain", 4): [0.1]}).runs, LOSS)
    assert (one.verdict, one.reason, one.p_adjusted) == ("inconclusive", "one seed gives no interval", None)
    none = changed(make_profile(LOSSES), lambda r: (r.network, r.depth) == ("densenet", 4), status="cancelled")
    found = contrasts(none)["densenet", 8, "densenet", 4]
    assert (found.verdict, found.reason) == ("not comparable", "no finished run of densenet at L=4")
    assert contrasts_of(make_profile({("plain", 2): [0.3, 0.2]}).runs, LOSS) == ()


def test_profiles_hold_the_contrasts_and_old_ones_get_them_on_reading(
    make_profile: MakeProfile, tmp_path: Path
) -> None:
    profile = make_profile(LOSSES)
    path = save_profile(profile, tmp_path / "new.json")
    content = json.loads(path.read_text())
    first = content["summary"]["contrasts"][0]
    assert (first["network"], first["depth"], first["against"]) == (
        "densenet",
        4,
        {"network": "densenet", "settings": {}, "depth": 2},
    )
    assert {"ratio", "low", "high", "p", "p_adjusted", "n", "paired", "verdict", "quantity"} < first.keys()
    del content["summary"]["contrasts"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    old = read_profile(tmp_path / "old.json")
    assert old.summary.contrasts == profile.summary.contrasts
    assert check_profile(old) == check_profile(profile)


def test_a_contrast_that_does_not_follow_from_the_runs_is_found(make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)
    assert not any("summary" in problem for problem in check_profile(profile))
    first, *others = profile.summary.contrasts
    better = first.model_copy(update={"p_adjusted": 0.001})
    summary = profile.summary.model_copy(update={"contrasts": (better, *others)})
    problems = check_profile(profile.model_copy(update={"summary": summary}))
    assert "summary: differs from the one computed from the runs" in problems


def test_words_of_another_version_are_no_contradiction_but_a_missing_reason_is(make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)

    def problems(reason: str) -> list[str]:
        changed = [c.model_copy(update={"reason": reason}) if c.reason else c for c in profile.summary.contrasts]
        summary = profile.summary.model_copy(update={"contrasts": tuple(changed)})
        return check_profile(profile.model_copy(update={"summary": summary}))

    assert any(contrast.reason for contrast in profile.summary.contrasts)
    assert problems("the interval holds 1; more seeds may decide") == check_profile(profile)
    assert "summary: differs from the one computed from the runs" in problems("")


def test_what_is_tested_within_a_profile_has_a_direction_and_is_no_matter_of_the_machine() -> None:
    for study in STUDIES.values():
        quantities = {quantity.name: quantity for quantity in study.quantities}
        for name in study.contrasts:
            assert quantities[name].better is not None
            assert not quantities[name].hardware_dependent
