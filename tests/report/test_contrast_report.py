"""Contrasts between depths and between networks in reports."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import pytest

from dnlbench.comparison import compare
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.report.comparison import cell_grids, comparison_json, overall_grid
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.export import Labeled, make_table
from dnlbench.report.export.text import to_csv
from dnlbench.report.html import profile_html
from dnlbench.report.latex import profile_latex
from dnlbench.report.profile import result_grids

MakeProfile = Callable[..., Profile]
LOSSES = {
    ("densenet", 2): [0.40, 0.41, 0.42, 0.40],
    ("densenet", 4): [0.20, 0.21, 0.215, 0.205],
    ("plain", 2): [0.401, 0.411, 0.4195, 0.4],
    ("plain", 4): [0.80, 0.81, 0.85, 0.79],
}


def test_tables_have_ratio_interval_p_and_verdict_and_fit_80_columns(make_profile: MakeProfile) -> None:
    depths, networks = contrast_grids(make_profile(LOSSES))
    assert depths.title == "Change per doubling of depth: final training loss"
    assert [(row[0], row[1], row[2], row[5]) for row in depths.rows] == [
        ("densenet", "2 → 4", "4", "better"),
        ("plain", "2 → 4", "4", "worse"),
    ]
    assert re.fullmatch(r"0\.509 \[0\.499, 0\.519\]", depths.rows[0][3])
    assert networks.title == "Networks at equal depth: final training loss relative to densenet"
    assert [row[1] for row in networks.rows] == ["2", "4"]
    for grid in (depths, networks):
        assert "p: Holm-adjusted over all 4 comparisons of final training loss in this profile" in grid.note
        assert len(grid._columns_within(80)) == len(grid.columns)


def test_depths_that_do_not_double_are_called_so(make_profile: MakeProfile) -> None:
    depths, *_ = contrast_grids(make_profile({("plain", depth): [0.4, 0.5] for depth in (2, 3, 6)}))
    assert depths.title == "Change with depth: final training loss"


def test_the_main_table_leaves_the_change_to_the_tested_one(make_profile: MakeProfile) -> None:
    main, *_ = result_grids(make_profile(LOSSES))
    assert not any("before" in column.head for column in main.columns)
    assert all(len(row) == len(main.columns) for row in main.rows)


def test_the_page_describes_contrasts_in_words(make_profile: MakeProfile) -> None:
    page = profile_html(make_profile(LOSSES))
    assert "Changes with depth and between networks" in page
    sentence = re.search(r"<strong>plain</strong>: final training loss from [^<]*", page)
    assert sentence
    assert re.search(r"L=2 → 4: × 1\.992 \[1\.952, 2\.032\], p <?&?l?t?;?0\.\d+, worse", sentence[0])
    assert "(+99" not in sentence[0]


def test_latex_and_exports_contain_contrasts(make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)
    assert r"densenet & 2 $\to$ 4 & 4 & 0.509 {[}0.499, 0.519] &" in profile_latex(profile)
    table = make_table([Labeled(label="x", profile=profile)], "contrasts")
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [(row["network"], row["depth"], row["against_network"], row["against_depth"]) for row in rows] == [
        ("densenet", "4", "densenet", "2"),
        ("plain", "4", "plain", "2"),
        ("plain", "2", "densenet", "2"),
        ("plain", "4", "densenet", "4"),
    ]
    assert float(rows[0]["p_adjusted"]) == profile.summary.contrasts[0].p_adjusted
    other = profile.model_copy(update={"study": "relu-limit"})
    with pytest.raises(ConfigurationError, match="has no contrasts"):
        make_table([Labeled(label="x", profile=other)], "contrasts")


def test_utilization_has_no_separate_verdict(make_profile: MakeProfile) -> None:
    """Its ratio is shown without a verdict or p value, and it does not count in the Holm adjustment."""
    noisy = {point: [(1 + 0.01 * seed) * loss for seed, loss in enumerate(values)] for point, values in LOSSES.items()}
    base, slow = (make_profile(v, rate=rate, interleaved="ab") for v, rate in ((LOSSES, 1000.0), (noisy, 800.0)))
    profiles = []
    for profile, utilization in ((base, 0.2), (slow, 0.16)):
        runs = tuple(run.model_copy(update={"utilisation": utilization + 0.001 * run.seed}) for run in profile.runs)
        profiles.append(profile.model_copy(update={"runs": runs}))
    result = compare(*profiles)
    shares = [cell for cell in result.cells if cell.quantity.name == "utilisation"]
    assert {(cell.verdict, cell.p, cell.p_adjusted) for cell in shares} == {(None, None, None)}
    assert all(cell.ratio is not None and cell.ratio.low is not None for cell in shares)
    assert {cell.verdict for cell in result.cells if cell.quantity.name == "samples_per_s"} == {"worse"}
    assert result.families == compare(base, slow).families == 2  # points and overall figures of the loss
    grid = next(grid for quantity, grid in cell_grids(result) if quantity.name == "utilisation")
    assert {row[-1] for row in grid.rows} == {"–"}
    assert "no separate verdict; see throughput" in grid.note
    assert '"verdict": null' in comparison_json([result])
    assert all(verdict is not None for verdict in result.counts())
    assert "over 2 families of tests" in overall_grid(result).note
