"""A sweep from the start screen to the comparison of its profile, with a real engine that trains."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.pilot import Pilot

from dnlbench.profiles import check_profile, read_profile
from dnlbench.store import RunDir
from dnlbench.store.workspace import find_sweep
from dnlbench.tui.app import DnlbenchApp, start_screen, sweep_screen
from dnlbench.tui.screens.compare import CompareScreen
from dnlbench.tui.screens.confirm import ConfirmDialog
from dnlbench.tui.screens.run import RunScreen
from dnlbench.tui.screens.start import StartScreen
from dnlbench.tui.screens.sweep import SweepScreen
from dnlbench.tui.widgets.chart import ChartView
from dnlbench.tui.widgets.runs_table import RunsTable
from dnlbench.watch import SweepView, Watcher
from tests.cli.conftest import OWN, Gate
from tests.tui.conftest import PATIENCE_S, WIDE, Drive, Notices, ScreenText, until

SPEC = """
# Networks that train as far as the test lets them.
name = "mine"
[sweep]
networks = ["own:gated"]
depths = [1, 2]
seeds = 3
[data]
limit = 100
[train]
epochs = 24
batch_size = 20
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a spec. All processes started there are killed afterwards."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.toml").write_text(SPEC)
    monkeypatch.setenv("GATE", str(tmp_path / ".gate"))
    yield tmp_path
    for child in psutil.Process().children(recursive=True):
        child.kill()


async def turn_until(pilot: Pilot[Any], gate: Gate, condition: Callable[[SweepView], object]) -> None:
    """Train step by step until the run directory fulfills a condition."""
    run_dir = find_sweep()

    def has_come() -> bool:
        gate.turn()
        return bool(condition(Watcher(run_dir, run_dir.read_plan()).poll(time.time())))

    await until(pilot, has_come)


async def choose_mine(pilot: Pilot[Any], screen_text: ScreenText) -> None:
    """Select the spec of the folder, once the lists are filled."""
    await until(pilot, lambda: "digits-quick" in screen_text(pilot.app))
    await pilot.press("slash", *"mine", "enter")
    await until(pilot, lambda: "6 runs" in screen_text(pilot.app) and "digits-quick" not in screen_text(pilot.app))


def table(pilot: Pilot[Any]) -> RunsTable:
    return pilot.app.screen.query_one(RunsTable)


def states(pilot: Pilot[Any]) -> list[str]:
    screen = pilot.app.screen
    assert isinstance(screen, SweepScreen)
    return [row.state for row in screen._view_model.rows.values()]


@pytest.mark.faults
def test_a_sweep_is_started_paused_left_reopened_and_compared(
    folder: Path, drive: Drive, screen_text: ScreenText, notices: Notices
) -> None:
    gate = Gate(folder / ".gate")

    async def begin(pilot: Pilot[Any]) -> None:
        await choose_mine(pilot, screen_text)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))
        await turn_until(pilot, gate, lambda view: any(each.epochs.done for each in view.histories.values()))
        await until(pilot, lambda: pilot.app.screen.query_one("#loss", ChartView).chart.series)
        await pilot.press("slash", *"status=running", "enter")
        await until(pilot, lambda: table(pilot).shown == 2 and pilot.app.focused is table(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen) and table(pilot).current)
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "cancelled" in states(pilot))
        await pilot.press("P")
        await turn_until(pilot, gate, lambda view: view.pause_state.sweep and not view.leased)
        await until(pilot, lambda: "‖ paused" in screen_text(pilot.app) and "running" not in states(pilot))
        await pilot.press("P")
        await until(pilot, lambda: "running" in states(pilot))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartScreen))
        await pilot.press("q")

    drive(DnlbenchApp(start_screen), begin)
    run_dir = find_sweep()
    assert run_dir.engine() is not None, "the sweep goes on"

    async def come_back(pilot: Pilot[Any]) -> None:
        gate.open()
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))
        await until(pilot, lambda: states(pilot).count("ok") == 5 and RunDir(run_dir.root).engine() is None)
        await until(pilot, lambda: "✓ done" in screen_text(pilot.app))
        await pilot.press("slash", *"status=cancelled", "enter")
        await until(pilot, lambda: table(pilot).shown == 1 and pilot.app.focused is table(pilot))
        await pilot.press("r")
        await until(pilot, lambda: any("dnlbench run --resume" in message for message, _ in notices))
        await pilot.press("g")
        await until(pilot, lambda: states(pilot).count("ok") == 6)
        await until(pilot, lambda: RunDir(run_dir.root).engine() is None)

    drive(DnlbenchApp(lambda: sweep_screen(run_dir.root)), come_back)
    profiles = sorted((folder / "profiles").glob("mine-*.json"))
    assert [read_profile(path).state for path in profiles] == ["partial", "complete"]
    assert [check_profile(read_profile(path)) for path in profiles] == [[], []]

    async def compare(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await until(pilot, lambda: "B compared with A" in screen_text(pilot.app))
        assert "no difference" in screen_text(pilot.app)

    drive(DnlbenchApp(lambda: CompareScreen(profiles)), compare, size=WIDE)


def test_what_cannot_be_started_says_why(folder: Path, drive: Drive, screen_text: ScreenText, notices: Notices) -> None:
    shutil.rmtree(folder / "profiles", ignore_errors=True)
    (folder / "profiles").write_text("in the way")

    async def act(pilot: Pilot[Any]) -> None:
        await choose_mine(pilot, screen_text)
        await pilot.press("s")
        await until(pilot, lambda: any(severity == "error" for _, severity in notices))
        message, _ = notices[-1]
        assert "the profile cannot be written in" in message
        assert isinstance(pilot.app.screen, StartScreen)

    drive(DnlbenchApp(start_screen), act)


def test_the_terminal_ui_never_imports_torch(folder: Path) -> None:
    code = """
import sys
from dnlbench.tui.app import binding_names, DnlbenchApp, start_screen
async def leave(pilot):
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.press('q')
binding_names()
DnlbenchApp(start_screen).run(headless=True, auto_pilot=leave)
heavy = {'torch', 'torchvision', 'sklearn', 'ray', 'matplotlib'} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
