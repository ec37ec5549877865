"""The screens of a sweep and of a run, driven by keys over recorded run directories."""

from __future__ import annotations

import csv
import io
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, Static

from dnlbench.errors import EngineError
from dnlbench.events import Command, Measured, RunEnded, RunStarted
from dnlbench.executor.steering import Verdict
from dnlbench.machine import Reading
from dnlbench.plan import Plan
from dnlbench.spec import read_spec
from dnlbench.store import Execution, RunDir
from dnlbench.studies import STUDIES
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.digest import Digester
from dnlbench.tui.screens import steered as module
from dnlbench.tui.screens.run import RunScreen, Traceback
from dnlbench.tui.screens.sweep import SweepScreen
from dnlbench.tui.widgets.chart import Chart
from dnlbench.tui.widgets.devices import DevicePanel
from dnlbench.tui.widgets.runs_table import RunsTable

NOW = 1_800_000_000.0
HERE = "0123456789abcdef"
"""The machine of the recorded sweeps."""
NARROW, WIDE = (80, 24), (160, 48)
STATES = ["done"] * 4 + ["failed"] + ["done"] * 3 + ["diverged", "half", "half"]
Record = Callable[..., RunDir]
Act = Callable[[Pilot[Any]], Awaitable[None]]
Drive = Callable[..., None]
ScreenText = Callable[[App[Any]], str]


class SteadyTelemetry:
    """A machine on which nothing moves."""

    def read(self, now: float) -> tuple[Reading, ...]:
        return (
            Reading(
                time=now,
                label="cpu",
                name="Some CPU",
                utilisation=0.5,
                memory_used_bytes=4 * 2**30,
                memory_bytes=16 * 2**30,
            ),
        )

    def close(self) -> None: ...


def app_of(run_dir: RunDir, here: str = HERE) -> DnlbenchApp:
    def first() -> SweepScreen:
        telemetry: Any = SteadyTelemetry
        return SweepScreen(run_dir, lambda: NOW, Digester(telemetry, lambda: here))

    return DnlbenchApp(first)


@pytest.fixture
def sweep(record: Record) -> RunDir:
    """Sixteen runs in all states, of an engine that is gone."""
    return record("sweep.depths=[1,2,4,8]", "train.epochs=12", states=STATES)


async def until(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        await pilot.pause(0.02)


async def loaded(pilot: Pilot[Any]) -> SweepScreen:
    """The screen, once the feed has given it everything."""
    screen = next(screen for screen in pilot.app.screen_stack if isinstance(screen, SweepScreen))
    await until(pilot, lambda: screen.query_one("#depth", Chart).figure.series or screen._shown.snapshot.problem)
    await pilot.pause()
    return screen


def has(chart: Chart, title: str, x: str) -> bool:
    return chart.figure.title.startswith(title) and chart.figure.x.label == x


def shown(screen: SweepScreen) -> list[str]:
    """The runs of the table, in order."""
    table = screen.query_one(RunsTable)
    return [str(table._rows[run_id].run.title) for run_id in table._drawn]


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_what_is_looked_for_is_there(
    sweep: RunDir, drive: Drive, screen_text: ScreenText, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        text = screen_text(pilot.app)
        for word in (
            "tiny",
            "✓ done",
            "2 ✗" if size == NARROW else "2 not ok",
            "Training loss (nats)",
            "densenet",
            "✗ failed",
        ):
            assert word in text
        if size == WIDE:
            assert "Final training loss (nats) against depth, so far" in text
            assert "4 of 16 GiB" in text
            assert "RuntimeError: something broke" in text

    drive(app_of(sweep), act, size)


def test_panels_are_reached_by_number(sweep: RunDir, drive: Drive) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        panels = [screen.query_one(f"#{name}") for name in ("loss", "depth", "devices")]
        for key, name in (("2", "depth"), ("3", "devices"), ("1", "loss")):
            await pilot.press(key)
            await pilot.pause()
            assert [panel.id for panel in panels if panel.region.area] == [name]
            assert screen.focused is screen.query_one(f"#{name}")
        await pilot.press("4")
        assert screen.focused is screen.query_one(RunsTable)

    drive(app_of(sweep), act, NARROW)


def test_the_table_is_filtered_while_one_types(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        assert len(shown(screen)) == 16
        await pilot.press("slash", *"status=failed,diverged")
        await pilot.pause()
        assert shown(screen) == ["densenet L=4 seed 0", "dense-gaussian L=1 seed 0"]
        await pilot.press("enter")
        assert screen.focused is screen.query_one(RunsTable)
        assert "Runs: 2 of 16   filter: status=failed,diverged" in screen_text(pilot.app)
        await pilot.press("slash")
        screen.query_one("#filter", Input).value = "detph=1"
        await pilot.pause()
        assert "detph: no such field; did you mean depth?" in screen_text(pilot.app)
        assert len(shown(screen)) == 2
        screen.query_one("#filter", Input).value = ""
        await pilot.press("escape")
        assert len(shown(screen)) == 16

    drive(app_of(sweep), act, WIDE)


def test_the_table_is_sorted_and_the_cursor_stays_on_its_run(sweep: RunDir, drive: Drive) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        table = screen.query_one(RunsTable)
        assert shown(screen)[:2] == ["densenet L=4 seed 0", "dense-gaussian L=1 seed 0"]  # what failed comes first
        under = table.current
        await pilot.press("o")
        assert shown(screen)[0] == "densenet L=1 seed 0"  # the plan's order
        assert table.current == under
        await pilot.press("O")
        assert shown(screen)[0] == "dense-gaussian L=8 seed 1"
        assert table.current == under

    drive(app_of(sweep), act, NARROW)


def test_columns_are_chosen(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        assert "samples/s" in screen_text(pilot.app)
        await pilot.press("C", *["down"] * 7, "space", "escape")
        await pilot.pause()
        assert "rate" not in screen.query_one(RunsTable).selection.columns
        assert "samples/s" not in screen_text(pilot.app)

    drive(app_of(sweep), act, NARROW)


def test_metric_and_x_axis_are_chosen(sweep: RunDir, drive: Drive) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        chart = screen.query_one("#loss", Chart)
        for key, title, x in (
            ("m", "Gradient norm", "epoch"),
            ("m", "Throughput (samples/s)", "epoch"),
            ("t", "Throughput (samples/s)", "training step"),
            ("t", "Throughput (samples/s)", "training time"),
            ("m", "Training loss (nats)", "training time"),
        ):
            await pilot.press(key)
            await until(pilot, partial(has, chart, title, x))
        depth = screen.query_one("#depth", Chart)
        await pilot.press("v")
        await until(pilot, lambda: depth.figure.title.startswith("Throughput"))

    drive(app_of(sweep), act, WIDE)


def test_updates_can_be_held(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        await pilot.press("u")
        await pilot.pause(0.2)
        assert "updates paused" in screen_text(pilot.app)
        held = screen._shown
        screen._feed.wake()
        await pilot.pause(0.3)
        assert screen._shown is held
        await pilot.press("u")
        await until(pilot, lambda: screen._shown is not held)
        assert "updates paused" not in screen_text(pilot.app)

    drive(app_of(sweep), act, WIDE)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What the engine, which is said to be at work, would have been asked to do."""
    given: list[Command] = []

    def give(run_dir: RunDir, command: Command) -> Verdict:
        given.append(command)
        return Verdict(answer="obeyed")

    monkeypatch.setattr(module, "give_command", give)
    monkeypatch.setattr(RunDir, "engine", lambda self: "4242")
    return given


def test_runs_are_steered_and_nothing_is_destroyed_without_a_question(
    record: Record, drive: Drive, commands: list[Command]
) -> None:
    run_dir = record("train.epochs=12", states=["failed", "half", "half"], engine=None)
    ids = [run.run_id for run in run_dir.read_plan().runs]

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)

        async def press(*keys: str) -> list[tuple[str, tuple[str, ...]]]:
            commands.clear()
            await pilot.press(*keys)
            await pilot.pause(0.2)
            return [(command.action, command.run_ids) for command in commands]

        assert await press("space") == [("pause", (ids[1],))]
        assert await press("k", "n") == []
        assert await press("k", "escape") == []
        assert await press("k", "y") == [("cancel", (ids[1],))]
        assert await press("x", "x", "k", "y") == [("cancel", (ids[1], ids[2]))]
        assert await press("x") == []  # now the one that failed is marked too
        assert await press("r") == [("retry", (ids[0],))]
        assert await press("P") == [("pause", ())]
        assert await press("K", "n") == []
        assert await press("K", "y") == [("cancel", ())]
        assert await press("R", "y") == [("retry", ())]

    drive(app_of(run_dir), act, NARROW)


def test_devices_are_steered(record: Record, drive: Drive, commands: list[Command]) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        await pilot.press("3", "p")
        await pilot.pause(0.2)
        assert screen.query_one(DevicePanel).selected == "cpu"
        assert (commands[-1].action, commands[-1].device) == ("pause", "cpu")
        await pilot.press("D", "y")
        await pilot.pause(0.2)
        assert (commands[-1].action, commands[-1].device) == ("release", "cpu")

    drive(app_of(record("train.epochs=12", states=["half", "half"], engine=None)), act, NARROW)


def test_without_an_engine_nothing_is_asked_of_it(sweep: RunDir, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(run_dir: RunDir, command: Command) -> Verdict:
        raise EngineError("nobody is there to ask")

    monkeypatch.setattr(module, "give_command", give)

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("P")
        await pilot.pause(0.2)
        messages = [note.message for note in pilot.app._notifications]
        assert messages == ["no engine is at work here; g starts one for what is left"]
        await pilot.press("R", "y")
        await pilot.pause(0.2)
        assert "nobody is there to ask" in [note.message for note in pilot.app._notifications]

    drive(app_of(sweep), act, NARROW)


def test_a_run_is_opened_with_its_log_and_its_traceback(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert isinstance(pilot.app.screen, RunScreen)
        chart = pilot.app.screen.query_one(Chart)
        assert [series.label for series in chart.figure.series] == ["densenet L=4", "seed 0"]
        assert "densenet L=4 seed 0  ✗ failed  RuntimeError: something broke" in screen_text(pilot.app)
        await pilot.press("2")
        await pilot.pause()
        for fact in ("status          failed", "parameters      4 000", "epochs          6 of 12", "1. 2027-01-15"):
            assert fact in screen_text(pilot.app)
        await pilot.press("3")
        await pilot.pause(0.7)
        assert "densenet L=4 seed 0: 150 samples" in screen_text(pilot.app)
        await pilot.press("T")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Traceback)
        assert 'File "train.py", line 3, in step' in screen_text(pilot.app)
        await pilot.press("y", "q")
        assert "Traceback" in pilot.app.clipboard
        await pilot.press("q")
        assert isinstance(pilot.app.screen, SweepScreen)

    drive(app_of(sweep), act, NARROW)


def test_what_is_shown_is_exported_and_nothing_is_overwritten(sweep: RunDir, drive: Drive, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("e", "e", "1", "e", "2", "e")
        await pilot.pause()

    drive(app_of(sweep), act, WIDE)
    names = sorted(path.name for path in tmp_path.glob("tiny-*"))
    assert names == ["tiny-depth.svg", "tiny-loss.svg", "tiny-runs-2.csv", "tiny-runs.csv"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tiny-runs.csv").read_text())))
    assert len(rows) == 16
    assert (rows[0]["status"], rows[0]["depth"], rows[0]["message"]) == ("failed", "4", "RuntimeError: something broke")
    assert (tmp_path / "tiny-loss.svg").read_text().startswith("<svg")


def test_a_sweep_that_ends_while_it_is_watched_is_told_once(
    record: Record, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = record(states=["done"] * 7 + ["failed"])
    engines = ["4242"]
    monkeypatch.setattr(RunDir, "engine", lambda self: engines[0] if engines else None)

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        engines.clear()
        await until(pilot, lambda: pilot.app._notifications)
        await pilot.pause(0.5)
        assert [note.message for note in pilot.app._notifications] == ["tiny: done, 1 run not ok"]

    drive(app_of(run_dir), act, NARROW)


@pytest.mark.parametrize("harm", ["vanishes", "newer", "torn", "garbage"])
def test_what_cannot_be_read_is_a_message_and_never_a_crash(
    sweep: RunDir, drive: Drive, screen_text: ScreenText, harm: str
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        if harm == "vanishes":
            shutil.rmtree(sweep.root)
        elif harm == "newer":
            sweep.sweep_path.write_text(sweep.sweep_path.read_text().replace("dnlbench.sweep/2", "dnlbench.sweep/7"))
        else:
            with sweep.journal_path.open("ab") as journal:
                journal.write(b'{"event":"epo' if harm == "torn" else b"\xff\xfe nothing\n")
        words = {"vanishes": "no longer there", "newer": "this version reads", "garbage": "not an event"}
        if harm == "torn":
            await pilot.pause(1.0)
            assert not screen.query_one("#problem").has_class("-shown")
        else:
            problems = screen.query_one("#problem", Static)
            await until(pilot, lambda: words[harm] in str(problems.content))
        assert len(shown(screen)) == 16
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert "densenet L=4 seed 0  ✗ failed" in screen_text(pilot.app)

    drive(app_of(sweep), act, NARROW)


def test_a_directory_without_a_sweep_is_a_message(tmp_path: Path, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("enter", "space", "k", "m", "v", "C", "escape", "e", "2", "3", "4")
        await pilot.pause(0.2)
        assert "not a run directory: it has no sweep.json" in screen_text(pilot.app).replace("\n", "")

    drive(app_of(RunDir(tmp_path / "none")), act, NARROW)


def test_any_size_of_terminal_is_survived(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        for size in ((20, 5), (400, 100), (10, 2), (120, 8), (40, 60), NARROW):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.15)
            for key in ("2", "3", "4", "enter", "1", "2", "3", "q", "1"):
                await pilot.press(key)
            await pilot.pause(0.05)
        assert "densenet" in screen_text(pilot.app)

    drive(app_of(sweep), act, NARROW)


def test_help_tells_of_what_has_the_focus(sweep: RunDir, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        await pilot.press("f1")
        await pilot.pause(0.3)
        assert "One line a run." in screen_text(pilot.app)
        await pilot.press("1")
        await pilot.pause(0.3)
        assert "One line a run." not in screen_text(pilot.app)
        await pilot.press("f1")
        await pilot.pause(0.2)
        assert not pilot.app.screen.query("HelpPanel")

    drive(app_of(sweep), act, WIDE)


def test_a_key_can_be_given_another_place(
    sweep: RunDir, drive: Drive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, screen_text: ScreenText
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('theme = "ansi-dark"\n[keys]\n"sweep.hold" = "f8"\n"sweep.metrik" = "f9"\n')
    monkeypatch.setenv("DNLBENCH_CONFIG", str(config))

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        (note,) = pilot.app._notifications
        assert "keys.sweep.metrik: no such key; did you mean sweep.metric?" in note.message
        await pilot.press("u")
        await pilot.pause(0.2)
        assert "updates paused" not in screen_text(pilot.app)
        await pilot.press("f8")
        await pilot.pause(0.2)
        assert "updates paused" in screen_text(pilot.app)
        assert pilot.app.theme == "ansi-dark"
        charts = pilot.app.screen.query(Chart)
        await until(
            pilot, lambda: all(s.colour.startswith("ansi_") for c in charts for s in c.figure.series if s.colour)
        )

    drive(app_of(sweep), act, WIDE)


def test_the_palette_has_the_keys_of_the_screen(sweep: RunDir, drive: Drive) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        commands = {command.help: command for command in pilot.app.get_system_commands(screen)}
        assert {"sweep.metric", "sweep.cancel_runs", "runs.sort"} <= commands.keys()
        commands["sweep.hold"].callback()
        await until(pilot, lambda: screen._held)

    drive(app_of(sweep), act, WIDE)


def test_leaving_ends_the_feed(sweep: RunDir, drive: Drive) -> None:
    threads: list[threading.Thread] = []

    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        threads.append(screen._feed._thread)
        assert threads[0].is_alive()
        await pilot.press("q")

    drive(app_of(sweep), act, NARROW)
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_another_machine_s_sweep_is_shown_without_this_one_s_devices(
    record: Record, drive: Drive, screen_text: ScreenText
) -> None:
    run_dir = record("train.epochs=12", states=["done", "half"], engine=None)

    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        text = screen_text(pilot.app)
        assert "telemetry of another machine is not available" in text
        assert "4 of 16 GiB" not in text
        assert "densenet L=1 seed 1" in text

    drive(app_of(run_dir, here="another"), act, WIDE)


@pytest.fixture
def errors_over_depth(tmp_path: Path) -> RunDir:
    """A sweep of a study without epochs, whose errors halve from depth to depth."""
    spec = read_spec(
        "forward-limit", ["sweep.kernels=['local']", "sweep.activations=['tanh']", "sweep.depths=[8,16,32,64]"]
    )
    run_dir = RunDir(tmp_path / "limit")
    run_dir.begin(Plan(spec), Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine=HERE, source="0"))
    for run in run_dir.read_plan().runs:
        found: dict[str, float | tuple[float, ...]] = {
            quantity.name: (1 + 0.1 * run.seed) / run.point.depth
            for quantity in STUDIES["forward-limit"].quantities
            if "error" in quantity.name
        }
        found["errors"] = tuple(0.1 * n for n in range(run.point.depth))
        writer = run_dir.events_writer(run.run_id)
        for event in (
            RunStarted(run_id=run.run_id, attempt=1, device="cpu", device_name="x", threads=1, parameters=1),
            Measured(run_id=run.run_id, seconds=0.5, measurements=found),
            RunEnded(run_id=run.run_id, status="ok"),
        ):
            writer.write(event.model_dump_json())
        writer.close()
    return run_dir


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_study_without_epochs_shows_its_own_chart_in_the_same_frame(
    errors_over_depth: RunDir, drive: Drive, screen_text: ScreenText, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        screen = await loaded(pilot)
        await until(pilot, lambda: "result" in screen_text(pilot.app))
        depth = screen.query_one("#depth", Chart)
        assert depth.region.area > 0
        assert screen.query_one("#loss").region.area == 0
        assert depth.figure.title.startswith("Largest error against depth")
        assert "order 1" in depth.figure.note
        await pilot.press("m")
        await until(pilot, lambda: depth.figure.title.startswith("Error of the last state"))
        await pilot.press("enter")
        await pilot.pause(0.3)
        chart = pilot.app.screen.query_one(Chart)
        assert chart.figure.title == "Errors of local-tanh L=8 seed 0"
        assert len(chart.figure.series[0].x) == 8

    drive(app_of(errors_over_depth), act, size)


def test_depths_of_many_digits_are_shown_whole(record: Record, drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        lines = [line for line in screen_text(pilot.app).splitlines() if "densenet " in line and " ok " in line]
        assert any(line.split()[3] == "4096" for line in lines), lines

    drive(app_of(record("sweep.depths=[1,4096]", states=["done"] * 4)), act, WIDE)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_long_names_of_networks_are_whole_where_there_is_room(
    tmp_path: Path, drive: Drive, screen_text: ScreenText, size: tuple[int, int]
) -> None:
    spec = read_spec("embedding", ["sweep.learning_rates=[0.125]", "sweep.depths=[1]", "sweep.width_factors=[2]"])
    run_dir = RunDir(tmp_path / "long")
    run_dir.begin(Plan(spec), Execution(device_kind="cpu", threads=1, pack_size=1, torch="0", machine=HERE, source="0"))

    async def act(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "fully-connected-x2-lr0.125" in screen_text(pilot.app))
        (head,) = (line for line in screen_text(pilot.app).splitlines() if "network" in line and "seed" in line)
        assert "left" in head  # all columns are still there

    drive(app_of(run_dir), act, size)
