"""Layout: nothing is cut off, nothing overlaps, and all text is readable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from dnlbench.charts.figure import figure_layout
from dnlbench.charts.mpl import Width, inches, settings
from dnlbench.charts.mpl.layout import draw_figure
from dnlbench.charts.mpl.text import shortened
from dnlbench.charts.source import Identities, sources_of
from dnlbench.profiles import Profile
from tests.charts.read_svg import LOSS, plot_svg, read
from tests.charts.synthetic import run_of

Draw = Callable[..., Profile]
SIX = ("densenet", "dense-attention", "dense-gaussian", "dense-rbf", "resnet", "plain")


def overlay(sweep: Draw) -> list[Profile]:
    return [sweep(name=f"a-rather-long-name-of-a-sweep-{k}") for k in range(3)]


def bad(sweep: Draw) -> list[Profile]:
    error = {"type": "Made", "message": "made up"}
    others = {("densenet", d, 0): run_of("densenet", d, 0, [math.nan], status="diverged", error=error) for d in (2, 16)}
    return [sweep(others=others)]


def long_names(sweep: Draw) -> list[Profile]:
    networks = [f"a_package_of_mine.and_a_module_in_it:build_network_number_{k}" for k in range(3)]
    return [sweep(networks=networks, name="n" * 64) for _ in range(2)]


PROFILES: dict[str, Callable[[Draw], list[Profile]]] = {
    "usual": lambda sweep: [sweep()],
    "six networks": lambda sweep: [sweep(networks=SIX, depths=(2, 3, 4, 6, 8, 12, 16, 24), seeds=2, epochs=3)],
    "one of each": lambda sweep: [sweep(networks=("densenet",), depths=(8,), seeds=1, epochs=1)],
    "overlay": overlay,
    "bad": bad,
    "long names": long_names,
}


def rendered(profiles: list[Profile], width: Width) -> Figure:
    parameters: Any = settings.RC_PARAMS
    with matplotlib.rc_context(parameters):
        figure = draw_figure(figure_layout(profiles, metric=LOSS).blocks, inches(width))
        figure.draw_without_rendering()  # puts the legends' entries where they belong
    return figure


@pytest.fixture(params=["page", "column", 4.5], ids=str)
def width(request: pytest.FixtureRequest) -> Width:
    result: Width = request.param
    return result


@pytest.mark.parametrize("name", PROFILES)
def test_everything_is_inside_the_figure_without_overlap(sweep: Draw, name: str, width: Width) -> None:
    figure = rendered(PROFILES[name](sweep), width)
    page = figure.bbox
    beyond = _beyond(figure)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in beyond]
    assert texts
    boxes: list[tuple[str, Any]] = [(text.get_text(), text.get_window_extent()) for text in texts]
    for text, box in boxes:
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1 + 0.5, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1 + 0.5, text
    for (a, first), (b, second) in itertools.combinations(boxes, 2):
        assert not _overlap(first, second), (a, b)
    panels = [axes.get_window_extent() for axes in figure.axes]
    for legend in (artist for artist in figure.artists if isinstance(artist, Legend)):
        assert not any(_overlap(legend.get_window_extent(), panel) for panel in panels)
    for first, second in itertools.combinations(panels, 2):
        assert not _overlap(first, second)


def _beyond(figure: Figure) -> set[Text]:
    """Return the labels of ticks outside the axes, which are not drawn."""
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    hidden = (
        tick.label1
        for axis in axes
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    )
    return set(hidden)


def _overlap(first: Any, second: Any) -> bool:
    """Return True if boxes overlap by more than a third of a point, less than the distance of letters."""
    x = min(first.x1, second.x1) - max(first.x0, second.x0)
    y = min(first.y1, second.y1) - max(first.y0, second.y0)
    return bool(x > 0.5 and y > 0.5)


@pytest.mark.parametrize("name", PROFILES)
def test_no_text_is_smaller_than_seven_points(sweep: Draw, name: str) -> None:
    result = read(plot_svg(PROFILES[name](sweep), width="column"))
    assert min(result.sizes_pt) >= 7
    assert len(result.sizes_pt) == len(result.texts)
    assert float(result.root.get("width", "").removesuffix("pt")) == pytest.approx(72 * 3.3)


def test_long_notes_are_cut_with_a_hint(sweep: Draw) -> None:
    texts = read(plot_svg([sweep(networks=SIX) for _ in range(6)], width="column")).texts
    assert "… For more, run dnlbench profiles show." in texts


def test_dollar_signs_in_names_are_literal(sweep: Draw) -> None:
    network = "my_net:$build<L>&"
    assert network in read(plot_svg([sweep(networks=(network,))])).texts


def test_control_characters_of_names_are_escaped(sweep: Draw) -> None:
    profile = sweep(networks=("net\x1b[2J\x01", "net\u202e"), name="a\x07")
    fits = tuple(fit.model_copy(update={"problem": "none\x1b"}) for fit in profile.summary.fits)
    profile = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": fits})})
    texts = read(plot_svg([profile])).texts
    assert {r"net\x01", r"net\u202e"} <= set(texts)
    assert any(r"none\x1b" in text for text in texts)


def test_long_names_are_fast_and_distinct(sweep: Draw) -> None:
    networks = tuple("n" * 5000 + middle + "n" * 5000 for middle in "ab")
    measured = 0

    def fits(text: str) -> bool:
        nonlocal measured
        measured += 1
        return len(text) < 20

    assert len(shortened(networks[0], fits)) == 19
    assert measured < 20
    (source,) = sources_of([sweep(networks=networks)])
    shown = "n" * 40 + "…" + "n" * 39
    assert Identities.of_sources([source]).networks == (shown, f"{shown} (2)")
    assert {point.network for point in source.summary.points} == {shown, f"{shown} (2)"}
