"""Tables as Parquet, with a fixed type for each column and key-value metadata of the profiles.

========================= ==============================================================================
``dnlbench.rows``         ``epochs``, ``runs`` or ``measurements``
``dnlbench.version``      version of dnlbench that wrote the file
``dnlbench.schema``       schema of the profiles
``dnlbench.spec_hash``    spec hashes of the profiles, comma-separated, in order
``dnlbench.profiles``     JSON list of the profiles without runs and summary, each with its ``label``
========================= ==============================================================================
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dnlbench import __version__
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import SCHEMA
from dnlbench.report.export import from_extra
from dnlbench.report.export.tables import Column, Labeled, Table, Value

if TYPE_CHECKING:
    import pyarrow as pa


def to_parquet(table: Table, profiles: Sequence[Labeled]) -> bytes:
    """Return the content of a Parquet file.

    Raises:
        ConfigurationError: if pyarrow is not installed, or a number exceeds 64 bits.
    """
    with from_extra("parquet", "pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    types = {
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "list of float64": pa.list_(pa.float64()),
    }
    schema = pa.schema(
        [(column.name, types[column.kind]) for column in table.columns], metadata=_metadata(table, profiles)
    )
    arrays = [
        _array(column, [row[index] for row in table.rows], types[column.kind])
        for index, column in enumerate(table.columns)
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), out)
    return out.getvalue()


def _array(column: Column, values: Sequence[Value], type_: pa.DataType) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type=type_)
    except (OverflowError, pa.ArrowInvalid) as error:
        raise ConfigurationError(f"column {column.name!r} does not fit Parquet's {column.kind}: {error}") from error


def _metadata(table: Table, profiles: Sequence[Labeled]) -> dict[str, str]:
    metadata = [
        {"label": each.label, **json.loads(each.profile.model_dump_json(by_alias=True, exclude={"runs", "summary"}))}
        for each in profiles
    ]
    return {
        "dnlbench.rows": table.kind,
        "dnlbench.version": __version__,
        "dnlbench.schema": SCHEMA,
        "dnlbench.spec_hash": ",".join(each.profile.spec_hash for each in profiles),
        "dnlbench.profiles": json.dumps(metadata, ensure_ascii=False),
    }
