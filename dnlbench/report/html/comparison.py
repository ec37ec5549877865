"""A comparison as one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.charts.source import letter
from dnlbench.charts.web import chart_data
from dnlbench.compare import Comparison, Gate
from dnlbench.profiles import Profile
from dnlbench.report.comparison import cell_grids, difference_grid, overall_grid, sentences
from dnlbench.report.costs import cost_grids
from dnlbench.report.fits import fit_grids
from dnlbench.report.gate import gate_grid
from dnlbench.report.html.charts import chart_figures, charts_of
from dnlbench.report.html.markup import Markup, join, tag
from dnlbench.report.html.page import folded, page, section
from dnlbench.report.html.provenance import origin, settings, summary_sentence
from dnlbench.report.html.runs import unsuccessful_runs
from dnlbench.report.html.tables import side_by_side, table, verdict_class


def comparison_html(
    reference: Profile, candidates: Sequence[Profile], comparisons: Sequence[Comparison], gate: Gate | None = None
) -> str:
    """The page: verdicts in words and tables, curves of all profiles, differences, what went wrong, fits and costs."""
    profiles = [reference, *candidates]
    found = charts_of(profiles)
    verdicts = [
        part for place, each in enumerate(comparisons, start=1) for part in _verdicts(each, place, len(comparisons))
    ]
    sections = [
        section("Summary", *_summary(profiles, comparisons, gate)),
        section("Verdicts", *([table(gate_grid(gate))] if gate else []), *verdicts),
        *([section("Curves", chart_figures(found))] if found else []),
        section("Differences of spec, machine and code", *_differences(comparisons)),
        *_optional_section("Runs that did not end well", [join(*unsuccessful_runs(profile)) for profile in profiles]),
        *_optional_section("Limits and costs of depth", [_limits(p, i) for i, p in enumerate(profiles)]),
        section("What was run, and on what", *_origins(profiles)),
    ]
    others = f"{len(candidates)} candidates" if len(candidates) > 1 else comparisons[0].candidate
    return page(f"{others} against {comparisons[0].reference}", sections, chart_data(found))


def _summary(profiles: Sequence[Profile], comparisons: Sequence[Comparison], gate: Gate | None) -> Iterator[Markup]:
    yield tag(
        "ul", *(tag("li", tag("strong", _named(p, i)), ": ", summary_sentence(p)) for i, p in enumerate(profiles))
    )
    if gate:
        alike = sum(finding.outcome == gate.outcome for finding in gate.findings)
        outcome = tag("span", gate.outcome, class_=verdict_class(gate.outcome) or None)
        yield tag("p", "Gate: ", outcome, f", at {alike} of {len(gate.findings)} findings.")
    for place, comparison in enumerate(comparisons, start=1):
        if len(comparisons) > 1:
            yield tag("h3", f"{letter(place)} against A")
        said = (tag("li", tag("strong", network), f": {text}") for network, text in sentences(comparison))
        yield tag("ul", *said)


def _named(profile: Profile, place: int) -> str:
    role = "candidate" if place else "reference"
    return f"{letter(place)}, {role} {profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _verdicts(comparison: Comparison, place: int, several: int) -> Iterator[Markup]:
    if several > 1:
        yield tag("h3", f"{letter(place)}, {comparison.candidate}, against A")
    yield table(overall_grid(comparison))
    yield side_by_side(grid for _, grid in cell_grids(comparison))


def _differences(comparisons: Sequence[Comparison]) -> Iterator[Markup]:
    for place, comparison in enumerate(comparisons, start=1):
        grid = difference_grid(comparison, shortened=False)
        if grid is None:
            yield tag("p", f"A and {letter(place)} do not differ in what was asked, on what and with what.")
        else:
            yield table(grid.titled(f"A (reference) and {letter(place)} (candidate)"))


def _optional_section(heading: str, parts: Sequence[Markup]) -> Iterator[Markup]:
    """One with what there is; none if there is nothing."""
    if any(parts):
        yield section(heading, *parts)


def _limits(profile: Profile, place: int) -> Markup:
    grids = [*fit_grids(profile), *cost_grids(profile)]
    return join(*([tag("h3", _named(profile, place)), side_by_side(grids)] if grids else []))


def _origins(profiles: Sequence[Profile]) -> Iterator[Markup]:
    yield tag("div", *(origin(p, _named(p, i)) for i, p in enumerate(profiles)), class_="side")
    for place, profile in enumerate(profiles):
        yield folded(f"All settings of {letter(place)}", settings(profile))
