from __future__ import annotations

import pytest

from dnlbench.charts.mpl.text import shortened, unbreakable, wrapped


def lines(notes: list[str], width: int, most: int = 9) -> list[str]:
    return wrapped(notes, lambda text: len(text) <= width, most, "more")


@pytest.mark.parametrize(
    ("width", "result"), [(9, "abcdefghi"), (8, "abcd…ghi"), (5, "ab…hi"), (3, "a…i"), (2, "…"), (0, "…")]
)
def test_both_ends_of_a_name_are_kept(width: int, result: str) -> None:
    assert shortened("abcdefghi", lambda text: len(text) <= width) == result


def test_lines_are_as_long_as_possible() -> None:
    assert lines(["aa bb cc dd", "e"], 5) == ["aa bb", "cc dd", "e"]


def test_no_break_spaces_keep_words_together() -> None:
    assert lines([f"a {unbreakable('bb cc')} d"], 5) == ["a", unbreakable("bb cc"), "d"]
    assert lines([f"a {unbreakable('bb cc')} d"], 4) == ["a bb", "cc d"]


def test_long_words_are_shortened() -> None:
    assert lines(["abcdefghi jk"], 5) == ["ab…hi", "jk"]


def test_the_last_line_reports_omitted_lines() -> None:
    assert lines(["a", "b", "c"], 5, most=2) == ["a", "more"]
    assert lines(["a", "b"], 5, most=2) == ["a", "b"]
