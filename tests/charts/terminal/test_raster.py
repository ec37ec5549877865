from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dnlbench.charts.terminal.raster import Raster, at, clip, crosses, segments

COORDINATE = st.floats(-1e4, 1e4)


def rows(raster: Raster) -> list[str]:
    return [
        "".join(raster.text(row * raster.columns + column) for column in range(raster.columns))
        for row in range(raster.rows)
    ]


def test_dots_map_to_braille_bits() -> None:
    expected = {
        0x01: (0, 0),
        0x02: (0, 1),
        0x04: (0, 2),
        0x40: (0, 3),
        0x08: (1, 0),
        0x10: (1, 1),
        0x20: (1, 2),
        0x80: (1, 3),
    }
    for bit, (x, y) in expected.items():
        raster = Raster(1, 1)
        raster.line([(float(x), float(y))], 0)
        assert raster.dots[0] == bit


def test_lines() -> None:
    raster = Raster(4, 2)
    raster.line([(0.0, 7.0), (7.0, 0.0)], 3)
    assert rows(raster) == ["  ⡠⠊", "⡠⠊  "]
    assert raster.pens == [-1, -1, 3, 3, 3, 3, -1, -1]


def test_dots_add_and_the_last_pen_stays() -> None:
    raster = Raster(1, 1)
    raster.line([(0.0, 0.0), (1.0, 0.0)], 0)
    raster.line([(0.0, 3.0), (1.0, 3.0)], 1)
    assert rows(raster) == ["⣉"]
    assert raster.pens == [1]


def test_dashes_continue_around_corners() -> None:
    raster = Raster(20, 1)
    raster.line([(0.0, 0.0), (10.0, 0.0), (39.0, 0.0)], 0, dashed=True)
    dots = [bool(raster.dots[x // 2] & (0x08 if x % 2 else 0x01)) for x in range(40)]
    assert dots == [x % 7 < 4 for x in range(40)]


def test_shades_cover_cells_with_their_center_inside() -> None:
    raster = Raster(1, 4)
    raster.shade(0, 4.0, 12.0, 2)
    assert raster.shades == [-1, 2, 2, -1]


def test_markers_replace_dots() -> None:
    raster = Raster(2, 1)
    raster.line([(0.0, 0.0), (3.0, 0.0)], 0)
    raster.mark((0.0, 0.0), "✗", 1)
    raster.mark((9.0, 0.0), "✗", 1)
    assert rows(raster) == ["✗⠉"]


@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
def test_clipping_leaves_what_is_inside_and_on_the_line(x0: float, y0: float, x1: float, y1: float) -> None:
    clipped = clip((x0, y0), (x1, y1), 100.0, 50.0)
    if clipped is None:
        inside = any(0 <= x0 + k / 50 * (x1 - x0) <= 100 and 0 <= y0 + k / 50 * (y1 - y0) <= 50 for k in range(51))
        assert not inside
        return
    a, b, c, d = clipped
    assert all(0 <= x <= 100 for x in (a, c))
    assert all(0 <= y <= 50 for y in (b, d))
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    for x, y in ((a, b), (c, d)):
        assert abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length < 1e-3


@given(st.lists(st.tuples(COORDINATE, COORDINATE), max_size=8), st.integers(0, 6), st.integers(0, 4), st.booleans())
def test_no_line_leaves_the_raster(points: list[tuple[float, float]], columns: int, height: int, dashed: bool) -> None:
    raster = Raster(columns, height)
    raster.line(points, 0, dashed=dashed)
    assert len(raster.dots) == columns * height


def test_lines_break_at_missing_values() -> None:
    assert segments([0.0, 1.0, 2.0, 3.0], [1.0, math.nan, 2.0, math.inf]) == [[(0.0, 1.0)], [(2.0, 2.0)]]
    assert segments([], []) == []


def test_mark_positions() -> None:
    assert at([[(0.0, 0.0), (4.0, 8.0)]], 1.0) == (1.0, 2.0)
    assert at([[(0.0, 0.0), (4.0, 8.0)]], 5.0) is None


def test_crosses_are_at_the_last_height() -> None:
    values = [1.0, math.nan, math.nan, 2.0, math.inf]
    assert crosses(values, [0.0, 1.0, 2.0, 3.0, 4.0], [5.0, math.nan, math.nan, 6.0, math.nan], 9.0) == [
        (1.0, 5.0),
        (4.0, 6.0),
    ]
    assert crosses([math.nan], [3.0], [math.nan], 9.0) == [(3.0, 0.0)]
