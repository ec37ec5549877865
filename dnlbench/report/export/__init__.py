"""Export of profiles: tables as CSV, JSON lines and Parquet, and runs for TensorBoard.

The packages for a format are imported only when it is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dnlbench.errors import ConfigurationError
from dnlbench.report.export.tables import Labeled, RowKind, Table, labeled, make_table

__all__ = ["Labeled", "RowKind", "Table", "from_extra", "labeled", "make_table"]


@contextmanager
def from_extra(extra: str, package: str) -> Iterator[None]:
    """Report which extra to install if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"{package} is required and cannot be imported ({error}); install the extra {extra!r}: "
            f"pip install 'dnlbench[{extra}]', or '.[{extra}]' in a copy of the repository"
        ) from error
