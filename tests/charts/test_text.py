from __future__ import annotations

import pytest

from dnlbench.charts.mpl.text import shortened, tied, wrapped


def lines(notes: list[str], width: int, most: int = 9) -> list[str]:
    return wrapped(notes, lambda text: len(text) <= width, most, "more")


@pytest.mark.parametrize(
    ("width", "found"), [(9, "abcdefghi"), (8, "abcd…ghi"), (5, "ab…hi"), (3, "a…i"), (2, "…"), (0, "…")]
)
def test_both_ends_of_a_name_stay(width: int, found: str) -> None:
    assert shortened("abcdefghi", lambda text: len(text) <= width) == found


def test_lines_are_as_long_as_they_may_be() -> None:
    assert lines(["aa bb cc dd", "e"], 5) == ["aa bb", "cc dd", "e"]


def test_what_is_tied_stays_together_if_a_line_holds_it() -> None:
    assert lines([f"a {tied('bb cc')} d"], 5) == ["a", tied("bb cc"), "d"]
    assert lines([f"a {tied('bb cc')} d"], 4) == ["a bb", "cc d"]


def test_words_without_end_are_shortened() -> None:
    assert lines(["abcdefghi jk"], 5) == ["ab…hi", "jk"]


def test_of_too_many_lines_the_last_says_so() -> None:
    assert lines(["a", "b", "c"], 5, most=2) == ["a", "more"]
    assert lines(["a", "b"], 5, most=2) == ["a", "b"]
