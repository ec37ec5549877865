"""The examples of the Python API are short, and each runs as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import dnlbench
from dnlbench.profiles import check_profile
from tests.docs.pages import API_EXAMPLES, ROOT, read

SCRIPTS = [path for path in API_EXAMPLES if path.suffix == ".py"]
NOTEBOOK = ROOT / "examples" / "depth.ipynb"
MOST_LINES = 30
"""Limit of lines that are not empty."""


@pytest.mark.parametrize("path", API_EXAMPLES, ids=lambda path: path.name)
def test_the_page_lists_the_example(path: Path) -> None:
    assert f"| `examples/{path.name}` |" in read("python")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short(path: Path) -> None:
    assert sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines()) < MOST_LINES


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_runs_without_an_extra(path: Path, tmp_path: Path) -> None:
    (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    code = f"import runpy, sys; sys.modules['pandas'] = None; runpy.run_path({path.name!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    profile = dnlbench.load(tmp_path / f"{path.stem}.json")
    assert check_profile(profile) == []
    assert [run.status for run in profile.runs] == ["ok"] * len(profile.runs)
    assert len({run.depth for run in profile.runs}) == 2
    assert "loss" in done.stdout


def _notebook() -> Any:
    return nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]


def test_the_notebook_has_no_outputs() -> None:
    cells = [cell for cell in _notebook().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [None] * len(cells)
    assert [cell.outputs for cell in cells] == [[]] * len(cells)


@pytest.mark.slow
def test_the_notebook_runs_without_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))  # that of the user may change what is shown
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    notebook = _notebook()
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    run, plot, frame, compared, both = (cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    progress = "".join(output.text for output in run if output.output_type == "stream")
    assert "[6/6] densenet L=" in progress
    assert "profile: slow.json" in progress
    assert "depth, " in run[-1].data["text/html"]
    for output in (plot, both):
        assert "image/png" in output[-1].data
    assert "<th>epoch</th>" in frame[-1].data["text/html"]
    assert [output.output_type for output in compared] == ["execute_result"]
    assert "All depths combined" in compared[-1].data["text/html"]
    assert check_profile(dnlbench.load(tmp_path / "fast.json")) == []
