"""Markdown for pull requests, and the summary page of a CI step."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.cli.step_summary import add_to_step_summary
from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.escape import markdown, markdown_line
from dnlbench.profiles import Profile, save_profile
from dnlbench.report.markdown import LARGEST_BYTES, comparison_markdown, profile_markdown, within
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


def cells(line: str) -> list[str]:
    """Return the cells of a table row as GitHub splits them."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_main_results_come_first_and_depths_are_folded(make_sweep: MakeSweep) -> None:
    a, b = make_sweep(), make_sweep(factor=1.1)
    result = compare(a, b)
    text = comparison_markdown([result], gate([result], [parse_rule("loss:worse", STUDIES["training"])]))
    order = ["Gate: fail", "- **densenet**: final training loss worse", "| final training loss | ", "<details>"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("<details>") == text.count("</details>") == 3
    opened = text.index("<details>")
    assert "| densenet | 2 |" not in text[:opened]
    assert "| densenet | 2 |" in text[opened:]


def test_many_differences_are_folded_too(make_sweep: MakeSweep) -> None:
    a = make_sweep()
    other = a.model_copy(update={"spec": {**a.spec, "train": {f"key{k}": k for k in range(9)}}})
    text = comparison_markdown([compare(a, other)])
    assert "differences in spec, machine and code</summary>" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("`rm`", "\\`rm\\`"),
        ("two\nlines\t", "two lines"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("[x](y) [0.1, 0.2]", "[x\\](y) [0.1, 0.2]"),
        ("*a* _b_ my_net ~~c~~", "\\*a\\* \\_b\\_ my_net \\~\\~c\\~\\~"),
        ("a\\|b", "a\\\\\\|b"),
        ("$x$ &amp;", "\\$x\\$ &amp;amp;"),
        ("\x1b[31mred\x1b[0m\x00", "red\\\\x00"),
        ("http://x.y/@z", "http:<!-- -->//x.y/@<!-- -->z"),
        ("WWW.x.y", "WWW<!-- -->.x.y"),
        ("@team a@b.c 3 @ 4", "@<!-- -->team a@<!-- -->b.c 3 @ 4"),
        ("a/b#12 #x", "a/b#<!-- -->12 #x"),
    ],
)
def test_names_are_escaped(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"), [("# a", "\\# a"), ("- a", "\\- a"), ("1. a", "1\\. a"), ("a - b", "a - b")]
)
def test_a_line_is_no_heading_and_no_list(text: str, escaped: str) -> None:
    assert markdown_line(text) == escaped


def test_a_hostile_name_does_not_break_a_table(make_sweep: MakeSweep, nasty: str) -> None:
    plain = make_sweep((nasty,), bad={(nasty, 4, 1): "failed"})
    hostile = plain.model_copy(update={"name": nasty})
    for text in (comparison_markdown([compare(plain, hostile)]), profile_markdown(hostile)):
        assert "<img" not in text
        assert "\x1b" not in text
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert len(tables) >= 2
        for table in tables:
            assert len({len(cells(line)) for line in table.splitlines()}) == 1, table


def test_it_is_cut_between_tables_with_a_note() -> None:
    parts = [f"part {k} " + "x" * 1000 for k in range(10)]
    assert within(parts, 20_000) == "\n\n".join(parts) + "\n"
    cut = within(parts, 5_200)
    assert len(cut.encode()) <= 5_200
    assert cut.startswith("\n\n".join(parts[:4]) + "\n\n_Size limit reached: 6 tables omitted")
    assert within(parts, 50) == ""
    assert "1 table omitted" in within(["a" * 3000, "é" * 3000], 8000)


def test_it_never_exceeds_the_limit_of_github(make_sweep: MakeSweep) -> None:
    networks = tuple(f"network-{k}-{'n' * 150}" for k in range(60))
    a = make_sweep(networks, (2, 4, 8, 16, 32, 64), seeds=2, epochs=1)
    text = comparison_markdown([compare(a, a)] * 4)
    assert LARGEST_BYTES // 2 < len(text.encode()) <= LARGEST_BYTES
    assert "Size limit reached" in text[-200:]
    assert text.count("<details>") == text.count("</details>")


def test_a_summary_is_appended_to_and_never_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.md"
    add_to_step_summary(["nothing"])  # the variable is not set
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    add_to_step_summary(["first", "second"])
    add_to_step_summary(["third"])
    assert path.read_text() == "first\n\nsecond\n\nthird\n"
    path.write_bytes(b"x" * (LARGEST_BYTES - 5_000))
    add_to_step_summary([f"{k}" * 1500 for k in range(9)])
    content = path.read_bytes()
    assert content.startswith(b"x" * (LARGEST_BYTES - 5_000))
    assert LARGEST_BYTES - 3_000 < len(content) <= LARGEST_BYTES
    assert b"7 tables omitted" in content
    path.write_bytes(b"x" * LARGEST_BYTES)
    add_to_step_summary(["more"])
    assert path.stat().st_size == LARGEST_BYTES
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    add_to_step_summary(["more"])
    output = capsys.readouterr().err.splitlines()
    assert output == [
        "dnlbench: GITHUB_STEP_SUMMARY is full; nothing was added to it",
        f"dnlbench: GITHUB_STEP_SUMMARY={tmp_path}: cannot be written: Is a directory",
    ]


def test_compare_and_run_add_to_the_summary(
    tmp_path: Path, run_cli: RunCli, make_sweep: MakeSweep, spec_file: Path
) -> None:
    a, b = (save_profile(make_sweep(factor=f), tmp_path / f"{f}.json") for f in (1.0, 1.1))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = run_cli("compare", a, b, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_cli("compare", a, b).stdout
    text = run_cli("compare", a, b, "--format", "markdown").stdout
    assert summary.read_text() == f"before\n\n{text}"
    options = ["--set", "sweep.networks=['plain']", "--set", "sweep.depths=[1]", "--set", "train.epochs=1", "--quiet"]
    options += ["--device", "cpu", "--threads", "1", "--executor", "inline"]
    done = run_cli("run", spec_file, *options, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    added = summary.read_text().removeprefix(f"before\n\n{text}")
    assert re.search(r"^### tiny, 20\d\d-", added, re.MULTILINE)
    assert "| plain | 1 | 2 |" in added
