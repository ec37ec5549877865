"""The table of the best values of the tuned setting, and the losses at them."""

from __future__ import annotations

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
            f"low or high end: the {tuning.setting.label} may lie outside the tried values, beyond a bound shown as …; "
            f"the loss at it may then be lower. {extension(tuning, records)}"
        )
    diverged = [
        f"{record.series} L={record.depth}: {', '.join(units.number(each.value) for each in record.tried if each.diverged)}"
        for record in records
        if any(each.diverged for each in record.tried)
    ]
    if diverged:
        yield f"{short} with diverged seeds, which cannot be the best: {'; '.join(diverged)}"


def extension(tuning: Tuning, records: Sequence[TunedRecord]) -> str:
    """Return the option that extends the grid where a best value may lie outside of it."""
    values = sorted({each.value for record in records for each in record.tried})
    edges, diverged = {record.edge for record in records}, {e.value for r in records for e in r.tried if e.diverged}
    first, second, *_ = values
    below = [first * first / second] if edges & {"low", "both"} else []
    above = [values[-1] ** 2 / values[-2]] if edges & {"high", "both"} and values[-1] not in diverged else []
    more = ",".join(f"{value:.2g}" for value in (*below, *values, *above))
    return f"To train only what is missing: dnlbench run … --grid {tuning.key}={more} --extend"
