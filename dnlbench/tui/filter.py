"""The filter of the run table: ``network=dense* depth>=8 status=failed,oom or seed=0``.

A filter is a list of conditions. Adjacent conditions must all be true; ``or`` separates alternatives and binds less tightly.
A condition is ``field OP value``, where OP is one of ``= != >= <= > <``, or text to search for in network, status and
message. Values of ``=`` and ``!=`` may contain the wildcards ``*`` and ``?``, and alternatives separated by commas. A
condition is false for a run that has no value of the field.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from dnlbench.errors import ConfigurationError, did_you_mean
from dnlbench.tui.rows import BY_NAME, Field, RunRow

Test = Callable[[RunRow], bool]

_TERM = re.compile(r"(?P<name>[^<>=!]+)(?P<op>>=|<=|!=|=|>|<)(?P<value>.*)")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
ALIASES = {
    "l": "depth",
    "samples/s": "rate",
    "samples_per_s": "rate",
    "eta": "left",
    "state": "status",
    "slot": "device",
}


class FilterError(ConfigurationError):
    """An invalid filter."""


def parse_filter(text: str) -> Test:
    """Return a predicate that is true for the runs to show.

    Raises:
        FilterError: with the invalid condition and a remedy.
    """
    groups: list[list[Test]] = [[]]
    for word in text.split():
        if word.lower() == "or":
            groups.append([])
        else:
            groups[-1].append(_term(word))
    if len(groups) > 1 and not all(groups):
        raise FilterError("'or' needs a condition on both sides, as in: status=failed or depth>=8")
    return lambda row: any(all(test(row) for test in group) for group in groups)


def _term(word: str) -> Test:
    match = _TERM.fullmatch(word)
    if match is None:
        return _containing(word.lower())
    field, op, value = _field(match["name"]), match["op"], match["value"]
    if not value:
        raise FilterError(f"{word}: a value is missing, as in {field.name}{op}8")
    if op in _ORDER:
        return _compared(field, _ORDER[op], word, value)
    allowed = [part.lower() for part in value.split(",") if part]
    return lambda row: (actual := field.value(row)) is not None and _is_one_of(actual, allowed) == (op == "=")


def _containing(word: str) -> Test:
    return lambda row: any(word in text.lower() for text in (row.run.title, row.state, row.message))


def _field(name: str) -> Field:
    name = ALIASES.get(name.lower(), name.lower())
    if name not in BY_NAME:
        raise FilterError(f"{name}: no such field{did_you_mean(name, BY_NAME) or '.'} Fields: {', '.join(BY_NAME)}")
    return BY_NAME[name]


def _compared(field: Field, compare: Callable[[float, float], bool], word: str, value: str) -> Test:
    try:
        bound = float(value)
    except ValueError as error:
        raise FilterError(f"{word}: {value} is not a number") from error
    return lambda row: isinstance(actual := field.value(row), (int, float)) and compare(actual, bound)


def _is_one_of(actual: str | float, allowed: list[str]) -> bool:
    return any(_equal(actual, pattern) for pattern in allowed)


def _equal(actual: str | float, pattern: str) -> bool:
    if isinstance(actual, str):
        return fnmatchcase(actual.lower(), pattern)
    try:
        return actual == float(pattern)
    except ValueError:
        return fnmatchcase(f"{actual:g}", pattern)
