"""``dnlbench compare`` and ``dnlbench profiles show`` in each format."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import dnlbench
from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.escape import csv_text
from dnlbench.profiles import Profile, save_profile
from dnlbench.report.html import comparison_html, profile_html
from dnlbench.report.junit import comparison_junit
from dnlbench.report.latex import comparison_latex, profile_latex
from dnlbench.report.markdown import comparison_markdown, profile_markdown
from dnlbench.report.profile import profile_csv

MakeSweep = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sweeps(make_sweep: MakeSweep, tmp_path: Path) -> tuple[Profile, Profile]:
    bad = {("densenet", 4, 1): "failed"}
    result = make_sweep(name="base"), make_sweep(factor=1.1, bad=bad)
    for name, profile in zip("ab", result, strict=True):
        save_profile(profile, tmp_path / f"{name}.json")
    return result


@pytest.mark.parametrize("format_", ["html", "junit", "latex", "markdown"])
def test_a_comparison_in_each_format(
    tmp_path: Path, run_cli: RunCli, sweeps: tuple[Profile, Profile], format_: str
) -> None:
    a, b = sweeps
    result = compare(a, b)
    held = gate([result], [parse_rule("failed", "training")])
    expected = {
        "html": comparison_html(a, [b], [result], held),
        "junit": comparison_junit([b], [result], held),
        "latex": comparison_latex([result]),
        "markdown": comparison_markdown([result], held),
    }[format_]
    done = run_cli("compare", "a.json", "b.json", "--fail-on", "failed", "--format", format_, "-o", "out/report")
    assert (done.returncode, done.stdout) == (3, "")
    assert (tmp_path / "out" / "report").read_text(encoding="utf-8") == expected
    assert run_cli("compare", "a.json", "b.json", "--fail-on", "failed", "--format", format_).stdout == expected


@pytest.mark.usefixtures("sweeps")
def test_incomparable_profiles_have_no_report(run_cli: RunCli, tmp_path: Path, make_sweep: MakeSweep) -> None:
    other = make_sweep(("plain",), (3,), name="left-out")
    save_profile(other, tmp_path / "c.json")
    done = run_cli("compare", "a.json", "c.json", "b.json", "--format", "junit")
    assert done.returncode == 5
    assert [suite.get("name", "").partition(",")[0] for suite in ET.fromstring(done.stdout)] == ["made-up"]
    page = run_cli("compare", "a.json", "c.json", "b.json", "--format", "html").stdout
    assert "left-out" not in page
    assert "made-up" in page


@pytest.mark.parametrize("format_", ["html", "latex", "markdown", "csv", "json", "table"])
def test_a_profile_in_each_format(
    tmp_path: Path, run_cli: RunCli, sweeps: tuple[Profile, Profile], format_: str
) -> None:
    shown = run_cli("profiles", "show", "b.json", "--format", format_)
    assert shown.returncode == 0
    if format_ == "json":
        assert json.loads(shown.stdout) == json.loads((tmp_path / "b.json").read_text())
    elif format_ != "table":
        write = {"html": profile_html, "latex": profile_latex, "markdown": profile_markdown, "csv": profile_csv}[
            format_
        ]
        assert shown.stdout == write(sweeps[1])
    done = run_cli("profiles", "show", "b.json", "--format", format_, "-o", "out/x")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "out" / "x").read_text(encoding="utf-8") == shown.stdout


@pytest.mark.usefixtures("sweeps")
def test_a_report_that_cannot_be_written_is_an_error(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("compare", "a.json", "b.json", "--format", "html", "-o", "file/report.html")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\ta", "'\ta"),
        ("\ra", "'\\x0da"),
        ("＝a", "'＝a"),
        ("-1.5", "-1.5"),
        ("+1e-3", "+1e-3"),
        ("-Infinity", "-Infinity"),
        (-1.5, "-1.5"),
        (True, "true"),
        (math.inf, "Infinity"),
        (None, ""),
        ("a=b", "a=b"),
        ("a\x1b[0m", "a\\x1b[0m"),
    ],
)
def test_spreadsheets_execute_no_cell(value: object, cell: str) -> None:
    assert csv_text([["x", value]]) == f"x,{cell}\n"


def test_every_csv_table_is_safe_for_spreadsheets() -> None:
    for path in Path(dnlbench.__file__).parent.rglob("*.py"):
        assert path.name == "escape.py" or "csv.writer" not in path.read_text(), path
