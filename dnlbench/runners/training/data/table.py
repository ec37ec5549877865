"""Read a table of numbers from a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnlbench.errors import DataError
from dnlbench.runners.training.data.arrays import FRACTION
from dnlbench.runners.training.data.split import Loaded, from_arrays
from dnlbench.studies.training.spec import DataSettings


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The cells of a file as text."""

    path: Path
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def column(self, name: str) -> list[str]:
        if name not in self.header:
            raise DataError(f"data.target = {name!r}: {self.path} has no such column, only {', '.join(self.header)}")
        index = self.header.index(name)
        return [row[index] for row in self.rows]

    def numbers(self, name: str) -> list[float]:
        """Return a column as numbers.

        Raises:
            DataError: if a cell is not a finite number.
        """
        values = self.column(name)
        for line, value in enumerate(values, start=2):
            if not _is_number(value):
                raise DataError(
                    f"data.dataset = 'csv': {self.path}, line {line}: column {name} has {value!r}; expected a number. "
                    "Remove the column or encode it as numbers"
                )
        return [float(value) for value in values]


def read_csv(settings: DataSettings, training: bool) -> Loaded:
    """Read ``root/train.csv`` and ``root/test.csv``, or one file ``root``, which is the training split.

    The first line has the names of the columns. ``data.target`` is the target, all other columns are the inputs, float32.
    """
    assert settings.target is not None, "the spec requires it"
    in_training = settings.reads_training_files(training=training)
    reference = _read(settings, in_training=True)
    table = reference if in_training else _read(settings, in_training=False)
    if table.header != reference.header:
        raise DataError(f"data.dataset = 'csv': {table.path} does not have the columns of {reference.path}")
    known = reference.column(settings.target)
    inputs = [table.numbers(name) for name in table.header if name != settings.target]
    if not inputs:
        raise DataError(f"data.dataset = 'csv': {table.path} has no column besides the target {settings.target}")
    features = np.array(inputs, np.float32).T
    if _is_regression(known, settings):
        return from_arrays(features, np.array(table.numbers(settings.target)), settings, training=training)
    classes = sorted(set(known), key=lambda value: (float(value) if _is_number(value) else math.inf, value))
    numbers = {value: number for number, value in enumerate(classes)}
    unknown = sorted(set(table.column(settings.target)) - set(classes))
    if unknown:
        raise DataError(
            f"data.dataset = 'csv': {table.path} has classes that are not in {reference.path}: {unknown[0]}"
        )
    targets = np.array([numbers[value] for value in table.column(settings.target)])
    loaded = from_arrays(features, targets, settings, training=training)
    return Loaded(split=loaded.split, classes=len(classes))


def _read(settings: DataSettings, *, in_training: bool) -> _Table:
    root = Path(settings.root).resolve()
    if root.is_file() and not in_training:
        raise DataError(f"data.dataset = 'csv': {root} has no evaluation split. {FRACTION}")
    path = root if root.is_file() else root / ("train.csv" if in_training else "test.csv")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"data.dataset = 'csv': {path} cannot be read as a table ({error}). Set data.root to a CSV file, or to a folder "
            "with train.csv"
        ) from error
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"data.dataset = 'csv': {path}, line {line}: {len(row)} cells, but {len(header)} columns")
    return _Table(path=path, header=header, rows=rows)


def _is_regression(known: Sequence[str], settings: DataSettings) -> bool:
    kind = settings.target_type or ("values" if all(map(_is_number, known)) else "classes")
    return kind == "values"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
