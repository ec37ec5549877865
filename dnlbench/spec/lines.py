"""On which lines of a TOML text its keys stand; the readers of Python's library tell no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Key = tuple[str, ...]

MOST_PARTS = 50
"""Parts of the longest key that is read, and levels of nested values. No spec needs as many."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # strings of several lines, which may end in two quotation marks of their own
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
"""What can begin or end a bracket, a line, or a stretch in which neither counts."""


def key_lines(text: str) -> dict[Key, int]:
    """Line, from 1, of the statement that first names each key or table, in time linear in the text's length.

    Keys of arrays of tables are left out.
    """
    lines: dict[Key, int] = {}
    table: Key | None = ()
    for number, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.startswith("["):
            found, table = _paths(content, ()), _only_path(content)
        else:
            found = iter(()) if table is None else _paths(content, table)
        for key in found:
            lines.setdefault(key, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each key with its value and each table's head, with the line that it begins on."""
    start, line, depth, number = 0, 1, 0, 1
    for token in _TOKEN.finditer(text + "\n"):
        number += token[0].count("\n")
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
        if token[0] == "\n" and depth == 0:
            statement = text[start : token.start()].strip(" \t\r\n")
            if statement and not statement.startswith("#"):
                yield line, statement
            start, line = token.end(), number


def _only_path(content: Mapping[str, Any]) -> Key | None:
    """The table that a head opens; None for an element of an array of tables."""
    path: Key = ()
    while content and len(path) < MOST_PARTS:
        (name, inner), *_ = content.items()
        if not isinstance(inner, dict):
            return None
        path, content = (*path, name), inner
    return path


def _paths(content: Mapping[str, Any], table: Key) -> Iterator[Key]:
    """Every key in nested tables, down to a depth that no spec has."""
    waiting = [(table, content)]
    while waiting:
        outer, inner = waiting.pop()
        for name, value in inner.items():
            yield (*outer, name)
            if isinstance(value, dict) and len(outer) < MOST_PARTS:
                waiting.append(((*outer, name), value))
