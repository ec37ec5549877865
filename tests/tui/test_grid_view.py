from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from dnlbench.report.grid import Column, Grid
from dnlbench.tui.widgets.grid_view import GridView, marked

Drive = Callable[..., None]
ScreenText = Callable[[App[Any]], str]
COLUMNS = (
    Column(head="network", no_wrap=True),
    Column(head="ratio", numeric=True, drop_order=1),
    Column(head="verdict", no_wrap=True),
)
GRID = Grid(
    title="Loss",
    columns=COLUMNS,
    rows=[["densenet", "0.9 [0.8, 1.0]", "better"], ["plain", "1.1 [1.0, 1.2]", "not comparable"]],
    note="of a thing",
)


class Alone(App[None]):
    def __init__(self, grid: Grid = GRID) -> None:
        super().__init__()
        self._grid = grid

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield GridView([self._grid])


def after(act: Callable[[Pilot[Any]], None]) -> Callable[[Pilot[Any]], Awaitable[None]]:
    async def run(pilot: Pilot[Any]) -> None:
        await pilot.pause()
        act(pilot)

    return run


def test_verdicts_have_marks_and_other_cells_stay() -> None:
    grid = marked(GRID)
    assert [row[2] for row in grid.rows] == ["✓ better", "– not comparable"]
    assert [row[0] for row in grid.rows] == ["densenet", "plain"]
    assert grid.note == GRID.note


def test_tables_are_laid_out_for_the_width_there_is(drive: Drive, screen_text: ScreenText) -> None:
    shown = {}

    async def act(pilot: Pilot[Any]) -> None:
        shown["wide"] = screen_text(pilot.app)
        await pilot.resize_terminal(34, 20)
        await pilot.pause()
        shown["narrow"] = screen_text(pilot.app)

    drive(Alone(), act, size=(60, 20))
    assert "densenet  0.9 [0.8, 1.0]  ✓ better" in shown["wide"]
    assert "ratio" not in shown["narrow"]
    assert "densenet  ✓ better" in shown["narrow"]


def test_words_have_the_colours_that_reports_give_them(drive: Drive) -> None:
    colors = {}

    def check(pilot: Pilot[Any]) -> None:
        for strip in pilot.app.screen._compositor.render_strips():
            for segment in strip:
                if segment.text.strip() in ("✓ better", "– not comparable", "densenet") and segment.style:
                    colors[segment.text.strip()] = segment.style.color

    drive(Alone(), after(check), size=(60, 20))
    assert len({str(color) for color in colors.values()}) == 3


def test_without_colours_nothing_is_darker_than_the_rest(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    colors = set()

    def check(pilot: Pilot[Any]) -> None:
        for strip in pilot.app.screen._compositor.render_strips():
            for segment in strip:
                if segment.text.strip() in ("✗ worse", "✓ better", "densenet") and segment.style:
                    colors.add(segment.style.color)

    bad = Grid(title="Loss", columns=COLUMNS, rows=[["densenet", "2", "worse"], ["densenet", "2", "better"]])
    drive(Alone(bad), after(check), size=(60, 20))
    assert len(colors) == 1


def test_several_tables_follow_each_other_and_can_be_replaced(drive: Drive, screen_text: ScreenText) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        view = pilot.app.query_one(GridView)
        view.show([GRID, Grid(title="Memory", columns=COLUMNS, rows=[])])
        await pilot.pause()
        text = screen_text(pilot.app)
        assert text.index("Loss") < text.index("Memory")
        assert len(view.grids) == 2
        view.show([])
        await pilot.pause()
        assert "Loss" not in screen_text(pilot.app)

    drive(Alone(), act, size=(60, 20))
