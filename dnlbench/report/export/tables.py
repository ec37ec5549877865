"""Tables for export: typed columns, and rows for epochs, runs, measurements or contrasts.

Every row begins with the columns of its profile and its run. The following columns, their order and their types are the same
for all profiles, except that ``runs`` has extra columns for measurements that no study declares, usually curves, and that
each key of a grid has a column after those of the run. Nothing is omitted: a run without epochs or measurements has one row
without values.
"""

from __future__ import annotations

import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from dnlbench.errors import ConfigurationError
from dnlbench.profiles import ContrastRecord, Profile, RunRecord, TunedRecord
from dnlbench.profiles.model import Record
from dnlbench.spec.values import ANY, find_type

RowKind = Literal["epochs", "runs", "measurements", "contrasts", "tuned"]
ColumnKind = Literal["int64", "float64", "bool", "string", "list of float64"]
Value = int | float | bool | str | tuple[float, ...] | None
"""None for unknown or missing values. Non-finite numbers are floats."""

REPEATED = (
    "run_id",
    "network",
    "depth",
    "seed",
    "status",
    "device",
    "device_name",
    "threads",
    "jobs",
    "shared_device",
    "pack_size",
    "parameters",
)
"""Fields of a run in every row: its identity, not its results."""
_KINDS: dict[object, ColumnKind] = {int: "int64", float: "float64", bool: "bool", str: "string"}


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """A profile and its name in an export."""

    label: str
    profile: Profile


def labeled(profiles: Mapping[Path, Profile]) -> tuple[Labeled, ...]:
    """Label each profile by the stem of its file, or by its path if two files have the same stem."""
    stems = Counter(path.stem for path in profiles)
    return tuple(
        Labeled(label=path.stem if stems[path.stem] == 1 else path.as_posix(), profile=profile)
        for path, profile in profiles.items()
    )


@dataclass(frozen=True, kw_only=True)
class Column:
    """A typed column of a table."""

    name: str
    kind: ColumnKind


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of equal length, with a value or None for each column."""

    kind: RowKind
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, kw_only=True)
class _Field:
    """A column with a function that reads its value from a run and its profile."""

    column: Column
    read: Callable[[Labeled, RunRecord], Value]


def make_table(profiles: Sequence[Labeled], kind: RowKind | None = None) -> Table:
    """Return one table of all profiles, in order.

    Args:
        profiles: at least one profile.
        kind: the rows. ``epochs``: one for each epoch. ``runs``: one for each run, with its results and measurements, curves
            as lists. ``measurements``: one for each number measured by a run without epochs. ``contrasts``: one for each
            depth against the previous one and each network against the first one. ``tuned``: one for each best value of the
            tuned setting. Default: epochs if the study has them,
            otherwise runs.

    Raises:
        ConfigurationError: if a study has no such rows, or the default is ambiguous.
    """
    chosen = kind or _usual(profiles)
    _check(profiles, chosen)
    if chosen == "runs":
        return _runs(profiles)
    if chosen == "contrasts":
        return _contrasts(profiles)
    if chosen == "tuned":
        return _tuned(profiles)
    fields = _with_nodes(profiles, [*_PROFILE, *(_field(name) for name in REPEATED), *_of_grid(profiles)])
    columns, values = _epoch_rows(profiles) if chosen == "epochs" else (_MEASUREMENT, _measurements)
    rows = (
        (*start, *end)
        for each, run in _all_runs(profiles)
        for start in [[field.read(each, run) for field in fields]]
        for end in values(run)
    )
    return Table(kind=chosen, columns=(*(field.column for field in fields), *columns), rows=tuple(rows))


def _usual(profiles: Sequence[Labeled]) -> RowKind:
    by_epochs = {each.profile.study: each.profile.declared.has_epochs for each in profiles}
    if len(set(by_epochs.values())) > 1:
        studies = " and ".join(by_epochs)
        raise ConfigurationError(f"the studies {studies} differ in whether they have epochs; use --rows runs")
    return "epochs" if all(by_epochs.values()) else "runs"


def _check(profiles: Sequence[Labeled], kind: RowKind) -> None:
    for each in profiles:
        if kind == "contrasts":
            if not each.profile.declared.contrasts:
                raise ConfigurationError(f"{each.label}: study {each.profile.study!r} has no contrasts")
            continue
        if kind == "tuned":
            if not each.profile.summary.tuned:
                raise ConfigurationError(f"{each.label}: the sweep tunes no setting")
            continue
        has_epochs = each.profile.declared.has_epochs
        if kind != "runs" and has_epochs != (kind == "epochs"):
            instead = "epochs" if has_epochs else "measurements"
            raise ConfigurationError(
                f"{each.label}: runs of study {each.profile.study!r} have no {kind}; use --rows {instead} or --rows runs"
            )


def _all_runs(profiles: Sequence[Labeled]) -> Iterator[tuple[Labeled, RunRecord]]:
    return ((each, run) for each in profiles for run in each.profile.runs)


def _runs(profiles: Sequence[Labeled]) -> Table:
    fields = _with_nodes(profiles, [*_PROFILE, *_RUN, *_of_grid(profiles), *_of_match(profiles)])
    fields += _measured(profiles, {field.column.name for field in fields})
    rows = (tuple(field.read(each, run) for field in fields) for each, run in _all_runs(profiles))
    return Table(kind="runs", columns=tuple(field.column for field in fields), rows=tuple(rows))


def _contrasts(profiles: Sequence[Labeled]) -> Table:
    """Return a row for each contrast, with separate columns for the point that it is against."""
    fields, grid = list(_CONTRAST), _grid_columns(profiles)
    rows = (
        (
            *(read(each) for _, read in _SOURCE),
            *(getattr(contrast, name) for name in fields[:2]),
            contrast.against.network,
            contrast.against.depth,
            *(getattr(contrast, name) for name in fields[2:]),
            *(_cell(point.settings.get(key)) for key in grid for point in (contrast, contrast.against)),
        )
        for each in profiles
        for contrast in each.profile.summary.contrasts
    )
    against = (Column(name="against_network", kind="string"), Column(name="against_depth", kind="int64"))
    columns = tuple(_CONTRAST.values())
    settings = (Column(name=name, kind=c.kind) for key, c in grid.items() for name in (key, f"against_{key}"))
    return Table(
        kind="contrasts",
        columns=(*(column for column, _ in _SOURCE), *columns[:2], *against, *columns[2:], *settings),
        rows=tuple(rows),
    )


def _tuned(profiles: Sequence[Labeled]) -> Table:
    """Return a row for each best value, with a column for each other key of the grids."""
    tuned_keys = {record.key for each in profiles for record in each.profile.summary.tuned}
    grid = {key: column for key, column in _grid_columns(profiles).items() if key not in tuned_keys}
    rows = (
        (
            *(read(each) for _, read in _SOURCE),
            *(getattr(record, name) for name in _TUNED),
            *(getattr(record.loss, name, None) for name in ("mean", "low", "high", "n")),
            *(_cell(record.settings.get(key)) for key in grid),
        )
        for each in profiles
        for record in each.profile.summary.tuned
    )
    loss = [Column(name=f"loss_{name}", kind="float64") for name in ("mean", "low", "high")]
    columns = [*(column for column, _ in _SOURCE), *_TUNED.values(), *loss, Column(name="loss_n", kind="int64")]
    return Table(kind="tuned", columns=(*columns, *grid.values()), rows=tuple(rows))


def _with_nodes(profiles: Sequence[Labeled], fields: Sequence[_Field]) -> list[_Field]:
    """Insert a column for the node after the device if any run was on a node."""
    if not any(run.node for _, run in _all_runs(profiles)):
        return list(fields)
    index = next(index for index, field in enumerate(fields) if field.column.name == "device")
    return [*fields[: index + 1], _NODE, *fields[index + 1 :]]


def setting_column(profile: Profile, key: str, value: object) -> Column:
    """Return the column of a dotted key of the spec, of the type of the key. Lists are text."""
    type_ = find_type(profile.declared.spec, tuple(key.split("."))) or ANY
    kind = None if type_.is_list else _KINDS.get(type_.element or type(value))
    return Column(name=key, kind=kind or "string")


def _grid_columns(profiles: Sequence[Labeled]) -> dict[str, Column]:
    """Return a column for each key of the grids. It is empty for runs of profiles without this key in their grid."""
    columns: dict[str, Column] = {}
    for each, run in _all_runs(profiles):
        for key, value in run.settings.items():
            columns.setdefault(key, setting_column(each.profile, key, value))
    return columns


def _of_grid(profiles: Sequence[Labeled]) -> list[_Field]:
    return [
        _Field(column=column, read=lambda _, run, key=key: _cell(run.settings.get(key)))  # type: ignore[misc]
        for key, column in _grid_columns(profiles).items()
    ]


def _of_match(profiles: Sequence[Labeled]) -> list[_Field]:
    """Return columns for the setting that gives a run the budget of the others; none without equal budgets."""
    if not any(run.matched for _, run in _all_runs(profiles)):
        return []
    kinds: dict[str, ColumnKind] = {"key": "string", "value": "int64", "mismatch": "float64"}
    return [
        _Field(
            column=Column(name=f"matched_{name}", kind=kind),
            read=lambda _, run, name=name: getattr(run.matched, name, None),  # type: ignore[misc]
        )
        for name, kind in kinds.items()
    ]


def _cell(value: Any) -> Value:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _measured(profiles: Sequence[Labeled], taken: set[str]) -> list[_Field]:
    """Return columns for the declared quantities, then for all other measurements. Curves are lists."""
    declared = [quantity.name for each in profiles for quantity in each.profile.declared.quantities]
    is_list: dict[str, bool] = dict.fromkeys((name for name in declared if name not in RunRecord.model_fields), False)
    for _, run in _all_runs(profiles):
        for name, value in run.measurements.items():
            is_list[name] = is_list.get(name, False) or isinstance(value, tuple)
    return [_measurement(name, taken, is_list=is_curve) for name, is_curve in is_list.items()]


def _measurement(name: str, taken: set[str], *, is_list: bool) -> _Field:
    def read(_: Labeled, run: RunRecord) -> Value:
        value = run.measurements.get(name)
        return (value,) if is_list and isinstance(value, float) else value

    column = Column(
        name=f"measured_{name}" if name in taken else name, kind="list of float64" if is_list else "float64"
    )
    return _Field(column=column, read=read)


def _epoch_rows(
    profiles: Sequence[Labeled],
) -> tuple[tuple[Column, ...], Callable[[RunRecord], Iterable[Sequence[Value]]]]:
    """Return the columns that the studies declare, and a function that yields the rows of a run."""
    names = dict.fromkeys(name for each in profiles for name in each.profile.declared.epoch_columns)

    def rows(run: RunRecord) -> Iterator[Sequence[Value]]:
        for epoch in run.epochs or (None,):
            yield [epoch.value(name) if epoch else None for name in names]

    return tuple(Column(name=name, kind="int64" if name == "epoch" else "float64") for name in names), rows


def _measurements(run: RunRecord) -> Iterable[Sequence[Value]]:
    if not run.measurements:
        yield (None, None, None)
    for name, value in run.measurements.items():
        if isinstance(value, tuple):
            yield from ((name, index, number) for index, number in enumerate(value))
        else:
            yield (name, None, value)


def _columns_of(record: type[Record]) -> dict[str, Column]:
    """Return a column for each scalar field of a record, with the type of the field."""
    kinds = {name: _kind(field.annotation) for name, field in record.model_fields.items()}
    return {name: Column(name=name, kind=kind) for name, kind in kinds.items() if kind is not None}


def _kind(annotation: Any) -> ColumnKind | None:
    """Return the kind of a column; None for types that do not fit a cell."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (annotation,) = [part for part in typing.get_args(annotation) if part is not types.NoneType]
    if typing.get_origin(annotation) is Annotated:
        annotation, *_ = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return "string"
    return _KINDS.get(annotation)


def _field(name: str) -> _Field:
    return _Field(column=_RUN_FIELDS[name], read=lambda _, run: getattr(run, name))


def _run_field(name: str, kind: ColumnKind, read: Callable[[Labeled, RunRecord], Value]) -> _Field:
    return _Field(column=Column(name=name, kind=kind), read=read)


def _of_profile(column: Column, read: Callable[[Labeled], Value]) -> _Field:
    return _Field(column=column, read=lambda each, _: read(each))


def _moment(when: datetime | None) -> str | None:
    """Format a time as ISO 8601 in UTC."""
    return when.astimezone(UTC).isoformat() if when else None


_RUN_FIELDS = _columns_of(RunRecord)
_CONTRAST = _columns_of(ContrastRecord)
_TUNED = _columns_of(TunedRecord)
_MEASUREMENT = (
    Column(name="measurement", kind="string"),
    Column(name="index", kind="int64"),
    Column(name="value", kind="float64"),
)
_SOURCE: tuple[tuple[Column, Callable[[Labeled], Value]], ...] = (
    (Column(name="profile", kind="string"), lambda each: each.label),
    (Column(name="sweep", kind="string"), lambda each: each.profile.name),
    (Column(name="study", kind="string"), lambda each: each.profile.study),
    (Column(name="created", kind="string"), lambda each: _moment(each.profile.created)),
    (Column(name="spec_hash", kind="string"), lambda each: each.profile.spec_hash),
    (Column(name="version", kind="string"), lambda each: each.profile.code.version),
    (Column(name="data", kind="string"), lambda each: each.profile.data.name),
)
"""Columns that identify the profile of a row."""
_PROFILE = (
    *(_of_profile(column, read) for column, read in _SOURCE),
    _run_field("machine", "string", lambda each, run: (run.node or each.profile.machine).fingerprint),
)
_NODE = _run_field("node", "string", lambda _, run: run.node.name if run.node else None)
_RUN = (
    *(_field(name) for name in _RUN_FIELDS),
    _run_field("epochs", "int64", lambda _, run: len(run.epochs)),
    _run_field("attempts", "int64", lambda _, run: len(run.attempts)),
    _run_field("started", "string", lambda _, run: _moment(run.attempts[0].started) if run.attempts else None),
    _run_field("ended", "string", lambda _, run: _moment(run.attempts[-1].ended) if run.attempts else None),
    _run_field("error_type", "string", lambda _, run: run.error.type if run.error else None),
    _run_field("error_message", "string", lambda _, run: run.error.message if run.error else None),
)
