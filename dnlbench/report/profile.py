"""Tables of a profile."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dnlbench import units
from dnlbench.profiles import IntervalRecord, PointSummary, Profile
from dnlbench.profiles.budgets import equal_budget
from dnlbench.report import bounds
from dnlbench.report.budgets import budget_grids
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.costs import cost_grids
from dnlbench.report.export import Labeled, make_table
from dnlbench.report.export.text import to_csv
from dnlbench.report.fits import fit_grids, fit_problems
from dnlbench.report.grid import Column, Grid
from dnlbench.report.outcomes import outcome_grids
from dnlbench.report.runs import (
    cause,
    device_cell,
    has_nodes,
    left_out_notes,
    machine_label,
    node_of_run,
    node_properties,
)
from dnlbench.report.stability import never_learned_sentences, stability_sentences
from dnlbench.report.tuning import tuned_grids
from dnlbench.report.values import both_ends, mean_text, quantity_head, value_text
from dnlbench.studies import Quantity, Study

DROP_LAST = 99
"""Drop order of the columns that a narrow terminal omits last."""


def profile_grids(profile: Profile) -> Iterator[Grid]:
    """Yield tuned results, results by network and depth, contrasts, fits, costs, outcomes, budgets and unsuccessful runs."""
    yield from tuned_grids(profile)
    yield from result_grids(profile)
    yield from contrast_grids(profile)
    yield from fit_grids(profile)
    yield from cost_grids(profile)
    yield from outcome_grids(profile)
    yield from budget_grids(profile)
    yield from _bad_runs(profile)


def result_grids(profile: Profile) -> Iterator[Grid]:
    """Yield the results by network and depth."""
    study = profile.declared
    shown = [q for q in study.quantities if any(q.name in point.quantities for point in profile.summary.points)]
    yield _main_grid(profile, study, [quantity for quantity in shown if not quantity.table])
    for title in dict.fromkeys(quantity.table for quantity in shown if quantity.table):
        yield _further_grid(profile, title, [quantity for quantity in shown if quantity.table == title])


def _main_grid(profile: Profile, study: Study, shown: list[Quantity]) -> Grid:
    columns = [Column(head="network", no_wrap=True), Column(head="L", numeric=True)]
    columns += [
        Column(head="seeds", numeric=True, drop_order=DROP_LAST),
        Column(head="parameters", numeric=True, drop_order=1),
        *([Column(head=f"matched {equal_budget(profile.runs)}", drop_order=DROP_LAST)] if _is_matched(profile) else []),
        *([Column(head="device", drop_order=DROP_LAST - 1)] if has_nodes(profile) else []),
    ]
    columns += [
        Column(head=quantity_head(quantity), numeric=True, drop_order=_drop_order(quantity, shown))
        for quantity in shown
    ]
    last = _last_columns(profile, study)
    rows = [_row(profile, point, study, shown) for point in profile.summary.points]
    return Grid(
        title=f"{profile.name}: {study.title}",
        columns=[*columns, *last],
        rows=rows,
        note="\n".join(
            [
                *_reading(study, shown, rows),
                *_pack_notes(profile, shown),
                *bounds.bound_notes(profile),
                *left_out_notes(profile),
                *_memory_estimate(profile),
                *never_learned_sentences(profile),
                *fit_problems(profile),
            ]
        ),
    )


def _further_grid(profile: Profile, title: str, shown: list[Quantity]) -> Grid:
    """Return a table of means over seeds without intervals."""
    rows = []
    for point in profile.summary.points:
        largest = bounds.cells(profile, point, shown)
        means = (largest.get(q.name) or mean_text(q, point.quantities.get(q.name)) for q in shown)
        rows.append([point.series, str(point.depth), *means])
    columns = [Column(head="network", no_wrap=True), Column(head="L", numeric=True)]
    columns += [
        Column(head=quantity_head(quantity), numeric=True, drop_order=len(shown) - index)
        for index, quantity in enumerate(shown)
    ]
    note = "means over seeds"
    if any(quantity.bound is not None for quantity in shown):
        note += "; largest values for quantities that vanish in theory"
    return Grid(title=title, columns=columns, rows=rows, note="\n".join([note, *stability_sentences(profile, shown)]))


def _bad_runs(profile: Profile) -> Iterator[Grid]:
    bad = [run for run in profile.runs if run.status not in ("ok", "skipped")]
    skipped = sum(run.status == "skipped" for run in profile.runs)
    on_nodes = has_nodes(profile)
    if bad or skipped:
        node = [Column(head="node", no_wrap=True, drop_order=1)] if on_nodes else []
        yield Grid(
            title=f"{len(bad)} of {len(profile.runs)} runs unsuccessful, {skipped} not started",
            columns=[
                Column(head="run", no_wrap=True),
                Column(head="status", no_wrap=True),
                *node,
                Column(head="cause"),
            ],
            rows=[[run.run_id, run.status, *([node_of_run(run)] if on_nodes else []), cause(run)] for run in bad],
        )


def _last_columns(profile: Profile, study: Study) -> list[Column]:
    """Return the column on bounds, or on the change with depth if the main quantity has no contrasts."""
    main = study.quantities[0]
    if main.bound is not None:
        return [bounds.verdict_column()]
    return [] if _is_tested(study) else [Column(head=_change_head(profile), numeric=True, drop_order=DROP_LAST)]


def _change_head(profile: Profile) -> str:
    """Return ``change per doubling`` if every step doubles the depth, else ``change from previous L``."""
    depths: dict[str, list[int]] = {}
    for point in sorted(profile.summary.points, key=lambda point: point.depth):
        depths.setdefault(point.series, []).append(point.depth)
    doubling = all(b == 2 * a for each in depths.values() for a, b in pairwise(each))
    return "change per doubling" if doubling else "change from previous L"


def _is_tested(study: Study) -> bool:
    return study.quantities[0].name in study.contrasts


def _reading(study: Study, shown: list[Quantity], rows: list[list[str]]) -> Iterator[str]:
    main = study.quantities[0]
    if any(quantity.bound is None for quantity in shown) or not shown:
        half = f"±: half-width of the 95 % t interval of the mean over seeds{both_ends(rows)}"
        untested = main.bound is None and not _is_tested(study)
        yield f"{half}; change: of the {main.label}, not tested" if untested else half
    if geometric := [quantity.label for quantity in shown if quantity.mean == "geometric"]:
        yield f"geometric means, as in the fits: {', '.join(geometric)}"


def _pack_notes(profile: Profile, shown: list[Quantity]) -> Iterator[str]:
    labels = [quantity.label for quantity in shown if quantity.hardware_dependent]
    if labels and any(run.pack_size is not None and run.pack_size > 1 for run in profile.runs):
        yield f"{', '.join(labels)}: batched seeds are measured together and count once"


def _memory_estimate(profile: Profile) -> list[str]:
    """Return a line that compares estimated with measured memory; empty without measurements."""
    percents = [
        round(100 * run.estimated_memory_bytes / run.peak_memory_bytes)
        for run in profile.runs
        if run.estimated_memory_bytes is not None and run.peak_memory_bytes  # avoids division by 0
    ]
    if not percents:
        return []
    lowest, highest = min(percents), max(percents)
    text = f"{lowest} %" if lowest == highest else f"{lowest} to {highest} %"
    return [f"memory: the plan estimated {text} of the measured peaks"]


def _drop_order(quantity: Quantity, shown: list[Quantity]) -> int:
    """Return the drop order of a quantity: sizes first, then secondary results; the main result is never dropped."""
    index = shown.index(quantity)
    if index == 0:
        return 0
    return 1 if quantity.shown_as == "bytes" else 1 + len(shown) - index


def _row(profile: Profile, point: PointSummary, study: Study, shown: list[Quantity]) -> list[str]:
    largest = bounds.cells(profile, point, shown)
    seeds, ok = sum(point.statuses.values()), point.statuses.get("ok", 0)
    return [
        point.series,
        str(point.depth),
        str(seeds) if ok == seeds else f"{ok} of {seeds}",
        units.count(point.parameters),
        *([_matched(profile, point)] if _is_matched(profile) else []),
        *([device_cell(profile.runs, point)] if has_nodes(profile) else []),
        *(largest.get(q.name) or _value(q, point.quantities.get(q.name)) for q in shown),
        *_last_cells(profile, point, study),
    ]


def _is_matched(profile: Profile) -> bool:
    return any(run.matched for run in profile.runs)


def _matched(profile: Profile, point: PointSummary) -> str:
    """Return the setting that was chosen for the depth, with its mismatch."""
    matched = (run.matched for run in profile.runs if run.matched and run.point == point.point)
    return next((each.text for each in matched), units.NOTHING)


def _last_cells(profile: Profile, point: PointSummary, study: Study) -> list[str]:
    main = study.quantities[0]
    if main.bound is not None:
        return [bounds.verdict(profile, point)]
    return [] if _is_tested(study) else [_change(profile, point, main)]


def _value(quantity: Quantity, record: IntervalRecord | None) -> str:
    return value_text(quantity, record.interval if record else None)


def _change(profile: Profile, point: PointSummary, quantity: Quantity) -> str:
    """Return the relative change of the mean from the next smaller depth of the network, in percent."""
    smaller = [p for p in profile.summary.points if p.series == point.series and p.depth < point.depth]
    current = point.quantities.get(quantity.name)
    previous = max(smaller, key=lambda p: p.depth).quantities.get(quantity.name) if smaller else None
    if current is None or previous is None or previous.mean <= 0:
        return units.NOTHING
    return units.percent(current.mean / previous.mean - 1, signed=True)


def profile_csv(profile: Profile) -> str:
    """Return the exported table: a row for each epoch, or for each run of a study without epochs."""
    return to_csv(make_table([Labeled(label=profile.name, profile=profile)]))


def profile_header(profile: Profile) -> str:
    """Return the origin of a profile in a few lines."""
    machine, code = profile.machine, profile.code
    commit = f" at {code.git[:12]}{', with uncommitted changes' if code.dirty else ''}" if code.git else ""
    devices = ", ".join(dict.fromkeys(device.name for device in machine.devices))
    return "\n".join(
        [
            f"{profile.name} · {profile.study} · {profile.state} · {profile.created:%Y-%m-%d %H:%M} UTC",
            f"data: {profile.data.name}, {profile.data.samples} samples, sha256 {profile.data.sha256[:12]}",
            f"{machine_label(profile)}: {devices}; {machine.cores} cores; {machine.os}; "
            f"Python {machine.python}, torch {machine.torch}",
            *(f"{label}: {text}" for label, text in node_properties(profile)),
            f"code: dnlbench {code.version}{commit}; spec {profile.spec_hash}",
        ]
    )
