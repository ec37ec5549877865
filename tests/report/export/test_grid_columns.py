"""Exports of sweeps with a grid: each run has the values of its own settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.profiles import Profile
from dnlbench.profiles.model import MatchRecord
from dnlbench.profiles.summary import summarize
from dnlbench.report.export import Labeled, RowKind, make_table
from dnlbench.report.export.frame import setting_columns
from dnlbench.report.latex import profile_latex
from dnlbench.studies import STUDIES

LRS = (0.25, 0.5)
LOSSES = {("densenet", 2): [1.0, 1.1], ("densenet", 4): [0.8, 0.9]}


@pytest.fixture
def gridded(make_profile: Callable[..., Profile]) -> Profile:
    """Two depths × two learning rates × two seeds; the spec's own learning rate is none of them."""
    plain = make_profile(LOSSES)
    runs = [
        run.model_copy(update={"run_id": f"{run.run_id}-{lr}", "settings": {"train.lr": lr}})
        for lr in LRS
        for run in plain.runs
    ]
    spec = {**plain.spec, "sweep": {**plain.spec["sweep"], "grid": {"train.lr": list(LRS)}}}
    summary = summarize(runs, STUDIES["training"].of(spec))
    return plain.model_copy(update={"runs": tuple(runs), "spec": spec, "summary": summary})


def objects(profile: Profile, rows: RowKind) -> list[dict[str, Any]]:
    table = make_table([Labeled(label="x", profile=profile)], rows)
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in table.rows]


@pytest.mark.parametrize("rows", ["runs", "epochs"])
def test_a_key_of_the_grid_is_a_column_with_the_value_of_the_run(gridded: Profile, rows: RowKind) -> None:
    by_id = {run.run_id: run.settings["train.lr"] for run in gridded.runs}
    assert set(by_id.values()) == set(LRS)
    assert all(row["train.lr"] == by_id[row["run_id"]] for row in objects(gridded, rows))


def test_contrasts_name_the_settings_of_both_points(gridded: Profile) -> None:
    pairs = {(row["train.lr"], row["against_train.lr"]) for row in objects(gridded, "contrasts")}
    assert pairs == {(0.25, 0.25), (0.5, 0.5), (0.5, 0.25)}


def test_without_a_grid_there_are_no_columns_of_settings(make_profile: Callable[..., Profile]) -> None:
    assert "train.lr" not in objects(make_profile(LOSSES), "runs")[0]


def test_a_frame_never_shows_the_specs_value_for_an_axis(gridded: Profile) -> None:
    assert gridded.spec["train"]["lr"] not in LRS
    shared = {column.name for column, _ in setting_columns(gridded)}
    assert "train.lr" not in shared
    assert "train.epochs" in shared


def test_latex_names_the_settings(gridded: Profile) -> None:
    text = profile_latex(gridded)
    assert all(f"densenet lr={lr}" in text for lr in LRS)


def test_tensorboard_has_a_folder_and_the_hyperparameters_of_each_run(gridded: Profile, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from dnlbench.report.export.tensorboard import _hyperparameters, write_runs

    assert write_runs([Labeled(label="x", profile=gridded)], tmp_path / "out") == len(gridded.runs)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"densenet_lr_{lr}-L{depth}-seed{seed}" for lr in LRS for depth in (2, 4) for seed in (0, 1)}
    for run in gridded.runs:
        pairs = list(_hyperparameters(gridded, run))
        assert [value for key, value in pairs if key == "train.lr"] == [run.settings["train.lr"]]


def test_runs_at_equal_budgets_have_columns_of_the_matched_setting(make_profile: Callable[..., Profile]) -> None:
    plain = make_profile(LOSSES)
    matched = MatchRecord(quantity="flops", key="network.growth_rate", value=9, mismatch=0.004)
    runs = tuple(run.model_copy(update={"matched": matched if run.depth == 4 else None}) for run in plain.runs)
    rows = objects(plain.model_copy(update={"runs": runs}), "runs")
    assert "matched_key" not in objects(plain, "runs")[0]
    cells = {(row["depth"], row["matched_key"], row["matched_value"], row["matched_mismatch"]) for row in rows}
    assert cells == {(2, None, None, None), (4, "network.growth_rate", 9, 0.004)}
