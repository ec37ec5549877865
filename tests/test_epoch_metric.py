"""A new per-epoch metric takes a declaration and a function; everything else follows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnlbench.charts.epochs import epoch_chart, metrics_of
from dnlbench.charts.live import live_metrics
from dnlbench.charts.source import sources_of
from dnlbench.engine.run import run_sweep
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile, read_profile, summarize
from dnlbench.progress import Observer
from dnlbench.report.export.tables import Labeled, make_table
from dnlbench.report.export.tensorboard import write_runs
from dnlbench.report.profile import profile_csv, profile_grids
from dnlbench.runners.training import epoch_metrics
from dnlbench.runners.training.epoch_metrics import EpochEnd
from dnlbench.store import RunDir
from dnlbench.studies import STUDIES, EpochMetric
from dnlbench.watch import Watcher
from tests.conftest import request_for

OWN = """
from torch import nn

def network(depth, input_shape, classes, network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""
DEAD = EpochMetric(name="dead_relus", label="dead ReLUs", shown_as="percent", range="fraction", tag="relu/dead")


@contextmanager
def outputs_of_relus(network: nn.Module) -> Iterator[list[Tensor]]:
    found: list[Tensor] = []
    relus = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    hooks = [relu.register_forward_hook(lambda module, inputs, output: found.append(output)) for relu in relus]
    yield found
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def dead_relus(end: EpochEnd, index: int) -> dict[str, float | None]:
    """The share of outputs that are 0, over units and training images."""
    images, _ = end.data.training.batch(torch.arange(len(end.data.training)))
    with outputs_of_relus(end.learner.network) as outputs:
        end.learner.outputs(index, images)
    return {DEAD.name: float((outputs[0] == 0).double().mean())}


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an author of the metric would add: to the study, and to where its metrics are computed."""
    training = STUDIES["training"]
    study = replace(
        training,
        epoch_metrics=(*training.epoch_metrics, DEAD),
        quantities=(*training.quantities, DEAD.last(table="Activations", tolerance=0.05)),
    )
    monkeypatch.setitem(STUDIES.built_in, "training", study)
    monkeypatch.setattr(epoch_metrics, "MEASURES", (*epoch_metrics.MEASURES, dead_relus))


@pytest.fixture
def trained(
    declared: None, make_plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Profile, RunDir]:
    (tmp_path / "own_relus.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    plan = make_plan("sweep.networks=['own_relus:network']", "sweep.depths=[1,2]", "sweep.seeds=[0,1]")
    options: dict[str, Any] = {"run_dir": tmp_path / "rd", "executor": "inline", "out": tmp_path / "p.json"}
    result = run_sweep(request_for(plan, **options), Observer())
    assert result.path is not None
    return read_profile(result.path), RunDir(result.run_dir)


def test_a_new_metric_is_in_profile_table_chart_and_exports(trained: tuple[Profile, RunDir], tmp_path: Path) -> None:
    profile, run_dir = trained
    values = [[epoch.value(DEAD.name) for epoch in run.epochs] for run in profile.runs]
    assert all(value is not None and 0 <= value <= 1 for of_run in values for value in of_run)
    assert len({value for of_run in values for value in of_run}) > 1
    assert check_profile(profile) == []
    content = json.loads(profile.to_json())
    assert [[epoch[DEAD.name] for epoch in run["epochs"]] for run in content["runs"]] == values

    (grid,) = [grid for grid in profile_grids(profile) if grid.title == "Activations"]
    assert [column.head for column in grid.columns][-1] == "dead ReLUs"
    assert all(row[-1].endswith(" %") for row in grid.rows)
    point = profile.summary.points[0]
    assert point.quantities[DEAD.name].mean == pytest.approx((values[0][-1] + values[1][-1]) / 2)  # type: ignore[operator]

    sources = sources_of([profile])
    assert DEAD in metrics_of(sources)
    chart = epoch_chart(sources, DEAD)
    mean = next(series for series in chart.series if series.role == "mean")
    assert list(mean.y) == pytest.approx([(a + b) / 2 for a, b in zip(*values[:2], strict=True)])
    assert "dead ReLUs" in chart.y.text
    assert DEAD in live_metrics(Watcher(run_dir, run_dir.read_plan()).poll(0.0))

    rows = list(csv.DictReader(io.StringIO(profile_csv(profile))))
    assert [float(row[DEAD.name]) for row in rows] == [value for of_run in values for value in of_run]
    table = make_table([Labeled(label="x", profile=profile)])
    assert next(column.kind for column in table.columns if column.name == DEAD.name) == "float64"


def test_a_new_metric_has_a_tag_in_tensorboard(trained: tuple[Profile, RunDir], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write_runs([Labeled(label="x", profile=trained[0])], tmp_path / "out")
    (first, *_) = sorted((tmp_path / "out").glob("*/events*"))
    assert DEAD.tag.encode() in first.read_bytes()


def test_evaluation_is_shown_in_percent(make_plan: Callable[..., Plan], make_profile: Callable[..., Profile]) -> None:
    profile = make_profile({("plain", 1): [0.5, 0.6]})
    runs = tuple(
        run.model_copy(update={"evaluation_accuracy": 0.96, "measurements": {"evaluation_loss": 0.125}})
        for run in profile.runs
    )
    summary = summarize(runs, STUDIES["training"])
    grids = list(profile_grids(profile.model_copy(update={"runs": runs, "summary": summary})))
    cells = {
        column.head: grid.rows[0][place] for grid in grids for place, column in enumerate(grid.columns) if grid.rows
    }
    assert cells["evaluation accuracy"].startswith("96")
    assert cells["evaluation accuracy"].endswith(" %")
    assert cells["evaluation loss (nats)"] == "0.125"
