from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, Select, Switch

from dnlbench.machine import Device, Machine
from dnlbench.spec import read_preset, read_spec
from dnlbench.store import RunDir
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.messages import StartSpec
from dnlbench.tui.screens.new_sweep import DEBOUNCE_S, FieldRow, NewSweepScreen

NARROW, WIDE = (80, 24), (160, 48)
Drive = Callable[..., None]
ScreenText = Callable[..., str]

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


class Collector(App[None]):
    """Keeps what is to be started."""

    HORIZONTAL_BREAKPOINTS = DnlbenchApp.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = DnlbenchApp.VERTICAL_BREAKPOINTS

    def __init__(self, text: str, origin: str, folder: Path) -> None:
        super().__init__()
        self._edited = (text, origin, folder)
        self.started: list[str] = []

    def on_mount(self) -> None:
        self.push_screen(NewSweepScreen(*self._edited))

    def on_start_spec(self, message: StartSpec) -> None:
        self.started.append(message.spec)


def of_preset(folder: Path, name: str = "digits-quick") -> Collector:
    return Collector(read_preset(name).text, f"preset {name}", folder)


async def settle(pilot: Pilot[Any]) -> None:
    """Until what was typed is checked, and what it means is shown."""
    await pilot.pause()
    await asyncio.sleep(DEBOUNCE_S + 0.1)
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def row_of(pilot: Pilot[Any], *key: str) -> FieldRow:
    return next(row for row in pilot.app.screen.query(FieldRow) if row.field.key == key)


async def enter(pilot: Pilot[Any], *key: str, text: str) -> None:
    row_of(pilot, *key).query_one(Input).value = text
    await settle(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_form_and_meaning(drive: Drive, screen_text: ScreenText, tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        shown = screen_text(pilot.app)
        assert '["densenet", "dense-attention", "dense-gaussian"]' in shown
        assert "27 runs" in shown
        if size == NARROW:
            assert "22.5 MiB a run" in shown
            await pilot.press("f2")
            shown = screen_text(pilot.app)
            assert "networks  " not in shown
        assert "27 runs = 3 networks × 3 depths × 3 seeds" in shown
        assert "2 at a time on cpu (A CPU), 1 CPU thread each" in shown
        assert "19.8 k" in shown
        assert "time is known" in shown

    drive(of_preset(tmp_path), act, size=size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_errors_stand_below_their_field(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("down", "down", *["backspace"] * 9, *"2, x")
        await settle(pilot)
        shown = screen_text(pilot.app).splitlines()
        at = next(number for number, line in enumerate(shown) if "• depths" in line)
        assert any("✗ [1] = 'x': must be a valid integer" in line for line in shown[at : at + 3])
        assert any("1 field is wrong" in line for line in shown)
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert not (tmp_path / "sweeps").exists()
        await pilot.press("backspace", "4")
        await settle(pilot)
        assert row_of(pilot, "sweep", "depths").has_class("-changed")
        assert not row_of(pilot, "sweep", "depths").has_class("-wrong")

    app = of_preset(tmp_path)
    drive(app, act, size=size)
    assert app.started == []


def test_errors_of_no_field_stand_at_the_top(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await enter(pilot, "sweep", "seeds", text="9000")
        await enter(pilot, "sweep", "depths", text=str([*range(1, 60)]))
        above = " ".join(" ".join(screen_text(pilot.app).splitlines()[:4]).split())
        assert "a sweep may have 100,000 at most" in above

    drive(of_preset(tmp_path), act)


def test_what_is_no_toml_is_told(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        assert "x.toml: not valid TOML" in screen_text(pilot.app)
        await pilot.press("ctrl+s")

    drive(Collector("name = ", "x.toml", tmp_path), act)
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_what_does_not_fit_is_told(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await enter(pilot, "sweep", "depths", text="[2, 200]")
        if size == NARROW:
            assert "✗ does not fit" in screen_text(pilot.app)
            await pilot.press("f2")
        shown = screen_text(pilot.app)
        assert "✗ too large" in shown
        assert "the whole machine has 1.0 GiB" in " ".join(shown.split())

    drive(of_preset(tmp_path), act, size=size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_start_saves_and_posts(drive: Drive, tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await enter(pilot, "name", text="mine")
        await enter(pilot, "sweep", "depths", text="2, 4")
        row_of(pilot, "train", "evaluate").query_one(Switch).value = True
        row_of(pilot, "train", "optimizer").query_one(Select).value = "adamw"
        await settle(pilot)
        await pilot.click("#start")
        await settle(pilot)

    app = of_preset(tmp_path)
    drive(app, act, size=size)
    path = tmp_path / "sweeps" / "mine.toml"
    assert app.started == [str(path)]
    overrides = ["name=mine", "sweep.depths=[2,4]", "train.evaluate=true", "train.optimizer=adamw"]
    assert read_spec(str(path)) == read_spec("digits-quick", overrides)


def test_start_takes_what_was_typed_last(drive: Drive, tmp_path: Path) -> None:
    """Sooner than it is checked while typing."""

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("end", "2", "ctrl+r")
        await settle(pilot)

    app = of_preset(tmp_path)
    drive(app, act)
    assert app.started == [str(tmp_path / "sweeps" / "digits-quick2.toml")]


@pytest.mark.parametrize(("key", "kept"), [("n", True), ("escape", True), ("enter", True), ("y", False)])
def test_asks_before_another_spec_is_overwritten(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, key: str, kept: bool
) -> None:
    path = tmp_path / "sweeps" / "digits-quick.toml"
    path.parent.mkdir()
    path.write_text("another")

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "holds another spec" in " ".join(screen_text(pilot.app).split())
        await pilot.press(key)
        await settle(pilot)

    drive(of_preset(tmp_path), act)
    assert (path.read_text() == "another") is kept


def test_what_was_opened_is_overwritten_without_a_question(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "sweeps" / "mine.toml"
    path.parent.mkdir()
    path.write_text('name = "mine"\n[sweep]\nnetworks = ["plain"]\ndepths = [1]\n')

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        for depths in ("[1, 2]", "[1, 2, 3]"):
            await enter(pilot, "sweep", "depths", text=depths)
            await pilot.press("ctrl+s")
            await settle(pilot)

    drive(Collector(path.read_text(), str(path), tmp_path), act)
    assert path.read_text() == 'name = "mine"\n\n[sweep]\nnetworks = ["plain"]\ndepths = [1, 2, 3]\n'


def test_a_folder_that_cannot_be_written_to_is_told(drive: Drive, tmp_path: Path) -> None:
    (tmp_path / "sweeps").write_text("a file")

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert any("cannot be written: File exists" in notice.message for notice in pilot.app._notifications)

    app = of_preset(tmp_path)
    drive(app, act)
    assert app.started == []


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (["escape"], True),
        (["x", "escape"], False),
        (["x", "escape", "n"], False),
        (["x", "escape", "y"], True),
        (["x", "backspace", "escape"], True),
        (["x", "ctrl+s", "escape"], True),
    ],
)
def test_changes_are_not_lost_without_a_question(drive: Drive, tmp_path: Path, keys: list[str], left: bool) -> None:
    there: list[bool] = []

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("end", *keys)
        await settle(pilot)
        there.append(any(isinstance(screen, NewSweepScreen) for screen in pilot.app.screen_stack))

    drive(of_preset(tmp_path), act)
    assert there == [not left]


def test_arrows_lead_through_all_fields(drive: Drive, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        seen = []
        for _ in range(28):
            focused = pilot.app.screen.focused
            assert focused is not None
            seen += [row.field.name for row in focused.ancestors if isinstance(row, FieldRow)]
            await pilot.press("down")
        assert seen[:4] == ["name", "networks", "depths", "seeds"]
        assert "optimizer" in seen
        assert "bottleneck" in seen

    drive(of_preset(tmp_path), act)


def test_time_of_an_earlier_sweep_is_told(
    drive: Drive, screen_text: ScreenText, tmp_path: Path, record: Callable[..., RunDir]
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
    checked = form.check(texts)
    assert checked.spec == spec

    async def act(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        assert "as earlier sweeps went" in (shown := screen_text(pilot.app))
        assert "time/run" in shown

    drive(Collector(checked.text, "x.toml", tmp_path), act, size=WIDE)
