from __future__ import annotations

from collections.abc import Callable

import pytest

from dnlbench.errors import ConfigurationError
from dnlbench.executor.packing import at_a_time, count_packs, resolve_pack_size
from dnlbench.plan import Plan
from dnlbench.spec import read_spec
from dnlbench.studies import STUDIES

MakePlan = Callable[..., Plan]


def test_what_is_asked_for_is_done_and_without_it_runs_go_alone(make_plan: MakePlan) -> None:
    assert [resolve_pack_size(make_plan(), asked) for asked in (None, 1, 3)] == [1, 1, 3]


@pytest.mark.parametrize("preset", ["forward-limit", "optimum-limit"])
def test_runs_that_go_alone_are_not_packed(preset: str) -> None:
    plan = Plan(read_spec(preset))
    assert [resolve_pack_size(plan, asked) for asked in (None, 1)] == [1, 1]
    with pytest.raises(ConfigurationError, match=f"--pack 2: runs of the study '{preset}' cannot train together"):
        resolve_pack_size(plan, 2)


def test_only_training_packs() -> None:
    assert [study.name for study in STUDIES.values() if study.packs] == ["training"]


@pytest.mark.parametrize(("size", "packs"), [(1, 10), (2, 6), (3, 4), (5, 2), (9, 2)])
def test_packs_are_counted(make_plan: MakePlan, size: int, packs: int) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.seeds=5")
    assert count_packs(plan.runs, size) == packs
    assert count_packs([], size) == 0


@pytest.mark.parametrize(
    ("slots", "size", "expected"),
    [
        (1, 1, "1 at a time"),
        (2, 1, "2 at a time"),
        (1, 4, "1 pack of up to 4 runs at a time"),
        (2, 3, "2 packs of up to 3 runs at a time"),
    ],
)
def test_in_words(slots: int, size: int, expected: str) -> None:
    assert at_a_time(slots, size) == expected
