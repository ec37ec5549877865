from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.message import Message
from textual.pilot import Pilot

from dnlbench.profiles import Profile
from dnlbench.spec import list_presets
from dnlbench.store.workspace import SweepEntry
from dnlbench.tui.app import DnlbenchApp
from dnlbench.tui.messages import EditSpec, OpenProfiles, OpenSweep, StartSpec
from dnlbench.tui.screens.start import StartScreen
from dnlbench.tui.widgets.entry_list import age, sweep_row
from tests.tui.conftest import NARROW, WIDE, Drive, Record, ScreenText, workers_done

PRESETS = [preset.name for preset in list_presets()]
MakeProfile = Callable[..., Profile]


class Collector(App[None]):
    """An app that records the screen's messages."""

    HORIZONTAL_BREAKPOINTS = DnlbenchApp.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = DnlbenchApp.VERTICAL_BREAKPOINTS

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.asked: list[Message] = []

    def on_mount(self) -> None:
        self.push_screen(StartScreen(self._folder))

    def on_open_sweep(self, message: OpenSweep) -> None:
        self.asked.append(message)

    def on_open_profiles(self, message: OpenProfiles) -> None:
        self.asked.append(message)

    def on_edit_spec(self, message: EditSpec) -> None:
        self.asked.append(message)

    def on_start_spec(self, message: StartSpec) -> None:
        self.asked.append(message)


@pytest.fixture
def folder(tmp_path: Path, record: Record, make_profile: MakeProfile) -> Path:
    """A folder with two sweeps and an invalid one, three profiles and an invalid one."""
    record(name=".dnlbench/runs/a", states=["done"] * 8)
    record("name=other", name=".dnlbench/runs/b", states=["done"] * 2 + ["failed"] * 6)
    (tmp_path / ".dnlbench" / "runs" / "broken").mkdir()
    (tmp_path / "profiles").mkdir()
    profile = make_profile({("plain", 1): [1.0]})
    for year in (2021, 2022, 2023):
        dated = profile.model_copy(update={"created": profile.created.replace(year=year)})
        (tmp_path / "profiles" / f"of-{year}.json").write_bytes(dated.to_json())
    (tmp_path / "profiles" / "none.json").write_text("{")
    return tmp_path


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await workers_done(pilot)
    await pilot.press(*keys)
    await workers_done(pilot)


def test_wide_terminals_show_all_lists_side_by_side(drive: Drive, screen_text: ScreenText, folder: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        shown = screen_text(pilot.app)
        for part in ("digits-quick", "27 runs", "tiny", "8 of 8 runs", "6 failed", "of-2023", "A CPU", "unreadable"):
            assert part in shown

    drive(Collector(folder), act, size=WIDE)


def test_narrow_terminals_have_tabs(drive: Drive, screen_text: ScreenText, folder: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        shown, first = screen_text(pilot.app), list_presets()[0].name
        assert f"▸1 Presets · {len(list_presets())}" in shown
        assert first in shown
        assert "8 of 8 runs" not in shown
        await pilot.press("tab")
        assert "8 of 8 runs" in (shown := screen_text(pilot.app))
        assert "▸2 Sweeps · 3" in shown
        assert first not in shown
        await pilot.press("tab")
        assert "of-2023" in screen_text(pilot.app)
        await pilot.press("shift+tab", "shift+tab")
        assert first in screen_text(pilot.app)
        await pilot.press("3")
        assert "of-2023" in screen_text(pilot.app)

    drive(Collector(folder), act, size=NARROW)


KEYS: list[tuple[list[str], object]] = [
    (["s"], ("StartSpec", "digits-quick")),
    (["down", "s"], ("StartSpec", PRESETS[1])),
    (["enter"], ("EditSpec", "preset digits-quick")),
    (["2", "n"], ("EditSpec", "preset digits-quick")),
    (["2", "s"], None),
    (["2", "slash", *"tiny", "enter", "enter"], ("OpenSweep", "a")),
    (["2", "slash", *"broken", "enter", "enter"], None),
    (["3", "enter"], ("OpenProfiles", ["of-2023"])),
    (["3", "end", "enter"], None),
    (["3", "end", "space", "c"], None),
    (["3", "down", "space", "c"], None),
    (["3", "down", "space", "up", "space", "c"], ("OpenProfiles", ["of-2022", "of-2023"])),
    (["3", "space", "space", "down", "space", "down", "space", "c"], ("OpenProfiles", ["of-2022", "of-2021"])),
    (["1", "space", "c"], None),
]


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_keys(drive: Drive, folder: Path, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        for keys, expected in KEYS:
            app.asked.clear()
            await press(pilot, *keys)
            assert [described(message) for message in app.asked] == ([expected] if expected else []), keys
            await app.pop_screen()
            await app.push_screen(StartScreen(folder))

    app = Collector(folder)
    drive(app, act, size=size)


def described(message: Message) -> tuple[str, object]:
    match message:
        case StartSpec():
            return "StartSpec", message.spec
        case EditSpec():
            return "EditSpec", message.origin
        case OpenSweep():
            return "OpenSweep", message.run_dir.name
        case OpenProfiles():
            return "OpenProfiles", [path.stem for path in message.paths]
    raise AssertionError(message)


def test_filter(drive: Drive, screen_text: ScreenText, folder: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        await pilot.press("slash", *"svhn gpu")
        shown = screen_text(pilot.app)
        assert "fig3-svhn" in shown
        assert "fig3-cifar10" not in shown
        assert f"1 of {len(list_presets())}" in shown
        assert "No match for 'svhn gpu': press escape" in shown
        await pilot.press("enter", "escape")
        assert "fig3-cifar10" in screen_text(pilot.app)

    drive(Collector(folder), act, size=WIDE)


def test_empty_lists_say_what_to_do(drive: Drive, screen_text: ScreenText, tmp_path: Path) -> None:
    async def act(pilot: Pilot[Any], size: tuple[int, int]) -> None:
        await pilot.resize_terminal(*size)
        await workers_done(pilot)
        await pilot.press("2")
        assert "No sweeps yet: select a preset and press s" in screen_text(pilot.app)
        await pilot.press("3")
        assert "No profiles yet" in screen_text(pilot.app)
        await pilot.press("enter", "space", "c")

    app = Collector(tmp_path)
    drive(app, *(partial(act, size=size) for size in (NARROW, WIDE)))
    assert app.asked == []


def test_broken_things_are_named_with_the_reason(drive: Drive, screen_text: ScreenText, folder: Path) -> None:
    async def act(pilot: Pilot[Any], size: tuple[int, int]) -> None:
        await pilot.resize_terminal(*size)
        await workers_done(pilot)
        await pilot.press("2", "slash", *"broken", "enter")
        assert "no sweep.json" in screen_text(pilot.app)
        await pilot.press("escape", "3", "end")
        assert "not valid JSON" in screen_text(pilot.app)

    drive(Collector(folder), *(partial(act, size=size) for size in (NARROW, WIDE)))


def test_a_spec_with_errors_is_opened_to_be_mended(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "sweeps" / "wrong.toml"
    path.parent.mkdir()
    path.write_text('name = "x"\n')
    app = Collector(tmp_path)
    drive(app, lambda pilot: press(pilot, "end", "s", "enter"))
    (message,) = app.asked
    assert isinstance(message, EditSpec)
    assert (message.text, message.origin) == ('name = "x"\n', str(path))


def test_a_sweep_at_work_is_offered_first(drive: Drive, screen_text: ScreenText, folder: Path, record: Record) -> None:
    run_dir = record(name=".dnlbench/runs/now", engine=None, states=["done", "half"])

    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        shown = screen_text(pilot.app)
        assert "▶ 1 sweep running" in shown
        assert "▶ tiny" in shown
        assert re.search(r"running [━─]{10} +\d+ %", shown)
        await pilot.press("enter")

    app = Collector(folder)
    with run_dir.locked():
        drive(app, act, size=NARROW)
    assert [described(message) for message in app.asked] == [("OpenSweep", "now")]


def test_what_is_new_appears_and_what_was_highlighted_stays(
    drive: Drive, screen_text: ScreenText, folder: Path, make_profile: MakeProfile
) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        await pilot.press("3", "down")
        content = (folder / "profiles" / "of-2023.json").read_text()
        (folder / "profiles" / "newest.json").write_text(content.replace("2023-", "2025-"))
        pilot.app.screen._poll()  # type: ignore[attr-defined]  # as its timer does
        await workers_done(pilot)
        assert "newest" in screen_text(pilot.app)
        await pilot.press("enter")

    app = Collector(folder)
    drive(app, act, size=WIDE)
    assert [described(message) for message in app.asked] == [("OpenProfiles", ["of-2022"])]


def test_lists_follow_the_width_of_the_terminal(drive: Drive, screen_text: ScreenText, folder: Path) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        for size in (NARROW, (100, 30), (40, 12), (200, 60)):
            await pilot.resize_terminal(*size)
            await workers_done(pilot)
            assert "digits-quick" in screen_text(pilot.app)

    drive(Collector(folder), act, size=WIDE)


def test_ages_are_in_one_unit() -> None:
    assert [age(seconds) for seconds in (-3, 0.2, 59, 60, 7199, 86400, 172800)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "24 h",
        "2 d",
    ]


@pytest.mark.parametrize("width", [12, 30, 36, 60])
def test_a_row_is_as_wide_as_its_list(width: int) -> None:
    entry = SweepEntry(run_dir=Path("x"), name="fig3-cifar10", state="running", runs=60, ended=30, fraction=0.999)
    lines = sweep_row(entry, 0.0).content(width).plain.splitlines()
    assert [len(line) for line in lines] == [max(width, len("▶ x running  99 %"))] + [width] * (len(lines) - 1)
    assert " 99 %" in lines[0]
