from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from dnlbench.charts.model import Axis, Chart, Identity, Series
from dnlbench.charts.terminal.draw import draw
from dnlbench.charts.terminal.view import View
from dnlbench.tui.widgets.chart import ChartView

Drive = Callable[..., None]
ScreenText = Callable[[App[Any]], str]
SIZES = (80, 24), (120, 30)
"""Sizes with the legend below the chart and beside it."""
FREE = {"m", "t", "slash", "enter", "q", "p", "k", "r", "space", *"123456789"}
"""Keys that belong to the screens."""


def curve(index: int, *, epochs: int = 50) -> Series:
    depth = 2 ** (index + 1)
    return Series(
        key=f"densenet-{depth}",
        label=f"densenet L={depth}",
        x=[float(k) for k in range(1, epochs + 1)],
        y=[2.0 * math.exp(-0.1 * k) + 1 / depth for k in range(epochs)],
        n=5,
        role="mean",
        identity=Identity(label=f"densenet L={depth}", index=index),
    )


def charted(count: int = 3) -> Chart:
    return Chart(
        key="c",
        empty="nothing yet",
        title="Training loss",
        x=Axis(label="epoch"),
        y=Axis(label="loss"),
        series=tuple(curve(index) for index in range(count)),
    )


class Charts(App[None]):
    def __init__(self, shown: Chart) -> None:
        super().__init__()
        self.shown = shown

    def compose(self) -> ComposeResult:
        yield ChartView(self.shown)

    def on_mount(self) -> None:
        self.chart.focus()

    @property
    def chart(self) -> ChartView:
        return self.query_one(ChartView)


async def begin_anew(pilot: Pilot[None], app: Charts, size: tuple[int, int]) -> None:
    app.chart.view = View()
    await pilot.resize_terminal(*size)


VIEWS = [
    (["l"], View(log_y=True)),
    (["l", "l"], View(log_y=False)),
    (["x"], View(log_x=True)),
    (["s"], View(smoothing=0.6)),
    (["s", "s"], View(smoothing=0.9)),
    (["s", "s", "s"], View()),
    (["right_square_bracket"], View(focus_series="densenet-2")),
    (["left_square_bracket"], View(focus_series="densenet-8")),
    (["right_square_bracket", "h"], View(focus_series="densenet-2", hidden=frozenset({"densenet-2"}))),
    (["h", "h", "h"], View(focus_series="densenet-2")),
    (["H", "H"], View(focus_series="densenet-2", hidden=frozenset({"densenet-4", "densenet-8"}))),
    (["H", "H", "H"], View(focus_series="densenet-2")),
    (["c"], View(cursor=25.0)),
    (["right"], View(cursor=25.0)),
    (["c", "right", "right", "left"], View(cursor=26.0)),
    (["c", "c"], View()),
    (["l", "x", "s", "plus", "0"], View()),
    (["plus", "minus"], View()),
]


def test_keys_change_the_view(drive: Drive) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        for keys, expected in VIEWS:
            app.chart.view = View()
            await pilot.press(*keys)
            assert app.chart.view == expected, keys

    drive(app, act)


def test_zooming_and_panning(drive: Drive) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("plus", "equals_sign")
        middle = app.chart.view.x
        assert middle is not None
        assert middle[1] - middle[0] == pytest.approx(49 / 1.5**2)
        await pilot.press("right")
        right = app.chart.view.x
        assert right is not None
        assert right[0] > middle[0]
        await pilot.press("up")
        assert app.chart.view.y is None
        await pilot.press("greater_than_sign", "shift+up")
        assert app.chart.view.y is not None

    drive(app, act)


def test_the_view_follows_the_cursor(drive: Drive) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("c", "plus", "plus", "plus", *["right"] * 12)
        view = app.chart.view
        assert view.x is not None
        assert view.cursor is not None
        assert view.cursor > 33
        assert view.x[0] <= view.cursor <= view.x[1]

    drive(app, act)


def test_hidden_series_are_not_plotted_and_dim_in_the_legend(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        assert "● densenet L=2 n=5   ▲ densenet L=4 n=5" in screen_text(app)
        await pilot.press("right_square_bracket", "h")
        text = screen_text(app)
        assert "▸○ densenet L=2" in text
        assert "●" not in text
        assert "▲" in text

    drive(app, act)


def test_the_cursor_reads_all_visible_series(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        for size in SIZES:
            await begin_anew(pilot, app, size)
            await pilot.press("c")
            text = screen_text(app)
            assert "epoch 25" in text
            assert "0.6814" in text
            assert "0.4314" in text
            await pilot.press("right_square_bracket", "h")
            assert "0.6814" not in screen_text(app)

    drive(app, act)


def test_the_legend_is_beside_a_wide_chart(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        lines = screen_text(app).splitlines()
        assert "● densenet L=2 n=5" in lines[1]
        assert "▲ densenet L=4 n=5" in lines[2]
        assert "densenet" not in lines[-1]

    drive(app, act, size=(120, 30))


def test_many_series_are_counted(drive: Drive, screen_text: ScreenText) -> None:
    series = tuple(replace(curve(k % 8), key=str(k), label=f"densenet L={k:02}") for k in range(100))
    app = Charts(replace(charted(), series=series))

    async def act(pilot: Pilot[None]) -> None:
        for size, more in zip(SIZES, ("+97 more", "+72 more"), strict=True):
            await begin_anew(pilot, app, size)
            assert more in screen_text(app)
            await pilot.press("left_square_bracket")
            assert "densenet L=99" in screen_text(app)

    drive(app, act)


def test_the_wheel_zooms_about_the_pointer(drive: Drive) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        await wheel(pilot, app, events.MouseScrollUp)
        view = app.chart.view
        assert view.x is not None
        assert view.y is None
        assert view.x[0] - 1 < 50 - view.x[1]  # the pointer is left of the middle
        await wheel(pilot, app, events.MouseScrollUp, shift=True)
        assert app.chart.view.y is not None
        for _ in range(2):
            await wheel(pilot, app, events.MouseScrollDown)
            await wheel(pilot, app, events.MouseScrollDown, shift=True)
        assert not app.chart.view.is_zoomed

    drive(app, act)


async def wheel(
    pilot: Pilot[None],
    app: Charts,
    kind: type[events.MouseEvent],
    shift: bool = False,
) -> None:
    app.screen._forward_event(kind(app.chart, 20, 5, 0, 0, 0, shift, False, False, 20, 5))
    await pilot.pause()


def test_the_mouse_reads_and_drags(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        await pilot.hover(ChartView, offset=(40, 6))
        assert "epoch 24" in screen_text(app)
        assert app.chart.view.cursor is None
        await pilot.press("plus", "plus")
        before = app.chart.view.x
        await pilot.mouse_down(ChartView, offset=(40, 6))
        await pilot.hover(ChartView, offset=(30, 6))
        await pilot.mouse_up(ChartView, offset=(30, 6))
        after = app.chart.view.x
        assert before is not None
        assert after is not None
        assert after[0] > before[0]
        assert after[1] - after[0] == pytest.approx(before[1] - before[0])

    drive(app, act)


def test_a_click_in_the_legend_switches(drive: Drive) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        for size, offset in zip(SIZES, ((25, 23), (105, 2)), strict=True):
            await begin_anew(pilot, app, size)
            await pilot.click(ChartView, offset=offset)
            assert app.chart.view.hidden == {"densenet-4"}
            await pilot.click(ChartView, offset=offset)
            assert app.chart.view.hidden == frozenset()

    drive(app, act)


def test_it_takes_any_size(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        for size in ((20, 5), (400, 100), (5, 2)):
            await begin_anew(pilot, app, size)
            for keys in ([], ["c"], ["l", "plus"]):
                await pilot.press(*keys)
                assert "Traceback" not in screen_text(app)
                assert len(screen_text(app).splitlines()) == size[1]

    drive(app, act)


def test_a_resized_chart_is_rendered_again(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        for size in ((20, 5), (400, 100), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert "Training loss" in screen_text(app)
            assert len(app.chart.render_line(1)) > 0
            assert app.chart.render_line(1).cell_length == size[0]

    drive(app, act)


def test_it_is_rendered_again_only_if_something_changed(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[View] = []

    def counted(chart: Chart, view: View, *rest: Any) -> Any:
        draws.append(view)
        return draw(chart, view, *rest)

    monkeypatch.setattr("dnlbench.charts.terminal.picture.draw", counted)
    app = Charts(charted())

    async def act(pilot: Pilot[None]) -> None:
        draws.clear()
        app.chart.refresh()
        await pilot.pause()
        await pilot.press("c", "right")
        assert draws == []
        app.chart.chart = charted(2)
        await pilot.pause()
        assert len(draws) == 1

    drive(app, act)


def test_nothing_yet(drive: Drive, screen_text: ScreenText) -> None:
    app = Charts(charted(0))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(*"lxsc+-hH0[]<>", "left", "up")
        assert "nothing yet" in screen_text(app)

    drive(app, act)


def test_without_colours_bands_have_edges(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    one = curve(0)
    one = replace(one, low=[y - 0.5 for y in one.y], high=[y + 0.5 for y in one.y])
    app = Charts(replace(charted(), series=(one,)))

    async def act(pilot: Pilot[None]) -> None:
        assert app.no_color
        segments = [segment for row in range(20) for segment in app.chart.render_line(row)]
        assert len({segment.style.bgcolor for segment in segments if segment.style}) == 1
        dotted = sum(1 for segment in segments for char in segment.text if 0x2800 < ord(char) < 0x2900)
        assert dotted > 100

    drive(app, act)


def test_any_color(drive: Drive, screen_text: ScreenText, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Charts(charted(0))

    async def act(pilot: Pilot[None]) -> None:
        for color in ("ansi_blue", "red", "#56B4E9", "no such color", ""):
            monkeypatch.setattr("dnlbench.charts.terminal.curves.OKABE_ITO", (color,))
            app.chart.chart = replace(charted(), series=(curve(0),))
            await pilot.pause()
            assert "densenet" in screen_text(app)
            app.chart.chart = charted(0)

    drive(app, act)


def test_a_drawing_shows_what_the_view_shows(drive: Drive) -> None:
    app = Charts(charted(2))

    async def act(pilot: Pilot[None]) -> None:
        assert "<svg " in app.chart.svg()
        assert "densenet L=2" in app.chart.svg()
        await pilot.press("right_square_bracket", "h")
        assert "densenet L=2" not in app.chart.svg()

    drive(app, act)


def test_keys_of_the_screens_are_free() -> None:
    for binding in ChartView.BINDINGS:
        assert not isinstance(binding, tuple)
        assert (binding.id or "").startswith("chart.")
        assert not set(binding.key.split(",")) & FREE
