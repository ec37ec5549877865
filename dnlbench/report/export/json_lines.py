"""Tables as JSON lines: one object a row, with every column; numbers that are not finite are strings, as in profiles."""

from __future__ import annotations

import json

from dnlbench.escape import json_text
from dnlbench.report.export.numbers import or_word
from dnlbench.report.export.tables import Table, Value


def to_json_lines(table: Table) -> bytes:
    """The whole file, in UTF-8."""
    names = [column.name for column in table.columns]
    lines = (
        json.dumps(dict(zip(names, map(_value, row), strict=True)), ensure_ascii=False, allow_nan=False)
        for row in table.rows
    )
    return json_text("".join(f"{line}\n" for line in lines)).encode()


def _value(value: Value) -> object:
    if isinstance(value, float):
        return or_word(value)
    return [or_word(number) for number in value] if isinstance(value, tuple) else value
