"""The epochs of one run, stored in columns to save memory and to read files fast."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, groupby, pairwise
from typing import Any, Final, overload

from dnlbench.events.records import EpochDone, EpochRecord

FIELDS: Final = ("epoch", "train_loss", "seconds", "samples_per_s")
"""Columns of `EpochRecord`; all other columns contain declared metrics."""
_REAL: Final = ("time", *FIELDS[1:])
_KNOWN: Final = frozenset({"event", "run_id", "epoch", *_REAL})

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
Column = Sequence[Any]


class _Store:
    """Columns that only grow, so that all their prefixes stay valid."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.columns: dict[str, Any] = {"epoch": array("q"), **{name: array("d") for name in _REAL}}

    def __len__(self) -> int:
        return len(self.columns["epoch"])

    def extend(self, columns: Mapping[str, Column]) -> None:
        before, more = len(self), len(columns["epoch"])
        for name in dict.fromkeys([*columns, *self.columns]):
            column = self.columns.setdefault(name, [None] * before)
            column.extend(columns[name] if name in columns else [None] * more)


class Epochs(Sequence[EpochDone]):
    """An immutable sequence of `EpochDone`. Appending to the latest one shares its columns instead of copying them.

    Rows are sorted by epoch, and each epoch occurs at most once. After `thinned`, rows are missing, so the number of
    completed epochs is `done` and not the length.
    """

    __slots__ = ("_rows", "_store")

    def __init__(self, epochs: Iterable[EpochDone] = ()) -> None:
        self._store, self._rows = _Store(""), 0
        for epoch in epochs:
            after = self._with(epoch)
            self._store, self._rows = after._store, after._rows

    @classmethod
    def _of(cls, store: _Store, rows: int) -> Epochs:
        epochs = cls.__new__(cls)
        epochs._store, epochs._rows = store, rows
        return epochs

    @property
    def done(self) -> int:
        """Number of completed epochs, which is the number of the last one."""
        return int(self._store.columns["epoch"][self._rows - 1]) if self._rows else 0

    def column(self, name: str) -> list[Any]:
        """Return one field or metric of all rows, with None where it was not measured."""
        column = self._store.columns.get(name)
        return [None] * self._rows if column is None else list(column[: self._rows])

    def records(self, metrics: Iterable[str] = ()) -> tuple[EpochRecord, ...]:
        """Return the rows without run id and time. Metrics named here are None where they were not measured."""
        names = dict.fromkeys([*FIELDS, *metrics, *self._store.columns])
        columns = {name: self.column(name) for name in names if name != "time"}
        rows = zip(*columns.values(), strict=True)
        return tuple(EpochRecord.model_construct(**dict(zip(columns, row, strict=True))) for row in rows)

    def elapsed_s(self) -> list[float]:
        """Return the training seconds until the end of each row's epoch. A row also represents missing rows before it."""
        numbers, seconds = self.column("epoch"), self.column("seconds")
        gaps = [number - before for before, number in pairwise([0, *numbers])]
        return list(accumulate(taken * gap for taken, gap in zip(seconds, gaps, strict=True)))

    def after(self, epoch: EpochDone) -> Epochs:
        """Return the epochs with one more.

        Raises:
            ValueError: if it is not the next one.
        """
        self._check_next([epoch.epoch])
        return self._with(epoch)

    def _with(self, epoch: EpochDone) -> Epochs:
        values = epoch.model_dump(exclude={"event", "run_id"})
        return self._extended(epoch.run_id, {name: (value,) for name, value in values.items()})

    def _check_next(self, numbers: Sequence[int]) -> None:
        expected = range(self.done + 1, self.done + 1 + len(numbers))
        for number, due in zip(numbers, expected, strict=True) if list(numbers) != list(expected) else ():
            if number != due:
                raise ValueError(f"epoch {number} is here in place of epoch {due}")

    def after_rows(self, rows: Sequence[Mapping[str, Any]]) -> Epochs:
        """Return the epochs with more rows, each the parsed JSON of an `EpochDone`.

        Raises:
            ValueError: if a row is not an epoch, or not the next one.
        """
        try:
            columns: dict[str, Column] = {"epoch": array("q", [row["epoch"] for row in rows])}
            columns |= {name: _numbers([row[name] for row in rows]) for name in _REAL}
            metrics = [name for name in dict.fromkeys(chain.from_iterable(rows)) if name not in _KNOWN]
            columns |= {name: _numbers_or_none([row.get(name) for row in rows]) for name in metrics}
            self._check_next(columns["epoch"])
            return self._extended(rows[0]["run_id"], columns)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not epochs: {error}") from error

    def _extended(self, run_id: str, columns: Mapping[str, Column]) -> Epochs:
        store = self._store
        if not self._rows or len(store) != self._rows:  # the shared columns were extended by another sequence
            store = self._copy(run_id)
        store.extend(columns)
        return Epochs._of(store, len(store))

    def _copy(self, run_id: str) -> _Store:
        store = _Store(run_id)
        store.extend({name: column[: self._rows] for name, column in self._store.columns.items()})
        return store

    def upto(self, epoch: int) -> Epochs:
        return Epochs._of(self._store, bisect_right(self._store.columns["epoch"], epoch, 0, self._rows))

    def first_since(self, epoch: int, time: float) -> EpochDone | None:
        """Return the first row from that epoch and that time on; None if there is none."""
        columns = self._store.columns
        index = bisect_left(columns["epoch"], epoch, 0, self._rows)
        while index < self._rows and columns["time"][index] < time:
            index += 1
        return self[index] if index < self._rows else None

    def thinned(self, most: int) -> Epochs:
        """Reduce the rows to at most ``most``.

        Of each span of epochs, whose length is a power of two, the rows with the lowest and the highest loss are kept.
        The first row, the last row and, in each span, one row with a loss that is not finite are kept too.
        """
        if self._rows <= most:
            return self
        span = 1
        while 8 * self.done > most * span:
            span *= 2
        numbers, losses = self._store.columns["epoch"], self._store.columns["train_loss"]
        kept = {0, self._rows - 1}
        for _, group in groupby(range(self._rows), key=lambda row: numbers[row] // span):
            kept |= _extremes(list(group), losses)
        store = _Store(self._store.run_id)
        store.extend({name: [column[row] for row in sorted(kept)] for name, column in self._store.columns.items()})
        return Epochs._of(store, len(store))

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, index: int) -> EpochDone: ...
    @overload
    def __getitem__(self, index: slice) -> Epochs: ...
    def __getitem__(self, index: int | slice) -> EpochDone | Epochs:
        if isinstance(index, slice):
            return Epochs(self[row] for row in range(*index.indices(self._rows)))
        if not -self._rows <= index < self._rows:
            raise IndexError(index)
        row = index % self._rows
        values = {name: column[row] for name, column in list(self._store.columns.items()) if column[row] is not None}
        return EpochDone.model_construct(event="epoch-done", run_id=self._store.run_id, **values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Epochs):
            names = {*self._store.columns, *other._store.columns}
            return self._rows == other._rows and all(_same(self.column(name), other.column(name)) for name in names)
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Epochs({self._rows} rows, {self.done} epochs)"


def _same(ours: Column, theirs: Column) -> bool:
    """Compare bit by bit; NaN equals itself."""
    return list(map(repr, ours)) == list(map(repr, theirs))


def _extremes(rows: Sequence[int], losses: Sequence[float]) -> set[int]:
    finite = [row for row in rows if math.isfinite(losses[row])]
    broken = [row for row in rows if not math.isfinite(losses[row])][:1]
    return {*broken, min(finite, key=losses.__getitem__), max(finite, key=losses.__getitem__)} if finite else {*broken}


def _numbers(values: list[Any]) -> Column:
    try:
        return array("d", values)
    except TypeError:
        return array("d", map(_number, values))


def _numbers_or_none(values: list[Any]) -> Column:
    if values.count(None) == len(values):
        return values
    return [None if value is None else _number(value) for value in values]


def _number(value: Any) -> float:
    if isinstance(value, str):
        return _NOT_FINITE[value]
    return float(value)
