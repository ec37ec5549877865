"""Rounding is no difference: measured by a twin, or all that differs."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.comparison import Comparison, allow_rounding, compare, measure_rounding, rounding_floors
from dnlbench.comparison.rounding import ONLY_EXECUTION, Rounding
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile, save_profile

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("dense-attention", 2): [0.3, 0.4, 0.5], ("densenet", 2): [0.3, 0.4, 0.5]}
MOVED = {"dense-attention": [0.06, -0.05, 0.04], "densenet": [1e-4, -1e-4, 1e-4]}
"""Log-ratios of the twin."""


@pytest.fixture
def reference(make_profile: MakeProfile) -> Profile:
    return make_profile(LOSSES)


def with_setting(profile: Profile, section: str, key: str, value: object) -> Profile:
    spec = {**profile.spec, section: {**profile.spec[section], key: value}}
    return profile.model_copy(update={"spec": spec})


@pytest.fixture
def twin(make_profile: MakeProfile) -> Profile:
    moved = {
        (network, depth): [loss * math.exp(x) for loss, x in zip(losses, MOVED[network], strict=True)]
        for (network, depth), losses in LOSSES.items()
    }
    return with_setting(make_profile(moved), "train", "nudge_ulps", 1)


def candidate_of(make_profile: MakeProfile, factors: list[float]) -> Profile:
    return make_profile({point: [a * b for a, b in zip(v, factors, strict=True)] for point, v in LOSSES.items()})


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    cells: dict[str, str | None] = {
        c.network: c.verdict for c in comparison.cells if c.quantity.name == "final_train_loss"
    }
    overall = {f.network: f.verdict for f in comparison.overall if f.quantity.name == "final_train_loss"}
    assert cells == overall
    return cells


def test_the_bound_is_that_of_a_mean_over_runs() -> None:
    """t(0.975, 3) = 3.18245; a mean over 4 runs moves half as far."""
    rounding = Rounding(spread=0.02, n=3)
    assert math.log1p(rounding.bound(1)) == pytest.approx(3.18245 * 0.02, rel=1e-5)
    assert math.log1p(rounding.bound(4)) == pytest.approx(3.18245 * 0.01, rel=1e-5)


def test_a_twin_tells_the_spread_of_each_network(reference: Profile, twin: Profile) -> None:
    found = measure_rounding(compare(reference, twin))
    attention = found["final_train_loss", "dense-attention"]
    assert attention.n == 3
    assert attention.spread == pytest.approx(math.sqrt((0.06**2 + 0.05**2 + 0.04**2) / 3))
    assert found["final_train_loss", "densenet"].spread == pytest.approx(1e-4)
    assert not any(quantity == "samples_per_s" for quantity, _ in found)


@pytest.mark.parametrize(
    ("factors", "without", "attention"),
    [
        ([1.013, 1.014, 1.015], "worse", "inconclusive"),
        ([0.995, 1.02, 1.01], "inconclusive", "no difference"),
        ([1.0, 1.001, 0.999], "no difference", "no difference"),
        ([1.3, 1.31, 1.32], "worse", "worse"),
        ([0.6, 1.2, 1.5], "inconclusive", "inconclusive"),
    ],
)
def test_what_rounding_moves_is_no_difference_and_what_it_does_not_is(
    make_profile: MakeProfile, reference: Profile, twin: Profile, factors: list[float], without: str, attention: str
) -> None:
    comparison = compare(reference, candidate_of(make_profile, factors))
    assert set(verdicts(comparison).values()) == {without}
    found = verdicts(allow_rounding(comparison, measure_rounding(compare(reference, twin))))
    assert found == {"dense-attention": attention, "densenet": without}


def test_no_gate_is_stricter_than_rounding(make_profile: MakeProfile, reference: Profile, twin: Profile) -> None:
    roundings = measure_rounding(compare(reference, twin))
    floors = rounding_floors(compare(reference, candidate_of(make_profile, [1.0] * 3)), roundings)
    assert floors["final_train_loss"] == roundings["final_train_loss", "dense-attention"].bound(3)
    assert "samples_per_s" not in floors


def test_another_profile_is_no_twin(make_profile: MakeProfile, reference: Profile, twin: Profile) -> None:
    with pytest.raises(
        NotComparableError,
        match=r"train\.nudge_ulps is equal in both profiles; run the twin with --set train\.nudge_ulps=1",
    ):
        measure_rounding(compare(reference, candidate_of(make_profile, [1.0] * 3)))
    with pytest.raises(
        NotComparableError, match=r"it also differs in spec train\.lr; only train\.nudge_ulps may differ"
    ):
        measure_rounding(compare(reference, with_setting(twin, "train", "lr", 0.5)))


def test_profiles_that_differ_in_execution_alone_are_not_better_or_worse(
    make_profile: MakeProfile, reference: Profile
) -> None:
    worse = candidate_of(make_profile, [1.013, 1.014, 1.015])
    assert set(verdicts(compare(reference, worse)).values()) == {"worse"}
    efficient = compare(reference, with_setting(worse, "network", "implementation", "memory-efficient"))
    assert set(verdicts(efficient).values()) == {"inconclusive"}
    assert {figure.reason for figure in efficient.overall if figure.quantity.name == "final_train_loss"} == {
        ONLY_EXECUTION
    }
    packed = worse.model_copy(update={"runs": tuple(r.model_copy(update={"pack_size": 3}) for r in worse.runs)})
    assert set(verdicts(compare(reference, packed)).values()) == {"inconclusive"}
    other = with_setting(with_setting(worse, "network", "implementation", "memory-efficient"), "train", "lr", 0.5)
    assert set(verdicts(compare(reference, other)).values()) == {"worse"}


def test_an_older_profile_without_the_setting_does_not_differ_in_it(reference: Profile) -> None:
    document = json.loads(reference.to_json())
    del document["spec"]["train"]["nudge_ulps"]
    assert compare(Profile.model_validate_json(json.dumps(document)), reference).differences == ()


def test_compare_takes_a_twin(
    run_cli: RunCli, tmp_path: Path, make_profile: MakeProfile, reference: Profile, twin: Profile
) -> None:
    worse = candidate_of(make_profile, [1.013, 1.014, 1.015])
    for name, profile in (("a", reference), ("b", worse), ("t", twin)):
        save_profile(profile, tmp_path / f"{name}.json")
    shown = run_cli("compare", "a.json", "b.json", "--twin", "t.json", "--fail-on", "loss:1%")
    assert "rounding alone changes it by up to 9.76 %" in shown.stdout
    assert shown.returncode == 0, shown.stderr
    assert (
        "rounding changes the final training loss of a run by up to: dense-attention 17.5 %, densenet " in shown.stderr
    )
    assert run_cli("compare", "a.json", "b.json", "--fail-on", "loss:1%").returncode == 3
    refused = run_cli("compare", "a.json", "b.json", "--twin", "b.json")
    assert refused.returncode == 5
    assert "not a rounding twin" in refused.stderr
