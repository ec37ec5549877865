"""The table of the best values of the tuned setting, and the losses at them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.charts.transfer import best_text
from dnlbench.profiles import Profile, TunedRecord
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import quantity_head, value_text
from dnlbench.stats.tuning import Edge
from dnlbench.studies.base import Tuning

_ENDS: dict[Edge, str] = {"": "inside", "low": "low end", "high": "high end", "both": "both ends"}


def tuned_grids(profile: Profile) -> Iterator[Grid]:
    """Yield the best value and the loss at it, by network and depth; nothing if the sweep tunes no setting."""
    tuning, records = profile.declared.tuning, profile.summary.tuned
    if tuning is None or not records:
        return
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head=f"{tuning.setting.label} [95 % CI]", numeric=True),
        Column(head=quantity_head(tuning.loss), numeric=True),
        Column(head="among the tried values", no_wrap=True, drop_order=1),
    ]
    rows = [_row(tuning, record) for record in records]
    title = f"{profile.name}: {tuning.setting.label} at each depth"
    yield Grid(title=title, columns=columns, rows=rows, note="\n".join(_notes(tuning, records)))


def _row(tuning: Tuning, record: TunedRecord) -> list[str]:
    loss = value_text(tuning.loss, record.means.quantities[tuning.loss.name].interval) if record.loss else units.NOTHING
    where = record.problem or _ENDS[record.edge]
    return [record.series, str(record.depth), best_text(record), loss, where]


def _notes(tuning: Tuning, records: Sequence[TunedRecord]) -> Iterator[str]:
    short = tuning.key.rpartition(".")[2]
    yield (
        f"{tuning.setting.label}: minimum of a polynomial of log loss over log {short}; the loss at it is that of the seeds "
        "that did not choose it"
    )
    if any(record.edge for record in records):
        yield (
            f"low or high end: the {tuning.setting.label} may lie outside the tried values, beyond a bound shown as …; the "
            "loss at it may then be lower"
        )
    if any(record.edge == "both" for record in records):
        yield "both ends: the loss at the tried values differs too little from noise; more seeds decide"
    if more := sorted({value for record in records for value in _beyond(record)}):
        values = ",".join(f"{value:.2g}" for value in sorted({*more, *(e.value for r in records for e in r.tried)}))
        yield f"to train only what is missing: dnlbench run … --grid {tuning.key}={values} --extend"
    diverged = [
        f"{record.series} L={record.depth}: {', '.join(units.number(each.value) for each in record.tried if each.diverged)}"
        for record in records
        if any(each.diverged for each in record.tried)
    ]
    if diverged:
        yield f"{short} with diverged seeds, which cannot be the best: {'; '.join(diverged)}"


def _beyond(record: TunedRecord) -> Iterator[float]:
    """Yield values beyond the ends that may be the best: as far apart as the last two, or before one that diverged."""
    left = [each.value for each in record.tried if not each.diverged]
    if record.best is None or (record.edge == "both" and left[0] < record.best < left[-1]):
        return
    if record.edge in ("low", "both"):
        yield left[0] * left[0] / left[1]
    if record.edge in ("high", "both"):
        above = [each.value for each in record.tried if each.value > left[-1]]
        yield math.sqrt(left[-1] * above[0]) if above else left[-1] * left[-1] / left[-2]
