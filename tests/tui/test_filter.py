from __future__ import annotations

import pytest

from dnlbench.tui.filter import FilterError, parse_filter
from dnlbench.tui.rows import RunRow, rows_of
from dnlbench.watch import Watcher
from tests.tui.conftest import NOW, Record


@pytest.fixture(scope="module")
def rows(record_once: Record) -> list[RunRow]:
    """Rows of densenet, then dense-gaussian, each with L=1 and 2 and seeds 0 and 1."""
    run_dir = record_once(states=["done", "failed", "done", "half", "diverged"])
    return list(rows_of(Watcher(run_dir, run_dir.read_plan()).poll(NOW)).values())


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("network=densenet", [0, 1, 2, 3]),
        ("network=*gaussian", [4, 5, 6, 7]),
        ("Network=DENSENET depth>=2", [2, 3]),
        ("L=1", [0, 1, 4, 5]),
        ("depth<2 seed=1", [1, 5]),
        ("status=failed,diverged", [1, 4]),
        ("status!=ok,waiting", [1, 4]),
        ("status=failed or seed=0 network=densenet", [0, 1, 2]),
        ("status=failed OR status=diverged", [1, 4]),
        ("broke", [1]),
        ("gaussian L=2", [6, 7]),
        ("seed=1", [1, 3, 5, 7]),
        ("loss<100 network=dense*", [0, 1, 2, 3]),
        ("loss<=nan", []),
        ("epoch>=2", [0, 2]),
        ("message=*broke", [1]),
        ("rate>3000", [0, 1, 4]),
        ("depth=1?", []),
        ("seed=0,1", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("rate!=0", [0, 1, 2, 3, 4]),
    ],
)
def test_a_filter_finds(rows: list[RunRow], text: str, indices: list[int]) -> None:
    test = parse_filter(text)
    assert [index for index, row in enumerate(rows) if test(row)] == indices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detph>=8", r"detph: no such field; did you mean 'depth'\? Fields: status, network, depth"),
        ("depth>=", r"depth>=: a value is missing, as in depth>=8"),
        ("depth>many", "depth>many: many is not a number"),
        ("or depth>=8", "'or' needs a condition on both sides"),
        ("status=failed or", "'or' needs a condition on both sides"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_with_what_would(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse_filter(text)
