"""The charts of a figure for print: those that were asked for, or those that suit the study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dnlbench.charts.depth import depth_chart, depth_quantities
from dnlbench.charts.epochs import epoch_charts
from dnlbench.charts.model import Chart
from dnlbench.charts.source import Source, sources_of
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.studies import EpochMetric, Quantity

Kind = Literal["epochs", "depth", "cost"]
"""``epochs``: curves over epochs, a chart for each network. ``depth``: quantities with their fits over depth.
``cost``: the cost of depth."""
KINDS: tuple[Kind, ...] = get_args(Kind)
FORMATS = ("svg", "png", "pdf")
MOST_PROFILES = 6
"""More cannot be told apart by their dashes."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Charts with a common legend and common notes."""

    charts: tuple[Chart, ...]
    one_scale: bool = False
    """Whether all charts have one y axis."""


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """A figure, before it is drawn."""

    title: str
    """For those who cannot see it."""
    blocks: tuple[Block, ...]


def check_format(path: Path) -> str:
    """The format that a file's ending names.

    Raises:
        ConfigurationError: for any other ending than those of `FORMATS`.
    """
    found = path.suffix.lower().removeprefix(".")
    if found not in FORMATS:
        ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise ConfigurationError(
            f"{path}: {ending}; a figure is written as {', '.join(f'.{each}' for each in FORMATS)}"
        )
    return found


def check_kind(name: str) -> Kind:
    """The kind of figure of that name.

    Raises:
        ConfigurationError: for any other name than those of `KINDS`.
    """
    for kind in KINDS:
        if kind == name:
            return kind
    raise ConfigurationError(f"kind {name!r} is unknown; there are {', '.join(KINDS)}")


def figure_layout(
    profiles: Sequence[Profile],
    kinds: Sequence[Kind] = (),
    *,
    metric: EpochMetric,
    log: bool | None = None,
    quantities: Sequence[str] = (),
) -> FigureLayout:
    """The charts of profiles.

    Args:
        profiles: one, or several of one study to overlay, the reference first.
        kinds: what is drawn, from above; default: what suits the study.
        metric: what is drawn over epochs.
        log: whether the y axes are logarithmic; default: as the values suggest.
        quantities: names of what ``depth`` shows; default: those with a trend, and what the study draws beside them.

    Raises:
        ConfigurationError: if the profiles hold nothing to draw, are of several studies, or lack what was asked for.
    """
    if len(profiles) > MOST_PROFILES:
        raise ConfigurationError(
            f"{len(profiles)} profiles in one figure: more than {MOST_PROFILES} cannot be told apart; draw fewer at a time"
        )
    sources = sources_of(profiles)
    chosen = _quantities(sources, quantities)
    if absent := [each for each in chosen if each.name in quantities and each not in depth_quantities(sources)]:
        raise ConfigurationError(f"nothing to draw: {_no_value_of(absent)}")
    blocks = {kind: _block(sources, kind, metric, chosen, log) for kind in dict.fromkeys(kinds or KINDS)}
    lacking = [kind for kind, block in blocks.items() if not block.charts]
    if lacking and (kinds or len(lacking) == len(KINDS)):
        reasons = dict.fromkeys(_lacking(sources, kind, chosen) for kind in (lacking[:1] if kinds else lacking))
        raise ConfigurationError(f"nothing to draw: {'; '.join(reasons)}")
    plotted = {kind: block for kind, block in blocks.items() if block.charts}
    if not kinds and "depth" in plotted and "cost" in plotted:  # both are over depth, and have one legend
        plotted["depth"] = Block(charts=tuple(dict.fromkeys(plotted["depth"].charts + plotted.pop("cost").charts)))
    return FigureLayout(
        title=f"{', '.join(source.title for source in sources)}: {sources[0].study.question}",
        blocks=tuple(plotted.values()),
    )


def _quantities(sources: Sequence[Source], names: Sequence[str]) -> tuple[Quantity, ...]:
    study = sources[0].study
    known = {quantity.name: quantity for quantity in study.quantities}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"quantity {name!r} is unknown; study {study.name} measures {', '.join(known)}")
    chosen = names or (*(fit.quantity for fit in study.fits), *study.plotted)
    return tuple(known[name] for name in dict.fromkeys(chosen))


def _costs(source: Source) -> tuple[Quantity, ...]:
    names = {cost.quantity for cost in source.study.costs}
    return tuple(quantity for quantity in source.study.quantities if quantity.name in names)


def _block(
    sources: Sequence[Source], kind: Kind, metric: EpochMetric, quantities: Sequence[Quantity], log: bool | None
) -> Block:
    if kind == "epochs":
        one_scale = len({source.data for source in sources}) == 1
        return Block(charts=epoch_charts(sources, metric, log=log), one_scale=one_scale)
    shown = quantities if kind == "depth" else _costs(sources[0])
    charts = (depth_chart(sources, quantity, log=log) for quantity in shown)
    return Block(charts=tuple(chart for chart in charts if any(each.role == "mean" for each in chart.series)))


def _lacking(sources: Sequence[Source], kind: Kind, quantities: Sequence[Quantity]) -> str:
    study = sources[0].study
    if kind == "epochs":
        return "no run has an epoch" if study.has_epochs else f"runs of study {study.name} have no epochs"
    if kind == "cost" and not study.costs:
        return f"study {study.name} declares no costs"
    wanted = quantities if kind == "depth" else _costs(sources[0])
    return _no_value_of(wanted)


def _no_value_of(quantities: Iterable[Quantity]) -> str:
    return f"no run that ended well has a value of {' or '.join(quantity.label for quantity in quantities)}"
