"""Tables of fits over depth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from dnlbench.profiles import FitRecord, Profile
from dnlbench.profiles.fitted_model import fit_words, fitted_model
from dnlbench.report.fits import fit_grids, fit_problems
from dnlbench.report.html.profile import profile_html
from dnlbench.report.profile import profile_grids
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
DEPTHS = (2, 4, 8, 16)
LIMIT = FitRecord(
    network="densenet",
    quantity="final_train_loss",
    model="limit",
    depths=DEPTHS,
    order=1.02,
    order_low=0.81,
    order_high=1.3,
    limit=0.2,
    limit_low=0.18,
    limit_high=0.23,
    fitted_value=0.26,
    misfit_p=0.31,
    next_value=0.23,
    next_gain=0.03,
    next_gain_low=0.02,
    next_gain_high=0.04,
    next_time_factor=4.0,
)


def with_fits(make_profile: MakeProfile, *fits: FitRecord) -> Profile:
    profile = make_profile({("densenet", L): [1.0 / L] * 3 for L in DEPTHS})
    return profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": fits})})


def row(make_profile: MakeProfile, **changes: object) -> dict[str, str]:
    (grid,) = fit_grids(with_fits(make_profile, LIMIT.model_copy(update=changes)))
    return dict(zip((column.head for column in grid.columns), grid.rows[0], strict=True))


def test_the_limit_the_order_and_what_the_next_doubling_is_worth(make_profile: MakeProfile) -> None:
    assert row(make_profile) == {
        "network": "densenet",
        "limit L → ∞ [95 % CI]": "0.200 [0.180, 0.230]",
        "lack-of-fit p": "0.31",
        "fitted value at L=16": "0.26",
        "order p [95 % CI]": "1.02 [0.81, 1.30]",
        "next L": "32",
        "gain at next L [95 % CI]": "0.030 [0.020, 0.040]",
        "time factor": "× 4.00",
        "gain per doubling of time": "0.015",
        "worth the time": "yes",
    }


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.02, 0.04, "yes"),
        (-0.01, 0.04, "unclear"),
        (-0.04, -0.02, "no"),
        (None, None, "unknown"),
        (0.0, 0.1, "unclear"),
    ],
)
def test_a_gain_that_may_be_none_is_not_worth_its_cost(
    make_profile: MakeProfile, low: float | None, high: float | None, verdict: str
) -> None:
    assert row(make_profile, next_gain_low=low, next_gain_high=high)["worth the time"] == verdict


def test_an_order_that_the_values_do_not_determine_is_not_given_as_a_number(make_profile: MakeProfile) -> None:
    found = row(make_profile, order=None, order_low=None, order_high=None)
    assert found["order p [95 % CI]"] == "undetermined"


REFUSED = FitRecord(
    network="plain",
    quantity="final_train_loss",
    model="limit",
    depths=DEPTHS,
    misfit_p=0.0002,
    refused="it falls from L = 2 to 8 (p < 0.001) and rises from L = 8 to 16 (p = 0.002)",
    best_depth=8,
    best_value=0.31,
    best_low=0.29,
    best_high=0.33,
    next_time_factor=4.0,
)
BEST = "best measured: L = 8 with 0.310 [0.290, 0.330] nats"


def test_a_refused_fit_shows_its_reason_and_no_figures(make_profile: MakeProfile) -> None:
    profile = with_fits(make_profile, LIMIT, REFUSED)
    (grid,) = fit_grids(profile)
    assert grid.rows[1] == ["plain", "none", "< 0.001", *["–"] * 7]
    assert f"plain: no limit: {REFUSED.refused}; {BEST}" in grid.note
    (quantity,) = [q for q in STUDIES["training"].quantities if q.name == "final_train_loss"]
    assert fit_words(REFUSED, quantity) == f"no limit: {REFUSED.refused}; {BEST}"
    assert fitted_model(REFUSED) is None
    assert f"no depth limit of final training loss: {REFUSED.refused}; {BEST}" in profile_html(
        with_fits(make_profile, REFUSED.model_copy(update={"network": "densenet"}))
    ).replace("&lt;", "<")


def test_an_undetermined_limit_keeps_what_is_known(make_profile: MakeProfile) -> None:
    line = "a straight line in log L is not rejected (p = 0.4)"
    facts = {"limit": None, "undetermined": line, "order": None, "form": "line", "best_depth": 16, "best_value": 0.26}
    found = row(make_profile, **facts)
    assert found["limit L → ∞ [95 % CI]"] == "undetermined"
    assert found["order p [95 % CI]"] == "none: line"
    assert found["gain at next L [95 % CI]"] == "0.030 [0.020, 0.040]"
    (grid,) = fit_grids(with_fits(make_profile, LIMIT.model_copy(update={"limit": None, "undetermined": line})))
    assert f"densenet: limit undetermined: {line}" in grid.note


def test_without_a_throughput_there_is_no_cost(make_profile: MakeProfile) -> None:
    found = row(make_profile, next_time_factor=None)
    assert "time factor" not in found
    assert "worth the time" not in found


def test_reasons_stand_below_the_main_table_once_for_all_networks(make_profile: MakeProfile) -> None:
    few = {"depths": (2, 4), "problem": "too few depths: 2, a limit needs at least 4"}
    fits = (LIMIT.model_copy(update=few), LIMIT.model_copy(update={**few, "network": "plain"}))
    profile = with_fits(make_profile, *fits)
    line = "no depth limit of final training loss of densenet, plain: too few depths: 2, a limit needs at least 4"
    assert fit_problems(profile) == [line]
    assert line in next(profile_grids(profile)).note
    assert list(fit_grids(profile)) == []


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_cut_off_in_a_terminal(make_profile: MakeProfile, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for grid in fit_grids(with_fits(make_profile, LIMIT)):
            console.print(grid.to_rich(width))
    assert "…" not in capture.get()
    for cell in ("densenet", "0.200 [0.180, 0.230]", "0.030 [0.020, 0.040]", "× 4.00", "yes"):
        assert cell in capture.get()


ORDER = FitRecord(
    network="dense-fixed-a0.5",
    quantity="final_train_loss",
    model="power",
    depths=DEPTHS,
    order=0.488,
    order_low=0.461,
    order_high=0.515,
    expected_order=0.5,
    agrees=True,
)
JUDGED = ORDER.model_copy(update={"theory": "possible", "seen": "not seen to converge"})


def test_verdicts_stand_beside_the_orders_where_there_are_any(make_profile: MakeProfile) -> None:
    other = ORDER.model_copy(update={"network": "plain"})
    (grid,) = fit_grids(with_fits(make_profile, JUDGED, other))
    assert [column.head for column in grid.columns][-3:] == ["within 0.1 of expected", "theory", "observed"]
    assert [row[-3:] for row in grid.rows] == [
        ["yes", "possible", "not seen to converge"],
        ["yes", "–", "–"],
    ]
    (grid,) = fit_grids(with_fits(make_profile, ORDER))
    assert grid.columns[-1].head == "within 0.1 of expected"
    assert "observed" not in grid.note


def test_growth_with_depth_is_shown_with_its_sign(make_profile: MakeProfile) -> None:
    growth = ORDER.model_copy(
        update={"model": "growth", "seen": "does not: it shrinks like L^-0.49", "expected_order": None}
    )
    (grid,) = fit_grids(with_fits(make_profile, growth))
    assert grid.title == "Growth with depth: value ≈ C L^q"
    assert grid.rows[0][-2:] == ["-0.488 [-0.515, -0.461]", "does not: it shrinks like L^-0.49"]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_verdict_is_cut_off_in_a_terminal(make_profile: MakeProfile, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for grid in fit_grids(with_fits(make_profile, JUDGED)):
            console.print(grid.to_rich(width))
    shown = capture.get().partition("p:")[0]
    assert "…" not in shown.replace("2 … 16", "")
    for cell in ("dense-fixed-a0.5", "0.488 [0.461, 0.515]", "possible", "not seen to converge"):
        assert cell in shown
