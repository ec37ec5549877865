"""Golden text of every screen, from recorded files and with a fixed clock, at two sizes, with and without colors.

``UPDATE_GOLDEN=1`` writes what the screens show now; check_screen at the difference before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.color import ColorType
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from dnlbench.machine import Device, Machine, Reading
from dnlbench.profiles import Profile, save_profile
from dnlbench.spec.presets import read_preset
from dnlbench.store import RunDir
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.screens.compare import CompareScreen
from dnlbench.tui.screens.new_sweep import NewSweepScreen
from dnlbench.tui.screens.run import RunScreen
from dnlbench.tui.screens.start import StartScreen
from dnlbench.tui.screens.sweep import SweepScreen
from dnlbench.tui.view_model import ViewModelBuilder
from dnlbench.tui.widgets.chart import ChartView
from dnlbench.tui.widgets.entry_list import EntryList
from dnlbench.tui.widgets.log_view import LogView
from tests.tui.conftest import NOW, Drive, Record, ScreenText, polled_again, until

HERE = "0123456789abcdef"
"""The machine of the recorded sweeps."""
SIZES = {"80x24": (80, 24), "160x48": (160, 48)}
STATES = ["done"] * 4 + ["failed"] + ["done"] * 3 + ["diverged", "half", "half"]
NO_SCREEN = ""
"""Name of steps that only navigate, without a golden file."""
MakeProfile = Callable[..., Profile]


class SteadyTelemetry:
    """Telemetry of two devices with constant values."""

    def read(self, now: float) -> tuple[Reading, ...]:
        fields: dict[str, Any] = {"time": now, "utilization": 0.5, "memory_used_bytes": 4 * 2**30}
        gpu: dict[str, Any] = {"temperature_c": 61.0, "power_w": 548.0, "power_limit_w": 700.0}
        return (
            Reading(label="cuda:0", name="NVIDIA H200", memory_bytes=139 * 2**30, **fields, **gpu),
            Reading(label="cpu", name="Some CPU", memory_bytes=16 * 2**30, **fields),
        )

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def colors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """True, unless `with_and_without_colors` sets it to False."""
    wanted = bool(getattr(request, "param", True))
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    return wanted


with_and_without_colors = pytest.mark.parametrize("colors", [True, False], ids=["colors", "no-color"], indirect=True)


@pytest.fixture
def check(
    drive: Drive, screen_text: ScreenText, matches_golden: Callable[[str, str], None], colors: bool
) -> Callable[..., None]:
    """Open a screen, wait until it is ``ready``, press the keys of each step and compare the screen with golden files."""

    def run(
        first: Callable[[], Screen[None]],
        ready: Callable[[Screen[Any]], object],
        *steps: tuple[str, tuple[str, ...]],
        sizes: tuple[str, ...] = tuple(SIZES),
    ) -> None:
        async def begin(pilot: Pilot[Any]) -> None:
            await until(pilot, lambda: ready(pilot.app.screen))

        async def check_screen(pilot: Pilot[Any], name: str, keys: tuple[str, ...]) -> None:
            for key in keys:
                await pilot.press(key)
                await polled(pilot)
            for size in () if name == NO_SCREEN else sizes:
                await pilot.resize_terminal(*SIZES[size])
                await polled(pilot)
                if not colors:
                    assert set(colors_on(pilot.app)) <= {"grey"}
                matches_golden(screen_text(pilot.app), f"{name}-{size}{'' if colors else '-no-color'}")

        checks = (partial(check_screen, name=name, keys=keys) for name, keys in steps)
        drive(DnlbenchApp(first), begin, *checks, size=SIZES[sizes[0]])

    return run


async def polled(pilot: Pilot[Any]) -> None:
    """Wait until all pollers have polled and all worker threads are done."""
    for screen in pilot.app.screen_stack:
        if isinstance(screen, SweepScreen):
            await polled_again(pilot, screen)
        if isinstance(screen, RunScreen):
            screen.paint()
    for log in pilot.app.screen.query(LogView):
        log.poll()
    await pilot.app.workers.wait_for_complete(
        worker
        for worker in pilot.app.workers
        if worker.group != "default"  # workers of this group wait for dialogs
    )
    await pilot.pause()


def colors_on(app: App[Any]) -> list[str]:
    """Return the color of each cell as sent to the terminal: ``grey``, or the name of another color."""
    filters = app._filters
    names = []
    for strip in app.screen._compositor.render_strips():
        for line_filter in filters:
            strip = strip.apply_filter(line_filter, app.screen.background_colors[1])
        for segment in strip:
            style = segment.style
            for color in (style.color, style.bgcolor) if style else ():
                if color is not None and color.type is not ColorType.DEFAULT:
                    red, green, blue = color.get_truecolor()
                    names.append("grey" if red == green == blue else str(color.name))
    return names


def sweep_screen(run_dir: RunDir) -> SweepScreen:
    telemetry: Any = SteadyTelemetry
    return SweepScreen(run_dir, lambda: NOW, ViewModelBuilder(telemetry, lambda: HERE))


def is_loaded(screen: Screen[Any]) -> bool:
    return all(view.chart.series for view in screen.query(ChartView))


@pytest.fixture
def recorded(record: Record) -> RunDir:
    run_dir = record("sweep.depths=[1,2,4,8]", "train.epochs=12", states=STATES, name=".dnlbench/runs/tiny-1")
    return RunDir(run_dir.root.relative_to(Path.cwd()))  # the same in every test


@with_and_without_colors
def test_a_sweep_and_a_run(recorded: RunDir, check: Callable[..., None]) -> None:
    check(lambda: sweep_screen(recorded), is_loaded, ("sweep", ()), ("run", ("enter",)))


@pytest.mark.parametrize("size", SIZES)
def test_what_keys_show(recorded: RunDir, check: Callable[..., None], size: str) -> None:
    check(
        lambda: sweep_screen(recorded),
        is_loaded,
        ("sweep-columns", ("C",)),
        (NO_SCREEN, ("escape", "enter")),
        ("run-traceback", ("T",)),
        ("run-details", ("q", "2")),
        ("run-log", ("3",)),
        ("sweep-cursor", ("q", "1", "c", "left", "left", "l")),
        ("sweep-depth", ("0", "2")),
        ("sweep-devices", ("3", "down")),
        ("sweep-filter", ("up", "1", "4", "slash", *"status=failed,diverged or seed=1", "enter")),
        sizes=(size,),
    )


def test_a_sweep_under_way(record: Record, check: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = record("train.epochs=12", states=["done", "failed", "half", "half"], name="rd", engine=None)
    monkeypatch.setattr(RunDir, "engine", lambda self: "4242")
    check(lambda: sweep_screen(RunDir(Path(run_dir.root.name))), is_loaded, ("sweep-running", ()))


@pytest.fixture
def steady_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the form's estimates."""
    machine = Machine(
        os="Linux 6.1",
        cpu="Some CPU",
        cores=2,
        memory_bytes=16 * 2**30,
        python="3.11.9",
        torch="2.11.0",
        devices=(Device(kind="cpu", name="Some CPU", memory_bytes=16 * 2**30, memory_used_bytes=2**30),),
        fingerprint="0123456789abcdef",
    )
    monkeypatch.setattr("dnlbench.machine.read_machine", lambda: machine)


@with_and_without_colors
def test_the_start(recorded: RunDir, make_profile: MakeProfile, check: Callable[..., None]) -> None:
    os.utime(recorded.journal_path, (NOW - 60, NOW - 60))
    save_profile(make_profile({("densenet", 2): [0.3, 0.4]}), Path("profiles/one.json"))
    check(lambda: StartScreen(Path(), lambda: NOW), has_entries, ("start", ()))


def has_entries(screen: Screen[Any]) -> bool:
    """Return True once its three lists are filled."""
    lists = list(screen.query(EntryList))
    return len(lists) == 3 and all(each.chosen for each in lists)


def test_the_help(check: Callable[..., None]) -> None:
    check(lambda: StartScreen(Path(), lambda: NOW), has_presets, ("help", ("f1",)))


def has_presets(screen: Screen[Any]) -> bool:
    return bool(screen.query(EntryList)) and screen.query(EntryList).first().chosen is not None


@with_and_without_colors
def test_the_form(steady_machine: None, check: Callable[..., None]) -> None:
    text = read_preset("digits-quick").text
    check(lambda: NewSweepScreen(text, "preset digits-quick", Path()), lambda screen: True, ("new-sweep", ()))


@with_and_without_colors
def test_two_profiles(make_profile: MakeProfile, check: Callable[..., None]) -> None:
    paths = []
    for name, factor in (("one", 1.0), ("two", 1.1)):
        losses = {
            (network, L): [factor * (0.2 + 0.8 / L + 0.01 * seed) for seed in range(3)]
            for network in ("densenet", "plain")
            for L in (2, 4, 8, 16)
        }
        paths.append(save_profile(make_profile(losses, name=name), Path(f"profiles/{name}.json")))
    check(lambda: CompareScreen(paths), is_loaded, ("compare", ()))
    for size in SIZES:
        check(lambda: CompareScreen(paths), is_loaded, ("compare-depth", ("2", "d")), sizes=(size,))
    check(lambda: CompareScreen(paths[:1]), is_loaded, ("profile", ()))
