from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, Select, Static, Switch

from dnlbench.machine import Device, Machine, Slot, UnusableDevice
from dnlbench.plan import Plan
from dnlbench.spec import read_preset, read_spec
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.messages import StartSpec
from dnlbench.tui.plan_preview import preview_plan
from dnlbench.tui.screens.new_sweep import NewSweepScreen
from dnlbench.tui.widgets.form_field import FieldRow
from dnlbench.tui.widgets.grid_view import GridView
from tests.tui.conftest import NARROW, PATIENCE_S, WIDE, Drive, Notices, Record, ScreenText, until, workers_done

MACHINE = Machine(
    os="Linux",
    cpu="A CPU",
    cores=2,
    memory_bytes=2**30,
    python="3.11",
    torch="2.11",
    devices=(Device(kind="cpu", name="A CPU", memory_bytes=2**30),),
    fingerprint="0123456789abcdef",
)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnlbench.machine.read_machine", lambda: MACHINE)
    wait_after_typing(monkeypatch, PATIENCE_S)


def wait_after_typing(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Shorten the pause before input is checked."""
    monkeypatch.setattr("dnlbench.tui.screens.new_sweep.DEBOUNCE_S", seconds)


class Collector(App[None]):
    """An app that records the specs to start."""

    HORIZONTAL_BREAKPOINTS = DnlbenchApp.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = DnlbenchApp.VERTICAL_BREAKPOINTS

    def __init__(self, text: str, origin: str, folder: Path) -> None:
        super().__init__()
        self._edited = (text, origin, folder)
        self.started: list[str] = []

    async def on_mount(self) -> None:
        await self.edit()

    async def edit(self) -> None:
        await self.push_screen(NewSweepScreen(*self._edited))

    def on_start_spec(self, message: StartSpec) -> None:
        self.started.append(message.spec)


def of_preset(folder: Path, name: str = "digits-quick") -> Collector:
    return Collector(read_preset(name).text, f"preset {name}", folder)


def of_few_fields(folder: Path) -> Collector:
    """Return a form with few fields, which is fast to build and draw."""
    return of_preset(folder, "forward-limit")


def test_gpus_that_cannot_be_used_are_noted() -> None:
    lost = UnusableDevice(name="GPU 1", reason="GPU is lost; restart the machine")
    hidden = UnusableDevice(name="NVIDIA GPUs", reason="hidden", hidden=True)
    machine = MACHINE.model_copy(update={"unusable": (lost, hidden)})
    slots = (Slot(name="cpu/0", device=MACHINE.devices[0], threads=1),)
    notes = preview_plan(Plan(read_spec("forward-limit")), machine, slots, None).notes
    assert [note for note in notes if "GPU" in note] == ["GPU 1: GPU is lost; restart the machine."]


def is_to_be_checked(screen: NewSweepScreen) -> bool:
    return screen._timer is not None and screen._timer._task is not None


async def checked(pilot: Pilot[Any]) -> None:
    """Wait until the input is checked and its preview is shown."""
    await pilot.pause()
    for screen in pilot.app.screen_stack:
        if isinstance(screen, NewSweepScreen) and is_to_be_checked(screen):
            screen._check()
    await workers_done(pilot)


def row_of(pilot: Pilot[Any], *key: str) -> FieldRow:
    return next(row for row in pilot.app.screen.query(FieldRow) if row.field.key == key)


async def enter(pilot: Pilot[Any], *key: str, text: str) -> None:
    row_of(pilot, *key).query_one(Input).value = text
    await checked(pilot)


def test_form_and_preview(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    def means(pilot: Pilot[Any]) -> None:
        shown = screen_text(pilot.app)
        assert "27 runs = 3 networks × 3 depths × 3 seeds" in shown
        assert "2 at a time on cpu (A CPU), 1 CPU thread each" in shown
        assert "19.8 k" in shown
        assert "Time is estimated" in shown

    def is_form(pilot: Pilot[Any]) -> None:
        shown = screen_text(pilot.app)
        assert '["densenet", "dense-attention", "dense-gaussian"]' in shown
        assert "27 runs" in shown

    async def one_after_the_other(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        is_form(pilot)
        assert "22.5 MiB per run" in screen_text(pilot.app)
        await pilot.press("f2")
        assert "networks  " not in screen_text(pilot.app)
        means(pilot)
        await pilot.press("f2")

    async def beside_each_other(pilot: Pilot[Any]) -> None:
        await pilot.resize_terminal(*WIDE)
        is_form(pilot)
        means(pilot)

    async def arrows_lead_through_all_fields(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        chain = [widget for widget in screen.focus_chain if names(widget)]
        assert [name for widget in chain for name in names(widget)] == [
            row.field.name for row in screen.query(FieldRow) if row.field.key != ("study",)
        ]
        for widget in chain[:4]:
            assert screen.focused is widget
            await pilot.press("down")
        assert [name for widget in chain[:4] for name in names(widget)] == ["name", "networks", "depths", "seeds"]

    def names(widget: Widget) -> list[str]:
        return [row.field.name for row in widget.ancestors if isinstance(row, FieldRow)]

    drive(of_preset(tmp_path), one_after_the_other, beside_each_other, arrows_lead_through_all_fields)


def test_errors(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def stand_below_their_field(pilot: Pilot[Any], size: tuple[int, int]) -> None:
        await pilot.resize_terminal(*size)
        shown = screen_text(pilot.app).splitlines()
        at = next(number for number, line in enumerate(shown) if "• depths" in line)
        assert any("✗ [1] = 'x': must be a whole number" in line for line in shown[at : at + 3])
        assert any("1 invalid field" in line for line in shown)

    async def type_what_is_wrong(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        depths = row_of(pilot, "sweep", "depths").query_one(Input)
        depths.value = ""
        depths.focus()
        await pilot.press(*"2, x")
        await checked(pilot)
        await stand_below_their_field(pilot, WIDE)
        await stand_below_their_field(pilot, NARROW)

    async def nothing_is_started(pilot: Pilot[Any]) -> None:
        await pilot.press("ctrl+r")
        await checked(pilot)
        assert not (tmp_path / "sweeps").exists()

    async def mend_it(pilot: Pilot[Any]) -> None:
        await pilot.press("backspace", "4")
        await checked(pilot)
        assert row_of(pilot, "sweep", "depths").has_class("-changed")
        assert not row_of(pilot, "sweep", "depths").has_class("-wrong")

    async def of_no_field_stand_at_the_top(pilot: Pilot[Any]) -> None:
        await enter(pilot, "sweep", "seeds", text="1000")
        await enter(pilot, "sweep", "depths", text=str([*range(1, 60)]))
        above = " ".join(" ".join(screen_text(pilot.app).splitlines()[:4]).split())
        assert "a sweep may have at most 100,000" in above

    app = of_few_fields(tmp_path)
    drive(app, type_what_is_wrong, nothing_is_started, mend_it, of_no_field_stand_at_the_top)
    assert app.started == []


def test_invalid_toml_is_reported(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        assert "x.toml: not valid TOML" in screen_text(pilot.app)
        await pilot.press("ctrl+s")

    drive(Collector("name = ", "x.toml", tmp_path), act)
    assert not (tmp_path / "sweeps").exists()


def test_a_network_that_does_not_fit_is_reported_while_typing(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_after_typing(monkeypatch, 0.05)

    def means(pilot: Pilot[Any]) -> None:
        shown = screen_text(pilot.app)
        assert "✗ too large" in shown
        assert "the whole machine has 1.0 GiB" in str(pilot.app.screen.query_one("#state", Static).content)

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, NewSweepScreen)
        row_of(pilot, "sweep", "depths").query_one(Input).value = "[2, 200]"
        await pilot.pause()
        await until(pilot, lambda: not is_to_be_checked(screen))
        await workers_done(pilot)
        assert "✗ does not fit" in screen_text(pilot.app)
        await pilot.press("f2")
        means(pilot)
        await pilot.press("f2")
        await pilot.resize_terminal(*WIDE)
        means(pilot)

    drive(of_preset(tmp_path), act)


def test_start_saves_and_posts(drive: Drive, tmp_path: Path) -> None:
    async def fill_in(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        row_of(pilot, "name").query_one(Input).value = "mine"
        row_of(pilot, "sweep", "depths").query_one(Input).value = "2, 4"
        row_of(pilot, "train", "evaluate").query_one(Switch).value = True
        row_of(pilot, "train", "optimizer").query_one(Select).value = "adamw"
        await checked(pilot)

    async def start(pilot: Pilot[Any], size: tuple[int, int]) -> None:
        path.unlink(missing_ok=True)
        await pilot.resize_terminal(*size)
        await pilot.click("#start")
        await checked(pilot)
        assert app.started.pop() == str(path)
        assert read_spec(str(path)) == read_spec("digits-quick", overrides)

    app, path = of_preset(tmp_path), tmp_path / "sweeps" / "mine.toml"
    overrides = ["name=mine", "sweep.depths=[2,4]", "train.evaluate=true", "train.optimizer=adamw"]
    drive(app, fill_in, *(partial(start, size=size) for size in (NARROW, WIDE)))
    assert app.started == []


def test_start_takes_what_was_typed_last(drive: Drive, tmp_path: Path) -> None:
    """Start includes input that has not been checked yet."""

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        await pilot.press("end", "2", "ctrl+r")
        await checked(pilot)

    app = of_few_fields(tmp_path)
    drive(app, act)
    assert app.started == [str(tmp_path / "sweeps" / "forward-limit2.toml")]


def test_asks_before_another_spec_is_overwritten(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "sweeps" / "forward-limit.toml"
    path.parent.mkdir()
    path.write_text("another")

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        for key, kept in (("n", True), ("escape", True), ("enter", True), ("y", False)):
            await pilot.press("ctrl+s")
            assert "contains another spec" in str(pilot.app.screen.query(Static).first().content)
            await pilot.press(key)
            await checked(pilot)
            assert (path.read_text() == "another") is kept

    drive(of_few_fields(tmp_path), act)


def test_the_opened_spec_is_overwritten_without_confirmation(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "sweeps" / "mine.toml"
    path.parent.mkdir()
    path.write_text('name = "mine"\nstudy = "optimum-limit"\n[sweep]\nkernels = ["local"]\ndepths = [4]\n')

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        for depths in ("[4, 8]", "[4, 8, 16]"):
            await enter(pilot, "sweep", "depths", text=depths)
            await pilot.press("ctrl+s")
            await checked(pilot)

    drive(Collector(path.read_text(), str(path), tmp_path), act)
    head = 'name = "mine"\nstudy = "optimum-limit"\n[sweep]\n'
    assert path.read_text() == f'{head}kernels = ["local"]\ndepths = [4, 8, 16]\n'


def test_an_unwritable_folder_is_reported(drive: Drive, tmp_path: Path, notices: Notices) -> None:
    (tmp_path / "sweeps").write_text("a file")

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        await pilot.press("ctrl+r")
        await checked(pilot)
        assert any(message.endswith(": File exists") for message, _ in notices)

    app = of_few_fields(tmp_path)
    drive(app, act)
    assert app.started == []


def test_leaving_unsaved_changes_asks_for_confirmation(drive: Drive, tmp_path: Path) -> None:
    def is_there(pilot: Pilot[Any]) -> bool:
        return any(isinstance(screen, NewSweepScreen) for screen in pilot.app.screen_stack)

    async def act(pilot: Pilot[Any]) -> None:
        for keys, left in (
            (["escape"], True),
            (["x", "escape"], False),
            (["n"], False),
            (["escape", "y"], True),
            (["x", "backspace", "escape"], True),
            (["x", "ctrl+s", "escape"], True),
        ):
            if not is_there(pilot):
                await app.edit()
                await pilot.press("end")
            await checked(pilot)
            await pilot.press(*keys)
            await checked(pilot)
            assert is_there(pilot) is not left, keys

    app = of_few_fields(tmp_path)
    drive(app, act)


def test_the_preview_estimates_time_from_an_earlier_sweep(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, record: Record
) -> None:
    run_dir = record(name=".dnlbench/runs/a", states=["done"] * 8)
    from dnlbench.tui.form import open_form

    form = open_form('name = "tiny"\n', "x")
    spec = run_dir.read_plan().spec
    texts = dict(form.initial)
    texts |= {
        ("sweep", "networks"): "densenet, dense-gaussian",
        ("sweep", "depths"): "1, 2",
        ("sweep", "seeds"): "[0, 1]",
    }
    texts |= {("network", "blocks"): "2", ("network", "growth_rate"): "3", ("data", "limit"): "150"}
    texts |= {("train", "epochs"): "2", ("train", "batch_size"): "32"}
    result = form.check(texts)
    assert result.spec == spec

    async def act(pilot: Pilot[Any]) -> None:
        await checked(pilot)
        assert "estimated from earlier sweeps" in screen_text(pilot.app)
        (grid,) = pilot.app.screen.query_one("#points", GridView).grids
        assert "estimated time per run" in [column.head for column in grid.columns]

    drive(Collector(result.text, "x.toml", tmp_path), act, size=WIDE)
