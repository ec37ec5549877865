"""Digits are read once per test session."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from dnlbench.runners import digits


@pytest.fixture(scope="session", autouse=True)
def digits_read_once() -> Iterator[None]:
    """Cache the digits: reading their file takes longer than most of the runs."""
    once = cache(digits.read_digits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "read_digits", once)
        yield
