"""Unsuccessful runs with their errors and logs."""

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
"""Maximum number of runs whose errors are shown in full."""


def unsuccessful_runs(profile: Profile) -> list[Markup]:
    """Return a table of unsuccessful runs, with the error and the end of the log of each; empty if all succeeded."""
    bad = [run for run in profile.runs if run.status != "ok"]
    if not bad:
        return []
    title = f"{profile.name}: {len(bad)} of {len(profile.runs)} runs unsuccessful"
    columns = [
        Column(head="run", no_wrap=True),
        *(Column(head=head, numeric=True) for head in ("L", "seed", "epochs", "attempts")),
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
    with_error = [run for run in bad if run.error]
    for run in with_error[:MAX_LOGS]:
        yield _detail(run)
    if len(with_error) > MAX_LOGS:
        yield tag("p", f"The profile contains the errors of {len(with_error) - MAX_LOGS} more runs.", class_="note")


def _detail(run: RunRecord) -> Markup:
    assert run.error is not None, "only runs with an error have details"
    log = tag("pre", log_end(run.error.log), tabindex=0) if run.error.log else tag("p", "No log.", class_="note")
    return folded(
        join(tag("code", run.run_id), " ", tag("span", run.status, class_=verdict_class(run.status) or None)),
        tag("p", tag("strong", run.error.type)),
        tag("pre", run.error.message),
        log,
    )
