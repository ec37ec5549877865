"""Tables of fits over depth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from dnlbench.profiles import FitRecord, Profile
from dnlbench.report.fits import fit_grids, fit_problems
from dnlbench.report.profile import profile_grids

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
        "L → ∞ [95 %]": "0.200 [0.180, 0.230]",
        "order p [95 %]": "1.02 [0.81, 1.30]",
        "next L": "32",
        "it gains [95 %]": "0.030 [0.020, 0.040]",
        "time": "× 4.00",
        "gain a doubling of time": "0.015",
        "worth it": "yes",
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
    assert row(make_profile, next_gain_low=low, next_gain_high=high)["worth it"] == verdict


def test_an_order_that_the_values_do_not_determine_is_not_given_as_a_number(make_profile: MakeProfile) -> None:
    found = row(make_profile, order=None, order_low=None, order_high=None)
    assert found["order p [95 %]"] == "undetermined"


def test_without_a_throughput_there_is_no_cost(make_profile: MakeProfile) -> None:
    found = row(make_profile, next_time_factor=None)
    assert "time" not in found
    assert "worth it" not in found


def test_reasons_stand_below_the_main_table_once_for_all_networks(make_profile: MakeProfile) -> None:
    few = {"depths": (2, 4), "problem": "too few depths: 2, a limit needs at least 4"}
    fits = (LIMIT.model_copy(update=few), LIMIT.model_copy(update={**few, "network": "plain"}))
    profile = with_fits(make_profile, *fits)
    line = "depth limit of the final training loss of densenet, plain: too few depths: 2, a limit needs at least 4"
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
    assert [column.head for column in grid.columns][-3:] == ["within 0.1", "by theory", "seen"]
    assert [row[-3:] for row in grid.rows] == [
        ["yes", "possible", "not seen to converge"],
        ["yes", "–", "–"],
    ]
    assert "seen: whether p is above 0" in grid.note
    (grid,) = fit_grids(with_fits(make_profile, ORDER))
    assert grid.columns[-1].head == "within 0.1"
    assert "seen" not in grid.note


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
