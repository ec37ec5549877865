"""A profile as tables."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.profiles import IntervalRecord, PointSummary, Profile
from dnlbench.report import bounds
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.costs import cost_grids
from dnlbench.report.export import Labeled, make_table
from dnlbench.report.export.text import to_csv
from dnlbench.report.fits import fit_grids, fit_problems
from dnlbench.report.grid import Column, Grid
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
from dnlbench.report.values import both_ends, mean_text, quantity_head, value_text
from dnlbench.studies import STUDIES, Quantity, Study

LAST_TO_GO = 99
"""Rank of the columns that a narrow terminal does without last."""


def profile_grids(profile: Profile) -> Iterator[Grid]:
    """The result by network and depth, what is tested of it, what depth costs, and the runs that ended badly."""
    yield from result_grids(profile)
    yield from contrast_grids(profile)
    yield from fit_grids(profile)
    yield from cost_grids(profile)
    yield from _bad_runs(profile)


def result_grids(profile: Profile) -> Iterator[Grid]:
    """The result by network and depth."""
    study = STUDIES[profile.study]
    shown = [q for q in study.quantities if any(q.name in point.quantities for point in profile.summary.points)]
    yield _main_grid(profile, study, [quantity for quantity in shown if not quantity.table])
    for title in dict.fromkeys(quantity.table for quantity in shown if quantity.table):
        yield _further_grid(profile, title, [quantity for quantity in shown if quantity.table == title])


def _main_grid(profile: Profile, study: Study, shown: list[Quantity]) -> Grid:
    columns = [Column(head="network", no_wrap=True), Column(head="L", numeric=True)]
    columns += [
        Column(head="seeds", numeric=True, drop_order=LAST_TO_GO),
        Column(head="parameters", numeric=True, drop_order=1),
        *([Column(head="device", drop_order=LAST_TO_GO - 1)] if has_nodes(profile) else []),
    ]
    columns += [
        Column(head=quantity_head(quantity), numeric=True, drop_order=_drop_order(quantity, shown))
        for quantity in shown
    ]
    last = _last_columns(study)
    rows = [_row(profile, point, study, shown) for point in profile.summary.points]
    return Grid(
        title=f"{profile.name}: {study.question}",
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
    """Means over seeds alone, which leaves room for more of them."""
    rows = []
    for point in profile.summary.points:
        largest = bounds.cells(profile, point, shown)
        means = (largest.get(q.name) or mean_text(q, point.quantities.get(q.name)) for q in shown)
        rows.append([point.network, str(point.depth), *means])
    columns = [Column(head="network", no_wrap=True), Column(head="L", numeric=True)]
    columns += [
        Column(head=quantity_head(quantity), numeric=True, drop_order=len(shown) - place)
        for place, quantity in enumerate(shown)
    ]
    note = "means over seeds"
    if any(quantity.bound is not None for quantity in shown):
        note += "; largest values of what is to vanish"
    return Grid(title=title, columns=columns, rows=rows, note="\n".join([note, *stability_sentences(profile, shown)]))


def _bad_runs(profile: Profile) -> Iterator[Grid]:
    bad = [run for run in profile.runs if run.status not in ("ok", "skipped")]
    skipped = sum(run.status == "skipped" for run in profile.runs)
    on_nodes = has_nodes(profile)
    if bad or skipped:
        node = [Column(head="node", no_wrap=True, drop_order=1)] if on_nodes else []
        yield Grid(
            title=f"Of {len(profile.runs)} runs {len(bad)} did not end well and {skipped} were not started",
            columns=[
                Column(head="run", no_wrap=True),
                Column(head="status", no_wrap=True),
                *node,
                Column(head="cause"),
            ],
            rows=[[run.run_id, run.status, *([node_of_run(run)] if on_nodes else []), cause(run)] for run in bad],
        )


def _last_columns(study: Study) -> list[Column]:
    """How an untested main quantity goes with depth; whether theory holds where all of it is rounding."""
    main = study.quantities[0]
    if main.bound is not None:
        return [bounds.verdict_column()]
    return [] if _is_tested(study) else [Column(head="change from L before", numeric=True, drop_order=LAST_TO_GO)]


def _is_tested(study: Study) -> bool:
    return study.quantities[0].name in study.contrasts


def _reading(study: Study, shown: list[Quantity], rows: list[list[str]]) -> Iterator[str]:
    main = study.quantities[0]
    if any(quantity.bound is None for quantity in shown) or not shown:
        half = f"± is half of a 95 % t interval of the mean over seeds{both_ends(rows)}"
        untested = main.bound is None and not _is_tested(study)
        yield f"{half}; change: that of the {main.label}, not tested" if untested else half
    if geometric := [quantity.label for quantity in shown if quantity.mean == "geometric"]:
        yield f"geometric means, as in the fits: {', '.join(geometric)}"


def _pack_notes(profile: Profile, shown: list[Quantity]) -> Iterator[str]:
    labels = [quantity.label for quantity in shown if quantity.hardware_dependent]
    if labels and any(run.pack_size is not None and run.pack_size > 1 for run in profile.runs):
        yield f"the seeds of a pack are measured together and count as one for {', '.join(labels)}"


def _memory_estimate(profile: Profile) -> list[str]:
    """One line on how well the plan foresaw the memory; none if that is not known of any run."""
    shares = [
        round(100 * run.estimated_memory_bytes / run.peak_memory_bytes)
        for run in profile.runs
        if run.estimated_memory_bytes is not None and run.peak_memory_bytes  # 0 has no share
    ]
    if not shares:
        return []
    lowest, highest = min(shares), max(shares)
    share = f"{lowest} %" if lowest == highest else f"{lowest} to {highest} %"
    return [f"memory: the plan foresaw {share} of the measured peaks"]


def _drop_order(quantity: Quantity, shown: list[Quantity]) -> int:
    """Sizes go first, then the study's lesser results; the main one stays."""
    place = shown.index(quantity)
    if place == 0:
        return 0
    return 1 if quantity.shown_as == "bytes" else 1 + len(shown) - place


def _row(profile: Profile, point: PointSummary, study: Study, shown: list[Quantity]) -> list[str]:
    largest = bounds.cells(profile, point, shown)
    seeds, ok = sum(point.statuses.values()), point.statuses.get("ok", 0)
    return [
        point.network,
        str(point.depth),
        str(seeds) if ok == seeds else f"{ok} of {seeds}",
        units.count(point.parameters),
        *([device_cell(profile.runs, point)] if has_nodes(profile) else []),
        *(largest.get(q.name) or _value(q, point.quantities.get(q.name)) for q in shown),
        *_last_cells(profile, point, study),
    ]


def _last_cells(profile: Profile, point: PointSummary, study: Study) -> list[str]:
    main = study.quantities[0]
    if main.bound is not None:
        return [bounds.verdict(profile, point)]
    return [] if _is_tested(study) else [_change_per_doubling(profile, point, main)]


def _value(quantity: Quantity, record: IntervalRecord | None) -> str:
    return value_text(quantity, record.interval if record else None)


def _change_per_doubling(profile: Profile, point: PointSummary, quantity: Quantity) -> str:
    """Change of the mean from the next smaller depth of the same network, in per cent."""
    smaller = [p for p in profile.summary.points if p.network == point.network and p.depth < point.depth]
    here = point.quantities.get(quantity.name)
    there = max(smaller, key=lambda p: p.depth).quantities.get(quantity.name) if smaller else None
    if here is None or there is None or there.mean <= 0:
        return units.NOTHING
    return units.percent(here.mean / there.mean - 1, signed=True)


def profile_csv(profile: Profile) -> str:
    """The exported table: a row for each epoch, or for each run of a study without epochs."""
    return to_csv(make_table([Labeled(label=profile.name, profile=profile)]))


def profile_header(profile: Profile) -> str:
    """Where a profile comes from, in a few lines."""
    machine, code = profile.machine, profile.code
    commit = f" at {code.git[:12]}{', with changes' if code.dirty else ''}" if code.git else ""
    devices = ", ".join(dict.fromkeys(device.name for device in machine.devices))
    return "\n".join(
        [
            f"{profile.name} · {profile.study} · {profile.state} · {profile.created:%Y-%m-%d %H:%M} UTC",
            f"data: {profile.data.name}, {profile.data.samples} samples, sha256 {profile.data.sha256[:12]}",
            f"{machine_label(profile)}: {devices}; {machine.cores} cores; {machine.os}; "
            f"Python {machine.python}, torch {machine.torch}",
            *(f"{label}: {told}" for label, told in node_properties(profile)),
            f"code: dnlbench {code.version}{commit}; spec {profile.spec_hash}",
        ]
    )
