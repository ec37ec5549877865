"""Exported rows, compared with the JSON of the profile, and text formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.report.export import Labeled, Table, labeled, make_table
from dnlbench.report.export.tables import REPEATED
from dnlbench.report.export.tensorboard import FolderNames
from dnlbench.report.export.text import to_csv, to_json_lines

EPOCH = (
    "epoch",
    "train_loss",
    "seconds",
    "samples_per_s",
    "gradient_norm",
    "gradient_norm_median",
    "gradient_norm_max",
    "evaluation_loss",
    "evaluation_accuracy",
    "regulariser",
)


def one(profile: Profile, label: str = "x") -> list[Labeled]:
    return [Labeled(label=label, profile=profile)]


def objects(table: Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def bits(value: object) -> object:
    """Convert floats to bytes, so that NaN equals itself and 0 differs from -0."""
    if value in ("NaN", "Infinity", "-Infinity"):
        value = float(str(value))
    if isinstance(value, list | tuple):
        return [bits(number) for number in value]
    return struct.pack("<d", value) if isinstance(value, float) else value


def expected_epochs(profile: Profile) -> list[dict[str, Any]]:
    """Return the expected rows from the JSON of the profile."""
    content = json.loads(profile.to_json())
    return [
        {name: run[name] for name in REPEATED} | {name: epoch.get(name) for name in EPOCH}
        for run in content["runs"]
        for epoch in run["epochs"] or [{}]
    ]


def test_each_epoch_has_a_row_with_the_fields_of_its_run(mixed: Profile) -> None:
    rows = objects(make_table(one(mixed)))
    expected = expected_epochs(mixed)
    assert len(rows) == len(expected) == 4 + 6 + 1 + 1 + 1
    for row, wanted in zip(rows, expected, strict=True):
        assert {name: bits(row[name]) for name in wanted} == {name: bits(value) for name, value in wanted.items()}
        assert (row["profile"], row["sweep"], row["study"]) == ("x", "made-up", "training")
        assert (row["created"], row["data"]) == ("2026-11-20T12:00:00+00:00", "digits")
        assert (row["spec_hash"], row["version"], row["machine"]) == (mixed.spec_hash, "0.1.0", "0123456789abcdef")
    assert [row["epoch"] for row in rows[10:]] == [None, 1, None]


def test_runs_have_a_row_each_with_their_results(mixed: Profile) -> None:
    rows, content = objects(make_table(one(mixed), "runs")), json.loads(mixed.to_json())
    scalar = content["runs"][0].keys() - {"epochs", "measurements", "attempts", "error", "node", "settings", "matched"}
    for row, run in zip(rows, content["runs"], strict=True):
        assert {name: bits(row[name]) for name in scalar} == {name: bits(run[name]) for name in scalar}
        assert (row["epochs"], row["attempts"]) == (len(run["epochs"]), len(run["attempts"]))
    ok, diverged, failed, cancelled, skipped = rows
    assert (ok["started"], ok["ended"]) == ("2026-11-20T12:00:00+00:00", "2026-11-20T12:02:20+00:00")
    assert (cancelled["started"], cancelled["ended"]) == ("2026-11-20T12:00:10+00:00", None)
    assert (failed["error_type"], failed["error_message"]) == ("RuntimeError", 'no "luck",\nüber, NaN')
    assert (diverged["started"], skipped["error_type"]) == (None, None)


def test_measurements_are_columns_of_runs(measured: Profile) -> None:
    table = make_table(one(measured))
    kinds = {column.name: column.kind for column in table.columns}
    first, second, failed = objects(table)
    assert table.kind == "runs"
    assert (first["error_max"], first["errors"]) == (0.5, (0.0, 0.5, math.inf))
    assert math.isnan(first["error_end"])
    assert (second["error_max"], second["error_end"], second["errors"]) == (0.1 + 0.2, None, (0.25,))
    assert (failed["error_max"], failed["errors"], failed["state_seen"]) == (None, None, None)
    assert (kinds["error_max"], kinds["state_seen"], kinds["errors"]) == ("float64", "float64", "list of float64")
    assert (first["device"], first["measured_device"]) == ("cpu", 3.0), "a run's own field keeps its name"


def test_measurements_have_separate_rows_on_request(measured: Profile) -> None:
    rows = objects(make_table(one(measured), "measurements"))
    result = [(row["seed"], row["measurement"], row["index"], row["value"]) for row in rows]
    assert [each for each in result if each[1] != "error_end"] == [
        (0, "error_max", None, 0.5),
        (0, "errors", 0, 0.0),
        (0, "errors", 1, 0.5),
        (0, "errors", 2, math.inf),
        (0, "device", None, 3.0),
        (1, "error_max", None, 0.1 + 0.2),
        (1, "errors", 0, 0.25),
        (2, None, None, None),
    ]
    assert math.isnan(result[1][3])


def test_columns_are_the_same_for_all_profiles(mixed: Profile, measured: Profile) -> None:
    empty = mixed.model_copy(update={"runs": ()})
    assert make_table(one(empty)).columns == make_table(one(mixed)).columns
    assert make_table(one(empty), "runs").columns == make_table(one(mixed), "runs").columns
    bare = measured.model_copy(update={"runs": ()})
    assert make_table(one(bare), "measurements").columns == make_table(one(measured), "measurements").columns
    fixed = make_table(one(bare)).columns
    assert make_table(one(measured)).columns[: len(fixed)] == fixed
    assert [column.name for column in make_table(one(measured)).columns[len(fixed) :]] == ["errors", "measured_device"]


def test_several_profiles_have_distinct_labels(mixed: Profile, measured: Profile) -> None:
    paths = {Path("a/x.json"): mixed, Path("b/x.json"): mixed, Path("b/y.json"): measured}
    named = labeled(paths)
    assert [each.label for each in named] == ["a/x.json", "b/x.json", "y"]
    rows = objects(make_table(named, "runs"))
    assert [row["profile"] for row in rows] == ["a/x.json"] * 5 + ["b/x.json"] * 5 + ["y"] * 3
    assert (rows[0]["error_max"], rows[-2]["final_train_loss"], rows[-2]["error_max"]) == (None, None, 0.1 + 0.2)


def test_missing_kinds_of_rows_are_rejected(mixed: Profile, measured: Profile) -> None:
    with pytest.raises(ConfigurationError, match=r"x: runs of study 'training' have no measurements; .* --rows epochs"):
        make_table(one(mixed), "measurements")
    with pytest.raises(ConfigurationError, match=r"x: runs of study 'forward-limit' have no epochs; .* measurements"):
        make_table(one(measured), "epochs")
    with pytest.raises(ConfigurationError, match=r"^the studies training and forward-limit differ .* use --rows runs"):
        make_table([*one(mixed), *one(measured, "y")])


def test_csv_is_read_back_with_every_bit(mixed: Profile) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(make_table(one(mixed))))))
    for row, wanted in zip(rows, expected_epochs(mixed), strict=True):
        for name in ("train_loss", "seconds", "evaluation_loss"):
            result = float(row[name]) if row[name] else None
            assert bits(result) == bits(wanted[name])
        assert row["parameters"] == ("" if wanted["parameters"] is None else str(wanted["parameters"]))
        assert (row["network"], row["shared_device"]) == (wanted["network"], "false")
    assert [row["train_loss"] for row in rows[4:10]] == [
        "0.30000000000000004",
        "5e-324",
        "-0.0",
        "Infinity",
        "-Infinity",
        "NaN",
    ]
    runs = list(csv.DictReader(io.StringIO(to_csv(make_table(one(mixed), "runs")))))
    assert runs[2]["error_message"] == 'no "luck",\nüber, NaN'


def test_curves_are_json_in_csv(measured: Profile) -> None:
    first, *_, failed = csv.DictReader(io.StringIO(to_csv(make_table(one(measured)))))
    assert json.loads(first["errors"]) == [0.0, 0.5, "Infinity"]
    assert failed["errors"] == ""


def test_pandas_reads_csv(mixed: Profile) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.StringIO(to_csv(make_table(one(mixed)))))
    assert frame["train_loss"].dtype == "float64"
    assert frame["shared_device"].dtype == "bool"
    assert bits(list(frame["train_loss"][4:10])) == bits([float(epoch.train_loss) for epoch in mixed.runs[1].epochs])


@pytest.mark.parametrize("rows", ["epochs", "runs"])
def test_json_lines_contain_every_column(mixed: Profile, rows: Any) -> None:
    table = make_table(one(mixed), rows)
    text = to_json_lines(table)
    result = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) for line in text.splitlines()
    ]
    assert len(result) == len(table.rows)
    for row, wanted in zip(result, objects(table), strict=True):
        assert {name: bits(value) for name, value in row.items()} == {name: bits(v) for name, v in wanted.items()}
    if rows == "epochs":
        assert [row["train_loss"] for row in result[7:10]] == ["Infinity", "-Infinity", "NaN"]


def test_json_lines_contain_curves(measured: Profile) -> None:
    first = json.loads(to_json_lines(make_table(one(measured))).splitlines()[0])
    assert first["errors"] == [0.0, 0.5, "Infinity"]


def test_folder_names_are_safe_and_unique() -> None:
    names = FolderNames()
    wanted = [
        "a/b",
        "a_b",
        "A_B",
        "..",
        ".",
        "",
        "../x",
        "/etc",
        "C:\\x",
        "x y\n",
        ".hidden",
        "n" * 500,
        "n" * 501,
        "a\0b",
        "größe",
    ]
    result = [names.take(name) for name in wanted]
    assert result[:4] == ["a_b", "a_b-2", "A_B-3", "_."]
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,130}", name) for name in result)
    assert len({name.casefold() for name in result}) == len(wanted)
