"""Tables as pandas data frames, with a fixed type for each column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dnlbench.profiles import Profile
from dnlbench.report.export import from_extra
from dnlbench.report.export.tables import Column, ColumnKind, Value, setting_column
from dnlbench.spec.settings import flat_settings

if TYPE_CHECKING:
    import pandas as pd

_TYPES: Mapping[ColumnKind, str] = {
    "int64": "Int64",
    "float64": "float64",
    "bool": "boolean",
    "string": "string",
    "list of float64": "object",
}
"""Types of pandas that have room for missing values."""


def to_frame(columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> pd.DataFrame:
    """Return a data frame. Missing numbers of type float64 are NaN, other missing values ``pd.NA``; curves are tuples.

    Raises:
        ConfigurationError: if pandas is not installed.
    """
    with from_extra("pandas", "pandas"):
        import pandas as pd

    series = {
        column.name: pd.Series([row[index] for row in rows], dtype=_TYPES[column.kind])
        for index, column in enumerate(columns)
    }
    return pd.DataFrame(series)


def setting_columns(profile: Profile) -> Iterator[tuple[Column, Value]]:
    """Yield a column for each key of the tables of the spec that all runs share, such as ``train.lr``, and its value.

    Lists are text, such as ``2, 4, 8``.
    """
    axes = profile.spec.get("sweep", {}).get("grid", {})
    for key, value in flat_settings({name: table for name, table in profile.spec.items() if isinstance(table, dict)}):
        if key not in axes:
            yield setting_column(profile, key, value), ", ".join(map(str, value)) if isinstance(value, list) else value
