"""Profiles for other people's tools: tables as CSV, JSON lines and Parquet, and runs as TensorBoard reads them.

One file for the tables and one for each format. What a format is written with is imported when it is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dnlbench.errors import ConfigurationError
from dnlbench.report.export.tables import Labeled, RowKind, Table, labeled, make_table

__all__ = ["Labeled", "RowKind", "Table", "from_extra", "labeled", "make_table"]


@contextmanager
def from_extra(extra: str, package: str) -> Iterator[None]:
    """Says what to install where an import within it fails."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"this format is written with {package}, which cannot be imported ({error}); it comes with the extra {extra!r} of "
            f"dnlbench: pip install 'dnlbench[{extra}]', or '.[{extra}]' in a copy of its repository"
        ) from error
