"""The screens of a sweep and of a run, driven by keys over recorded run directories."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from dnlbench.errors import EngineError
from dnlbench.events import Command, Measured, RunEnded, RunStarted
from dnlbench.executor.scheduler.control import CommandResult
from dnlbench.machine import Reading
from dnlbench.plan import Plan
from dnlbench.spec import read_spec
from dnlbench.store import Execution, RunDir
from dnlbench.studies import STUDIES
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.screens import control as module
from dnlbench.tui.screens.run import RunScreen, Traceback
from dnlbench.tui.screens.sweep import SweepScreen
from dnlbench.tui.view_model import ViewModelBuilder
from dnlbench.tui.widgets.chart import ChartView
from dnlbench.tui.widgets.devices import DevicePanel
from dnlbench.tui.widgets.runs_table import RunsTable
from tests.tui.conftest import (
    NARROW,
    NOW,
    PATIENCE_S,
    WIDE,
    Drive,
    Notices,
    Record,
    ScreenText,
    polled_again,
    until,
    workers_done,
)

HERE = "0123456789abcdef"
"""The machine of the recorded sweeps."""
STATES = ["done"] * 4 + ["failed"] + ["done"] * 3 + ["diverged", "half", "half"]


class SteadyTelemetry:
    """Telemetry of one device with constant values."""

    def read(self, now: float) -> tuple[Reading, ...]:
        return (
            Reading(
                time=now,
                label="cpu",
                name="Some CPU",
                utilization=0.5,
                memory_used_bytes=4 * 2**30,
                memory_bytes=16 * 2**30,
            ),
        )

    def close(self) -> None: ...


def app_of(run_dir: RunDir, here: str = HERE) -> DnlbenchApp:
    def first() -> SweepScreen:
        telemetry: Any = SteadyTelemetry
        return SweepScreen(run_dir, lambda: NOW, ViewModelBuilder(telemetry, lambda: here))

    return DnlbenchApp(first)


@pytest.fixture(scope="module")
def sweep(record_once: Record) -> RunDir:
    """A run directory with sixteen runs in all states, without an engine."""
    return record_once("sweep.depths=[1,2,4,8]", "train.epochs=12", states=STATES)


def screen_of(pilot: Pilot[Any]) -> SweepScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, SweepScreen))


async def loaded(pilot: Pilot[Any]) -> SweepScreen:
    """Return the screen, once the poller has delivered all its parts."""
    screen = screen_of(pilot)
    await until(
        pilot, lambda: screen.query_one("#depth", ChartView).chart.series or screen._view_model.snapshot.problem
    )
    await pilot.pause()
    return screen


def has(chart: ChartView, title: str, x: str) -> bool:
    return chart.chart.title.startswith(title) and chart.chart.x.label == x


def shown(screen: SweepScreen) -> list[str]:
    """Return the runs of the table in order."""
    table = screen.query_one(RunsTable)
    return [str(table._rows[run_id].run.title) for run_id in table._shown_rows]


def test_a_narrow_terminal(
    sweep: RunDir, drive: Drive, screen_text: ScreenText, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def a_search_finds_matches(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        feeds.append(screen._poller._thread)
        assert feeds[0].is_alive()
        for word in ("tiny", "✓ done", "2 ✗", "Training loss (nats)", "densenet", "✗ failed"):
            assert word in screen_text(pilot.app)

    async def panels_are_reached_by_number(pilot: Pilot[Any]) -> None:
        screen = screen_of(pilot)
        panels = [screen.query_one(f"#{name}") for name in ("loss", "depth", "devices")]
        for key, name in (("2", "depth"), ("3", "devices"), ("1", "loss")):
            await pilot.press(key)
            assert [panel.id for panel in panels if panel.region.area] == [name]
            assert screen.focused is screen.query_one(f"#{name}")
        await pilot.press("4")
        assert screen.focused is screen.query_one(RunsTable)

    async def a_run_is_opened_with_its_log_and_its_traceback(pilot: Pilot[Any]) -> None:
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, RunScreen)
        chart = pilot.app.screen.query_one(ChartView)
        assert [series.label for series in chart.chart.series] == ["densenet L=4", "seed 0"]
        assert "densenet L=4 seed 0  ✗ failed  RuntimeError: something broke" in screen_text(pilot.app)
        await pilot.press("2")
        for fact in ("status           failed", "parameters       4 000", "epochs           6 of 12", "1. 2027-01-15"):
            assert fact in screen_text(pilot.app)
        await pilot.press("3")
        await until(pilot, lambda: "densenet L=4 seed 0: 150 samples" in screen_text(pilot.app))
        await pilot.press("T")
        assert isinstance(pilot.app.screen, Traceback)
        assert 'File "train.py", line 3, in step' in screen_text(pilot.app)
        await pilot.press("y", "q")
        assert "Traceback" in pilot.app.clipboard
        await pilot.press("q")
        assert isinstance(pilot.app.screen, SweepScreen)

    async def without_an_engine_nothing_is_asked_of_it(pilot: Pilot[Any]) -> None:
        notices.clear()
        await pilot.press("P")
        await workers_done(pilot)
        assert notices == [("No engine is running. Press g to resume the sweep.", "warning")]
        await pilot.press("R", "y")
        await until(pilot, lambda: ("nobody is there to ask", "error") in notices)

    async def columns_are_chosen(pilot: Pilot[Any]) -> None:
        assert "samples/s" in screen_text(pilot.app)
        await pilot.press("C", *["down"] * 13, "space", "escape")
        assert "rate" not in screen_of(pilot).query_one(RunsTable).selection.columns
        assert "samples/s" not in screen_text(pilot.app)

    async def the_table_is_sorted_and_the_cursor_stays_on_its_run(pilot: Pilot[Any]) -> None:
        screen = screen_of(pilot)
        table = screen.query_one(RunsTable)
        assert shown(screen)[:2] == ["densenet L=4 seed 0", "dense-gaussian L=1 seed 0"]  # failed runs come first
        under = table.current
        await pilot.press("o")
        assert shown(screen)[0] == "densenet L=1 seed 0"  # the plan's order
        assert table.current == under
        await pilot.press("O")
        assert shown(screen)[0] == "dense-gaussian L=8 seed 1"
        assert table.current == under

    async def leave(pilot: Pilot[Any]) -> None:
        await pilot.press("q")

    def give(run_dir: RunDir, command: Command) -> CommandResult:
        raise EngineError("nobody is there to ask")

    feeds: list[threading.Thread] = []
    monkeypatch.setattr(module, "give_command", give)
    drive(
        app_of(sweep),
        a_search_finds_matches,
        panels_are_reached_by_number,
        a_run_is_opened_with_its_log_and_its_traceback,
        without_an_engine_nothing_is_asked_of_it,
        columns_are_chosen,
        the_table_is_sorted_and_the_cursor_stays_on_its_run,
        leave,
    )
    feeds[0].join(PATIENCE_S)
    assert not feeds[0].is_alive()


def test_a_wide_terminal(sweep: RunDir, drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def a_search_finds_matches(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        text = screen_text(pilot.app)
        for word in ("tiny", "✓ done", "2 not ok", "Training loss (nats)", "densenet", "✗ failed"):
            assert word in text
        assert "Final training loss (nats) vs. depth, so far" in text
        assert "4 of 16 GiB" in text
        assert "RuntimeError: something broke" in text

    async def the_table_is_filtered_while_one_types(pilot: Pilot[Any]) -> None:
        screen = screen_of(pilot)
        assert len(shown(screen)) == 16
        await pilot.press("slash", *"status=failed,diverged")
        assert shown(screen) == ["densenet L=4 seed 0", "dense-gaussian L=1 seed 0"]
        await pilot.press("enter")
        assert screen.focused is screen.query_one(RunsTable)
        assert "Runs: 2 of 16   filter: status=failed,diverged" in screen_text(pilot.app)
        await pilot.press("slash")
        screen.query_one("#filter", Input).value = "detph=1"
        await pilot.pause()
        assert "detph: no such field; did you mean 'depth'?" in screen_text(pilot.app)
        assert len(shown(screen)) == 2
        screen.query_one("#filter", Input).value = ""
        await pilot.press("escape")
        assert len(shown(screen)) == 16

    async def what_is_shown_is_exported_and_nothing_is_overwritten(pilot: Pilot[Any]) -> None:
        await pilot.press("e", "e", "1", "e", "2", "e")
        names = sorted(path.name for path in tmp_path.glob("tiny-*"))
        assert names == ["tiny-depth.svg", "tiny-loss.svg", "tiny-runs-2.csv", "tiny-runs.csv"]
        rows = list(csv.DictReader(io.StringIO((tmp_path / "tiny-runs.csv").read_text())))
        assert len(rows) == 16
        first = rows[0]
        assert (first["status"], first["depth"], first["message"]) == ("failed", "4", "RuntimeError: something broke")
        assert (tmp_path / "tiny-loss.svg").read_text().lstrip().startswith("<?xml")

    def is_shown(pilot: Pilot[Any], words: str) -> bool:
        return words in screen_text(pilot.app)

    async def help_is_about_the_focused_widget(pilot: Pilot[Any]) -> None:
        for key, words in (("4", "marks runs"), ("1", "reset the view")):
            await pilot.press(key, "f1")
            await until(pilot, partial(is_shown, pilot, words))
            await pilot.press("f1")
            await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))

    async def metric_and_x_axis_are_chosen(pilot: Pilot[Any]) -> None:
        chart = screen_of(pilot).query_one("#loss", ChartView)
        for key, title, x in (
            ("m", "Gradient norm", "epoch"),
            ("m", "Throughput", "epoch"),
            ("t", "Throughput", "training step"),
            ("t", "Throughput", "training time"),
            ("m", "Training loss", "training time"),
        ):
            await pilot.press(key)
            await until(pilot, partial(has, chart, title, x))
        depth = screen_of(pilot).query_one("#depth", ChartView)
        await pilot.press("v")
        await until(pilot, lambda: depth.chart.title.startswith("Throughput"))

    async def updates_can_be_frozen(pilot: Pilot[Any]) -> None:
        screen = screen_of(pilot)
        await pilot.press("u")
        assert "frozen" in screen_text(pilot.app)
        frozen = screen._view_model
        await polled_again(pilot, screen_of(pilot))
        assert screen._view_model is frozen
        await pilot.press("u")
        assert screen._view_model is not frozen
        assert "frozen" not in screen_text(pilot.app)

    async def the_palette_has_the_keys_of_the_screen(pilot: Pilot[Any]) -> None:
        await pilot.press("4")
        screen = screen_of(pilot)
        commands = {command.title: command for command in pilot.app.get_system_commands(screen)}
        assert {"Metric (m)", "Cancel (k)", "Sort (o)"} <= commands.keys()
        commands["Freeze (u)"].callback()
        await until(pilot, lambda: screen._frozen)

    drive(
        app_of(sweep),
        a_search_finds_matches,
        the_table_is_filtered_while_one_types,
        what_is_shown_is_exported_and_nothing_is_overwritten,
        help_is_about_the_focused_widget,
        metric_and_x_axis_are_chosen,
        updates_can_be_frozen,
        the_palette_has_the_keys_of_the_screen,
        size=WIDE,
    )


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """The commands that would be sent to an engine, which seems to be running."""
    given: list[Command] = []

    def give(run_dir: RunDir, command: Command) -> CommandResult:
        given.append(command)
        return CommandResult(answer="obeyed")

    monkeypatch.setattr(module, "give_command", give)
    monkeypatch.setattr(RunDir, "engine", lambda self: "4242")
    return given


def test_keys_control_runs_and_devices_and_confirm_what_loses_work(
    record: Record, drive: Drive, commands: list[Command]
) -> None:
    run_dir = record("train.epochs=12", states=["failed", "half", "half"], engine=None)
    ids = [run.run_id for run in run_dir.read_plan().runs]

    async def asked_by(pilot: Pilot[Any], *keys: str) -> list[tuple[str, tuple[str, ...], str | None]]:
        commands.clear()
        await pilot.press(*keys)
        await workers_done(pilot)
        return [(command.action, command.run_ids, command.device) for command in commands]

    async def runs(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        press = partial(asked_by, pilot)
        assert await press("space") == [("pause", (ids[1],), None)]
        assert await press("k", "n") == []
        assert await press("k", "escape") == []
        assert await press("k", "y") == [("cancel", (ids[1],), None)]
        assert await press("x", "x", "k", "y") == [("cancel", (ids[1], ids[2]), None)]
        assert await press("x") == []  # now the failed run is marked too
        assert await press("r") == [("retry", (ids[0],), None)]
        assert await press("P") == [("pause", (), None)]
        assert await press("K", "n") == []
        assert await press("K", "y") == [("cancel", (), None)]
        assert await press("R", "y") == [("retry", (), None)]

    async def devices(pilot: Pilot[Any]) -> None:
        assert await asked_by(pilot, "3", "p") == [("pause", (), "cpu")]
        assert screen_of(pilot).query_one(DevicePanel).selected == "cpu"
        assert await asked_by(pilot, "D", "y") == [("release", (), "cpu")]

    drive(app_of(run_dir), runs, devices)


def test_the_end_of_a_watched_sweep_is_reported_once(
    record: Record, drive: Drive, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = record(states=["done"] * 7 + ["failed"])
    engines = ["4242"]
    monkeypatch.setattr(RunDir, "engine", lambda self: engines[0] if engines else None)

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        engines.clear()
        for _ in range(2):
            await polled_again(pilot, screen_of(pilot))
            assert notices == [("tiny: done, 1 run not ok", "warning")]

    drive(app_of(run_dir), act)


def test_what_cannot_be_read_is_a_message_and_never_a_crash(
    record: Record, drive: Drive, screen_text: ScreenText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnlbench.tui.poller.IDLE_S", PATIENCE_S)  # it polls when it is woken
    sweep = record("sweep.depths=[1,2,4,8]", "train.epochs=12", states=STATES)

    def add(line: bytes) -> None:
        with sweep.journal_path.open("ab") as journal:
            journal.write(line)

    async def tear(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        add(b'{"event":"epo')
        await polled_again(pilot, screen_of(pilot))
        assert not screen.query_one("#problem").has_class("-shown")
        await is_all_there(pilot)

    async def spoil(pilot: Pilot[Any]) -> None:
        add(b"\xff\xfe nothing\n")
        await is_reported(pilot, "not an event")

    async def be_newer(pilot: Pilot[Any]) -> None:
        sweep.sweep_path.write_text(sweep.sweep_path.read_text().replace("dnlbench.sweep/2", "dnlbench.sweep/7"))
        await is_reported(pilot, "this version reads")

    async def vanish(pilot: Pilot[Any]) -> None:
        shutil.rmtree(sweep.root)
        await is_reported(pilot, "no longer exists")

    async def is_reported(pilot: Pilot[Any], words: str) -> None:
        screen_of(pilot)._poller.wake()
        problem = screen_of(pilot).query_one("#problem", Static)
        await until(pilot, lambda: words in str(problem.content))
        await is_all_there(pilot)

    async def is_all_there(pilot: Pilot[Any]) -> None:
        assert len(shown(screen_of(pilot))) == 16
        await pilot.press("enter")
        assert "densenet L=4 seed 0  ✗ failed" in screen_text(pilot.app)
        await pilot.press("q")

    drive(app_of(sweep), tear, spoil, be_newer, vanish)


def test_a_directory_without_a_sweep_is_a_message(tmp_path: Path, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("enter", "space", "k", "m", "v", "C", "escape", "e", "2", "3", "4")
        assert "not a run directory: it has no sweep.json" in screen_text(pilot.app).replace("\n", "")

    drive(app_of(RunDir(tmp_path / "none")), act, size=NARROW)


def test_any_size_of_terminal_is_survived(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        for size in ((20, 5), (400, 100), (10, 2), (120, 8), (40, 60), NARROW):
            await pilot.resize_terminal(*size)
            await pilot.press("2", "3", "4", "enter", "1", "2", "3", "q", "1")
        assert "densenet" in screen_text(pilot.app)

    drive(app_of(sweep), act, size=NARROW)


def test_a_key_can_be_rebound(
    sweep: RunDir,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    screen_text: ScreenText,
    notices: Notices,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('theme = "ansi-dark"\n[keys]\n"sweep.hold" = "f8"\n"sweep.metrik" = "f9"\n')
    monkeypatch.setenv("DNLBENCH_CONFIG", str(config))

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        ((message, _),) = notices
        assert "keys.sweep.metrik: no such key; did you mean 'sweep.metric'?" in message
        await pilot.press("u")
        assert "frozen" not in screen_text(pilot.app)
        await pilot.press("f8")
        assert "frozen" in screen_text(pilot.app)
        assert pilot.app.theme == "ansi-dark"
        charts = pilot.app.screen.query(ChartView)
        await until(pilot, lambda: all(c.chart.series for c in charts))
        assert all(chart._theme().ansi for chart in charts)

    drive(app_of(sweep), act, size=WIDE)


def test_another_machine_s_sweep_is_shown_without_this_one_s_devices(
    record: Record, drive: Drive, screen_text: ScreenText
) -> None:
    run_dir = record("train.epochs=12", states=["done", "half"], engine=None)

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        text = screen_text(pilot.app)
        assert "no telemetry, the sweep runs on another machine" in text
        assert "4 of 16 GiB" not in text
        assert "densenet L=1 seed 1" in text

    drive(app_of(run_dir, here="another"), act, size=WIDE)


@pytest.fixture(scope="module")
def errors_over_depth(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A sweep of a study without epochs, whose errors halve from depth to depth."""
    spec = read_spec(
        "forward-limit", ["sweep.kernels=['local']", "sweep.activations=['tanh']", "sweep.depths=[8,16,32,64]"]
    )
    run_dir = RunDir(tmp_path_factory.mktemp("recorded") / "limit")
    run_dir.begin(Plan(spec), Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine=HERE, source="0"))
    for run in run_dir.read_plan().runs:
        measurements: dict[str, float | tuple[float, ...]] = {
            quantity.name: (1 + 0.1 * run.seed) / run.point.depth
            for quantity in STUDIES["forward-limit"].quantities
            if "error" in quantity.name
        }
        measurements["errors"] = tuple(0.1 * n for n in range(run.point.depth))
        writer = run_dir.events_writer(run.run_id)
        for event in (
            RunStarted(run_id=run.run_id, attempt=1, device="cpu", device_name="x", threads=1, parameters=1),
            Measured(run_id=run.run_id, seconds=0.5, measurements=measurements),
            RunEnded(run_id=run.run_id, status="ok"),
        ):
            writer.write(event.model_dump_json())
        writer.close()
    return run_dir


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_study_without_epochs_shows_its_chart_in_the_same_layout(
    errors_over_depth: RunDir, drive: Drive, screen_text: ScreenText, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        await until(pilot, lambda: "result" in screen_text(pilot.app))
        depth = screen.query_one("#depth", ChartView)
        assert depth.region.area > 0
        assert screen.query_one("#loss").region.area == 0
        assert depth.chart.title.startswith("Largest error vs. depth")
        assert any("order 1" in line for line in depth.chart.fits)
        await pilot.press("m")
        await until(pilot, lambda: depth.chart.title.startswith("Error of the last state"))
        await pilot.press("enter")
        chart = pilot.app.screen.query_one(ChartView)
        assert chart.chart.title == "Errors of local-tanh L=8 seed 0"
        assert len(chart.chart.series[0].x) == 8

    drive(app_of(errors_over_depth), act, size=size)


def test_depths_of_many_digits_are_not_cut(record: Record, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        lines = [line for line in screen_text(pilot.app).splitlines() if "densenet " in line and " ok " in line]
        assert any(line.split()[3] == "1024" for line in lines), lines

    drive(app_of(record("sweep.depths=[1,1024]", states=["done"] * 4)), act, size=WIDE)


def test_long_network_names_are_not_cut_in_wide_terminals(
    tmp_path: Path, drive: Drive, screen_text: ScreenText
) -> None:
    spec = read_spec("embedding", ["sweep.learning_rates=[0.125]", "sweep.depths=[1]", "sweep.width_factors=[2]"])
    run_dir = RunDir(tmp_path / "long")
    run_dir.begin(Plan(spec), Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine=HERE, source="0"))

    async def act(pilot: Pilot[Any], size: tuple[int, int]) -> None:
        await pilot.resize_terminal(*size)
        screen_of(pilot).paint()
        await until(pilot, lambda: "fully-connected-x2-lr0.125" in screen_text(pilot.app))
        (head,) = (line for line in screen_text(pilot.app).splitlines() if "network" in line and "seed" in line)
        assert "left" in head  # all columns are still there

    drive(app_of(run_dir), *(partial(act, size=size) for size in (NARROW, WIDE)))
