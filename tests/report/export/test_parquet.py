"""Parquet, read back by pyarrow."""

from __future__ import annotations

import io
import json
import struct
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dnlbench import __version__
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.report.export import Labeled, RowKind, make_table
from dnlbench.report.export.parquet import to_parquet


def read_back(profiles: list[Labeled], rows: RowKind | None = None) -> Any:
    return pq.read_table(io.BytesIO(to_parquet(make_table(profiles, rows), profiles)))


def bits(value: object) -> object:
    if isinstance(value, list | tuple):
        return [bits(number) for number in value]
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("rows", ["epochs", "runs"])
def test_values_come_back_with_every_bit(mixed: Profile, rows: RowKind) -> None:
    profiles = [Labeled(label="x", profile=mixed)]
    table, result = make_table(profiles, rows), read_back(profiles, rows)
    for index, column in enumerate(table.columns):
        assert bits(result[column.name].to_pylist()) == bits([row[index] for row in table.rows]), column.name


def test_curves_come_back_with_every_bit(measured: Profile) -> None:
    profiles = [Labeled(label="x", profile=measured)]
    assert bits(read_back(profiles)["errors"].to_pylist()) == bits([(0.0, 0.5, float("inf")), (0.25,), None])


def test_nothing_is_not_nan(mixed: Profile) -> None:
    losses = read_back([Labeled(label="x", profile=mixed)])["train_loss"]
    assert losses.null_count == 2
    assert [value.is_valid for value in losses[9:11]] == [True, False]


def test_types_do_not_depend_on_the_values(mixed: Profile) -> None:
    empty = mixed.model_copy(update={"runs": ()})
    for rows in ("epochs", "runs"):
        full, none = (read_back([Labeled(label="x", profile=each)], rows).schema for each in (mixed, empty))
        assert full.equals(none)
    schema = read_back([Labeled(label="x", profile=empty)]).schema
    types = {"profile": pa.string(), "depth": pa.int64(), "shared_device": pa.bool_(), "regulariser": pa.float64()}
    assert {name: schema.field(name).type for name in types} == types
    assert {str(field.type) for field in schema} == {"string", "int64", "bool", "double"}


def test_profiles_are_metadata(mixed: Profile, measured: Profile) -> None:
    profiles = [Labeled(label="x", profile=mixed), Labeled(label="y", profile=measured)]
    result = {key.decode(): value.decode() for key, value in read_back(profiles, "runs").schema.metadata.items()}
    assert result["dnlbench.schema"] == "dnlbench.profile/2"
    assert result["dnlbench.version"] == __version__
    assert result["dnlbench.rows"] == "runs"
    assert result["dnlbench.spec_hash"] == f"{mixed.spec_hash},{measured.spec_hash}"
    first, second = json.loads(result["dnlbench.profiles"])
    assert (first["label"], second["label"], second["study"]) == ("x", "y", "forward-limit")
    assert first["spec"] == json.loads(mixed.to_json())["spec"]
    assert first.keys() & {"runs", "summary"} == set()


def test_numbers_of_more_than_64_bits_are_refused_with_their_column(mixed: Profile) -> None:
    run = mixed.runs[0].model_copy(update={"parameters": 2**63})
    profiles = [Labeled(label="x", profile=mixed.model_copy(update={"runs": (run,)}))]
    with pytest.raises(ConfigurationError, match="column 'parameters' does not fit Parquet's int64"):
        to_parquet(make_table(profiles), profiles)


def test_without_pyarrow_the_extra_is_named(mixed: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = [Labeled(label="x", profile=mixed)]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pyarrow is required and cannot be imported .*dnlbench\[parquet\]"):
        to_parquet(make_table(profiles), profiles)
