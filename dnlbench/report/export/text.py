"""Tables as CSV (RFC 4180 with plain line breaks) and as JSON lines.

Numbers that are not finite are ``NaN``, ``Infinity`` and ``-Infinity``, in JSON as strings; curves in CSV are JSON lists within
a cell. pandas reads all of it but for the curves, though it does not tell ``NaN`` from an empty cell.
"""

from __future__ import annotations

import json

from dnlbench.escape import csv_text, finite_or_word, json_text
from dnlbench.report.export.tables import Table, Value


def to_csv(table: Table) -> str:
    """A row of names, then the rows."""
    cells = ([json.dumps(_plain(value)) if isinstance(value, tuple) else value for value in row] for row in table.rows)
    return csv_text([[column.name for column in table.columns], *cells])


def to_json_lines(table: Table) -> str:
    """An object for each row, with every column."""
    names = [column.name for column in table.columns]
    rows = (dict(zip(names, map(_plain, row), strict=True)) for row in table.rows)
    return json_text("".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows))


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        return [finite_or_word(number) for number in value]
    return finite_or_word(value) if isinstance(value, float) else value
