"""A profile as one page."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.charts.web import chart_data
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report.contrasts import change_title, contrast_grids, contrast_sentence, is_depth
from dnlbench.report.costs import cost_grids
from dnlbench.report.fits import fit_grids, refusals
from dnlbench.report.html.charts import chart_figures, charts_of
from dnlbench.report.html.markup import Markup, join, tag
from dnlbench.report.html.page import folded, page, section
from dnlbench.report.html.provenance import origin, settings, summary_sentence
from dnlbench.report.html.runs import unsuccessful_runs
from dnlbench.report.html.tables import side_by_side, table
from dnlbench.report.profile import result_grids
from dnlbench.report.values import value_text
from dnlbench.studies import STUDIES, Quantity


def profile_html(profile: Profile) -> str:
    """The page: result in words and tables, curves, fits and costs, what went wrong, and the spec."""
    found = charts_of([profile])
    further = [*fit_grids(profile), *cost_grids(profile)]
    tested = list(contrast_grids(profile))
    failed = unsuccessful_runs(profile)
    sections = [
        section(
            "Summary",
            tag("p", summary_sentence(profile)),
            tag("ul", *(tag("li", line) for line in sentences(profile))),
        ),
        section("Result by network and depth", *(table(grid) for grid in result_grids(profile))),
        *([section("Depth against depth, network against network", side_by_side(tested))] if tested else []),
        *([section("Curves", chart_figures(found))] if found else []),
        *([section("Limits and costs of depth", side_by_side(further))] if further else []),
        *([section("Runs that did not end well", *failed)] if failed else []),
        section("What was run, and on what", origin(profile, "Origin"), folded("All settings", settings(profile))),
    ]
    return page(f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC", sections, chart_data(found))


def sentences(profile: Profile) -> Iterator[Markup]:
    """One for each network: how its main results go with depth, and why there is no limit if the fit is refused."""
    shown = [quantity for quantity in STUDIES[profile.study].quantities if not quantity.table]
    for network in dict.fromkeys(point.network for point in profile.summary.points):
        points = sorted((p for p in profile.summary.points if p.network == network), key=lambda p: p.depth)
        parts = [part for quantity in shown if (part := _change_with_depth(profile, points, quantity))]
        parts += [f"no depth limit of the {words}" for words in refusals(profile, network)]
        bad = sum(count for p in points for status, count in p.statuses.items() if status != "ok")
        ending = f"; {bad} of {sum(sum(p.statuses.values()) for p in points)} runs did not end well" if bad else ""
        yield join(tag("strong", network), f": {'; '.join(parts) or 'no run has a result'}{ending}.")


def _change_with_depth(profile: Profile, points: list[PointSummary], quantity: Quantity) -> str:
    """From the smallest depth that has the quantity to the largest; with the tests of what lies between, or the change."""
    name = quantity.name
    known = [point for point in points if name in point.quantities]
    if not known:
        return ""
    unit = f" {quantity.unit}" if quantity.unit and quantity.shown_as != "bytes" else ""
    first, last = (
        f"{value_text(quantity, p.quantities[name].interval)}{unit} at L={p.depth}" for p in (known[0], known[-1])
    )
    if len(known) == 1:
        return f"{quantity.label} {first}"
    return f"{quantity.label} from {first} to {last}{_change(profile, known, quantity)}"


def _change(profile: Profile, known: list[PointSummary], quantity: Quantity) -> str:
    """The tested changes with depth; of what is not tested, the relative change of the mean."""
    tested = [
        contrast
        for contrast in profile.summary.contrasts
        if (contrast.quantity, contrast.network) == (quantity.name, known[0].network) and is_depth(contrast)
    ]
    if tested:
        title = change_title(tested)
        return f" ({title[0].lower()}{title[1:]}: {contrast_sentence(tested)})"
    start, end = known[0].quantities[quantity.name].mean, known[-1].quantities[quantity.name].mean
    return f" ({units.percent(end / start - 1, signed=True)})" if start > 0 else ""
