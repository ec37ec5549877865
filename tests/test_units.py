import math
from typing import Literal

import pytest

from dnlbench import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.35, "350 ms"),
        (4.1, "4.1 s"),
        (125, "2 min 05 s"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3599.9, "1 h 00 min"),
        (86399, "1 d 00 h"),
        (4320, "1 h 12 min"),
        (277200, "3 d 05 h"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (6.1 * 2**30, "6.1 GiB"),
        (139 * 2**30, "139 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_size(value: float, text: str) -> None:
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (812, "812"),
        (9.871, "9.87"),
        (12400, "12.4 k"),
        (999.6, "1.00 k"),
        (1.25e6, "1.25 M"),
        (99960, "100 k"),
        (None, "–"),
    ],
)
def test_count(value: float | None, text: str) -> None:
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.12345, 0.0067, "0.1235 ± 0.0067"),
        (2.3, 0.41, "2.30 ± 0.41"),
        (12.3, None, "12.3"),
        (1.0, 0.0, "1 ± 0"),
        (math.nan, None, "NaN"),
        (math.inf, None, "∞"),
        (1e-7, 2e-8, "1.000e-07 ± 2.000e-08"),
    ],
)
def test_measured(mean: float, half: float | None, text: str) -> None:
    assert units.measured(mean, half) == text


def test_measured_count_shares_the_prefix() -> None:
    assert units.measured_count(12430.0, 310.0) == "12.43 ± 0.31 k"
    assert units.measured_count(1001.0, 2.5) == "1.001 ± 0.003 k"
    assert units.measured_count(431.0, 0.0) == "431.00 ± 0.00"
    assert units.measured_count(431.0, 3.0) == "431.0 ± 3.0"


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.03268, 0.00021, "3.27 ± 0.02 %"),
        (0.5, 0.0, "50.0 ± 0.0 %"),
        (0.0, 0.0, "0 ± 0 %"),
        (0.25, None, "25 %"),
        (None, None, "–"),
    ],
)
def test_measured_share(mean: float | None, half: float | None, text: str) -> None:
    assert units.measured_percent(mean, half) == text


def test_percent_is_signed_on_request() -> None:
    assert units.percent(-0.651, signed=True) == "−65.1 %"
    assert units.percent(0.0725, signed=True) == "+7.25 %"
    assert units.percent(0.01) == "1 %"


@pytest.mark.parametrize(
    ("estimate", "low", "high", "text"),
    [
        (1.0234, 0.9721, 1.0611, "1.023 [0.972, 1.061]"),
        (0.010057, 0.005642, 0.01448, "0.0101 [0.0056, 0.0145]"),
        (7.9e-5, 4.4e-5, 1.14e-4, "7.9e-05 [4.4e-05, 1.1e-04]"),
        (3.816, 1.149, None, "3.8 [1.1, –]"),
        (0.0, 0.0, 0.02432, "0.000 [0.000, 0.024]"),
        (-0.158, -0.299, -0.001, "-0.16 [-0.30, 0.00]"),
        (512.3, 400.0, 610.0, "512.3 [400, 610]"),
        (0.5, None, None, "0.5"),
        (None, None, None, "–"),
        (0.5, 0.5, 0.5, "0.5 [0.5, 0.5]"),
        (0.5, float("-inf"), 0.7, "0.50 [−∞, 0.70]"),
    ],
)
def test_bounded(estimate: float | None, low: float | None, high: float | None, text: str) -> None:
    assert units.bounded(estimate, low, high) == text


@pytest.mark.parametrize(
    ("mean", "low", "high", "kind", "text"),
    [
        (0.085, 0.073, 0.099, "number", "0.085 ± 0.013"),
        (0.5, 0.0025, 0.9975, "number", "0.50 ± 0.50"),
        (0.9, 0.31, 0.993, "number", "0.900 [0.31, 0.99]"),
        (7e3, 185.0, 2.65e5, "count", "7.0 [0.18, 265] k"),
        (0.33, 0.04, 0.85, "percent", "33 [4.0, 85] %"),
        (12400.0, 12100.0, 12700.0, "count", "12.40 ± 0.30 k"),
        (0.2, 0.0, math.inf, "number", "0.20 [0, ∞]"),
        (1.0, None, None, "percent", "100 %"),
        (0.5, 0.5, 0.5, "number", "0.5 ± 0"),
        (None, None, None, "number", "–"),
    ],
)
def test_estimates_state_both_ends_where_one_is_much_nearer(
    mean: float | None, low: float | None, high: float | None, kind: Literal["number", "count", "percent"], text: str
) -> None:
    assert units.estimated(mean, low, high, kind) == text


@pytest.mark.parametrize(
    ("values", "kind", "scale"),
    [
        ([0.2, -1500.0], "number", (1.0, "")),
        ([12.0, -1500.0], "count", (1e3, "k")),
        ([2e12], "count", (1e12, "T")),
        ([0.0], "count", (1.0, "")),
        ([1023.0], "bytes", (1.0, "B")),
        ([1.0, 2.0**20], "bytes", (2.0**20, "MiB")),
        ([2.0**60], "bytes", (2.0**40, "TiB")),
        ([0.5], "percent", (0.01, "%")),
        ([179.0], "seconds", (1.0, "s")),
        ([180.0], "seconds", (60.0, "min")),
        ([3 * 3600.0], "seconds", (3600.0, "h")),
        ([math.inf, math.nan, 2048.0], "bytes", (1024.0, "KiB")),
        ([], "bytes", (1.0, "B")),
    ],
)
def test_values_share_the_scale_of_the_largest(values: list[float], kind: units.Kind, scale: tuple[float, str]) -> None:
    assert units.scale_for(values, kind) == scale
