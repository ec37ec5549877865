"""A profile as one page."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report import quantities
from dnlbench.report.costs import cost_grids
from dnlbench.report.fits import fit_grids
from dnlbench.report.html.curves import charts
from dnlbench.report.html.figures import chart_data, drawn
from dnlbench.report.html.markup import Markup, join, tag
from dnlbench.report.html.page import folded, page, section
from dnlbench.report.html.provenance import in_a_sentence, origin, settings
from dnlbench.report.html.runs import bad_runs
from dnlbench.report.html.tables import side_by_side, table
from dnlbench.report.profile import result_grids
from dnlbench.studies import STUDIES


def profile_html(profile: Profile) -> str:
    """The page: result in words and tables, curves, fits and costs, what went wrong, and the spec."""
    found = charts([profile])
    further = [*fit_grids(profile), *cost_grids(profile)]
    failed = bad_runs(profile)
    sections = [
        section(
            "Summary",
            tag("p", in_a_sentence(profile)),
            tag("ul", *(tag("li", line) for line in sentences(profile))),
        ),
        section("Result by network and depth", *(table(grid) for grid in result_grids(profile))),
        *([section("Curves", drawn(found))] if found else []),
        *([section("Limits and costs of depth", side_by_side(further))] if further else []),
        *([section("Runs that did not end well", *failed)] if failed else []),
        section("What was run, and on what", origin(profile, "Origin"), folded("All settings", settings(profile))),
    ]
    return page(f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC", sections, chart_data(found))


def sentences(profile: Profile) -> Iterator[Markup]:
    """One for each network: how its main results go with depth."""
    shown = [quantity for quantity in STUDIES[profile.study].quantities if not quantity.table]
    for network in dict.fromkeys(point.network for point in profile.summary.points):
        points = sorted((p for p in profile.summary.points if p.network == network), key=lambda p: p.depth)
        parts = [part for quantity in shown if (part := _course(points, quantity.name, profile.study))]
        bad = sum(count for p in points for status, count in p.statuses.items() if status != "ok")
        ending = f"; {bad} of {sum(sum(p.statuses.values()) for p in points)} runs did not end well" if bad else ""
        yield join(tag("strong", network), f": {'; '.join(parts) or 'no run has a result'}{ending}.")


def _course(points: list[PointSummary], name: str, study: str) -> str:
    """From the smallest depth that has the quantity to the largest."""
    quantity = next(quantity for quantity in STUDIES[study].quantities if quantity.name == name)
    known = [point for point in points if name in point.quantities]
    if not known:
        return ""
    unit = f" {quantity.unit}" if quantity.unit and quantity.shown_as != "bytes" else ""
    first, last = (
        f"{quantities.value(quantity, p.quantities[name].interval)}{unit} at L={p.depth}" for p in (known[0], known[-1])
    )
    if len(known) == 1:
        return f"{quantity.label} {first}"
    start, end = known[0].quantities[name].mean, known[-1].quantities[name].mean
    change = f" ({units.percent(end / start - 1, signed=True)})" if start > 0 else ""
    return f"{quantity.label} from {first} to {last}{change}"
