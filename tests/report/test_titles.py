"""Titles of profiles with the same name and minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.profiles import Profile
from dnlbench.report.comparison import with_distinct_titles
from dnlbench.report.gate import gate_grid
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
TITLE = "made-up, 2026-11-20 12:00 UTC"


def titles(make_sweep: MakeSweep, reference: str, *candidates: str, **names: str) -> list[str]:
    """Return the titles of profiles in these files. ``names`` sets profile names by file stem; default: ``made-up``."""
    files = [Path(reference), *map(Path, candidates)]
    profiles = [make_sweep(("densenet",), (2,), name=names.get(file.stem, "made-up")) for file in files]
    comparisons = with_distinct_titles([compare(profiles[0], other) for other in profiles[1:]], files[0], files[1:])
    assert len({each.reference for each in comparisons}) == 1
    return [comparisons[0].reference, *(each.candidate for each in comparisons)]


def test_titles_that_differ_stay_as_they_are(make_sweep: MakeSweep) -> None:
    assert titles(make_sweep, "a.json", "b.json", b="other") == [TITLE, "other, 2026-11-20 12:00 UTC"]


def test_equal_titles_are_followed_by_their_files(make_sweep: MakeSweep) -> None:
    assert titles(make_sweep, "a.json", "b.json") == [f"{TITLE} (a)", f"{TITLE} (b)"]
    assert titles(make_sweep, "r.json", "a.json", "b.json", r="other")[1:] == [f"{TITLE} (a)", f"{TITLE} (b)"]
    assert titles(make_sweep, "1/p.json", "2/p.json") == [f"{TITLE} (1/p.json)", f"{TITLE} (2/p.json)"]


def test_a_profile_against_itself_has_one_title(make_sweep: MakeSweep) -> None:
    assert titles(make_sweep, "a.json", "a.json") == [TITLE, TITLE]
    assert with_distinct_titles([], Path("a.json"), []) == []


def test_a_gate_over_several_has_its_column_of_candidates(make_sweep: MakeSweep) -> None:
    reference, bad, good = make_sweep(name="other"), make_sweep(factor=1.5), make_sweep()
    comparisons = with_distinct_titles(
        [compare(reference, bad), compare(reference, good)], Path("r.json"), [Path("bad.json"), Path("good.json")]
    )
    grid = gate_grid(gate(comparisons, [parse_rule("loss:2%", STUDIES["training"])]))
    assert {(row[1], row[-1]) for row in grid.rows} == {(f"{TITLE} (bad)", "fail"), (f"{TITLE} (good)", "pass")}
