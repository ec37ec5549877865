"""How often comparisons and gates are wrong, on results whose truth is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dnlbench.comparison import Comparison, Gate, compare, gate, parse_rule
from dnlbench.profiles import Profile
from dnlbench.stats import Interval
from dnlbench.studies import STUDIES

pytestmark = pytest.mark.statistics
TIMES = 200
RULES = [parse_rule(text, STUDIES["training"]) for text in ("throughput:5%", "loss:worse")]
MakeLaboratory = Callable[..., Any]


def gates(laboratory: Any, **truth: Any) -> Iterator[Gate]:
    """What the gate says of one truth, measured again and again."""
    for _ in range(TIMES):
        yield gate([compare(*laboratory.measure_twice(**truth))], RULES)


def failures(found: Gate) -> set[str]:
    return {finding.rule.text for finding in found.findings if finding.outcome == "fail"}


def test_equal_results_hardly_ever_fail(make_laboratory: MakeLaboratory) -> None:
    failed: Counter[str] = Counter()
    for found in gates(make_laboratory(101)):
        failed.update(failures(found))
        failed["any"] += found.outcome == "fail"
    assert failed["any"] <= 0.02 * TIMES
    assert failed["throughput:5%"] == 0


def test_a_slowdown_fails(make_laboratory: MakeLaboratory) -> None:
    found = [failures(found) for found in gates(make_laboratory(102), slower=1.15)]
    assert sum("throughput:5%" in texts for texts in found) >= 0.9 * TIMES
    assert sum("loss:worse" in texts for texts in found) <= 0.03 * TIMES


def test_a_slowdown_that_is_borne_does_not_fail(make_laboratory: MakeLaboratory) -> None:
    """At the tolerance itself, where a test is wrong most often."""
    failed = sum("throughput:5%" in failures(found) for found in gates(make_laboratory(103), slower=1.05))
    assert failed <= 0.04 * TIMES


def test_an_equal_throughput_passes_where_seeds_are_enough(make_laboratory: MakeLaboratory) -> None:
    passed = 0
    for found in gates(make_laboratory(104)):
        findings = [finding for finding in found.findings if finding.rule.text == "throughput:5%"]
        passed += all(finding.outcome == "pass" for finding in findings)
    assert passed >= 0.65 * TIMES


def test_another_state_of_the_machine_never_fails(make_laboratory: MakeLaboratory) -> None:
    seen = Counter(
        verdict for found in gates(make_laboratory(105), together=False, shift=0.15) for verdict in told(found)
    )
    assert seen == {"not comparable": 3 * TIMES}


def told(found: Gate) -> list[str]:
    return [finding.outcome for finding in found.findings if finding.rule.text == "throughput:5%"]


def test_another_state_of_the_machine_would_fail_if_it_were_believed(make_laboratory: MakeLaboratory) -> None:
    """The simulation has teeth: profiles that only claim to have taken turns raise false alarms."""
    laboratory, alarms = make_laboratory(106), 0
    for _ in range(TIMES):
        sides = laboratory.measure_twice(together=False, shift=0.15)
        claimed = [side.model_copy(update={"interleaved": "claimed"}) for side in sides]
        alarms += "throughput:5%" in failures(gate([compare(*claimed)], RULES))
    assert alarms > 0.1 * TIMES


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def test_intervals_cover_the_truth(make_laboratory: MakeLaboratory) -> None:
    """Of cells and of overall figures; paired, and by Welch where seeds differ and the machine keeps its speed."""
    laboratory = make_laboratory(107, networks=("densenet",), depths=(2, 4))
    steady = make_laboratory(110, networks=("densenet",), depths=(2, 4), wander=0.0)
    covered: Counter[str] = Counter()
    truths = {"samples_per_s": 1 / 1.1, "final_train_loss": 0.9}
    for _ in range(2000):
        together = laboratory.measure_twice(slower=1.1, loss=0.9)
        (reference, _), (_, candidate) = (steady.measure_twice(slower=1.1, loss=0.9) for _ in "ab")
        for kind, sides in (("paired", together), ("welch", (reference, with_other_seeds(candidate)))):
            comparison = compare(*sides)
            assert {figure.paired for figure in comparison.overall} == {kind == "paired"}
            covered.update(covering(kind, comparison, truths))
    assert len(covered) == 8
    assert {kind: share for kind, count in covered.items() if not 0.93 < (share := count / 2000) < 0.97} == {}


def with_other_seeds(profile: Profile) -> Profile:
    runs = tuple(run.model_copy(update={"seed": run.seed + 50}) for run in profile.runs)
    return profile.model_copy(update={"runs": runs})


def covering(kind: str, comparison: Comparison, truths: dict[str, float]) -> Iterator[str]:
    """The intervals that hold the truth; of cells the first one's."""
    for name, truth in truths.items():
        cell = next(cell for cell in comparison.cells if cell.quantity.name == name)
        figure = next(figure for figure in comparison.overall if figure.quantity.name == name)
        for place, interval in (("cell", cell.ratio), ("overall", figure.ratio)):
            if holds(interval, truth):
                yield f"{kind} {place} {name}"


def test_depths_of_one_seed_are_not_independent(make_laboratory: MakeLaboratory) -> None:
    """Where all depths of a seed share an effect, the overall interval still covers the truth, and a pooled one would not."""
    laboratory = make_laboratory(108, networks=("densenet",), depths=(2, 4, 8))
    overall = pooled = 0
    for _ in range(1000):
        reference, candidate = laboratory.measure_twice()
        effects = dict(enumerate(laboratory.random.normal(0, 0.05, 5)))
        runs = tuple(
            run.model_copy(update={"final_train_loss": run.final_train_loss * math.exp(effects[run.seed])})
            for run in candidate.runs
        )
        found = compare(reference, candidate.model_copy(update={"runs": runs}))
        figure = next(figure for figure in found.overall if figure.quantity.name == "final_train_loss")
        overall += holds(figure.ratio, 1.0)
        logs = [math.log(ratio) for cell in found.cells if cell.quantity == figure.quantity for _, ratio in cell.ratios]
        pooled += pool_holds(logs)
    assert 0.93 < overall / 1000 < 0.97
    assert pooled / 1000 < 0.9


def pool_holds(logs: list[float]) -> bool:
    """Whether a t interval over depths and seeds alike holds 0."""
    assert len(logs) == 15
    mean = sum(logs) / 15
    error = math.sqrt(sum((value - mean) ** 2 for value in logs) / 14 / 15)
    return abs(mean) <= 2.144786687916927 * error


def test_holm_bears_many_depths(make_laboratory: MakeLaboratory) -> None:
    """Equal results: verdicts by cell are worse somewhere no more often than they may be with a single depth."""
    laboratory, wrong = make_laboratory(109, networks=("densenet",), depths=(1, 2, 4, 8, 16, 32)), 0
    for _ in range(500):
        found = compare(*laboratory.measure_twice())
        losses = [cell for cell in found.cells if cell.quantity.name == "final_train_loss"]
        wrong += any(cell.verdict in ("better", "worse") for cell in losses)
    assert wrong <= 0.08 * 500
