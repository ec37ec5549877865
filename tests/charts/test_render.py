"""Rendering is reproducible and independent of user settings, and SVG can be embedded in HTML."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import epoch_chart
from dnlbench.charts.figure import FORMATS
from dnlbench.charts.model import Axis, Chart
from dnlbench.charts.mpl import chart_bytes, chart_svg
from dnlbench.charts.source import sources_of
from dnlbench.profiles import Profile, save_profile
from tests.charts.read_svg import LOSS, plot_bytes, plot_svg, read

Draw = Callable[..., Profile]
MAGIC = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


PLOT = """
import sys
from dnlbench.cli.app import app
for format_ in sys.argv[1:]:
    app(["plot", "p.json", "-o", f"x.{format_}"], standalone_mode=False)
"""


_rendered: dict[str, bytes] = {}


@pytest.fixture
def rendered(sweep: Draw) -> dict[str, bytes]:
    """Return a sweep rendered in each format, cached for the module."""
    if not _rendered:
        _rendered.update({format_: plot_bytes([sweep()], format_) for format_ in FORMATS})
    return _rendered


def test_equal_profiles_give_equal_bytes(sweep: Draw, rendered: dict[str, bytes], tmp_path: Path) -> None:
    save_profile(sweep(), tmp_path / "p.json")
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 5\nsvg.fonttype: path\n")
    others = {"MATPLOTLIBRC": "matplotlibrc", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", PLOT, *FORMATS], cwd=tmp_path, check=True, env={**os.environ, **others})
    for format_, content in rendered.items():
        assert content.startswith(MAGIC[format_])
        assert (tmp_path / f"x.{format_}").read_bytes() == content


def test_fonts_are_embedded_as_truetype(rendered: dict[str, bytes]) -> None:
    assert b"/FontFile2" in rendered["pdf"]
    assert b"/Type3" not in rendered["pdf"]


def test_files_contain_no_date_and_no_program_name(rendered: dict[str, bytes]) -> None:
    for format_, content in rendered.items():
        assert not re.search(rb"CreationDate|dc:date|[Mm]atplotlib v|Software", content), format_


def test_text_is_text_with_fonts_to_fall_back_on(sweep: Draw) -> None:
    svg = plot_svg([sweep()])
    assert "font-family: 'DejaVu Sans', Verdana, Arial, sans-serif" in svg


def test_two_figures_in_one_page_are_independent(sweep: Draw) -> None:
    sources = sources_of([sweep()])
    first, second = (chart_svg([depth_chart(sources, quantity)]) for quantity in depth_quantities(sources)[:2])
    for svg in (first, second):
        assert svg.startswith("<svg ")
        assert svg.rstrip().endswith("</svg>")
        assert "<style" not in svg  # which would be that of the whole page
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"[A-Za-z][\w.:-]*", id_) for id_ in ids)
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(ids)
    assert not set(re.findall(r'\bid="([^"]+)"', first)) & set(re.findall(r'\bid="([^"]+)"', second))


def test_user_settings_are_unchanged(sweep: Draw) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 13.0}):
        plot_bytes([sweep()], "svg")
        assert matplotlib.rcParams["font.size"] == 13.0
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, dnlbench.charts.mpl; assert not {'matplotlib', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dots_per_inch_of_png(sweep: Draw) -> None:
    content = plot_bytes([sweep()], "png", width="column", dpi=200)
    assert int.from_bytes(content[16:20], "big") == 660


def test_a_chart_without_values_shows_a_message() -> None:
    chart = Chart(
        key="loss", title="Loss", x=Axis(label="epoch"), y=Axis(label="loss"), series=(), empty="no epoch yet"
    )
    assert "no epoch yet" in read(chart_bytes([chart], "svg").decode()).texts


def test_a_single_chart_names_its_series(sweep: Draw) -> None:
    chart = epoch_chart(sources_of([sweep(depths=(2, 4))]), LOSS, "time")
    rendered = read(chart_bytes([chart], "svg").decode())
    assert {"densenet L=2", "dense-attention L=4", "training time (s)"} <= set(rendered.texts)
    assert len(rendered.named("series")) == 6
