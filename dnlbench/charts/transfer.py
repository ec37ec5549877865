"""Charts of the loss over the tuned setting: a curve for each depth. The setting transfers if their minima are at one place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from dnlbench import units
from dnlbench.charts.epochs import seeds_text
from dnlbench.charts.model import Axis, Chart, Identity, Series
from dnlbench.charts.scales import with_scale
from dnlbench.charts.source import Identities, Source, profiles_of
from dnlbench.profiles import TunedRecord
from dnlbench.studies.base import Tuning


def transfer_charts(sources: Sequence[Source], *, log: bool | None = None) -> tuple[Chart, ...]:
    """Build a chart for each network; empty if a source tunes no setting, or another one than the first."""
    tuning = sources[0].study.tuning if sources else None
    if tuning is None or any(
        (each.study.tuning or tuning).key != tuning.key or not each.summary.tuned for each in sources
    ):
        return ()
    identities = Identities.of(record.point for source in sources for record in source.summary.tuned)
    return tuple(_chart(sources, tuning, identities, network, log) for network in identities.networks)


def _chart(sources: Sequence[Source], tuning: Tuning, identities: Identities, network: str, log: bool | None) -> Chart:
    groups = [[record for record in source.summary.tuned if record.series == network] for source in sources]
    records = [record for group in groups for record in group]
    counts = [each.loss.n for record in records for each in record.tried if each.loss]
    quantity, short = tuning.measured_in(sources[0].study), tuning.key.rpartition(".")[2]
    series = (
        each
        for index, (source, group) in enumerate(zip(sources, groups, strict=True))
        for each in _series(source, index, group, identities, short)
    )
    chart = Chart(
        key=f"transfer-{network}",
        title=f"{quantity.label[0].upper()}{quantity.label[1:]} vs. {short}",
        subject=network,
        x=Axis(label=short, scale="log"),
        y=Axis(label=quantity.label, unit=quantity.unit, range=quantity.range),
        series=tuple(series),
        profiles=profiles_of(sources),
        fits=tuple(_best(sources, groups, network, short)),
        notes=tuple(_notes(records, counts, short)),
    )
    return with_scale(chart, prefer_log=True, log=log)


def _series(
    source: Source, index: int, records: Sequence[TunedRecord], identities: Identities, short: str
) -> Iterator[Series]:
    for record in records:
        known = [(each.value, each.loss) for each in record.tried if each.loss and math.isfinite(each.loss.mean)]
        identity = identities.point(record.point, index, alone=True)
        yield Series(
            key=source.name(identity.label),
            label=source.name(identity.label),
            role="mean",
            x=tuple(value for value, _ in known),
            y=tuple(loss.mean for _, loss in known),
            low=tuple(math.nan if loss.low is None else loss.low for _, loss in known),
            high=tuple(math.nan if loss.high is None else loss.high for _, loss in known),
            identity=identity,
            points=True,
        )
    best = sorted(
        (each.best, each.loss.mean) for each in records if each.best is not None and each.loss and not each.edge
    )
    if len(best) > 1:
        yield Series(
            key=source.name(f"best {short}"),
            label=source.name(f"best {short}"),
            role="front",
            x=tuple(x for x, _ in best),
            y=tuple(y for _, y in best),
            identity=Identity(profile=index),
        )


def _best(
    sources: Sequence[Source], groups: Sequence[Sequence[TunedRecord]], network: str, short: str
) -> Iterator[str]:
    for source, group in zip(sources, groups, strict=True):
        values = ", ".join(f"{best_text(each)} at L={each.depth}" for each in group)
        yield f"{source.name(network)}: best {short} {values}"


def best_text(record: TunedRecord) -> str:
    """Return ``0.031 [0.02, 0.05]``; a bound outside the tried values is replaced by ``…``."""
    if record.best is None:
        return units.NOTHING
    text = units.number(record.best)
    if record.loss is None:
        return text
    low, high = ("…" if end is None else units.number(end) for end in (record.low, record.high))
    return f"{text} [{low}, {high}]"


def _notes(records: Sequence[TunedRecord], counts: Sequence[int], short: str) -> Iterator[str]:
    if counts:
        yield f"Points: {seeds_text(counts)}{'' if max(counts) == 1 else ' with 95 % t intervals'}."
    diverged = [(record.depth, each.value) for record in records for each in record.tried if each.diverged]
    for depth, group in groupby(diverged, key=lambda each: each[0]):
        yield f"Diverged at L={depth}: {short} {', '.join(units.number(value) for _, value in group)}."
