"""Profiles for other people's tools: tables as CSV, JSON lines and Parquet, and runs as TensorBoard reads them.

One file for the tables and one for each format. What a format is written with is imported when it is asked for.
"""

from dnlbench.report.export.tables import Labelled, RowKind, Table, labelled, make_table

__all__ = ["Labelled", "RowKind", "Table", "labelled", "make_table"]
