"""Golden files of all text formats. ``UPDATE_GOLDEN=1`` rewrites them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.profiles import Profile, read_profile
from dnlbench.report.comparison import comparison_csv, comparison_json
from dnlbench.report.junit import comparison_junit
from dnlbench.report.latex import comparison_latex, profile_latex
from dnlbench.report.markdown import comparison_markdown, profile_markdown
from dnlbench.report.profile import profile_csv
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
GOLDEN = Path(__file__).parent.parent / "golden" / "report"
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]\d+)?(?![\w.])")


def hold(name: str, result: str) -> None:
    """Compare text exactly and numbers up to differences between machines in linear algebra and special functions."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    assert NUMBER.sub("#", result) == NUMBER.sub("#", expected), f"{path} differs; look at both, then UPDATE_GOLDEN=1"
    for one, other in zip(NUMBER.findall(result), NUMBER.findall(expected), strict=True):
        ours, theirs = (float(text.replace("−", "-")) for text in (one, other))
        assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12), f"{path}: {one} was {other}"


@pytest.mark.parametrize("format_", ["md", "csv", "json", "xml", "tex"])
def test_a_comparison(make_sweep: MakeSweep, format_: str) -> None:
    bad = {("densenet", 4, 1): "oom", ("dense-gaussian", 8, 0): "diverged", ("dense-gaussian", 8, 2): "skipped"}
    a = make_sweep(depths=(2, 4, 8), name="base")
    b = make_sweep(depths=(2, 4, 8), factor=1.02, rate=950.0, bad=bad, name="a|b_c")
    result = compare(a, b.model_copy(update={"machine": b.machine.model_copy(update={"torch": "2.12.0"})}))
    held = gate([result], [parse_rule(rule, STUDIES["training"]) for rule in ("loss:5%", "failed")])
    formats = {
        "md": lambda: comparison_markdown([result], held),
        "csv": lambda: comparison_csv([result], held),
        "json": lambda: comparison_json([result], held),
        "xml": lambda: comparison_junit([b], [result], held),
        "tex": lambda: comparison_latex([result]),
    }
    hold(f"comparison.{format_}", formats[format_]())


@pytest.mark.parametrize("format_", ["md", "csv", "json", "tex"])
def test_a_profile(make_sweep: MakeSweep, format_: str) -> None:
    bad = {("densenet", 4, 1): "oom", ("densenet", 16, 2): "skipped"}
    profile = make_sweep(("densenet",), epochs=2, bad=bad)
    formats = {
        "md": lambda: profile_markdown(profile),
        "csv": lambda: profile_csv(profile),
        "json": lambda: profile.to_json().decode(),
        "tex": lambda: profile_latex(profile),
    }
    hold(f"profile.{format_}", formats[format_]())


def test_the_json_of_a_profile_is_a_profile(tmp_path: Path) -> None:
    content = (GOLDEN / "profile.json").read_bytes()
    (tmp_path / "x.json").write_bytes(content)
    assert read_profile(tmp_path / "x.json").to_json() == content
