"""What profiles say depth costs: planted exponents come back, and runs that were not carried out alike are not mixed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from dnlbench.profiles import CostRecord, Profile, RunRecord, check_profile, read_profile, save_profile, summarize
from dnlbench.profiles.files import METHOD_0_7
from dnlbench.profiles.values import CURRENT
from dnlbench.stats import mean_interval
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
DEPTHS = (2, 4, 8, 16)
TIME, MEMORY = "samples_per_s", "peak_memory_bytes"
TRAINING = STUDIES["training"]


def planted(
    make_profile: MakeProfile, exponents: Sequence[float], depths: Iterable[int] = DEPTHS, network: str = "densenet"
) -> list[RunRecord]:
    """Runs, a seed for each exponent of time; memory grows with half of it."""
    profile = make_profile({(network, L): [0.5] * len(exponents) for L in depths})
    return [
        run.model_copy(
            update={
                TIME: 1e4 * run.depth ** -exponents[run.seed],
                MEMORY: round(1e12 * run.depth ** (exponents[run.seed] / 2)),
                "epochs": (),
            }
        )
        for run in profile.runs
    ]


def costs(runs: Sequence[RunRecord]) -> dict[str, CostRecord]:
    return {record.quantity: record for record in summarize(runs, TRAINING).costs}


def test_planted_exponents_are_found_with_the_interval_over_seeds(make_profile: MakeProfile) -> None:
    found = costs(planted(make_profile, [1.8, 2.0, 2.2]))
    expected = mean_interval([1.8, 2.0, 2.2])
    time = found[TIME]
    assert (time.network, time.depths, time.n, time.problem) == ("densenet", (4, 8, 16), 3, "")
    assert (time.exponent, time.exponent_low, time.exponent_high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    assert found[MEMORY].exponent == pytest.approx(1.0)
    assert found[MEMORY].n == 3


def test_only_the_three_largest_depths_count(make_profile: MakeProfile) -> None:
    runs = planted(make_profile, [2.0, 2.0])
    runs = [run.model_copy(update={TIME: 1.0}) if run.depth == 2 else run for run in runs]
    assert costs(runs)[TIME].exponent == pytest.approx(2.0)


def test_a_single_seed_has_no_interval(make_profile: MakeProfile) -> None:
    time = costs(planted(make_profile, [1.5], depths=(4, 8)))[TIME]
    assert time.exponent == pytest.approx(1.5)
    assert (time.exponent_low, time.exponent_high, time.n, time.depths) == (None, None, 1, (4, 8))


def test_a_seed_that_lacks_a_depth_does_not_count(make_profile: MakeProfile) -> None:
    runs = planted(make_profile, [1.5, 1.7, 9.0])
    runs = [run.model_copy(update={"status": "oom"}) if (run.seed, run.depth) == (2, 8) else run for run in runs]
    time = costs(runs)[TIME]
    assert time.exponent == pytest.approx(1.6)
    assert time.n == 2


def test_a_depth_that_no_run_finished_is_passed_over(make_profile: MakeProfile) -> None:
    runs = planted(make_profile, [1.5, 1.7])
    runs = [run.model_copy(update={"status": "oom"}) if run.depth == 16 else run for run in runs]
    assert costs(runs)[TIME].depths == (2, 4, 8)


def test_no_seed_with_all_depths_is_a_problem_and_not_an_error(make_profile: MakeProfile) -> None:
    runs = [run for run in planted(make_profile, [1.5, 1.5]) if run.seed == (run.depth > 4)]
    time = costs(runs)[TIME]
    assert time.exponent is None
    assert time.problem == "no seed has a finished run at every depth"


def test_one_depth_is_too_few(make_profile: MakeProfile) -> None:
    time = costs(planted(make_profile, [1.5], depths=[4]))[TIME]
    assert time.problem == "an exponent needs at least 2 depths, not 1"


def test_values_that_no_run_has_are_not_told(make_profile: MakeProfile) -> None:
    runs = [run.model_copy(update={MEMORY: None}) for run in planted(make_profile, [1.5])]
    assert list(costs(runs)) == [TIME]
    assert costs([run.model_copy(update={"status": "failed"}) for run in runs]) == {}


@pytest.mark.parametrize(
    "otherwise",
    [{"shared_device": True}, {"pack_size": 4}, {"threads": 7}, {"jobs": 2}, {"device_name": "Another"}],
    ids=lambda change: next(iter(change)),
)
def test_runs_that_were_carried_out_otherwise_are_not_mixed_in(
    make_profile: MakeProfile, otherwise: dict[str, object]
) -> None:
    runs = planted(make_profile, [1.5, 1.5, 1.5])
    runs = [run.model_copy(update={**otherwise, TIME: 1.0}) if run.seed == 1 else run for run in runs]
    time = costs(runs)[TIME]
    assert time.exponent == pytest.approx(1.5)
    assert (time.n, time.left_out) == (2, 4)


def test_depths_that_were_all_carried_out_otherwise_are_not_comparable(make_profile: MakeProfile) -> None:
    runs = planted(make_profile, [1.5, 1.5], depths=(4, 8))
    runs = [run.model_copy(update={"pack_size": run.depth}) for run in runs]
    time = costs(runs)[TIME]
    assert time.problem == (
        "an exponent needs at least 2 depths, not 1; 2 runs ran under other conditions and are not comparable"
    )


def test_each_network_has_costs_of_its_own(make_profile: MakeProfile) -> None:
    runs = [*planted(make_profile, [1.5]), *planted(make_profile, [0.5], network="plain")]
    found = [(record.network, record.quantity) for record in summarize(runs, TRAINING).costs]
    assert found == [("densenet", TIME), ("plain", TIME), ("densenet", MEMORY), ("plain", MEMORY)]


def test_other_studies_have_no_costs(make_profile: MakeProfile) -> None:
    assert summarize(planted(make_profile, [1.5]), STUDIES["forward-limit"]).costs == ()


def test_costs_survive_saving_and_are_checked(make_profile: MakeProfile, tmp_path: Path) -> None:
    profile = make_profile({("densenet", L): [0.5, 0.6] for L in DEPTHS})
    path = save_profile(profile, tmp_path / "x.json")
    read = read_profile(path)
    assert read.summary.costs == profile.summary.costs != ()
    assert json.loads(path.read_text())["summary"]["costs"][1]["exponent"] == pytest.approx(1.0)
    assert check_profile(read) == []

    def problems(*costs: CostRecord) -> list[str]:
        return check_profile(read.model_copy(update={"summary": read.summary.model_copy(update={"costs": costs})}))

    first, second = read.summary.costs
    assert problems(first.model_copy(update={"exponent": 7.0}), second) == problems(first)
    assert problems(first) == ["summary: differs from the one computed from the runs"]
    assert problems() == []  # as in profiles of earlier versions


def test_the_seeds_of_a_pack_are_one_sample_of_what_it_costs(make_profile: MakeProfile) -> None:
    """Copies of one clock reading gave q = 0.97 [0.97, 0.97]."""
    runs = [run.model_copy(update={"pack_size": 3}) for run in planted(make_profile, [2.0, 2.0, 2.0])]
    found = costs(runs)
    for record in found.values():
        assert (record.n, record.exponent_low, record.exponent_high) == (1, None, None)
    assert found[TIME].exponent == pytest.approx(2.0)
    point = summarize(runs, TRAINING).points[0]
    assert {name: point.quantities[name].n for name in (TIME, MEMORY, "final_train_loss")} == {
        TIME: 1,
        MEMORY: 1,
        "final_train_loss": 3,
    }
    assert point.quantities[TIME].low is None
    two = costs(
        [run.model_copy(update={TIME: 1.1 * (run.samples_per_s or 0)}) if run.seed == 2 else run for run in runs]
    )
    assert two[TIME].n == 2


def test_older_profiles_that_counted_the_seeds_of_a_pack_stay_valid(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", L): [0.3, 0.4, 0.5] for L in (2, 4)})
    runs = tuple(
        run.model_copy(
            update={"pack_size": 3, TIME: profile.runs[0].samples_per_s, "epochs": profile.runs[0].epochs}
            | {"final_train_loss": profile.runs[0].epochs[-1].train_loss}
        )
        for run in profile.runs
    )
    for method in (METHOD_0_7, CURRENT):
        stated = profile.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING, method)})
        assert check_profile(stated) == []
        assert stated.summary.points[0].quantities[TIME].n == (1 if method is CURRENT else 3)
