"""The charts of a tuned sweep that the keys of the screens select."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from dnlbench.charts.depth import depth_quantities
from dnlbench.charts.source import sources_of
from dnlbench.profiles import Profile, save_profile, summarize
from dnlbench.studies import STUDIES
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.depth import axis_chart, result_chart
from dnlbench.tui.screens.compare import CompareScreen
from tests.tui.conftest import NARROW, WIDE, Drive, ScreenText, workers_done

NETWORKS, RATES = ("densenet", "resnet"), (0.01, 0.03, 0.1)
TITLES = [f"Final training loss vs. lr, {network}" for network in NETWORKS]


@pytest.fixture
def tuned(make_profile: Callable[..., Profile]) -> Profile:
    plain = make_profile({(name, depth): [1.0] * 2 for name in NETWORKS for depth in (2, 4, 8)})
    spec: dict[str, Any] = {**plain.spec, "tune": {"over": "train.lr", "by": "train_loss"}}
    spec["sweep"] = {**spec["sweep"], "grid": {"train.lr": list(RATES)}}
    runs = []
    for run in plain.runs:
        for lr in RATES:
            loss = math.exp(math.log(lr / 0.03) ** 2 + 0.01 * run.seed * math.sin(100 * lr))
            epochs = tuple(epoch.model_copy(update={"train_loss": loss}) for epoch in run.epochs)
            changes = {"run_id": f"{run.run_id}-{lr}", "settings": {"train.lr": lr}, "final_train_loss": loss}
            runs.append(run.model_copy(update={**changes, "epochs": epochs}))
    summary = summarize(runs, STUDIES["training"].of(spec), classes=10)
    return plain.model_copy(update={"runs": tuple(runs), "spec": spec, "summary": summary})


def test_results_begin_with_the_loss_over_the_setting_and_come_round(tuned: Profile) -> None:
    sources = sources_of([tuned])
    quantities = depth_quantities(sources)
    titles = [result_chart(sources, quantities, index).title for index in range(3 + len(quantities))]
    assert titles[:2] == TITLES
    assert titles[2:4] == ["Final training loss vs. depth", "Training loss at the best lr vs. depth"]
    assert titles[-1] == TITLES[0]


def test_results_of_other_sweeps_are_over_depth(make_profile: Callable[..., Profile]) -> None:
    sources = sources_of([make_profile({("densenet", depth): [0.5, 0.6] for depth in (2, 4)})])
    quantities = depth_quantities(sources)
    assert result_chart(sources, quantities, 0).title == "Final training loss vs. depth"
    assert axis_chart(sources, quantities[0], 1).title == "Final training loss vs. depth"


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_profile_shows_the_best_values_and_the_loss_over_the_setting(
    tuned: Profile, drive: Drive, screen_text: ScreenText, tmp_path: Path, size: tuple[int, int]
) -> None:
    path, seen = save_profile(tuned, tmp_path / "tuned.json"), []

    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        seen.append(screen_text(pilot.app))
        for key in ("d", "v", "t", "t", "t"):
            await pilot.press(key)
            await workers_done(pilot)
            seen.append(screen_text(pilot.app))

    drive(DnlbenchApp(lambda: CompareScreen([path])), act, size=size)
    table, _, over_depth, densenet, resnet, again = seen
    assert "best lr [95 % CI]" in table
    assert "Training loss at the best lr" in over_depth
    assert "vs. lr, densenet" in densenet
    assert "vs. lr, resnet" in resnet
    assert "vs. lr" not in again
