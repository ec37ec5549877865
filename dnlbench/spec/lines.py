"""Find the line numbers of keys in a TOML text, which Python's ``tomllib`` does not report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Key = tuple[str, ...]

MOST_PARTS = 50
"""Maximum number of parts of a key, and of levels of nested values."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # multi-line strings may end with two more quotation marks
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
"""Brackets, line ends, strings and comments. Brackets and line ends inside strings and comments do not count."""


def key_lines(text: str) -> dict[Key, int]:
    """Return the line, starting at 1, of the first statement with each key or table, in linear time.

    Keys of arrays of tables are not included.
    """
    lines: dict[Key, int] = {}
    table: Key | None = ()
    for number, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.startswith("["):
            paths, table = _paths(content, ()), _only_path(content)
        else:
            paths = iter(()) if table is None else _paths(content, table)
        for key in paths:
            lines.setdefault(key, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each assignment and each table header with its first line."""
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
    """Return the table that a header opens; None for an element of an array of tables."""
    path: Key = ()
    while content and len(path) < MOST_PARTS:
        (name, inner), *_ = content.items()
        if not isinstance(inner, dict):
            return None
        path, content = (*path, name), inner
    return path


def _paths(content: Mapping[str, Any], table: Key) -> Iterator[Key]:
    """Yield every key in nested tables, up to the maximum depth."""
    waiting = [(table, content)]
    while waiting:
        outer, inner = waiting.pop()
        for name, value in inner.items():
            yield (*outer, name)
            if isinstance(value, dict) and len(outer) < MOST_PARTS:
                waiting.append(((*outer, name), value))
