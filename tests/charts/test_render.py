"""Equal profiles give equal bytes, whatever the user's settings are; and an SVG can stand in HTML."""

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


_drawn: dict[str, bytes] = {}


@pytest.fixture
def drawn(sweep: Draw) -> dict[str, bytes]:
    """The same sweep in each format, drawn once."""
    if not _drawn:
        _drawn.update({format_: plot_bytes([sweep()], format_) for format_ in FORMATS})
    return _drawn


def test_equal_profiles_give_equal_bytes(sweep: Draw, drawn: dict[str, bytes], tmp_path: Path) -> None:
    save_profile(sweep(), tmp_path / "p.json")
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 5\nsvg.fonttype: path\n")
    others = {"MATPLOTLIBRC": "matplotlibrc", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", PLOT, *FORMATS], cwd=tmp_path, check=True, env={**os.environ, **others})
    for format_, content in drawn.items():
        assert content.startswith(MAGIC[format_])
        assert (tmp_path / f"x.{format_}").read_bytes() == content


def test_fonts_are_embedded_as_truetype(drawn: dict[str, bytes]) -> None:
    assert b"/FontFile2" in drawn["pdf"]
    assert b"/Type3" not in drawn["pdf"]


def test_no_date_and_no_program_is_named(drawn: dict[str, bytes]) -> None:
    for format_, content in drawn.items():
        assert not re.search(rb"CreationDate|dc:date|[Mm]atplotlib v|Software", content), format_


def test_text_is_text_with_fonts_to_fall_back_on(sweep: Draw) -> None:
    svg = plot_svg([sweep()])
    assert "font-family: 'DejaVu Sans', Verdana, Arial, sans-serif" in svg


def test_two_figures_in_one_page_do_not_touch(sweep: Draw) -> None:
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


def test_settings_of_others_are_left_as_they_were(sweep: Draw) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 13.0}):
        plot_bytes([sweep()], "svg")
        assert matplotlib.rcParams["font.size"] == 13.0
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_matplotlib_waits_until_something_is_drawn() -> None:
    code = "import sys, dnlbench.charts.mpl; assert not {'matplotlib', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dots_per_inch_of_png(sweep: Draw) -> None:
    content = plot_bytes([sweep()], "png", width="column", dpi=200)
    assert int.from_bytes(content[16:20], "big") == 660


def test_a_chart_without_values_says_so() -> None:
    chart = Chart(
        key="loss", title="Loss", x=Axis(label="epoch"), y=Axis(label="loss"), series=(), empty="no epoch yet"
    )
    assert "no epoch yet" in read(chart_bytes([chart], "svg").decode()).texts


def test_a_single_chart_names_its_series(sweep: Draw) -> None:
    chart = epoch_chart(sources_of([sweep(depths=(2, 4))]), LOSS, "time")
    drawn = read(chart_bytes([chart], "svg").decode())
    assert {"densenet L=2", "dense-attention L=4", "training time (s)"} <= set(drawn.texts)
    assert len(drawn.named("series")) == 6
