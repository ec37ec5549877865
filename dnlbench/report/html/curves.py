"""Profiles as charts: the loss over epochs, a chart for each network, and each quantity over depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dnlbench.profiles import PointSummary, Profile, RunRecord
from dnlbench.profiles.law import law_of
from dnlbench.report.html.chart import COLOURS, MARKS, Axis, Chart, Series
from dnlbench.report.metrics import CURVE_METRICS
from dnlbench.stats import Range, ends_of, mean_interval, range_of
from dnlbench.studies import STUDIES, Quantity

DASHES = 4
LOSS = CURVE_METRICS[0]
MEBIBYTE = 2.0**20
FIT_POINTS = 24
"""Between which the curve of a fit is straight."""
UNFINISHED = ("cancelled", "skipped")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A profile and what its curves are called."""

    letter: str
    """Empty where there is only one profile."""
    place: int
    profile: Profile

    def name(self, what: str) -> str:
        """Of one of its curves."""
        return f"{self.letter} {what}".strip()

    @property
    def dash(self) -> int:
        """Of its lines."""
        return self.place % DASHES


def charts(profiles: Sequence[Profile]) -> list[Chart]:
    """All charts of profiles of one study; the first one is the reference."""
    several = len(profiles) > 1
    named = [Named(letter=letter(i) if several else "", place=i, profile=p) for i, p in enumerate(profiles)]
    study = STUDIES[profiles[0].study]
    networks = list(dict.fromkeys(run.network for p in profiles for run in p.runs))
    over_epochs = [_over_epochs(named, network) for network in networks]
    shown = [quantity for quantity in study.quantities if not quantity.table or quantity.name in study.drawn]
    over_depth = [_over_depth(named, networks, quantity) for quantity in shown]
    return [chart for chart in (*over_epochs, *over_depth) if chart.series]


def letter(place: int) -> str:
    """Short name of the profile at that place: A, B and so on to Z, then AA."""
    return chr(ord("A") + place % 26) * (place // 26 + 1)


def _over_epochs(named: Sequence[Named], network: str) -> Chart:
    depths = sorted({run.depth for each in named for run in each.profile.runs if run.network == network})
    series = _drawable(
        curve
        for each in named
        for place, depth in enumerate(depths)
        for curve in _losses(
            each, place, [run for run in each.profile.runs if (run.network, run.depth) == (network, depth)]
        )
    )
    return Chart(
        title=f"Training loss of {network}",
        x=Axis(label="epoch", whole=True),
        y=_y_axis("training loss (nats)", LOSS.range, series),
        series=tuple(series),
        note=_reading(f"mean over seeds with its 95 % t band{_crosses(series)}", named),
    )


def _losses(named: Named, place: int, runs: Sequence[RunRecord]) -> Iterator[Series]:
    """The mean of the runs that ended well, and each that did not."""
    well = [run for run in runs if run.status == "ok" and run.epochs]
    if well:
        yield _mean_curve(named, place, well)
    for run in runs:
        losses = {e.epoch: e.train_loss for e in run.epochs if math.isfinite(e.train_loss)}
        if run.status != "ok" and losses:
            yield Series(
                name=named.name(f"L={run.depth} seed {run.seed} {run.status}"),
                colour=place % COLOURS,
                mark=_mark(place),
                x=tuple(map(float, losses)),
                y=tuple(losses.values()),
                dash=named.dash,
                faint=True,
                broken=run.status not in UNFINISHED,
            )


def _mean_curve(named: Named, place: int, runs: Sequence[RunRecord]) -> Series:
    by_epoch: dict[int, list[float]] = {}
    for run in runs:
        for record in run.epochs:
            by_epoch.setdefault(record.epoch, []).append(record.train_loss)
    whole = {epoch: values for epoch, values in sorted(by_epoch.items()) if len(values) == len(runs)}
    means = {
        e: found
        for e, found in ((e, mean_interval(v, LOSS.range)) for e, v in whole.items())
        if math.isfinite(found.estimate)
    }
    return Series(
        name=named.name(f"L={runs[0].depth}"),
        colour=place % COLOURS,
        mark=_mark(place),
        x=tuple(map(float, means)),
        y=tuple(found.estimate for found in means.values()),
        low=tuple(found.low for found in means.values()),
        high=tuple(found.high for found in means.values()),
        seeds=len(runs),
        dash=named.dash,
    )


def _over_depth(named: Sequence[Named], networks: Sequence[str], quantity: Quantity) -> Chart:
    series = []
    for each in named:
        for place, network in enumerate(networks):
            points = [
                p for p in each.profile.summary.points if p.network == network and math.isfinite(_mean(p, quantity))
            ]
            if points:
                series.append(_points(each, place, sorted(points, key=lambda p: p.depth), quantity))
            series += _fits(each, place, network, quantity)
    series = _drawable(series)
    unit = "MiB" if quantity.shown_as == "bytes" else quantity.unit
    label = f"{quantity.label} ({unit})" if unit else quantity.label
    return Chart(
        title=f"{quantity.label[0].upper()}{quantity.label[1:]} against depth",
        x=Axis(label="depth L", log=True, base=2, whole=True),
        y=_y_axis(label, quantity.range, series),
        series=tuple(series),
        note=_reading(
            f"{_kind(quantity)} over seeds with its 95 % t interval{'; thin: fits' if _fitted(series) else ''}", named
        ),
    )


def _drawable(series: Iterable[Series]) -> list[Series]:
    """What there is to draw of them."""
    return [found for each in series if (found := each.drawable()).y]


def _mean(point: PointSummary, quantity: Quantity) -> float:
    found = point.quantities.get(quantity.name)
    return found.mean if found else math.nan


def _points(named: Named, place: int, points: Sequence[PointSummary], quantity: Quantity) -> Series:
    found = [point.quantities[quantity.name] for point in points]
    scale = MEBIBYTE if quantity.shown_as == "bytes" else 1.0
    return Series(
        name=named.name(points[0].network),
        colour=place % COLOURS,
        mark=_mark(place),
        x=tuple(float(point.depth) for point in points),
        y=tuple(each.mean / scale for each in found),
        low=tuple(None if each.low is None else each.low / scale for each in found),
        high=tuple(None if each.high is None else each.high / scale for each in found),
        seeds=max(each.n for each in found),
        dash=named.dash,
        points=True,
    )


def _fits(named: Named, place: int, network: str, quantity: Quantity) -> Iterator[Series]:
    """The curve of a fit, to twice the largest depth; values at the depths that were measured are among it."""
    for fit in named.profile.summary.fits:
        law = law_of(fit) if fit.is_fitted and (fit.network, fit.quantity) == (network, quantity.name) else None
        if law is None or not fit.depths:
            continue
        first, last = min(fit.depths), 2 * max(fit.depths)
        between = (first * (last / first) ** (k / FIT_POINTS) for k in range(FIT_POINTS + 1))
        depths = tuple(sorted({*between, *map(float, fit.depths)}))
        yield Series(
            name=named.name(f"{network} fit"),
            colour=place % COLOURS,
            mark=_mark(place),
            x=depths,
            y=tuple(law.at(depth) for depth in depths),
            dash=named.dash,
            faint=True,
        )


def _kind(quantity: Quantity) -> str:
    return "geometric mean" if quantity.mean == "geometric" else "mean"


def _crosses(series: Sequence[Series]) -> str:
    return "; ✕: a run that did not end well" if any(each.broken for each in series) else ""


def _fitted(series: Sequence[Series]) -> bool:
    return any(each.faint for each in series)


def _mark(place: int) -> int:
    """Curves of one colour have different marks as long as there are any."""
    return (place + place // COLOURS) % len(MARKS)


def _y_axis(label: str, range_: Range, series: Sequence[Series]) -> Axis:
    values = [value for each in series for value in each.y]
    least, most = ends_of(range_of(values, range_) if values else range_)
    return Axis(
        label=label,
        log=_spans(series),
        least=least if math.isfinite(least) else None,
        most=most if math.isfinite(most) else None,
    )


def _spans(series: Sequence[Series]) -> bool:
    """Whether values lie so far apart that a logarithmic axis shows more."""
    values = [value for each in series for value in each.y]
    return bool(values) and min(values) > 0 and max(values) > 4 * min(values)


def _reading(what: str, named: Sequence[Named]) -> str:
    styles = ("solid", "dashed", "dotted", "dash-dotted")
    lines = ", ".join(f"{each.letter} {styles[each.dash]}" for each in named)
    return f"{what}; {lines}" if len(named) > 1 else what
