"""The charts of a figure, by study and by request."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

import dnlbench.charts
from dnlbench.charts.figure import FigureLayout, Kind, figure_layout
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.studies import STUDIES
from tests.charts.read_svg import LOSS, plot_svg, read
from tests.charts.synthetic import run_of

Draw = Callable[..., Profile]


def keys(profile: Profile, *kinds: Kind) -> list[list[str]]:
    layout: FigureLayout = figure_layout([profile], kinds, metric=LOSS)
    return [[chart.subject or chart.key for chart in block.charts] for block in layout.blocks]


def test_the_default_figure_of_a_training_sweep(sweep: Draw) -> None:
    assert keys(sweep()) == [
        ["densenet", "dense-attention", "dense-gaussian"],
        ["final_train_loss", "samples_per_s", "peak_memory_bytes"],
    ]
    assert keys(sweep(), "cost") == [["samples_per_s", "peak_memory_bytes"]]


def test_studies_without_epochs_and_costs_show_their_fits(problems: Draw) -> None:
    forward = problems("forward-limit", {"error_max": lambda d, s: 1 / d, "error_end": lambda d, s: 1 / d})
    assert keys(forward) == [["error_max", "error_end"]]
    with pytest.raises(ConfigurationError, match="study forward-limit declares no costs"):
        keys(forward, "cost")


@pytest.mark.parametrize("name", STUDIES)
def test_plotted_quantities_are_quantities_of_the_study(name: str) -> None:
    assert set(STUDIES[name].plotted) <= {quantity.name for quantity in STUDIES[name].quantities}


def test_renderers_do_not_depend_on_studies_or_quantities() -> None:
    folder = Path(str(dnlbench.charts.__file__)).parent
    names = {study.name for study in STUDIES.values()} | {q.name for s in STUDIES.values() for q in s.quantities}
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in names if f'"{name}"' in text], path.name


def test_values_that_a_logarithmic_axis_cannot_show_are_counted(sweep: Draw) -> None:
    others = {("densenet", 2, s): run_of("densenet", 2, s, [1.0, 0.0]) for s in range(3)}
    profile = sweep(networks=("densenet",), depths=(2,), others=others)
    texts = read(plot_svg([profile], "epochs", log=True)).texts
    assert "1 value ≤ 0 is not shown on the logarithmic axis." in texts


def test_non_finite_values_have_a_cross(problems: Draw) -> None:
    profile = problems("forward-limit", {"error_max": lambda d, s: math.nan if (d, s) == (8, 1) else 1 / d})
    svg = read(plot_svg([profile], "depth", quantities=["error_max"]))
    assert list(svg.named("cross")) == ["local-tanh-L-8-failed"]
    text = " ".join(svg.texts)
    assert "×: 1 failed run, excluded from means: local-tanh L=8 seed 1 has a non-finite value." in text


def test_no_profiles_raise_an_error() -> None:
    with pytest.raises(ConfigurationError, match="a figure needs at least one profile"):
        figure_layout([], metric=LOSS)


@pytest.mark.parametrize("log", [None, True, False])
@pytest.mark.parametrize("size", [1e200, 1e308])
def test_values_beyond_the_range_of_axes(sweep: Draw, size: float, log: bool | None) -> None:
    """A fit that overflows does not affect the others."""
    far = run_of("densenet", 2, 0, [size] * 12)
    profile = sweep(networks=("densenet",), depths=(2, 4, 8), others={("densenet", 2, 0): far})
    fits = tuple(
        fit.model_copy(update={"model": "power", "constant": 1.0, "order": -900.0, "problem": ""})
        for fit in profile.summary.fits
    )
    steep = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": fits})})
    for each in (profile, steep):
        assert "nan" not in plot_svg([each], "depth", log=log)
        assert "nan" not in plot_svg([each], "epochs", log=log)


def test_a_quantity_without_values_is_rejected(sweep: Draw) -> None:
    with pytest.raises(ConfigurationError, match=r"no successful run has a value of evaluation accuracy$"):
        figure_layout([sweep()], metric=LOSS, quantities=["final_train_loss", "evaluation_accuracy"])
