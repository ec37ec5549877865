"""The charts of a figure for print: the requested ones, or the defaults of the study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dnlbench.charts.budgets import budget_charts
from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import epoch_charts
from dnlbench.charts.model import Chart
from dnlbench.charts.source import Source, sources_of
from dnlbench.charts.transfer import transfer_charts
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.studies import EpochMetric, Quantity

Kind = Literal["epochs", "transfer", "depth", "cost", "budget"]
"""``epochs``: curves over epochs, one chart for each network. ``transfer``: the loss over the tuned setting, one chart for each
network. ``depth``: quantities and their fits over depth.
``cost``: the cost of depth. ``budget``: losses against parameters, operations, time and memory."""
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULT_KINDS: tuple[Kind, ...] = ("epochs", "transfer", "depth", "cost")
FORMATS = ("svg", "png", "pdf")
MOST_PROFILES = 6
"""Maximum number of profiles in a figure: more dash patterns are hard to distinguish."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Charts with a shared legend and shared notes."""

    charts: tuple[Chart, ...]
    one_scale: bool = False
    """True if all charts share one y axis."""


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """The title and blocks of a figure."""

    title: str
    """Alternative text."""
    blocks: tuple[Block, ...]


def check_format(path: Path) -> str:
    """Return the figure format that matches the extension of a file.

    Raises:
        ConfigurationError: if the extension is not one of `FORMATS`.
    """
    extension = path.suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        problem = f"unsupported extension {path.suffix!r}" if path.suffix else "no extension"
        raise ConfigurationError(f"{path}: {problem}; use {', '.join(f'.{each}' for each in FORMATS)}")
    return extension


def check_kind(name: str) -> Kind:
    """Return the kind of chart with this name.

    Raises:
        ConfigurationError: if the name is not one of `KINDS`.
    """
    for kind in KINDS:
        if kind == name:
            return kind
    raise ConfigurationError(f"unknown kind {name!r}; choose from {', '.join(KINDS)}")


def figure_layout(
    profiles: Sequence[Profile],
    kinds: Sequence[Kind] = (),
    *,
    metric: EpochMetric,
    log: bool | None = None,
    quantities: Sequence[str] = (),
) -> FigureLayout:
    """Choose the charts of a figure.

    Args:
        profiles: one or more profiles of one study to overlay, the reference first.
        kinds: the kinds of charts, from top to bottom; default: those of `DEFAULT_KINDS` that the profiles have values for.
        metric: the metric over epochs.
        log: True for logarithmic y axes; None chooses by the values.
        quantities: names of the quantities over depth; default: the fitted ones and those that the study plots.

    Raises:
        ConfigurationError: if the profiles have nothing to plot, belong to different studies, or lack a requested value.
    """
    if len(profiles) > MOST_PROFILES:
        raise ConfigurationError(
            f"{len(profiles)} profiles: a figure shows at most {MOST_PROFILES}; pass fewer profiles"
        )
    sources = sources_of(profiles)
    chosen = _quantities(sources, quantities)
    if absent := [each for each in chosen if each.name in quantities and each not in depth_quantities(sources)]:
        raise ConfigurationError(f"nothing to plot: {_no_value_of(absent)}")
    usual = [kind for kind in DEFAULT_KINDS if kind != "transfer" or sources[0].study.tuning]
    blocks = {kind: _block(sources, kind, metric, chosen, log) for kind in dict.fromkeys(kinds or usual)}
    missing = [kind for kind, block in blocks.items() if not block.charts]
    if missing and (kinds or len(missing) == len(usual)):
        reasons = dict.fromkeys(_reason_missing(sources, kind, chosen) for kind in (missing[:1] if kinds else missing))
        raise ConfigurationError(f"nothing to plot: {'; '.join(reasons)}")
    plotted = {kind: block for kind, block in blocks.items() if block.charts}
    if not kinds and "depth" in plotted and "cost" in plotted:  # both are over depth and share a legend
        charts = (*plotted["depth"].charts, *plotted.pop("cost").charts)
        plotted["depth"] = Block(charts=tuple(dict.fromkeys(charts)))
    return FigureLayout(
        title=f"{', '.join(source.title for source in sources)}: {sources[0].study.title}",
        blocks=tuple(plotted.values()),
    )


def _quantities(sources: Sequence[Source], names: Sequence[str]) -> tuple[Quantity, ...]:
    study = sources[0].study
    known = {quantity.name: quantity for quantity in study.quantities}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"unknown quantity {name!r}; study {study.name} measures {', '.join(known)}")
    chosen = names or (*study.fitted, *study.plotted)
    return tuple(known[name] for name in dict.fromkeys(chosen))


def _costs(source: Source) -> tuple[Quantity, ...]:
    names = {cost.quantity for cost in source.study.costs}
    return tuple(quantity for quantity in source.study.quantities if quantity.name in names)


def _losses(source: Source, quantities: Sequence[Quantity]) -> tuple[Quantity, ...]:
    """Return the quantities that the study shows against budgets."""
    names = {name for name, _ in source.study.against_budget}
    return tuple(quantity for quantity in quantities if quantity.name in names)


def _block(
    sources: Sequence[Source], kind: Kind, metric: EpochMetric, quantities: Sequence[Quantity], log: bool | None
) -> Block:
    if kind == "epochs":
        one_scale = len({source.data for source in sources}) == 1
        declared = sources[0].study.epoch_metric(metric)
        return Block(charts=epoch_charts(sources, declared, log=log), one_scale=one_scale)
    if kind == "transfer":
        return Block(charts=transfer_charts(sources, log=log), one_scale=True)
    if kind == "budget":
        losses = _losses(sources[0], quantities)
        return Block(charts=tuple(chart for each in losses for chart in budget_charts(sources, each, log=log)))
    shown = quantities if kind == "depth" else _costs(sources[0])
    charts = (depth_chart(sources, quantity, log=log) for quantity in shown)
    return Block(charts=tuple(chart for chart in charts if any(each.role == "mean" for each in chart.series)))


def _reason_missing(sources: Sequence[Source], kind: Kind, quantities: Sequence[Quantity]) -> str:
    study = sources[0].study
    if kind == "epochs":
        return "no run finished an epoch" if study.has_epochs else f"runs of study {study.name} have no epochs"
    if kind == "transfer":
        tunes = any(source.study.tuning for source in sources)
        return "the profiles have no tuned setting in common" if tunes else "the sweep has no [tune]"
    if kind == "budget" and not study.against_budget:
        return f"study {study.name} has no losses against budgets"
    if kind == "cost" and not study.costs:
        return f"study {study.name} declares no costs"
    if kind == "budget" and not _losses(sources[0], quantities):
        known = " or ".join(name for name, _ in study.against_budget)
        return f"only losses are plotted against budgets; choose --quantity {known}"
    wanted = _costs(sources[0]) if kind == "cost" else quantities
    return _no_value_of(wanted)


def _no_value_of(quantities: Iterable[Quantity]) -> str:
    return f"no successful run has a value of {' or '.join(quantity.label for quantity in quantities)}"
