"""Tables, figures and HTML of profiles and comparisons, and what the package imports."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dnlbench
from dnlbench import profiles
from dnlbench.profiles import save_profile
from dnlbench.report.comparison import comparison_csv
from dnlbench.report.export import Labeled, make_table
from tests.conftest import call

MakeProfile = Callable[..., profiles.Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22]}
WORSE = {("densenet", 2): [0.60, 0.80, 1.00], ("densenet", 4): [0.40, 0.42, 0.44]}


@pytest.fixture
def profile(make_profile: MakeProfile) -> dnlbench.Profile:
    return dnlbench.Profile.of(make_profile(LOSSES))


@pytest.mark.parametrize("rows", ["runs", "epochs", "contrasts"])
def test_a_data_frame_has_the_exported_table_and_the_spec(profile: dnlbench.Profile, rows: Any) -> None:
    frame = profile.to_pandas(rows)
    table = make_table([Labeled(label=profile.name, profile=profile)], rows)
    names = [column.name for column in table.columns]
    assert list(frame.columns[: len(names)]) == names
    for row, (_, shown) in zip(table.rows, frame.iterrows(), strict=True):
        for name, value in zip(names, row, strict=True):
            assert pd.isna(shown[name]) if value is None else shown[name] == value
    assert (frame["train.lr"] == profile.spec["train"]["lr"]).all()
    assert set(frame["sweep.depths"]) == {"1, 2"}
    assert frame["network.window"].isna().all()


def test_the_types_of_columns_do_not_depend_on_the_values(make_profile: MakeProfile) -> None:
    expected = {
        "depth": "Int64",
        "final_train_loss": "float64",
        "parameters": "Int64",
        "shared_device": "boolean",
        "network.window": "Int64",
        "network.bottleneck": "boolean",
        "train.lr": "float64",
        "train.step_epochs": "Int64",
        "train.schedule": "string",
    }
    for status in ("ok", "failed"):
        frame = dnlbench.Profile.of(make_profile(LOSSES, status=status)).to_pandas()
        assert {name: str(frame.dtypes[name]) for name in expected} == expected
    assert frame.groupby("depth").final_train_loss.mean().tolist() == pytest.approx([0.4, 0.21])


def test_a_comparison_is_that_of_the_command_line(tmp_path: Path, make_profile: MakeProfile) -> None:
    a, b = (save_profile(make_profile(LOSSES), tmp_path / "a.json"), make_profile(WORSE))
    save_profile(b, tmp_path / "b.json")
    compared = dnlbench.compare(str(a), tmp_path / "b.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        rows = list(
            csv.DictReader(io.StringIO(call(tmp_path, "compare", "a.json", "b.json", "--format", "csv").stdout))
        )
    assert comparison_csv(compared.results).splitlines()[0] == ",".join(rows[0])
    frame = compared.to_pandas()
    assert list(frame.columns) == [name for name in rows[0] if name != "gate"]
    assert [*frame.verdict.fillna("")] == [row["verdict"] for row in rows]
    assert ["all" if pd.isna(depth) else str(depth) for depth in frame.depth] == [row["depth"] for row in rows]
    assert frame.ratio_estimate.tolist() == [float(row["ratio_estimate"] or "nan") for row in rows] or np.array_equal(
        frame.ratio_estimate, [float(row["ratio_estimate"] or "nan") for row in rows], equal_nan=True
    )
    assert str(frame.paired.dtype) == "boolean"
    assert repr(compared).startswith(
        "<Comparison made-up, 2026-11-20 12:00 UTC (b) vs. made-up, 2026-11-20 12:00 UTC (a): "
    )
    same = dnlbench.compare(dnlbench.load(a), b, make_profile(WORSE))
    assert [result.candidate for result in same.results] == [
        "made-up, 2026-11-20 12:00 UTC (candidate 1)",
        "made-up, 2026-11-20 12:00 UTC (candidate 2)",
    ]
    assert len(same.to_pandas()) == 2 * len(frame)


def test_a_figure_is_that_of_the_command_line(
    tmp_path: Path, profile: dnlbench.Profile, make_profile: MakeProfile
) -> None:
    import matplotlib

    profile.save(tmp_path / "a.json")
    save_profile(make_profile(WORSE), tmp_path / "b.json")
    with matplotlib.rc_context({"font.family": "serif", "savefig.dpi": 50}):  # settings of a user
        profile.plot("depth", quantity="peak_memory_bytes", width="column", log=False).savefig(
            tmp_path / "a.png", dpi=80
        )
        dnlbench.compare(profile, tmp_path / "b.json").plot().savefig(tmp_path / "ab.png", dpi=80)
    options = ["--kind", "depth", "--quantity", "peak_memory_bytes", "--width", "column", "--linear", "--dpi", "80"]
    for arguments, name in ((["a.json", *options], "a.png"), (["a.json", "b.json", "--dpi", "80"], "ab.png")):
        assert call(tmp_path, "plot", *arguments, "-o", "cli.png").returncode == 0
        ours, theirs = (np.asarray(Image.open(tmp_path / file)) for file in (name, "cli.png"))
        assert np.array_equal(ours, theirs)
    shown: Any = profile.plot(["epochs", "cost"])
    assert shown._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(dnlbench.DnlbenchError, match="unknown kind 'pie'; choose from epochs, transfer, depth, "):
        profile.plot("pie")  # type: ignore[arg-type]


class _Tags(HTMLParser):
    """The elements and the text of HTML."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_escaped_and_has_the_tables(make_profile: MakeProfile) -> None:
    name = "<script>alert('x')</script>"
    losses = {(name, 2): [0.3, 0.4, 0.5], (name, 4): [0.2, 0.21, 0.22]}
    profile = dnlbench.Profile.of(make_profile(losses, name="<b>bold</b> & more"))
    compared = dnlbench.compare(
        profile, make_profile({point: [2 * x for x in values] for point, values in losses.items()})
    )
    for part, words in ((profile, "final training loss"), (compared, "All depths combined")):
        parsed = _Tags(part._repr_html_())
        assert parsed.open == []
        assert not {"script", "b", "style", "html"} & set(parsed.tags)
        assert name in parsed.text
        assert "<b>bold</b> & more" in parsed.text
        assert words in parsed.text
        assert "table" in parsed.tags
    assert "6 of 6 runs ok" in repr(profile)


def test_print_shows_the_tables_of_the_commands(
    make_profile: MakeProfile, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, losses in (("a.json", LOSSES), ("b.json", WORSE)):
        dnlbench.Profile.of(make_profile(losses)).save(tmp_path / name)
    assert str(dnlbench.load("a.json")) == run_cli("profiles", "show", "a.json").stdout
    assert str(dnlbench.compare("a.json", "b.json")) == run_cli("compare", "a.json", "b.json").stdout


def test_failed_runs_are_in_the_html(make_profile: MakeProfile) -> None:
    shown = _Tags(dnlbench.Profile.of(make_profile(LOSSES, status="failed"))._repr_html_())
    assert "6 of 6 runs unsuccessful" in shown.text
    assert shown.open == []


def _modules(statement: str, *, blocked: str = "") -> set[str]:
    """Return the modules that a statement imports in a fresh process, beyond those of Python's start."""
    block = f"sys.modules[{blocked!r}] = None;" if blocked else ""
    script = f"import sys; {block} before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_import_of_the_package_is_quick() -> None:
    assert _modules("import dnlbench; dir(dnlbench)") == {"dnlbench"}


def test_the_api_imports_neither_torch_nor_pandas_nor_matplotlib(sweep: dnlbench.Profile, folder: Path) -> None:
    script = (
        f"import dnlbench; p = dnlbench.load({str(folder / 'out.json')!r}); p._repr_html_(); dnlbench.compare(p, p); "
        "assert callable(dnlbench.compare) and callable(dnlbench.run); import dnlbench.comparison; "
        "assert callable(dnlbench.compare)"
    )
    loaded = {name.split(".")[0] for name in _modules(script)}
    assert not {"torch", "pandas", "matplotlib", "scipy", "ray", "typer", "textual"} & loaded


def test_a_missing_package_names_its_extra(sweep: dnlbench.Profile, folder: Path) -> None:
    path = str(folder / "out.json")
    script = f"""import dnlbench
p = dnlbench.load({path!r})
try:
    p.to_pandas()
except dnlbench.DnlbenchError as error:
    print(error, error.exit_code)"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['pandas'] = None\n{script}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "pandas is required and cannot be imported" in done.stdout, done.stderr
    assert "pip install 'dnlbench[pandas]'" in done.stdout
    assert done.stdout.strip().endswith("2")


def test_the_package_lists_its_functions() -> None:
    assert {"run", "load", "compare", "Profile", "Comparison", "DnlbenchError"} <= set(dir(dnlbench))
    with pytest.raises(AttributeError, match="module 'dnlbench' has no attribute 'trian'"):
        dnlbench.trian  # type: ignore[attr-defined]  # noqa: B018
    assert (Path(dnlbench.__file__).parent / "py.typed").is_file()
