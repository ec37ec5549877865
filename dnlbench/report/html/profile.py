"""A profile as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.charts.web import chart_data
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report.budgets import budget_grids
from dnlbench.report.contrasts import change_title, contrast_grids, contrast_sentence, is_depth
from dnlbench.report.costs import cost_grids
from dnlbench.report.fits import fit_grids, refusals
from dnlbench.report.html.charts import chart_figures, charts_of
from dnlbench.report.html.markup import Markup, join, tag
from dnlbench.report.html.page import folded, page, section
from dnlbench.report.html.provenance import origin, settings, summary_sentence
from dnlbench.report.html.runs import unsuccessful_runs
from dnlbench.report.html.tables import side_by_side, table
from dnlbench.report.outcomes import outcome_grids
from dnlbench.report.profile import result_grids
from dnlbench.report.tuning import tuned_grids
from dnlbench.report.values import value_text
from dnlbench.studies import Quantity


def profile_html(profile: Profile) -> str:
    """Return the page: results, charts, fits, costs and budgets, unsuccessful runs, and the spec."""
    charts = charts_of([profile])
    further = [*fit_grids(profile), *cost_grids(profile)]
    contrasts, outcomes, budgets = (list(grids(profile)) for grids in (contrast_grids, outcome_grids, budget_grids))
    failed = unsuccessful_runs(profile)
    sections = [
        section(
            "Summary",
            tag("p", summary_sentence(profile)),
            tag("ul", *(tag("li", line) for line in sentences(profile))),
        ),
        section("Results by network and depth", *map(table, (*tuned_grids(profile), *result_grids(profile)))),
        *([section("Changes with depth and between networks", side_by_side(contrasts))] if contrasts else []),
        *([section("Charts", chart_figures(charts))] if charts else []),
        *([section("Depth limits and costs", side_by_side(further))] if further else []),
        *([section("Outcome of training", side_by_side(outcomes))] if outcomes else []),
        *([section("Budgets", side_by_side(budgets))] if budgets else []),
        *([section("Unsuccessful runs", *failed)] if failed else []),
        section("Sweep, machine and software", origin(profile, "Origin"), folded("All settings", settings(profile))),
    ]
    return page(f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC", sections, chart_data(charts))


def profile_fragment(profile: Profile) -> Markup:
    """Return the main tables without a page around them, for a notebook."""
    grids = [*tuned_grids(profile), next(result_grids(profile)), *contrast_grids(profile)]
    title = tag("strong", f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC")
    return tag(
        "div", tag("p", title, f": {summary_sentence(profile)}"), *map(table, grids), *unsuccessful_runs(profile)
    )


def sentences(profile: Profile) -> Iterator[Markup]:
    """Yield a sentence for each network: the main results by depth, and the reasons for refused fits."""
    shown = [quantity for quantity in profile.declared.quantities if not quantity.table]
    for network in dict.fromkeys(point.series for point in profile.summary.points):
        points = sorted((p for p in profile.summary.points if p.series == network), key=lambda p: p.depth)
        parts = [part for quantity in shown if (part := _change_with_depth(profile, points, quantity))]
        parts += [f"no depth limit of {words}" for words in refusals(profile, network)]
        bad = sum(count for p in points for status, count in p.statuses.items() if status != "ok")
        ending = f"; {bad} of {sum(sum(p.statuses.values()) for p in points)} runs unsuccessful" if bad else ""
        yield join(tag("strong", network), f": {'; '.join(parts) or 'no results'}{ending}.")


def _change_with_depth(profile: Profile, points: list[PointSummary], quantity: Quantity) -> str:
    """Describe a quantity at the smallest and the largest depth, with contrasts or the relative change."""
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
    """Return the contrasts between depths; without contrasts, the relative change of the mean."""
    tested = [
        contrast
        for contrast in profile.summary.contrasts
        if (contrast.quantity, contrast.series) == (quantity.name, known[0].series) and is_depth(contrast)
    ]
    if tested:
        title = change_title(tested)
        return f" ({title[0].lower()}{title[1:]}: {contrast_sentence(tested)})"
    start, end = known[0].quantities[quantity.name].mean, known[-1].quantities[quantity.name].mean
    return f" ({units.percent(end / start - 1, signed=True)})" if start > 0 else ""
