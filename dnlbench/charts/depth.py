"""Charts of quantities over depth: means over seeds, fitted curves, limits at infinite depth, and expected orders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dnlbench import units
from dnlbench.charts.epochs import seeds_text
from dnlbench.charts.model import Axis, Chart, Identity, Series, Ticks
from dnlbench.charts.scales import with_scale
from dnlbench.charts.source import Identities, Source, failed_note, is_failed, profiles_of
from dnlbench.profiles import CostRecord, FitRecord, IntervalRecord, RunRecord, values_of
from dnlbench.profiles.budgets import equal_budget
from dnlbench.profiles.fitted_model import fit_words, fitted_model
from dnlbench.studies import Cost, Quantity
from dnlbench.studies.base import BEST_VALUE, POWERS, TUNED

FIT_POINTS = 49
FIT_EXTENT = 2.0
"""Extent of fitted curves, as a multiple of the largest depth. Tables report the gain of the same doubling."""
CLEARANCE = 1.6
"""Factor by which the line of an expected order lies above all values."""
MAX_NAMED = 3
"""Networks without a fit that a note lists by name; more are counted."""
TICKS: dict[str, Ticks] = {"number": "number", "count": "count", "percent": "percent", "bytes": "number"}


def depth_quantities(sources: Sequence[Source]) -> tuple[Quantity, ...]:
    """Return the quantities of the study that at least one source has values of."""
    measured = {name for source in sources for point in source.summary.all_points for name in point.quantities}
    return tuple(each for each in (sources[0].study.quantities if sources else ()) if each.name in measured)


def depth_chart(sources: Sequence[Source], quantity: Quantity, *, log: bool | None = None) -> Chart:
    """Build one chart of all networks over depth.

    Points are means over the successful runs, arithmetic or geometric as the study declares, with 95 % t intervals.
    If each seed is a different problem (the model of a fit is not ``limit``), the chart shows a faint curve for each seed
    instead of an interval: intervals would show how problems differ and hide how each depends on depth. Fitted curves and
    exponents end at `FIT_EXTENT` times the largest depth. Failed runs are marked at the mean of the others.

    Args:
        sources: one or more sources of one study, the reference first.
        quantity: the quantity on the y axis.
        log: True for a logarithmic y axis; None applies the rule of `dnlbench.charts.scales.with_scale`, which prefers
            logarithmic axes for costs and for orders of convergence.
    """
    builder = _Builder(tuple(sources), quantity, Identities.of_sources(sources))
    series = builder.series()
    unit = builder.scale[1]
    chart = Chart(
        key=quantity.name,
        title=f"{quantity.label[0].upper()}{quantity.label[1:]} vs. depth{_conditions(sources)}",
        x=Axis(label="depth L", scale="log", ticks="depth"),
        y=Axis(label=quantity.label, unit=unit, range=quantity.range, ticks=TICKS[quantity.shown_as]),
        series=tuple(series),
        profiles=profiles_of(sources),
        fits=tuple(builder.fit_lines()),
        notes=(
            *builder.reading(series),
            *builder.notes(),
            *(failed_note(sources) if quantity.name not in TUNED else ()),
        ),
        empty=f"no value of {quantity.label}",
    )
    powers = quantity.name == BEST_VALUE or any(
        fit.quantity == quantity.name and fit.model in POWERS for fit in sources[0].study.fits
    )
    return with_scale(chart, prefer_log=powers or bool(builder.costs), log=log)


def _conditions(sources: Sequence[Source]) -> str:
    """Return the equal budget of all depths, if every source has one, and whether the sweep is running."""
    budgets = [equal_budget(source.runs) for source in sources]
    equal = f" {budgets[0]}" if all(budgets) and len(set(budgets)) == 1 else ""
    return f"{equal}{'' if sources[0].final else ', so far'}"


@dataclass(frozen=True)
class _Builder:
    sources: tuple[Source, ...]
    quantity: Quantity
    identities: Identities

    @cached_property
    def scale(self) -> tuple[float, str]:
        """Return the divisor of all values and their unit. Bytes take the unit of the largest mean."""
        if self.quantity.shown_as != "bytes":
            return 1.0, self.quantity.unit
        means = (each.mean for source in self.sources for each in self._points(source).values())
        return units.scale_for(means, "bytes")

    @property
    def costs(self) -> tuple[Cost, ...]:
        return tuple(cost for cost in self.sources[0].study.costs if cost.quantity == self.quantity.name)

    def fits(self) -> Iterator[tuple[int, Source, FitRecord]]:
        for index, source in enumerate(self.sources):
            yield from ((index, source, fit) for fit in source.summary.fits if fit.quantity == self.quantity.name)

    def exponents(self) -> Iterator[tuple[int, Source, CostRecord, Cost]]:
        for index, source in enumerate(self.sources):
            for cost in self.costs:
                records = (each for each in source.summary.costs if each.quantity == cost.quantity)
                yield from ((index, source, record, cost) for record in records)

    def series(self) -> list[Series]:
        measured = [
            each
            for index, source in enumerate(self.sources)
            for network in self.identities.networks
            for each in self._measured(source, network, self.identities.network(network, index))
        ]
        lines = [line for _, source, fit in self.fits() for line in self._fit(source, fit, measured)]
        lines += [
            line
            for _, source, record, cost in self.exponents()
            for line in self._exponent(source, record, cost, measured)
        ]
        return [*measured, *lines, *self._theory(measured)]

    def _points(self, source: Source) -> Mapping[tuple[str, int], IntervalRecord]:
        """Return the finite means by network and depth, sorted by depth."""
        points = sorted(source.summary.all_points, key=lambda point: point.depth)
        records = {(p.series, p.depth): p.quantities.get(self.quantity.name) for p in points}
        return {key: each for key, each in records.items() if each is not None and math.isfinite(each.mean)}

    def _measured(self, source: Source, network: str, identity: Identity) -> Iterator[Series]:
        points = {depth: each for (name, depth), each in self._points(source).items() if name == network}
        mean = self._mean(source, identity, points)
        if points and source.seeds_are_problems:
            yield from self._seeds(source, mean)
            yield replace(mean, low=None, high=None)
        elif points:
            yield mean
        means = dict(zip(mean.x, mean.y, strict=True))
        for depth in sorted({run.depth for run in self._failed(source) if run.series == network}):
            yield Series(
                key=f"{mean.key} L={depth} failed",
                label=f"{mean.label} L={depth} failed",
                role="run",
                x=(float(depth),),
                y=(means.get(float(depth), math.nan),),
                identity=identity,
                parent=mean.key if points else "",
                joined=False,
                failed=True,
            )

    def _failed(self, source: Source) -> list[RunRecord]:
        """Return the failed runs. Tuned results leave out the settings at which runs failed."""
        return [] if self.quantity.name in TUNED else [run for run in source.runs if is_failed(run)]

    def _mean(self, source: Source, identity: Identity, points: Mapping[int, IntervalRecord]) -> Series:
        fitted = {fit.series for _, of, fit in self.fits() if of is source and fit.is_fitted and fitted_model(fit)}
        counts = {each.n for each in points.values()}
        return Series(
            key=source.name(identity.label),
            label=source.name(identity.label),
            role="mean",
            x=tuple(map(float, points)),
            y=tuple(each.mean / self.scale[0] for each in points.values()),
            low=tuple(self._end(each.low) for each in points.values()),
            high=tuple(self._end(each.high) for each in points.values()),
            n=counts.pop() if len(counts) == 1 else None,
            identity=identity,
            points=True,
            joined=identity.label not in fitted,
        )

    def _end(self, bound: float | None, unknown: float = math.nan) -> float:
        return unknown if bound is None else bound / self.scale[0]

    def _seeds(self, source: Source, mean: Series) -> Iterator[Series]:
        runs = [run for run in source.runs if run.series == mean.identity.label]
        by_depth = {depth: values_of([r for r in runs if r.depth == depth], self.quantity) for depth in mean.x}
        seeds = sorted({seed for values in by_depth.values() for seed in values})
        for seed in seeds if len(seeds) > 1 else ():
            points = {depth: values[seed] / self.scale[0] for depth, values in by_depth.items() if seed in values}
            yield Series(
                key=f"{mean.key} seed {seed}",
                label=f"{mean.label} seed {seed}",
                role="run",
                x=tuple(points),
                y=tuple(points.values()),
                identity=mean.identity,
                parent=mean.key,
            )

    def _fit(self, source: Source, fit: FitRecord, measured: Sequence[Series]) -> Iterator[Series]:
        of = _named(measured, source.name(fit.series))
        if of is None or not fit.is_fitted or not fit.depths:
            return
        model = fitted_model(fit)
        if model is not None:
            x = _depths(fit.depths)
            points = [(depth, y) for depth in x if math.isfinite(y := model.at(depth) / self.scale[0])]
            yield self._line(of, "fit", points)
        if fit.model not in POWERS and fit.limit is not None:
            limit = self._line(of, "limit", [(x, fit.limit / self.scale[0]) for x in _span(fit.depths)])
            low, high = (math.nan, math.nan)
            if fit.limit_low is not None or fit.limit_high is not None:
                low, high = self._end(fit.limit_low, -math.inf), self._end(fit.limit_high, math.inf)
            yield replace(limit, role="limit", label=f"{of.label} L → ∞", low=(low, low), high=(high, high))

    def _exponent(self, source: Source, record: CostRecord, cost: Cost, measured: Sequence[Series]) -> Iterator[Series]:
        """Yield ``c · L^q`` through the center of the points at the depths of the fit."""
        of = _named(measured, source.name(record.series))
        if of is None or record.exponent is None:
            return
        slope = -record.exponent if cost.inverse else record.exponent
        logs = [(math.log(x), math.log(y)) for x, y in zip(of.x, of.y, strict=True) if x in record.depths and y > 0]
        if logs:
            center, height = (math.fsum(values) / len(logs) for values in zip(*logs, strict=True))
            points = [(x, math.exp(height + slope * (math.log(x) - center))) for x in _span(record.depths)]
            yield self._line(of, "exponent", points)

    def _line(self, of: Series, kind: str, points: Sequence[tuple[float, float]]) -> Series:
        return Series(
            key=f"{of.key} {kind}",
            label=f"{of.label} {kind}",
            role="fit",
            x=tuple(x for x, _ in points),
            y=tuple(y for _, y in points),
            identity=of.identity,
            parent=of.key,
        )

    def _theory(self, measured: Sequence[Series]) -> Iterator[Series]:
        points = [(x, y) for each in measured for x, y in zip(each.x, each.y, strict=True) if y > 0]
        orders = {fit.expected_order for _, _, fit in self.fits() if fit.is_fitted}
        for order in sorted(order for order in orders if order is not None):
            if points:
                first, last = _span([x for x, _ in points])
                height = CLEARANCE * max(y * (x / first) ** order for x, y in points)
                yield Series(
                    key=f"order {order}",
                    label=f"expected order {units.number(order)}",
                    role="theory",
                    x=(first, last),
                    y=(height, height * (last / first) ** -order),
                )

    def reading(self, series: Sequence[Series]) -> tuple[str, ...]:
        counts = [each.n for source in self.sources for each in self._points(source).values()]
        if not counts:
            return ()
        if max(counts) == 1:
            packed = any((run.pack_size or 1) > 1 for source in self.sources for run in source.runs)
            return (f"Each point is one {'pack of seeds' if packed and self.quantity.hardware_dependent else 'seed'}.",)
        mean = "geometric mean" if self.quantity.mean == "geometric" else "mean"
        if mean != "mean" and any(y <= 0 for each in series if each.role == "run" for y in each.y):
            mean += " (arithmetic if a value is not positive)"
        problems = self.sources[0].seeds_are_problems
        suffix = ", each a different problem; faint lines: single seeds" if problems else " with 95 % t intervals"
        return (f"Points: {seeds_text(counts, mean)}{suffix}.",)

    def notes(self) -> Iterator[str]:
        if any(fit.model == "curve-limit" and fit.is_fitted for _, _, fit in self.fits()):
            yield "The curve has the mean limit and the mean fitted values at the largest depth and at twice that depth."
        for _, source, record, _ in self.exponents():
            if record.left_out and not record.problem:
                runs = units.counted(record.left_out, "run")
                yield f"{source.name(record.series)}: the exponent excludes {runs} with different execution settings."
        for source in self.sources if self.costs else ():
            sizes = sorted({run.pack_size for run in source.runs if run.pack_size is not None and run.pack_size > 1})
            if sizes:
                packs = source.name(f"Packs of {' or '.join(map(str, sizes))} runs")
                yield f"{packs}: throughput and memory are measured per pack, not per run, and count once."

    def fit_lines(self) -> Iterator[str]:
        """Yield a line for each fit and exponent, and one line for all networks without a fit for the same reason."""
        missing: dict[tuple[str, str], list[str]] = {}
        for _, source, fit in self.fits():
            if fit.problem:
                result = "order" if fit.model in POWERS else "limit"
                missing.setdefault((result, fit.problem), []).append(source.name(fit.series))
            else:
                yield f"{source.name(fit.series)}: {fit_words(fit, self.quantity)}"
        for _, source, record, cost in self.exponents():
            network = source.name(record.series)
            if record.problem:
                missing.setdefault(("exponent", record.problem), []).append(network)
            elif record.exponent is not None:
                yield f"{network}: {cost.label} ~ L^{_exponent(record)}"
        if self.sources[0].final:
            for (result, problem), names in missing.items():
                yield f"no {result} of {', '.join(names) if len(names) <= MAX_NAMED else f'{len(names)} networks'}: {problem}"


def _exponent(record: CostRecord) -> str:
    ends = (record.exponent, record.exponent_low, record.exponent_high)
    value, low, high = ("–" if each is None else f"{round(each, 2) + 0.0:.2f}" for each in ends)
    return value if record.n == 1 else f"{value} [{low}, {high}]"


def _named(series: Iterable[Series], key: str) -> Series | None:
    return next((each for each in series if each.role == "mean" and each.key == key), None)


def _span(depths: Sequence[float]) -> tuple[float, float]:
    """Return the smallest depth and the end of fitted curves."""
    return float(min(depths)), FIT_EXTENT * max(depths)


def _depths(depths: Sequence[int]) -> list[float]:
    """Return the x values of a fitted curve, including the depths of the fit."""
    first, last = _span(depths)
    between = (first * (last / first) ** (k / (FIT_POINTS - 1)) for k in range(FIT_POINTS))
    return sorted({*between, *map(float, depths)})
