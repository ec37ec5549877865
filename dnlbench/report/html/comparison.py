"""A comparison as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.charts.source import letter
from dnlbench.charts.web import chart_data
from dnlbench.comparison import Comparison, Gate
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
    """Return the page: verdicts, charts of all profiles, differences, unsuccessful runs, fits and costs."""
    profiles = [reference, *candidates]
    charts = charts_of(profiles)
    verdicts = [
        part for index, each in enumerate(comparisons, start=1) for part in _verdicts(each, index, len(comparisons))
    ]
    sections = [
        section("Summary", *_summary(profiles, comparisons, gate)),
        section("Verdicts", *([table(gate_grid(gate))] if gate else []), *verdicts),
        *([section("Charts", chart_figures(charts))] if charts else []),
        section("Differences in spec, machine and code", *_differences(comparisons)),
        *_optional_section("Unsuccessful runs", [join(*unsuccessful_runs(profile)) for profile in profiles]),
        *_optional_section("Depth limits and costs", [_limits(p, i) for i, p in enumerate(profiles)]),
        section("Sweep, machine and software", *_origins(profiles)),
    ]
    others = f"{len(candidates)} candidates" if len(candidates) > 1 else comparisons[0].candidate
    return page(f"{others} vs. {comparisons[0].reference}", sections, chart_data(charts))


def comparison_fragment(comparisons: Sequence[Comparison]) -> Markup:
    """Return verdicts and differences without a page around them, for a notebook."""
    return tag("div", *(part for comparison in comparisons for part in _short_verdicts(comparison)))


def _short_verdicts(comparison: Comparison) -> Iterator[Markup]:
    yield tag("p", tag("strong", f"{comparison.candidate} vs. {comparison.reference}"))
    yield tag("ul", *(tag("li", tag("strong", network), f": {text}") for network, text in sentences(comparison)))
    if grid := difference_grid(comparison):
        yield table(grid)
    yield table(overall_grid(comparison))


def _summary(profiles: Sequence[Profile], comparisons: Sequence[Comparison], gate: Gate | None) -> Iterator[Markup]:
    yield tag(
        "ul", *(tag("li", tag("strong", _named(p, i)), ": ", summary_sentence(p)) for i, p in enumerate(profiles))
    )
    if gate:
        matching = sum(finding.outcome == gate.outcome for finding in gate.findings)
        outcome = tag("span", gate.outcome, class_=verdict_class(gate.outcome) or None)
        yield tag("p", "Gate: ", outcome, f" ({matching} of {len(gate.findings)} findings).")
    for index, comparison in enumerate(comparisons, start=1):
        if len(comparisons) > 1:
            yield tag("h3", f"{letter(index)} vs. A")
        yield tag("ul", *(tag("li", tag("strong", network), f": {text}") for network, text in sentences(comparison)))


def _named(profile: Profile, index: int) -> str:
    role = "candidate" if index else "reference"
    return f"{letter(index)}, {role} {profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _verdicts(comparison: Comparison, index: int, count: int) -> Iterator[Markup]:
    if count > 1:
        yield tag("h3", f"{letter(index)}, {comparison.candidate}, vs. A")
    yield table(overall_grid(comparison))
    yield side_by_side(grid for _, grid in cell_grids(comparison))


def _differences(comparisons: Sequence[Comparison]) -> Iterator[Markup]:
    for index, comparison in enumerate(comparisons, start=1):
        grid = difference_grid(comparison, shortened=False)
        if grid is None:
            yield tag("p", f"A and {letter(index)} have the same spec, machine and code.")
        else:
            yield table(grid.titled(f"A (reference) and {letter(index)} (candidate)"))


def _optional_section(heading: str, parts: Sequence[Markup]) -> Iterator[Markup]:
    """Yield a section unless all its parts are empty."""
    if any(parts):
        yield section(heading, *parts)


def _limits(profile: Profile, index: int) -> Markup:
    grids = [*fit_grids(profile), *cost_grids(profile)]
    return join(*([tag("h3", _named(profile, index)), side_by_side(grids)] if grids else []))


def _origins(profiles: Sequence[Profile]) -> Iterator[Markup]:
    yield tag("div", *(origin(p, _named(p, i)) for i, p in enumerate(profiles)), class_="side")
    for index, profile in enumerate(profiles):
        yield folded(f"All settings of {letter(index)}", settings(profile))
