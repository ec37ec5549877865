"""Sentences on gradients and on networks that never learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from dnlbench.profiles import Profile, never_learned, summarize
from dnlbench.report.html.charts import charts_of
from dnlbench.report.profile import profile_grids
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
DEPTHS = (2, 4, 8, 16, 32)


@pytest.fixture
def measured(make_profile: MakeProfile) -> Callable[..., Profile]:
    """Return a profile whose networks have gradients ``a L^p`` at initialization and a constant block ratio."""

    def make(networks: Mapping[str, tuple[float, float, float]], loss: float = 0.5) -> Profile:
        profile = make_profile({(network, depth): [loss, loss] for network in networks for depth in DEPTHS})
        runs = tuple(
            run.model_copy(
                update={
                    "measurements": {
                        "gradient_norm_start": networks[run.network][0] * run.depth ** networks[run.network][1],
                        "gradient_norm_first_steps": 9.0,
                        "gradient_ratio_start": networks[run.network][2],
                    }
                }
            )
            for run in profile.runs
        )
        return profile.model_copy(update={"runs": runs, "summary": summarize(runs, TRAINING)})

    return make


def notes(profile: Profile) -> dict[str, str]:
    return {grid.title: grid.note for grid in profile_grids(profile)}


def test_a_gradient_explodes_if_it_grows_faster_than_depth(measured: Callable[..., Profile]) -> None:
    output = notes(measured({"plain": (0.25, 2.0, 150.0), "resnet": (0.5, 0.9, 2.0), "densenet": (8.0, -0.5, 0.05)}))
    lines = output["Gradients"].splitlines()
    assert lines[1:4] == [
        "plain: the gradient at initialization grows from 1 at L = 2 to 256 at L = 32, by a factor of 4 "
        "per doubling: it explodes; at L = 32 the gradient of the first block is 150 times that of the last, much larger",
        "resnet: the gradient at initialization grows from 0.933 at L = 2 to 11.3 at L = 32, by a factor of 1.87 "
        "per doubling: it does not explode",
        "densenet: the gradient at initialization falls from 5.66 at L = 2 to 1.41 at L = 32, by a factor of 0.707 "
        "per doubling: it does not explode; at L = 32 the gradient of the first block is 0.05 times that of the last: "
        "it vanishes",
    ]
    assert lines[4].startswith("explodes: grows more than 2 times per doubling of L")


def test_profiles_without_gradients_have_no_sentences(make_profile: MakeProfile) -> None:
    output = notes(make_profile({("plain", depth): [0.5] for depth in DEPTHS}))
    assert not any("gradient" in title.lower() or "explode" in note for title, note in output.items())


def test_networks_that_never_learned_are_named(make_profile: MakeProfile) -> None:
    """Chance level for ten classes: 0.9 ln 10 = 2.07."""
    losses = {("plain", 2): [0.5, 0.4], ("plain", 32): [2.18, 2.2], ("resnet", 32): [2.08, 1.0]}
    (main, *_) = notes(make_profile(losses)).values()
    lines = [line for line in main.splitlines() if "never learned" in line]
    assert lines == [
        "plain at L = 32: 2 of 2 runs never learned: training loss 2.19, not below 0.9 times ln(10) = 2.30; no "
        "conclusion is drawn from the weights",
        "resnet at L = 32: 1 of 2 runs never learned: training loss 2.08, not below 0.9 times ln(10) = 2.30; no "
        "conclusion is drawn from the weights",
    ]


@pytest.mark.parametrize(
    ("loss", "classes", "never"),
    [
        (0.9 * math.log(10) + 1e-9, 10, True),
        (0.9 * math.log(10) - 1e-9, 10, False),
        (5.0, 100, True),
        (2.2, 100, False),
        (2.2, None, False),
        (None, 10, False),
        (math.nan, 10, False),
    ],
)
def test_learning_is_judged_by_chance(loss: float | None, classes: int | None, never: bool) -> None:
    assert never_learned(loss, classes) is never


def test_the_page_has_a_chart_of_gradients_over_depth(measured: Callable[..., Profile]) -> None:
    profile = measured({"plain": (0.25, 2.0, 150.0)})
    (chart,) = [chart for chart in charts_of([profile]) if chart.title.startswith("Gradient norm at initialization")]
    assert chart.y.scale == "log"
    assert chart.series[0].y == pytest.approx([0.25 * depth**2 for depth in DEPTHS])
