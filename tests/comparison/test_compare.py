from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.comparison import MEASURED_APART, Cell, Comparison, Overall, compare, judge
from dnlbench.errors import NotComparableError
from dnlbench.machine import Sources
from dnlbench.profiles import Profile, save_profile, summarize
from dnlbench.stats import Interval
from dnlbench.studies import STUDIES
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22]}


def scaled(factor: float) -> dict[tuple[str, int], list[float]]:
    return {point: [factor * loss for loss in values] for point, values in LOSSES.items()}


def cells(comparison: Comparison, quantity: str = "final_train_loss") -> list[Cell]:
    return [cell for cell in comparison.cells if cell.quantity.name == quantity]


def judged(comparison: Comparison, quantity: str) -> list[Cell | Overall]:
    """At each point, and over all depths."""
    overall = [figure for figure in comparison.overall if figure.quantity.name == quantity]
    return [*cells(comparison, quantity), *overall]


def with_runs(profile: Profile, **changes: Any) -> Profile:
    runs = tuple(run.model_copy(update=changes) for run in profile.runs)
    return profile.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING)})


def test_a_profile_against_itself_shows_no_difference_in_loss(make_profile: MakeProfile) -> None:
    found = cells(compare(make_profile(LOSSES), make_profile(LOSSES)))
    assert [cell.verdict for cell in found] == ["no difference"] * 2
    assert all(cell.paired for cell in found)


def test_losses_are_paired_by_seed(make_profile: MakeProfile) -> None:
    better, worse = (cells(compare(make_profile(LOSSES), make_profile(scaled(f)))) for f in (0.9, 1.1))
    assert {cell.verdict for cell in better} == {"better"}
    assert {cell.verdict for cell in worse} == {"worse"}
    assert better[0].ratio is not None
    assert better[0].ratio.estimate == pytest.approx(0.9)
    assert better[0].ratio.n == 3


def test_other_code_of_a_custom_network_is_a_difference(make_profile: MakeProfile) -> None:
    def made_of(blocks: str, timm: str) -> Profile:
        code = Sources(files={"blocks.py": blocks * 64, "net.py": "0" * 64}, packages={"timm": timm})
        return make_profile(LOSSES, custom_code=code)

    found = compare(made_of("a", "1.0"), made_of("b", "1.1")).differences
    assert [(difference.what, difference.reference, difference.candidate) for difference in found] == [
        ("code blocks.py", "a" * 12, "b" * 12),
        ("code timm", "1.0", "1.1"),
    ]


def shifted(profile: Profile, seeds: int) -> Profile:
    """The same runs under seeds that begin later."""
    runs = tuple(run.model_copy(update={"seed": run.seed + seeds}) for run in profile.runs)
    return profile.model_copy(update={"runs": runs})


def test_pairs_are_made_of_the_seeds_that_both_sides_have(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    fewer = make_profile({point: [0.9 * v for v in values[:2]] for point, values in LOSSES.items()})
    found = cells(compare(base, fewer))[0]
    assert found.paired
    assert (found.verdict, found.reason) == ("better", "the pairs leave out seed 2 (only in the reference)")
    assert found.ratio is not None
    assert found.ratio.estimate == pytest.approx(0.9)
    assert found.ratio.n == 2
    more = shifted(make_profile({point: values * 2 for point, values in LOSSES.items()}), 1)
    found = cells(compare(base, more))[0]
    assert found.paired
    assert found.reason.endswith(
        "the pairs leave out seed 0 (only in the reference) and seeds 3, 4, 5, 6 (only in the candidate)"
    )


def test_with_fewer_than_two_seeds_in_common_the_samples_are_independent(make_profile: MakeProfile) -> None:
    for seeds in (2, 3):
        found = cells(compare(make_profile(LOSSES), shifted(make_profile(scaled(0.9)), seeds)))[0]
        assert not found.paired
        assert (found.verdict, found.reason) == ("inconclusive", "the interval contains 1; more seeds may decide")


def test_one_seed_decides_nothing(make_profile: MakeProfile) -> None:
    one, other = make_profile({("plain", 1): [0.3]}), make_profile({("plain", 1): [0.1]})
    cell = cells(compare(one, other))[0]
    assert (cell.verdict, cell.reason) == ("inconclusive", "one seed gives no interval")


def test_throughput_is_compared_on_one_machine_only(make_profile: MakeProfile) -> None:
    base, slow = (make_profile(LOSSES, rate=rate, interleaved="ab") for rate in (1000.0, 800.0))
    assert {cell.verdict for cell in cells(compare(base, slow), "samples_per_s")} == {"worse"}
    elsewhere = slow.model_copy(update={"machine": slow.machine.model_copy(update={"fingerprint": "f" * 16})})
    found = compare(base, elsewhere)
    for cell in cells(found, "samples_per_s"):
        assert (cell.verdict, cell.reason, cell.ratio) == ("not comparable", "other machine", None)
    assert {cell.verdict for cell in cells(found)} == {"no difference"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pack_size": 5}, "pack size differs: 1 and 5"),
        ({"threads": 2}, "threads differs: 1 and 2"),
        ({"jobs": 4}, "jobs differs: None and 4"),
        ({"shared_device": True}, "shared device differs: False and True"),
        ({"device_name": "B"}, "device name differs: A CPU and B"),
    ],
)
def test_other_ways_of_running_are_not_comparable_in_throughput(
    make_profile: MakeProfile, change: dict[str, object], reason: str
) -> None:
    base = make_profile(LOSSES)
    found = cells(compare(base, with_runs(base, **change)), "samples_per_s")
    assert {(cell.verdict, cell.reason) for cell in found} == {("not comparable", reason)}


def test_a_newly_failed_run_is_worse_and_an_unfinished_one_is_not(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)

    def with_first_run(status: str) -> Profile:
        runs = (base.runs[0].model_copy(update={"status": status}), *base.runs[1:])
        return base.model_copy(update={"runs": runs})

    found = cells(compare(base, with_first_run("oom")))
    left_out = "the pairs leave out seed 0 (only in the reference)"
    assert [(cell.verdict, cell.reason) for cell in found] == [
        ("worse", f"seed 0 oom; {left_out}"),
        ("no difference", ""),
    ]
    unfinished = cells(compare(base, with_first_run("skipped")))[0]
    assert (unfinished.verdict, unfinished.reason) == ("no difference", left_out)
    assert cells(compare(with_first_run("oom"), base))[0].verdict == "no difference"


@pytest.mark.parametrize("quantity", ["samples_per_s", "utilisation"])
def test_speeds_of_two_moments_have_a_ratio_but_no_verdict(make_profile: MakeProfile, quantity: str) -> None:
    """Equal code is 40 % slower on a busy machine, and all its seeds agree on that."""
    base, busy = (
        with_runs(make_profile(LOSSES, rate=rate), utilisation=share) for rate, share in ((5000.0, 0.5), (3000.0, 0.3))
    )
    found = compare(base, busy)
    for each in judged(found, quantity):
        assert (each.verdict, each.reason) == ("not comparable", MEASURED_APART)
        assert each.ratio is not None
        assert each.ratio.estimate == pytest.approx(0.6)
        assert (each.ratio.low, each.ratio.high, each.p, each.p_adjusted) == (None, None, None, None)
    assert {cell.verdict for cell in cells(found, "peak_memory_bytes")} == {"no difference"}


def test_seeds_of_a_pack_are_one_sample_of_its_speed(make_profile: MakeProfile) -> None:
    """The same clock, read three times, gave an interval of width 0 and p < 0.001."""

    def packed(rate: float, packs: dict[int, int]) -> Profile:
        profile = make_profile(LOSSES, interleaved="ab")
        runs = tuple(
            run.model_copy(
                update={
                    "pack_size": list(packs.values()).count(packs[run.seed]),
                    "samples_per_s": rate + packs[run.seed],
                }
            )
            for run in profile.runs
        )
        return profile.model_copy(update={"runs": runs})

    one = compare(packed(396.15, {0: 0, 1: 0, 2: 0}), packed(580.0, {0: 0, 1: 0, 2: 0}))
    for each in judged(one, "samples_per_s"):
        assert (each.verdict, each.reason) == ("inconclusive", "one measurement gives no interval")
        assert each.ratio is not None
        assert (each.ratio.low, each.ratio.n, each.p) == (None, 1, None)
    assert cells(one, "samples_per_s")[0].reference == Interval(estimate=396.15, low=None, high=None, n=1)
    assert {cell.ratio and cell.ratio.n for cell in cells(one, "peak_memory_bytes")} == {1}
    assert {cell.ratio and cell.ratio.n for cell in cells(one)} == {3}  # each seed has a loss of its own
    two = compare(packed(1000.0, {0: 0, 1: 0, 2: 1}), packed(900.0, {0: 0, 1: 0, 2: 1}))
    assert {cell.ratio and cell.ratio.n for cell in cells(two, "samples_per_s")} == {2}


def test_a_newly_failed_run_is_held_against_the_main_quantity_alone(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    runs = tuple(run.model_copy(update={"status": "failed"}) if run.seed == 0 else run for run in base.runs)
    found = compare(base, base.model_copy(update={"runs": runs}))
    assert {cell.verdict for cell in cells(found)} == {"worse"}
    for quantity in ("samples_per_s", "peak_memory_bytes"):
        assert {cell.verdict for cell in cells(found, quantity)} == {"no difference"}
    found = compare(base, with_runs(base, status="failed"))
    assert {(cell.verdict, cell.reason) for cell in cells(found, "samples_per_s")} == {
        ("not comparable", "no finished run in the candidate")
    }


def test_losses_of_zero_have_no_ratio(make_profile: MakeProfile) -> None:
    cell = cells(compare(make_profile({("plain", 1): [0.0, 0.1]}), make_profile({("plain", 1): [0.1, 0.1]})))[0]
    assert cell.verdict == "not comparable"
    assert "positive finite values, not 0.0" in cell.reason


def test_diverged_runs_on_both_sides_have_nothing_to_compare(make_profile: MakeProfile) -> None:
    bad = make_profile({("plain", 1): [math.nan, math.nan]}, status="diverged")
    cell = cells(compare(bad, bad))[0]
    assert (cell.verdict, cell.reason) == ("not comparable", "no finished run in the reference")


def test_differences_are_listed(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    spec = {**base.spec, "train": {**base.spec["train"], "lr": 0.5}}
    machine = base.machine.model_copy(update={"torch": "2.12.0"})
    other = base.model_copy(update={"spec": spec, "machine": machine, "name": "other"})
    found = {(d.what, d.reference, d.candidate) for d in compare(base, other).differences}
    assert found == {("spec train.lr", "0.01", "0.5"), ("machine torch", "2.11.0", "2.12.0")}


def test_what_has_nothing_in_common_is_not_comparable(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES)
    with pytest.raises(
        NotComparableError, match="no network and depth in common: densenet L=2, densenet L=4 and plain L=2"
    ):
        compare(base, make_profile({("plain", 2): [0.1]}))
    data = base.data.model_copy(update={"sha256": "cd" * 32})
    with pytest.raises(NotComparableError, match="the data sets differ"):
        compare(base, base.model_copy(update={"data": data}))
    older, one, other = (base.data.model_copy(update={"evaluation_sha256": sha256}) for sha256 in (None, "1", "2"))
    with pytest.raises(NotComparableError, match=r"the data sets differ: .* have different evaluation splits"):
        compare(base.model_copy(update={"data": one}), base.model_copy(update={"data": other}))
    compare(base.model_copy(update={"data": one}), base.model_copy(update={"data": older}))
    with pytest.raises(NotComparableError, match="studies differ: training and other"):
        compare(base, base.model_copy(update={"study": "other"}))


@pytest.mark.parametrize("format_", ["table", "json"])
def test_what_is_not_comparable_does_not_hide_the_others(
    tmp_path: Path, run_cli: RunCli, make_profile: MakeProfile, format_: str
) -> None:
    made = {"a": make_profile(LOSSES), "b": make_profile({("plain", 2): [0.1, 0.2]}), "c": make_profile(scaled(0.8))}
    a, b, c = (save_profile(profile, tmp_path / f"{name}.json") for name, profile in made.items())
    done = run_cli("compare", a, b, c, "--format", format_)
    assert done.returncode == 5
    assert f"{b}: not comparable with {a}: no network and depth in common" in done.stderr
    assert done.stdout == run_cli("compare", a, c, "--format", format_).stdout
    assert done.stdout
    alone = run_cli("compare", a, b, "--format", format_, "-o", "x")
    assert (alone.returncode, alone.stdout, (tmp_path / "x").exists()) == (5, "", False)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.995, 1.005, "no difference"),
        (1.002, 1.009, "no difference"),
        (0.95, 0.97, "better"),
        (1.02, 1.05, "worse"),
        (0.98, 1.02, "inconclusive"),
        (1.005, 1.02, "worse"),
    ],
)
def test_the_verdict_of_an_interval(low: float, high: float, verdict: str) -> None:
    ratio = Interval(estimate=(low + high) / 2, low=low, high=high, n=3)
    assert judge(ratio, TRAINING.quantities[0])[0] == verdict
    mirrored = Interval(estimate=1.0, low=1 / high, high=1 / low, n=3)
    opposite = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    assert judge(mirrored, TRAINING.quantities[0])[0] == opposite


def measured(make_profile: MakeProfile, value: float, *, weight: float = 1e-3, without: int = 0) -> Profile:
    """Of a study without epochs; one quantity is missing at the first depths."""
    profile = make_profile({("local-tanh", L): [value / L, 1.1 * value / L, 1.2 * value / L] for L in (4, 8)})
    runs = [
        run.model_copy(
            update={
                "epochs": (),
                "final_train_loss": None,
                "measurements": {
                    "optimal_value": value / run.depth,
                    **({"distance": 0.1} if run.depth > without else {}),
                },
            }
        )
        for run in profile.runs
    ]
    spec = {"name": "x", "study": "optimum-limit", "sweep": {"depths": [4, 8]}, "objective": {"weight": weight}}
    return profile.model_copy(
        update={
            "study": "optimum-limit",
            "spec": spec,
            "runs": tuple(runs),
            "summary": summarize(runs, STUDIES["optimum-limit"]),
        }
    )


def test_what_another_problem_gave_is_not_comparable(make_profile: MakeProfile) -> None:
    with pytest.raises(NotComparableError, match=r"the problems differ: objective.weight = 0.001 and 0.003"):
        compare(measured(make_profile, 1.0), measured(make_profile, 1.0, weight=3e-3))


def test_a_quantity_that_a_depth_does_not_have_is_not_held_against_it(make_profile: MakeProfile) -> None:
    base = measured(make_profile, 1.0, without=4)
    cells = compare(base, base).cells
    assert [(cell.quantity.name, cell.depth) for cell in cells] == [
        ("optimal_value", 4),
        ("optimal_value", 8),
        ("distance", 8),
    ]
    assert {cell.verdict for cell in cells} == {"no difference"}
