from __future__ import annotations

from collections.abc import Callable

from dnlbench.plan import Plan

MakePlan = Callable[..., Plan]


def test_every_network_depth_and_seed_once(make_plan: MakePlan) -> None:
    plan = make_plan()
    assert [(r.point.network, r.point.depth, r.seed) for r in plan.runs] == [
        (network, depth, seed) for network in ("densenet", "dense-gaussian") for depth in (1, 2) for seed in (0, 1)
    ]
    assert len(plan.by_id) == 8


def test_a_runs_id_does_not_depend_on_the_other_runs(make_plan: MakePlan) -> None:
    small, large = make_plan(), make_plan("sweep.depths=[1,2,8]", "sweep.seeds=5", "name=other")
    assert small.by_id.keys() < large.by_id.keys()


def test_a_runs_id_depends_on_what_it_computes(make_plan: MakePlan) -> None:
    ids = make_plan().by_id.keys()
    for change in ("train.lr=0.02", "network.growth_rate=4", "data.limit=140", "train.schedule=cosine"):
        assert not ids & make_plan(change).by_id.keys()
    assert ids == make_plan("train.epochs=3").by_id.keys()  # the first epochs are the same


def test_ids_are_fit_for_file_names(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['a.b:c']")
    assert all(run.run_id.startswith("a-b-c-L") for run in plan.runs)


def test_longest_first(make_plan: MakePlan) -> None:
    order = make_plan("sweep.networks=['plain','dense-gaussian','densenet']", "sweep.depths=[1,16]").longest_first
    work = [(run.point.network, run.point.depth) for run in order]
    assert work[:4] == [("dense-gaussian", 16)] * 2 + [("densenet", 16)] * 2
    assert {depth for _, depth in work[6:]} == {1}
