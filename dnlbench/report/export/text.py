"""Tables as CSV (RFC 4180 with plain line breaks) and as JSON lines.

Non-finite numbers are ``NaN``, ``Infinity`` and ``-Infinity``, in JSON as strings. Curves in CSV are JSON lists in a cell.
pandas does not parse these lists and does not distinguish ``NaN`` from an empty cell.
"""

from __future__ import annotations

import json

from dnlbench.escape import csv_text, finite_or_word, json_text
from dnlbench.report.export.tables import Table, Value


def to_csv(table: Table) -> str:
    """Return the table as CSV with a header row."""
    cells = ([json.dumps(_plain(value)) if isinstance(value, tuple) else value for value in row] for row in table.rows)
    return csv_text([[column.name for column in table.columns], *cells])


def to_json_lines(table: Table) -> str:
    """Return an object for each row, with every column."""
    names = [column.name for column in table.columns]
    rows = (dict(zip(names, map(_plain, row), strict=True)) for row in table.rows)
    return json_text("".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows))


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        return [finite_or_word(number) for number in value]
    return finite_or_word(value) if isinstance(value, float) else value
