"""One figure for all depths of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dnlbench.comparison import MEASURED_APART, Overall, compare
from dnlbench.profiles import Profile

MakeProfile = Callable[..., Profile]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22], ("plain", 2): [0.9, 0.8, 0.7]}
FACTORS = {("densenet", 2): [1.15, 1.2, 1.18], ("densenet", 4): [1.12, 1.2, 1.2], ("plain", 2): [1.0, 0.99, 1.02]}


def times(factors: Mapping[tuple[str, int], Sequence[float]]) -> dict[tuple[str, int], list[float]]:
    return {point: [a * b for a, b in zip(LOSSES[point], factors[point], strict=True)] for point in LOSSES}


def overall(
    reference: Profile, candidate: Profile, network: str = "densenet", quantity: str = "final_train_loss"
) -> Overall:
    found = compare(reference, candidate).overall
    return next(figure for figure in found if (figure.network, figure.quantity.name) == (network, quantity))


def changed(profile: Profile, where: Callable[[Any], bool], **changes: Any) -> Profile:
    runs = tuple(run.model_copy(update=changes) if where(run) else run for run in profile.runs)
    return profile.model_copy(update={"runs": runs})


def test_the_mean_over_depths_is_taken_within_each_seed(make_profile: MakeProfile) -> None:
    found = overall(make_profile(LOSSES), make_profile(times(FACTORS)))
    logs = np.mean(np.log([FACTORS["densenet", 2], FACTORS["densenet", 4]]), axis=0)
    expected = scipy_stats.ttest_1samp(logs, 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.ratio is not None
    assert (found.ratio.estimate, found.ratio.low, found.ratio.high) == pytest.approx(
        (np.exp(logs.mean()), np.exp(interval.low), np.exp(interval.high))
    )
    assert found.ratio.n == 3
    assert found.p == pytest.approx(expected.pvalue)
    assert [seed for seed, _ in found.ratios] == [0, 1, 2]
    assert [ratio for _, ratio in found.ratios] == pytest.approx(np.exp(logs))
    assert (found.depths, found.seeds, found.paired, found.verdict) == ((2, 4), (0, 1, 2), True, "worse")
    assert (found.reason, found.left_out, found.advisory) == ("", "", "")


def test_p_values_are_adjusted_over_networks_and_families(make_profile: MakeProfile) -> None:
    sides = make_profile(LOSSES), make_profile(times(FACTORS))
    densenet, plain = overall(*sides), overall(*sides, "plain")
    assert densenet.p is not None
    assert plain.p is not None
    assert compare(*sides).families == 2  # cells and overall figures of the loss; memory has no spread
    assert densenet.p_adjusted == pytest.approx(2 * 2 * densenet.p)
    assert plain.p_adjusted == pytest.approx(min(1, 2 * plain.p))


def test_cells_are_adjusted_over_all_points_of_the_table_and_families(make_profile: MakeProfile) -> None:
    comparison = compare(make_profile(LOSSES), make_profile(times(FACTORS)))
    losses = [cell for cell in comparison.cells if cell.quantity.name == "final_train_loss"]
    first, second, plain = [cell.p or 0.0 for cell in losses]
    assert first < second < plain
    expected = [2 * 3 * first, 2 * max(3 * first, 2 * second), min(1, 2 * plain)]
    assert [cell.p_adjusted for cell in losses] == pytest.approx(expected)
    assert [ratio for _, ratio in losses[0].ratios] == pytest.approx(FACTORS["densenet", 2])
    assert [seed for seed, _ in losses[0].ratios] == [0, 1, 2]


def test_what_holm_takes_back_is_inconclusive(make_profile: MakeProfile) -> None:
    """The second depth alone would be worse; as one of two it is not."""
    factors = {("densenet", 2): [1.0, 1.01, 0.98], ("densenet", 4): [1.1, 1.2, 1.12], ("plain", 2): [1.0, 1.0, 1.0]}
    found = compare(make_profile(LOSSES), make_profile(times(factors)))
    cell = next(cell for cell in found.cells if (cell.network, cell.depth) == ("densenet", 4))
    assert cell.p is not None
    assert cell.p_adjusted is not None
    assert cell.p < 0.05 < cell.p_adjusted
    assert cell.ratio is not None
    assert cell.ratio.low is not None
    assert cell.ratio.low > 1
    assert cell.verdict == "inconclusive"
    assert "adjusted for the number of tests" in cell.reason


def test_equal_data_is_exactly_one(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    for figure in compare(base, base).overall:
        assert figure.ratio is not None
        assert (figure.ratio.low, figure.ratio.estimate, figure.ratio.high) == (1.0, 1.0, 1.0)
        assert (figure.verdict, figure.p, {ratio for _, ratio in figure.ratios}) == ("no difference", 1.0, {1.0})


def test_seeds_that_lack_a_depth_are_left_out_and_named(make_profile: MakeProfile) -> None:
    base, worse = make_profile(LOSSES), make_profile(times(FACTORS))
    gap = changed(worse, lambda run: (run.network, run.depth, run.seed) == ("densenet", 4, 1), status="skipped")
    found = overall(base, gap)
    assert (found.seeds, found.depths) == ((0, 2), (2, 4))
    assert found.left_out == "leaves out seed 1 (not at every depth in both profiles)"
    assert [ratio for _, ratio in found.ratios] == pytest.approx([np.sqrt(1.15 * 1.12), np.sqrt(1.18 * 1.2)])


def test_depths_without_values_are_left_out_and_named(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    gap = changed(base, lambda run: (run.network, run.depth) == ("densenet", 4), status="cancelled")
    found = overall(base, gap)
    assert (found.depths, found.verdict) == ((2,), "no difference")
    assert found.left_out == "leaves out L=4: no finished run in the candidate"
    none = changed(base, lambda run: run.network == "densenet", status="cancelled")
    found = overall(base, none)
    assert (found.depths, found.ratio, found.verdict) == ((), None, "not comparable")
    assert found.reason == "no finished run in the candidate"


def test_seeds_without_a_common_depth_have_no_figure(make_profile: MakeProfile) -> None:
    base = make_profile({("densenet", 2): [0.3, 0.4], ("densenet", 4): [0.2, 0.3]})
    torn = changed(base, lambda run: (run.depth == 2) == (run.seed == 0), status="skipped")
    found = overall(base, torn)
    assert (found.ratio, found.verdict) == (None, "not comparable")
    assert found.reason == "no seed of the candidate has a value at every depth"


def test_without_pairs_it_is_welchs_test_of_the_means_over_depths(make_profile: MakeProfile) -> None:
    base, worse = make_profile(LOSSES), make_profile(times(FACTORS))
    apart = worse.model_copy(
        update={"runs": tuple(run.model_copy(update={"seed": run.seed + 9}) for run in worse.runs)}
    )
    gap = changed(apart, lambda run: (run.depth, run.seed) == (4, 9), status="skipped")
    found = overall(base, gap)
    ours = np.mean(np.log([LOSSES["densenet", 2], LOSSES["densenet", 4]]), axis=0)
    theirs = np.mean(np.log([times(FACTORS)["densenet", 2], times(FACTORS)["densenet", 4]]), axis=0)[1:]
    expected = scipy_stats.ttest_ind(theirs, ours, equal_var=False)
    assert (found.paired, found.ratios, found.seeds) == (False, (), (0, 1, 2, 10, 11))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.left_out == "leaves out seed 9 of the candidate (not at every depth)"


def test_a_new_failure_is_worse_than_any_number(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    bad = changed(base, lambda run: (run.network, run.depth, run.seed) == ("densenet", 4, 1), status="diverged")
    found = overall(base, bad)
    assert (found.verdict, found.reason) == ("worse", "seed 1 diverged at L=4")
    assert overall(base, bad, quantity="samples_per_s").verdict == "no difference"
    assert overall(base, bad, "plain").verdict == "no difference"


@pytest.mark.parametrize(
    ("sessions", "paired"),
    [(("ab", "ab"), True), (("ab", "cd"), False), (("ab", None), False), ((None, None), False), (("", ""), False)],
)
def test_throughput_is_paired_only_where_runs_took_turns(
    make_profile: MakeProfile, sessions: tuple[str | None, str | None], paired: bool
) -> None:
    base, other = (make_profile(LOSSES, interleaved=session) for session in sessions)
    comparison = compare(base, other)
    for cell in comparison.cells:
        assert cell.paired == (paired or cell.quantity.name == "final_train_loss")
    for figure in comparison.overall:
        assert figure.paired == (paired or figure.quantity.name == "final_train_loss")
    assert comparison.interleaved == ("ab" if paired else None)
    advisories = {figure.quantity.name: figure.advisory for figure in comparison.overall}
    assert not advisories["final_train_loss"]
    assert not advisories["peak_memory_bytes"]
    assert advisories["samples_per_s"] == ("" if paired else MEASURED_APART)


def test_a_shared_device_decides_nothing_about_throughput(make_profile: MakeProfile) -> None:
    base = changed(make_profile(LOSSES, interleaved="ab"), lambda run: True, shared_device=True)
    comparison = compare(base, base)
    advisories = {figure.quantity.name: figure.advisory for figure in comparison.overall}
    assert "runs shared a device" in advisories["samples_per_s"]
    assert {advisories["final_train_loss"], advisories["peak_memory_bytes"]} == {""}


def test_an_obstacle_at_one_depth_leaves_that_depth_out(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    packed = changed(base, lambda run: run.depth == 4, pack_size=5)
    found = overall(base, packed, quantity="samples_per_s")
    assert (found.depths, found.left_out) == ((2,), "leaves out L=4: pack size differs: 1 and 5")
    assert overall(base, packed).depths == (2, 4)
