"""Tables as CSV (RFC 4180 with plain line breaks): empty where there is nothing, numbers so that reading gives the same bits.

Numbers that are not finite are ``NaN``, ``Infinity`` and ``-Infinity``, curves JSON lists within a cell. pandas reads all of
it but for the curves, though it does not tell ``NaN`` from what is empty.
"""

from __future__ import annotations

import io
import json

from dnlbench.escape import CsvWriter
from dnlbench.report.export.numbers import or_word
from dnlbench.report.export.tables import Table, Value


def to_csv(table: Table) -> bytes:
    """The whole file, in UTF-8."""
    out = io.StringIO()
    writer = CsvWriter(out)
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_cell(value) for value in row] for row in table.rows)
    return out.getvalue().encode()


def _cell(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return str(or_word(value))
        case tuple():
            return json.dumps([or_word(number) for number in value])
        case _:
            return str(value)
