from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from dnlbench.events import EngineEnded, PauseState
from dnlbench.machine import DeviceHistory, Reading, TelemetryLog
from dnlbench.tui.device_lines import DeviceLine, choose_layout, device_lines
from dnlbench.tui.widgets.devices import DevicePanel
from dnlbench.watch import SweepView, Watcher
from tests.tui.conftest import NOW, WIDE, Drive, Notices, Record, ScreenText

MakeView = Callable[..., SweepView]
GIB = 2**30


class PanelApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.panel = DevicePanel()
        self.heard: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_device_panel_selected(self, event: DevicePanel.Selected) -> None:
        assert event.control is self.panel
        self.heard.append(event.label)


def gpu(index: int, *, time: float = NOW, **changes: Any) -> Reading:
    fields = {
        "name": "NVIDIA H200",
        "utilization": 0.94,
        "memory_used_bytes": 31 * GIB,
        "memory_bytes": 139 * GIB,
        "temperature_c": 61.0,
        "power_w": 548.0,
        "power_limit_w": 700.0,
    }
    return Reading(**{**fields, "time": time, "label": f"cuda:{index}", **changes})


CPU = Reading(
    time=NOW,
    label="cpu",
    name="AMD EPYC 9654 96-Core Processor",
    utilization=0.163,
    memory_used_bytes=92 * GIB,
    memory_bytes=1007 * GIB,
)


def history(*readings: Reading) -> DeviceHistory:
    log = TelemetryLog()
    for reading in readings:
        log.add([reading])
    return log.snapshot()


@pytest.fixture(scope="module")
def view_of(record_once: Record) -> MakeView:
    """Return a sweep whose first runs are running on the given slots."""
    run_dir = record_once("sweep.seeds=[0,1,2,3,4]", engine=None)
    seen = Watcher(run_dir, run_dir.read_plan()).poll(NOW)
    fields = {name: getattr(seen, name) for name in SweepView.__dataclass_fields__}
    engine = seen.engines[-1].model_copy(update={"slots": ("cuda:0/0", "cuda:0/1", "cuda:1/0")})

    def make(running: Sequence[str] = (), **changes: Any) -> SweepView:
        leased = {run.run_id: slot for run, slot in zip(seen.plan.runs, running, strict=False)}
        return SweepView(**{**fields, "leased": leased, "engines": (engine,), **changes})

    return make


def work(view: SweepView, **options: Any) -> dict[str, tuple[str, str]]:
    lines = device_lines(history(gpu(0), gpu(1), CPU), view, **options)
    return {line.label: (line.work, line.state) for line in lines}


def test_what_runs_where(view_of: MakeView) -> None:
    assert work(view_of(["cuda:0/0"])) == {
        "cuda:0": ("densenet L=1 seed 0", "running"),
        "cuda:1": ("idle", "idle"),
        "cpu": ("not used by this sweep", "idle"),
    }
    several = work(view_of(["cuda:0/0", "cuda:0/0", "cuda:0/1", "cuda:1/0", "cuda:0/1", "cuda:1/1"]))
    assert several["cuda:0"][0] == "4 runs: densenet L=1 seeds 0, 1, 2, 4"
    assert several["cuda:1"][0] == "2 runs: densenet L=1 seed 3, densenet L=2 seed 0"


@pytest.mark.parametrize(
    ("seeds", "expected"), [([0, 1, 2], "seeds 0–2"), ([0, 2], "seeds 0, 2"), ([0, 1], "seeds 0–1")]
)
def test_batched_seeds_are_listed_together(view_of: MakeView, seeds: list[int], expected: str) -> None:
    view = view_of([f"cuda:0/{seed}" if seed in seeds else "" for seed in range(5)])
    assert work(view)["cuda:0"][0] == f"{len(seeds)} runs: densenet L=1 {expected}"
    pack = view_of(["cuda:0/0" if seed in seeds else "" for seed in range(5)])
    assert work(pack)["cuda:0"][0] == f"densenet L=1 {expected}"


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({"pause_state": PauseState(devices={"cuda:0": "pause"})}, "paused · densenet L=1 seed 0", "idle"),
        ({"pause_state": PauseState(devices={"cuda:1": "release"})}, "densenet L=1 seed 0", "released"),
        (
            {"pause_state": PauseState(devices={"cuda:0/1": "pause"})},
            "1 of 2 slots paused · densenet L=1 seed 0",
            "idle",
        ),
        (
            {"pause_state": PauseState(devices={"cuda:0": "pause", "cuda:0/1": "release"})},
            "1 of 2 slots paused, 1 of 2 slots released · densenet L=1 seed 0",
            "idle",
        ),
        ({"pause_state": PauseState(sweep=True)}, "sweep paused · densenet L=1 seed 0", "sweep paused"),
        (
            {"pause_state": PauseState(disk="no room")},
            "paused: disk full · densenet L=1 seed 0",
            "paused: disk full",
        ),
        ({"disabled_slots": {"cuda:1/0": "failed twice"}}, "densenet L=1 seed 0", "disabled: failed twice"),
        (
            {"disabled_slots": {"cuda:0/0": "lost", "cuda:0/1": "lost"}},
            "disabled: lost · densenet L=1 seed 0",
            "idle",
        ),
        ({"disabled_slots": {"cuda:0/1": "lost"}}, "1 of 2 slots disabled: lost · densenet L=1 seed 0", "idle"),
    ],
)
def test_why_a_device_does_nothing(view_of: MakeView, changes: dict[str, Any], first: str, second: str) -> None:
    texts = work(view_of(["cuda:0/0"], **changes))
    assert (texts["cuda:0"][0], texts["cuda:1"][0]) == (first, second)


def test_after_the_end_nothing_is_idle_or_paused(view_of: MakeView) -> None:
    ended = EngineEnded(time=NOW, reason="done")
    view = view_of(engine_ended=ended, pause_state=PauseState(sweep=True), disabled_slots={"cuda:1/0": "lost"})
    assert {text for text, _ in work(view).values()} == {"", "disabled: lost"}


def test_a_sweep_elsewhere_is_shown_without_the_devices_of_this_machine(view_of: MakeView) -> None:
    assert list(work(view_of(["cuda:0/0"]), remote=True)) == ["cuda:0", "cuda:1"]
    assert all(line.readings == () for line in device_lines(history(gpu(0)), view_of(), remote=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("AMD EPYC 9654 96-Core Processor", "EPYC 9654"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Xeon E5-2680 v4"),
        ("Apple M3 Max GPU", "Apple M3 Max GPU"),
    ],
)
def test_short_names(name: str, expected: str) -> None:
    assert DeviceLine(label="cuda:0", readings=(gpu(0, name=name),)).name == expected


def test_the_layout_does_not_depend_on_what_devices_do(view_of: MakeView) -> None:
    for width in range(10, 220, 7):
        layouts = {
            choose_layout(device_lines(history(gpu(0, utilization=fraction, power_w=watts), CPU), view), width)
            for view in (view_of(), view_of(["cuda:0/0"]), view_of(disabled_slots={"cuda:0/0": "x" * 300}))
            for fraction, watts in ((0.0, 7.0), (1.0, 700.0))
        }
        assert len(layouts) == 1


LINES = r"""
── Devices ─+
▸ cuda:0  H200        util         ▇ 94 %   memory  31 of  139 GiB    61 °C   power     ▆ 548 of 700 W  +densenet L=1 seed 0
  cuda:1  H200        util         ▁  0 %   memory   0 of  139 GiB    33 °C   power     ▂  71 of 700 W  +disabled: failed
  cpu     EPYC 9654   util         ▂ 16 %   memory  92 of 1007 GiB  +not used by this sweep
"""


def words(text: str) -> list[list[str]]:
    return [re.sub("[▁-█─━]+", "", line).split() for line in text.strip().splitlines()]


def test_wide_it_says_everything(drive: Drive, screen_text: ScreenText, view_of: MakeView) -> None:
    app = PanelApp()

    async def act(pilot: Pilot[None]) -> None:
        idle = gpu(1, utilization=0.0, memory_used_bytes=GIB // 3, temperature_c=33.0, power_w=71.0)
        app.panel.update(history(gpu(0), idle, CPU), view_of(["cuda:0/0"], disabled_slots={"cuda:1/0": "failed"}))
        await pilot.pause()
        shown = screen_text(app)
        assert words(shown) == words(LINES.replace("+", ""))
        rows = shown.splitlines()[1:4]
        for mark in (" util", " memory", "GiB"):
            assert len({row.index(mark) for row in rows}) == 1
        for mark in ("°C", " power", " of 700 W"):
            assert len({row.index(mark) for row in rows[:2]}) == 1
        assert "▇  94 %" in rows[0]
        assert "▁   0 %" in rows[1]

    drive(app, act, size=WIDE)


def test_narrow_it_keeps_what_matters(drive: Drive, screen_text: ScreenText, view_of: MakeView) -> None:
    app = PanelApp()

    async def act(pilot: Pilot[None]) -> None:
        app.panel.update(history(gpu(0), CPU), view_of(["cuda:0/0"]))
        await pilot.pause()
        rows = screen_text(app).splitlines()
        assert rows[1] == "▸ cuda:0  H200       util  94 %    31 of  139 GiB  densenet L=1 seed 0"
        assert rows[2] == "  cpu     EPYC 9654  util  16 %    92 of 1007 GiB  not used by this sweep"
        await pilot.resize_terminal(20, 5)
        await pilot.pause()
        assert screen_text(app).splitlines()[1].startswith("▸ cuda:0  densenet")
        await pilot.resize_terminal(4, 2)
        await pilot.pause()
        await pilot.resize_terminal(160, 48)
        await pilot.pause()
        assert "548 of 700 W" in screen_text(app)

    drive(app, act)


def test_a_device_without_telemetry_has_blank_columns(drive: Drive, screen_text: ScreenText) -> None:
    app = PanelApp()
    missing = Reading(time=NOW + 1, label="cuda:0", name="NVIDIA H200")

    async def act(pilot: Pilot[None]) -> None:
        app.panel.update(history(gpu(0), missing, gpu(1)), None)
        await pilot.pause()
        first, second = screen_text(app).splitlines()[1:3]
        assert first.split() == ["▸", "cuda:0", "H200", "util", "▇"]
        assert "94 %" in second

    drive(app, act)


def test_the_cursor(drive: Drive, screen_text: ScreenText, view_of: MakeView, notices: Notices) -> None:
    app = PanelApp()
    reason = "failed twice at start: [b]RuntimeError[/b]: " + "and so on " * 20

    async def act(pilot: Pilot[None]) -> None:
        assert "no devices yet" in screen_text(app)
        await pilot.press("down", "enter")
        assert app.panel.selected == ""
        view = view_of(disabled_slots={"cuda:1/0": reason})
        app.panel.update(history(*map(gpu, range(9))), view)
        await pilot.pause()
        assert app.panel.selected == "cuda:0"
        for key, expected in (("up", 0), ("down", 1), ("end", 8), ("down", 8), ("up", 7), ("home", 0), ("down", 1)):
            await pilot.press(key)
            assert app.panel.selected == f"cuda:{expected}"
        assert app.panel.details == f"disabled: {reason}"
        await pilot.press("enter")
        await pilot.pause()
        assert [message for message, _ in notices] == [app.panel.details]
        await pilot.click(DevicePanel, offset=(5, 4))
        assert app.panel.selected == "cuda:3"
        assert "▸ cuda:3" in screen_text(app)
        app.panel.update(history(gpu(7), gpu(3)), view)
        assert app.panel.selected == "cuda:3"
        app.panel.update(history(gpu(7)), None)
        await pilot.pause()
        assert app.panel.selected == "cuda:7"
        assert app.heard[0] == "cuda:0"
        assert app.heard[-2:] == ["cuda:3", "cuda:7"]
        app.panel.update({}, None)
        await pilot.pause()
        assert "no devices yet" in screen_text(app)

    drive(app, act)


def test_more_devices_than_lines(drive: Drive, screen_text: ScreenText) -> None:
    app = PanelApp()

    async def act(pilot: Pilot[None]) -> None:
        app.panel.styles.height = 5
        app.panel.update(history(*map(gpu, range(9))), None)
        await pilot.pause()
        assert " Devices 1–4 of 9 " in screen_text(app)
        await pilot.press(*["down"] * 5)
        await pilot.pause()
        rows = screen_text(app).splitlines()
        assert " Devices 3–6 of 9 " in rows[0]
        assert rows[4].startswith("▸ cuda:5")
        await pilot.click(DevicePanel, offset=(5, 1))
        assert app.panel.selected == "cuda:2"

    drive(app, act)


def test_a_sweep_elsewhere_says_so(drive: Drive, screen_text: ScreenText, view_of: MakeView) -> None:
    app = PanelApp()

    async def act(pilot: Pilot[None]) -> None:
        app.panel.update(history(gpu(0)), view_of(["cuda:1/0"]), remote=True)
        await pilot.pause()
        rows = screen_text(app).splitlines()
        assert "Devices: no telemetry, the sweep runs on another machine" in rows[0]
        assert rows[1:3] == ["▸ cuda:0  idle", "  cuda:1  densenet L=1 seed 0"]

    drive(app, act)


def test_every_key_has_a_name_by_which_it_can_be_changed() -> None:
    ids = [binding.id for binding in DevicePanel.BINDINGS]  # type: ignore[union-attr]
    assert all(name and name.startswith("devices.") for name in ids)
