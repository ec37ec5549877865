"""The tuned setting: what it may be, and what it leaves as it is."""

from __future__ import annotations

import pytest

from dnlbench.errors import SpecError
from dnlbench.plan import Plan
from dnlbench.spec import parse_spec
from dnlbench.studies import STUDIES
from dnlbench.studies.base import TUNED

TEXT = """
name = "tune"
[sweep]
networks = ["densenet", "resnet"]
depths = [1, 2]
seeds = 2
[sweep.grid]
"train.lr" = [0.1, 0.3, 1.0]
"network.blocks" = [1, 2]
"""


def plan_of(tune: str, *overrides: str) -> Plan:
    return Plan(parse_spec(TEXT + f"[tune]\n{tune}", "tune.toml", overrides))


@pytest.mark.parametrize(
    ("tune", "overrides", "message"),
    [
        ('over = "train.momentum"', (), r"no key of sweep.grid, which has train.lr, network.blocks"),
        ('over = "network.blocks"', (), r"at least 3 positive numbers in sweep.grid, not \[1, 2\]"),
        ('over = "train.lr"', ("sweep.seeds=1",), "at least 2 seeds"),
        ('over = "train.lr"\nby = "evaluation_loss"', (), "requires train.evaluate = true"),
        ('by = "evaluation_loss"', (), "has an effect only with tune.over"),
        (
            'over = "train.optimizer"',
            ('sweep.grid={"train.optimizer" = ["sgd", "adam", "adamw"]}',),
            "positive numbers",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(tune: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_of(tune, *overrides)


def test_a_tuned_sweep_has_the_runs_of_the_grid_alone() -> None:
    tuned, plain = plan_of('over = "train.lr"'), Plan(parse_spec(TEXT, "tune.toml"))
    assert [run.run_id for run in tuned.runs] == [run.run_id for run in plain.runs]
    assert tuned.settings_hash == plain.settings_hash
    assert tuned.spec_hash != plain.spec_hash  # their summaries differ
    assert tuned.spec_at(tuned.spec.points[0]) == plain.spec_at(plain.spec.points[0])


def test_fits_and_contrasts_are_those_of_the_tuned_loss() -> None:
    plan = plan_of('over = "train.lr"\nby = "evaluation_loss"', "train.evaluate=true")
    study = plan.study
    assert study.tuning is not None
    assert (study.fitted, study.contrasts) == (TUNED, TUNED[:1])
    assert study.tuning.loss.label == "evaluation loss at the best lr"
    assert STUDIES["training"].tuning is None
