"""The runs that did not end well, with what they left behind."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.profiles import Profile, RunRecord
from dnlbench.report.grid import Column, Grid
from dnlbench.report.html.markup import Markup, join, tag
from dnlbench.report.html.page import folded
from dnlbench.report.html.tables import table, verdict_class
from dnlbench.report.runs import cause, has_nodes, log_end, node_of_run

MAX_LOGS = 25
"""Runs whose errors are shown at length; a sweep that fails altogether fails of few causes."""


def unsuccessful_runs(profile: Profile) -> list[Markup]:
    """A table of them, and each one's error and end of log; nothing if all ended well."""
    bad = [run for run in profile.runs if run.status != "ok"]
    if not bad:
        return []
    title = f"{profile.name}: {len(bad)} of {len(profile.runs)} runs did not end well"
    columns = [
        Column(head="run", no_wrap=True),
        *(Column(head=head, numeric=True) for head in ("L", "seed", "epochs done", "attempts")),
        Column(head="status", no_wrap=True),
        *([Column(head="node", no_wrap=True)] if has_nodes(profile) else []),
        Column(head="cause"),
    ]
    rows = [_row(run, on_nodes=has_nodes(profile)) for run in bad]
    return [table(Grid(title=title, columns=columns, rows=rows)), *_details(bad)]


def _row(run: RunRecord, *, on_nodes: bool) -> list[str]:
    counts = (run.depth, run.seed, len(run.epochs), len(run.attempts))
    return [
        run.run_id,
        *map(str, counts),
        run.status,
        *([node_of_run(run)] if on_nodes else []),
        cause(run) or units.NOTHING,
    ]


def _details(bad: list[RunRecord]) -> Iterator[Markup]:
    told = [run for run in bad if run.error]
    for run in told[:MAX_LOGS]:
        yield _detail(run)
    if len(told) > MAX_LOGS:
        yield tag("p", f"The errors of {len(told) - MAX_LOGS} more runs are in the profile.", class_="note")


def _detail(run: RunRecord) -> Markup:
    assert run.error is not None, "only runs with an error are told of"
    log = tag("pre", log_end(run.error.log), tabindex=0) if run.error.log else tag("p", "No log.", class_="note")
    return folded(
        join(tag("code", run.run_id), " ", tag("span", run.status, class_=verdict_class(run.status) or None)),
        tag("p", tag("strong", run.error.type)),
        tag("pre", run.error.message),
        log,
    )
