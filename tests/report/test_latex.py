"""LaTeX tables, parsed cell by cell because LaTeX may not be installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.comparison import compare
from dnlbench.escape import latex, latex_number
from dnlbench.profiles import Profile, summarize
from dnlbench.report.latex import comparison_latex, profile_latex
from dnlbench.studies.training import TRAINING

MakeSweep = Callable[..., Profile]
COMMANDS = {
    *(
        "begin",
        "end",
        "centering",
        "caption",
        "toprule",
        "midrule",
        "bottomrule",
        "addlinespace",
        "pm",
        "cdot",
        "times",
    ),
    *(
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "textless",
        "textgreater",
        "textbar",
        "infty",
        "dots",
        "to",
    ),
}
"""Commands of booktabs and LaTeX that tables may use."""


def tables(text: str) -> list[tuple[str, list[list[str]]]]:
    """Return the caption and the rows of each table, including the head, after a check of the structure."""
    lines = text.splitlines()
    assert lines[0] == "% In the preamble: \\usepackage{booktabs}"
    body = "\n".join(lines[1:])
    plain = re.sub(r"\\[\\{}$%&#_,]", "", body)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not re.search(r"[%#_^~]", re.sub(r"\$[^$]*\$", "", plain)), "special characters outside of formulas"
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= COMMANDS
    result = []
    for table in re.findall(r"\\begin\{table\}(.*?)\\end\{table\}", body, re.DOTALL):
        caption = re.search(r"\\caption\{(.*)\}\n", table)
        columns = re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", table)
        assert caption is not None
        assert columns is not None
        assert [table.count(f"\\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 1, 1]
        rows = [re.split(r"(?<!\\) & ", row.strip()) for row in re.findall(r"^(.*) \\\\$", table, re.MULTILINE)]
        assert {len(row) for row in rows} == {len(columns[1])}
        assert not any(row[0].startswith("[") for row in rows)
        result.append((caption[1], rows))
    assert body.count("\\begin{table}") == len(result)
    return result


def test_a_profile_has_a_row_for_each_network_and_depth(make_sweep: MakeSweep) -> None:
    profile = make_sweep(rate=20_000.0)
    (caption, (head, *rows)), *contrasts = tables(profile_latex(profile))
    assert len(contrasts) == 2
    assert "made-up" in caption
    assert head == [
        "network",
        "$L$",
        "final training loss (nats)",
        "throughput (10$^3$ samples/s)",
        "peak memory (MiB)",
    ]
    assert [row[:2] for row in rows] == [[n, str(d)] for n in ("densenet", "dense-gaussian") for d in (2, 4, 8, 16)]
    units = {"final_train_loss": 1.0, "samples_per_s": 1e3, "peak_memory_bytes": 2.0**20}
    for row, point in zip(rows, profile.summary.points, strict=True):
        for cell, (name, unit) in zip(row[2:], units.items(), strict=True):
            record = point.quantities[name]
            mean, half = map(float, cell.split(" $\\pm$ "))
            assert record.interval.half_width is not None
            assert mean == pytest.approx(record.mean / unit, abs=half)
            assert half == pytest.approx(record.interval.half_width / unit, rel=0.06)


def test_a_comparison_has_reference_candidate_ratio_and_verdict(make_sweep: MakeSweep) -> None:
    a, b = make_sweep(), make_sweep(factor=1.1)
    result = tables(comparison_latex([compare(a, b)]))
    assert len(result) == 3
    caption, (head, *rows) = result[0]
    assert caption.startswith("Final training loss: made-up, 2026-11-20 12:00 UTC (candidate) vs.")
    assert head == ["network", "$L$", "reference (nats)", "candidate (nats)", "ratio {[}95\\,\\% CI]", "verdict"]
    assert [row[:2] for row in rows] == [
        [network, depth] for network in ("densenet", "dense-gaussian") for depth in ("2", "4", "8", "16", "all")
    ]
    assert {(row[4], row[5]) for row in rows} == {("1.100 {[}1.100, 1.100]", "worse")}


def test_runs_without_a_value_have_a_dash(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("plain",), (2, 4), bad={("plain", 4, seed): "oom" for seed in range(3)})
    (_, (_, *rows)), *_ = tables(profile_latex(profile))
    assert rows[1][2:] == ["--", "--", "--"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 50 % #1 {$}", "a\\_b \\& 50 \\% \\#1 \\{\\$\\}"),
        ("\\input~x^2", "\\textbackslash{}input\\textasciitilde{}x\\textasciicircum{}2"),
        ("a\n\nb", "a b"),
        ("[x] é 日", "{[}x] é ?"),
        ("0.1 ± 0.2 × −3 ∞", "0.1 $\\pm$ 0.2 $\\times$ $-$3 $\\infty$"),
    ],
)
def test_special_characters_are_escaped(text: str, escaped: str) -> None:
    assert latex(text) == escaped


def test_a_hostile_name_does_not_break_it(make_sweep: MakeSweep, nasty: str) -> None:
    profile = make_sweep((nasty, "[x]"), name=nasty)
    assert len(tables(profile_latex(profile))) == 3
    assert len(tables(comparison_latex([compare(profile, profile)]))) == 3


@pytest.mark.parametrize(
    ("rates", "unit", "factor"), [((2e6, 3e5), "10$^6$ samples/s", 1e6), ((2e3, 30.0), "10$^3$ samples/s", 1e3)]
)
def test_values_of_a_column_share_a_unit(
    make_profile: Callable[..., Profile], rates: tuple[float, float], unit: str, factor: float
) -> None:
    base = make_profile({("plain", 2): [1.0], ("plain", 4): [1.0]})
    runs = [
        run.model_copy(
            update={"samples_per_s": rate, "peak_memory_bytes": 5 * 2**30, "measurements": {"utilisation": 0.25}}
        )
        for run, rate in zip(base.runs, rates, strict=True)
    ]
    profile = base.model_copy(update={"runs": tuple(runs), "summary": summarize(runs, TRAINING)})
    (_, (head, *rows)), *_ = tables(profile_latex(profile))
    assert f"throughput ({unit})" in head
    assert [float(row[head.index(f"throughput ({unit})")]) for row in rows] == [rate / factor for rate in rates]
    assert [row[head.index("peak memory (GiB)")] for row in rows] == ["5"] * 2
    assert [row[head.index("utilization (\\%)")] for row in rows] == ["25"] * 2


def test_small_numbers_are_powers_of_ten() -> None:
    assert latex_number("-8.500e-06 ± 1.200e-06") == "$-$8.500$\\cdot10^{-6}$ $\\pm$ 1.200$\\cdot10^{-6}$"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on the PATH")
def test_it_compiles(make_sweep: MakeSweep, nasty: str, tmp_path: Path) -> None:
    profile = make_sweep((nasty, "[x]"))
    body = profile_latex(profile) + comparison_latex([compare(profile, profile)])
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "x.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=batchmode", "x.tex"], cwd=tmp_path, timeout=60, capture_output=True
    )
    assert done.returncode == 0, (tmp_path / "x.log").read_text(errors="replace")[-2000:]
