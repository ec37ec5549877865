"""Means of what depends on the machine are over one model of it, and runs that count elsewhere are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dnlbench.events import RunStarted, fold
from dnlbench.events.records import EpochDone
from dnlbench.machine import Node
from dnlbench.profiles import (
    Hardware,
    PointSummary,
    Profile,
    RunRecord,
    check_profile,
    hardware_of,
    nodes_of,
    summarize,
)
from dnlbench.profiles.files import METHOD_0_6
from dnlbench.profiles.reduce import attempt_record
from dnlbench.studies import STUDIES
from tests.conftest import MACHINE

MakeProfile = Callable[..., Profile]
TRAINING = STUDIES["training"]
FACTS = {"memory_bytes": 2**36, "python": "3.12.1", "torch": "2.11.0"}
A = Node(name="a", cpu="EPYC", cores=64, fingerprint="a" * 16, **FACTS)
B = Node(name="b", cpu="Xeon", cores=32, fingerprint="b" * 16, **FACTS)
RATE = {"a": 1000.0, "b": 250.0}


def on(run: RunRecord, node: Node | None, **changes: Any) -> RunRecord:
    """The run on a node, at that node's speed."""
    rate = RATE[node.name] if node else 500.0
    facts = {
        "node": node,
        "device_name": node.cpu if node else "A CPU",
        "samples_per_s": rate / run.depth,
        "epochs": (),
    }
    return run.model_copy(update={**facts, "utilisation": None, **changes})


def spread(make_profile: MakeProfile, nodes: Sequence[Node | None], depths: Sequence[int] = (2, 4)) -> list[RunRecord]:
    """Seeds in turn on the nodes, at each depth."""
    profile = make_profile({("densenet", depth): [0.3 + 0.01 * seed for seed in range(len(nodes))] for depth in depths})
    return [on(run, nodes[run.seed]) for run in profile.runs]


def points(runs: Sequence[RunRecord]) -> tuple[PointSummary, ...]:
    return summarize(runs, TRAINING).points


def test_a_mean_throughput_is_that_of_the_commonest_model(make_profile: MakeProfile) -> None:
    runs = spread(make_profile, [B, A, A, B, A])
    for point in points(runs):
        rate, loss = point.quantities["samples_per_s"], point.quantities["final_train_loss"]
        assert (rate.n, point.quantities["peak_memory_bytes"].n, loss.n, point.left_out) == (3, 3, 5, 2)
        assert (rate.mean, loss.mean) == pytest.approx((1000 / point.depth, 0.32))
        assert point.statuses == {"ok": 5}


def test_of_equally_common_ones_it_is_that_of_most_of_the_network_s_runs(make_profile: MakeProfile) -> None:
    runs = [on(run, A if run.depth == 4 or run.seed else B) for run in spread(make_profile, [A, A])]
    found = {point.depth: point.quantities["samples_per_s"] for point in points(runs)}
    assert {depth: record.mean for depth, record in found.items()} == pytest.approx({2: 500, 4: 250})
    assert [point.left_out for point in points(runs)] == [1, 0]


def test_what_failed_has_no_say(make_profile: MakeProfile) -> None:
    runs = spread(make_profile, [B, B, A], depths=(2,))
    runs = [run.model_copy(update={"status": "oom"}) if run.node == B else run for run in runs]
    (point,) = points(runs)
    assert point.quantities["samples_per_s"].mean == pytest.approx(500)
    assert point.left_out == 0


def moved(run: RunRecord) -> RunRecord:
    """It had its first epochs on A and went on where it is."""
    facts = {"started": "2026-11-20T12:00:00Z", "ended": None, "status": None, "device": "cpu"}
    first = {**facts, "attempt": 1, "node": "a", "fingerprint": A.fingerprint, "device_name": "EPYC"}
    second = {**facts, "attempt": 2, "node": "b", "fingerprint": B.fingerprint, "device_name": "Xeon", "from_epoch": 1}
    return RunRecord.model_validate({**run.model_dump(), "attempts": [first, second]})


def test_a_run_that_moved_counts_in_no_mean_of_throughput(make_profile: MakeProfile) -> None:
    (first, second) = spread(make_profile, [B, B], depths=(2,))
    (point,) = points([moved(first), second])
    assert (point.quantities["samples_per_s"].n, point.left_out) == (1, 1)
    (point,) = points([moved(first), moved(second)])
    assert ("samples_per_s" in point.quantities, point.left_out) == (False, 2)
    assert point.quantities["final_train_loss"].n == 2
    assert hardware_of(moved(first)) == {Hardware("a" * 16, "EPYC"), Hardware("b" * 16, "Xeon")}


def test_exponents_of_cost_are_of_one_model_of_machine(make_profile: MakeProfile) -> None:
    """Both call their device the same: what tells them apart is the machine."""
    depths = (2, 4, 8)
    runs = [run.model_copy(update={"device_name": "H200"}) for run in spread(make_profile, [A, A, B], depths)]
    runs = [on(run, B, device_name="H200") if (run.seed, run.depth) == (1, 8) else run for run in runs]
    (record,) = [cost for cost in summarize(runs, TRAINING).costs if cost.quantity == "samples_per_s"]
    assert record.exponent == pytest.approx(1.0)
    assert (record.n, record.left_out) == (1, 4)
    went = [moved(run) for run in spread(make_profile, [B], depths)]
    (record,) = [cost for cost in summarize(went, TRAINING).costs if cost.quantity == "samples_per_s"]
    assert record.problem.endswith("3 runs ran under other conditions and are not comparable")


def test_the_time_of_twice_the_depth_is_told_of_one_model(make_profile: MakeProfile) -> None:
    """Slower machines at the largest depth would make depth look dearer than it is."""
    runs = [on(run, B if run.depth == 16 and run.seed else A) for run in spread(make_profile, [A, A], (2, 4, 8, 16))]
    (fit,) = summarize(runs, TRAINING).fits
    assert fit.next_time_factor == pytest.approx(2.0)


@pytest.mark.parametrize("nodes", [[A, B, A], [None, None], [None, A]])
def test_profiles_with_and_without_nodes_are_valid(make_profile: MakeProfile, nodes: list[Node | None]) -> None:
    base = make_profile({("densenet", depth): [0.1] * len(nodes) for depth in (2, 4)})
    runs = tuple(run.model_copy(update={"node": nodes[run.seed]}) for run in base.runs)
    profile = base.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING)})
    assert check_profile(profile) == []
    assert Profile.model_validate_json(profile.to_json()) == profile


def test_earlier_versions_put_all_devices_of_a_machine_into_one_mean(make_profile: MakeProfile) -> None:
    """Their profiles stay valid; one that could know better is not."""
    base = make_profile({("densenet", 2): [0.1, 0.2, 0.3]})
    runs = tuple(run.model_copy(update={"device_name": f"GPU {run.seed % 2}"}) for run in base.runs)
    earlier = base.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING, METHOD_0_6)})
    assert check_profile(earlier) == []
    assert check_profile(earlier.model_copy(update={"summary": summarize(runs, TRAINING)})) == []
    (mixed,), (apart,) = earlier.summary.points, points(runs)
    assert (mixed.quantities["samples_per_s"].n, apart.quantities["samples_per_s"].n) == (3, 2)
    later = earlier.model_copy(update={"runs": tuple(run.model_copy(update={"node": A}) for run in runs)})
    assert check_profile(later) == ["summary: differs from the one computed from the runs"]


def test_where_each_attempt_was_is_kept() -> None:
    facts: dict[str, Any] = {"run_id": "r", "device": "cuda:0", "threads": 1, "parameters": 1}
    history = fold(
        [
            RunStarted(time=1.0, attempt=1, device_name="H200", node=A, **facts),
            EpochDone(time=2.0, run_id="r", epoch=1, train_loss=1.0, seconds=1.0, samples_per_s=1.0, gradient_norm=1.0),
            RunStarted(time=3.0, attempt=2, device_name="A100", from_epoch=1, **facts),
        ]
    )
    first, second = map(attempt_record, history.attempts)
    assert (first.node, first.fingerprint, first.device_name, first.device) == ("a", "a" * 16, "H200", "cuda:0")
    assert (second.node, second.fingerprint, second.device_name, second.from_epoch) == (None, None, "A100", 1)


def test_runs_without_a_node_were_on_the_profile_s_machine(make_profile: MakeProfile) -> None:
    (run,) = spread(make_profile, [None], depths=(2,))
    assert hardware_of(run, MACHINE) == {Hardware(MACHINE.fingerprint, "A CPU")}
    assert hardware_of(run.model_copy(update={"device": None}), MACHINE) == set()
    assert nodes_of([run]) == ()


def test_nodes_are_told_with_their_runs_and_devices(make_profile: MakeProfile) -> None:
    runs = [*spread(make_profile, [B, A, B, None], depths=(2,))]
    runs[0] = runs[0].model_copy(update={"device_name": "H200"})
    found = [(use.node.name, use.runs, use.devices) for use in nodes_of(runs)]
    assert found == [("a", 1, ("EPYC",)), ("b", 2, ("H200", "Xeon"))]
