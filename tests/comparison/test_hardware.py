"""What was measured on several models of machine or device is not held against each other, and no gate passes on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dnlbench.comparison import Cell, Comparison, Overall, compare, gate, parse_rule
from dnlbench.machine import Node
from dnlbench.profiles import Profile, RunRecord
from dnlbench.studies import STUDIES
from tests.conftest import MACHINE

MakeProfile = Callable[..., Profile]
LOSSES = {("densenet", 2): [0.30, 0.31, 0.32], ("densenet", 4): [0.20, 0.21, 0.22]}
SOFTWARE = {"memory_bytes": 2**36, "python": "3.12.1", "torch": "2.11.0"}
HERE = Node(name="n0", cpu="A CPU", cores=2, fingerprint=MACHINE.fingerprint, **SOFTWARE)
A = Node(name="a", cpu="EPYC", cores=64, fingerprint="a" * 16, **SOFTWARE)
A2 = A.model_copy(update={"name": "a2"})
B = Node(name="b", cpu="Xeon", cores=32, fingerprint="b" * 16, **SOFTWARE)
Place = tuple[Node, str]
ON_A, ON_B = (A, "EPYC"), (B, "Xeon")


def placed(profile: Profile, where: Callable[[RunRecord], Place]) -> Profile:
    """The profile of a sweep on a cluster, with each run where it is said to have been."""
    runs = []
    for run in profile.runs:
        node, model = where(run)
        runs.append(run.model_copy(update={"node": node, "device_name": model}))
    return profile.model_copy(update={"runs": tuple(runs)})


def said(comparison: Comparison, quantity: str = "samples_per_s") -> dict[int, tuple[str | None, str]]:
    return {cell.depth: (cell.verdict, cell.reason) for cell in cells(comparison, quantity)}


def cells(comparison: Comparison, quantity: str) -> list[Cell]:
    return [cell for cell in comparison.cells if cell.quantity.name == quantity]


def figure(comparison: Comparison, quantity: str = "samples_per_s") -> Overall:
    (found,) = [figure for figure in comparison.overall if figure.quantity.name == quantity]
    return found


def test_equal_sets_of_models_on_both_sides_do_not_pass(make_profile: MakeProfile) -> None:
    mixed = placed(make_profile(LOSSES, interleaved="ab"), lambda run: ON_B if run.seed == 1 else ON_A)
    found = compare(mixed, mixed)
    reason = "the reference ran on several device models: EPYC and Xeon"
    assert set(said(found).values()) == {("not comparable", reason)}
    assert set(said(found, "peak_memory_bytes").values()) == {("not comparable", reason)}
    assert all(cell.ratio is None for cell in cells(found, "samples_per_s"))
    assert set(said(found, "final_train_loss").values()) == {("no difference", "")}
    whole = placed(make_profile(LOSSES, interleaved="ab"), lambda _: ON_A)
    reason = "the candidate ran on several device models: EPYC and Xeon"
    assert set(said(compare(whole, mixed)).values()) == {("not comparable", reason)}


def test_equal_devices_in_other_machines_are_told_by_the_machines(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    mixed = placed(base, lambda run: (B if run.seed else A, "H200"))
    reason = "the candidate ran on several machine models: EPYC with 64 cores and Xeon with 32 cores"
    assert said(compare(placed(base, lambda _: (A, "H200")), mixed))[2] == ("not comparable", reason)
    found = compare(placed(base, lambda _: (A, "H200")), placed(base, lambda _: (B, "H200")))
    assert said(found)[2] == ("not comparable", "other machine: EPYC with 64 cores and Xeon with 32 cores")
    found = compare(placed(base, lambda _: (A, "H200")), placed(base, lambda _: (A, "A100")))
    assert said(found)[2] == ("not comparable", "device name differs: H200 and A100")


def test_several_machines_of_one_model_are_one_hardware(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    found = compare(placed(base, lambda run: (A if run.seed else A2, "EPYC")), placed(base, lambda _: ON_A))
    assert set(said(found).values()) == {("no difference", "")}


def test_a_cluster_of_machines_like_the_reference_s_is_comparable_with_it(make_profile: MakeProfile) -> None:
    alone = make_profile(LOSSES, interleaved="ab")
    elsewhere = MACHINE.model_copy(update={"cpu": "a laptop", "fingerprint": "c" * 16})
    cluster = placed(make_profile(LOSSES, interleaved="ab", machine=elsewhere), lambda _: (HERE, "A CPU"))
    assert set(said(compare(alone, cluster)).values()) == {("no difference", "")}
    assert set(said(compare(cluster, alone)).values()) == {("no difference", "")}
    # The machine from which the cluster was steered trained nothing: that it equals the reference's proves nothing.
    steered_here = placed(make_profile(LOSSES, interleaved="ab"), lambda _: ON_A)
    reason = "other machine: A with 2 cores and EPYC with 64 cores"
    assert set(said(compare(alone, steered_here)).values()) == {("not comparable", reason)}


def test_points_of_one_model_each_are_compared_with_their_like(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    split = placed(base, lambda run: ON_A if run.depth == 2 else ON_B)
    assert set(said(compare(split, split)).values()) == {("no difference", "")}
    found = compare(split, placed(base, lambda _: ON_A))
    reason = "other machine: Xeon with 32 cores and EPYC with 64 cores"
    assert said(found) == {2: ("no difference", ""), 4: ("not comparable", reason)}
    assert (figure(found).depths, figure(found).left_out) == ((2,), f"leaves out L=4: {reason}")
    assert (figure(found).unjudged, figure(found, "final_train_loss").unjudged) == ((4,), ())


def test_only_runs_that_count_are_asked_where_they_were(make_profile: MakeProfile) -> None:
    base = make_profile({("densenet", 2): [0.30, 0.31, 0.32, 0.33]}, interleaved="ab")
    mixed = placed(base, lambda run: ON_B if run.seed == 3 else ON_A)
    runs = tuple(run.model_copy(update={"status": "oom"}) if run.seed == 3 else run for run in mixed.runs)
    mixed = mixed.model_copy(update={"runs": runs})
    assert said(compare(mixed, mixed)) == {2: ("no difference", "")}


def attempt(number: int, node: Node | None, model: str, epoch: int, step: int = 0) -> Mapping[str, Any]:
    facts = {"attempt": number, "started": "2026-11-20T12:00:00Z", "ended": None, "status": None, "device": "cpu"}
    where = {"node": node.name, "fingerprint": node.fingerprint} if node else {}
    return {**facts, **where, "device_name": model, "from_epoch": epoch, "from_step": step}


@pytest.mark.parametrize(
    ("attempts", "moved"),
    [
        ([attempt(1, A, "EPYC", 0), attempt(2, B, "Xeon", 1)], True),
        ([attempt(1, A, "EPYC", 0), attempt(2, B, "Xeon", 0, step=7)], True),
        ([attempt(1, A, "EPYC", 0), attempt(2, B, "Xeon", 0)], False),  # nothing of the first was kept
        ([attempt(1, B, "Xeon", 0), attempt(2, B, "Xeon", 1)], False),
        ([attempt(1, None, "A CPU", 0), attempt(2, B, "Xeon", 1)], True),
        ([attempt(1, B, "H200", 0), attempt(2, B, "Xeon", 1)], True),
    ],
)
def test_a_run_that_moved_has_no_throughput_of_one_machine(
    make_profile: MakeProfile, attempts: list[Any], moved: bool
) -> None:
    base = placed(make_profile(LOSSES, interleaved="ab"), lambda _: ON_B)
    runs = [run.model_dump() for run in base.runs]
    runs[1]["attempts"] = attempts
    went = base.model_copy(update={"runs": tuple(map(RunRecord.model_validate, runs))})
    found = said(compare(base, went))
    reason = "seed 1 of the candidate moved from one machine or device to another"
    assert found[2] == (("not comparable", reason) if moved else ("no difference", ""))
    assert found[4] == ("no difference", "")


def test_no_gate_passes_where_hardware_differs(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    rules = [parse_rule("throughput:5%", STUDIES["training"])]
    whole = placed(base, lambda _: ON_A)
    assert gate([compare(whole, whole)], rules).outcome == "pass"
    half = compare(whole, placed(base, lambda run: ON_B if (run.depth, run.seed) == (4, 0) else ON_A))
    (finding,) = gate([half], rules).findings
    assert finding.outcome == "inconclusive"
    assert finding.reason == (
        "not all depths can be compared; leaves out L=4: the candidate ran on several device models: EPYC and Xeon"
    )
    mixed = placed(base, lambda run: ON_B if run.seed else ON_A)
    assert gate([compare(mixed, mixed)], rules).outcome == "not comparable"
    assert gate([compare(mixed, mixed)], [parse_rule("loss:5%", STUDIES["training"])]).outcome == "pass"


def test_a_failure_on_the_depths_that_can_be_judged_is_one(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")
    slow = make_profile(LOSSES, interleaved="ab", rate=500.0)
    reference = placed(base, lambda _: ON_A)
    found = compare(reference, placed(slow, lambda run: ON_A if run.depth == 2 else ON_B))
    assert gate([found], [parse_rule("throughput:5%", STUDIES["training"])]).outcome == "fail"


def test_nodes_are_listed_as_differences_by_their_models(make_profile: MakeProfile) -> None:
    base = make_profile(LOSSES, interleaved="ab")

    def told(reference: Profile, candidate: Profile) -> list[tuple[str, str, str]]:
        return [(d.what, d.reference, d.candidate) for d in compare(reference, candidate).differences]

    epycs = placed(base, lambda run: (A if run.seed else A2, "EPYC"))
    a, b = "EPYC with 64 cores, Python 3.12.1, torch 2.11.0", "Xeon with 32 cores, Python 3.12.1, torch 2.11.0"
    assert told(base, epycs) == [("machine nodes", "None", f"{a}: a and a2")]
    assert told(epycs, placed(base, lambda _: ON_A)) == []
    mixed = placed(base, lambda run: ON_B if run.seed else ON_A)
    assert told(epycs, mixed) == [("machine nodes", f"{a}: a and a2", f"{a}: a; {b}: b")]
    newer = A.model_copy(update={"torch": "2.15.0"})
    ((_, _, told_newer),) = told(epycs, placed(base, lambda _: (newer, "EPYC")))
    assert told_newer == "EPYC with 64 cores, Python 3.12.1, torch 2.15.0: a"
