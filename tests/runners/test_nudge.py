"""Rounding twins: runs whose initial weights differ by units in the last place."""

from __future__ import annotations

import math

import torch

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.plan import Plan
from dnlbench.runners.training.setup import nudge
from dnlbench.spec import parse_spec

SPEC = """
name = "twin"
study = "training"
[sweep]
networks = ["densenet"]
depths = [2]
"""


def network() -> DNLNetwork:
    torch.manual_seed(0)
    return DNLNetwork("densenet", depth=2, input_shape=(1, 8, 8), classes=10, blocks=1)


def test_the_first_filters_move_by_units_in_the_last_place_and_nothing_else_does() -> None:
    before, after = network(), network()
    nudge(after, 2)
    (name, start), *others = before.named_parameters()
    (_, moved), *same = after.named_parameters()
    assert name == "features.0.weight"
    up = torch.full_like(start, math.inf)
    assert torch.equal(moved, torch.nextafter(torch.nextafter(start, up), up))
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(others, same, strict=True))


def test_without_a_nudge_nothing_changes_and_runs_are_the_same() -> None:
    before, after = network(), network()
    nudge(after, 0)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    plan, twin = (Plan(parse_spec(SPEC, "spec.toml", overrides)) for overrides in ((), ("train.nudge_ulps=1",)))
    assert "nudge_ulps" not in plan.spec.identity()["train"]
    assert plan.runs[0].run_id != twin.runs[0].run_id
