"""Which blocks a figure has: what was asked for, or what suits the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Profile
from dnlbench.report.figures.cost import cost_block
from dnlbench.report.figures.depth import depth_block
from dnlbench.report.figures.epochs import epochs_block
from dnlbench.report.figures.panel import Block, merged
from dnlbench.report.figures.style import NAMED_WIDTHS, NARROWEST, WIDEST
from dnlbench.report.figures.subject import Subject, bad_run_notes, subject_of
from dnlbench.studies import Quantity

Kind = Literal["epochs", "depth", "cost"]
"""``epochs``: curves over epochs, a panel for each network. ``depth``: quantities with their fits over depth, a panel for each.
``cost``: what depth costs."""
KINDS: tuple[Kind, ...] = get_args(Kind)
Width = float | Literal["column", "page"]
"""Of a figure, in inches or by name."""
FORMATS = ("svg", "png", "pdf")


@dataclass(frozen=True, kw_only=True)
class FigurePlan:
    """A figure that is still to be drawn."""

    title: str
    """For those who cannot see it."""
    blocks: tuple[Block, ...]
    depths: tuple[int, ...]
    width_in: float


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


def planned(
    profiles: Sequence[Profile],
    kinds: Sequence[Kind],
    *,
    width: Width,
    log: bool | None,
    quantities: Sequence[str],
) -> FigurePlan:
    """What is drawn; see `dnlbench.report.figures.figure_bytes`."""
    subject, width_in = subject_of(profiles), _inches(width)
    chosen = _quantities(subject, quantities)
    blocks = {kind: _block(subject, kind, chosen, log) for kind in (tuple(dict.fromkeys(kinds)) or KINDS)}
    for kind in kinds:
        if not _has_content(blocks[kind]):
            raise ConfigurationError(f"nothing to draw: {_lacking(subject, kind, chosen)}")
    drawn = {kind: block for kind, block in blocks.items() if _has_content(block)}
    if not drawn:
        reasons = dict.fromkeys(_lacking(subject, kind, chosen) for kind in KINDS)
        raise ConfigurationError(f"nothing to draw: {'; '.join(reasons)}")
    if not kinds and "depth" in drawn and "cost" in drawn:  # both are over depth, and have one legend
        drawn["depth"] = merged(drawn["depth"], drawn.pop("cost"))
    return FigurePlan(
        title=f"{', '.join(subject.names)}: {subject.study.question}",
        blocks=_with_notes(tuple(drawn.values()), [*bad_run_notes(subject), *_left_out(tuple(drawn.values()))]),
        depths=subject.depths,
        width_in=width_in,
    )


def _with_notes(blocks: tuple[Block, ...], notes: Sequence[str]) -> tuple[Block, ...]:
    """With further notes below the last block."""
    *others, last = blocks
    return (*others, replace(last, notes=(*last.notes, *notes)))


def _left_out(blocks: Sequence[Block]) -> Iterator[str]:
    """How many values a logarithmic axis that was asked for has no place for."""
    panels = [panel for block in blocks for panel in block.panels if panel.y.scale == "log"]
    count = sum(y <= 0 for panel in panels for series in panel.series for y in series.y)
    if count:
        yield f"Without a place on a logarithmic axis, because not above 0: {count} of the values."


def kinds_of(profiles: Sequence[Profile]) -> tuple[Kind, ...]:
    """The kinds of figures that profiles of one study have something to show in.

    Raises:
        ConfigurationError: as `dnlbench.report.figures.figure_bytes`.
    """
    subject = subject_of(profiles)
    chosen = _quantities(subject, ())
    return tuple(kind for kind in KINDS if _has_content(_block(subject, kind, chosen, None)))


def _inches(width: Width) -> float:
    if isinstance(width, str):
        return NAMED_WIDTHS[width]
    if not NARROWEST <= width <= WIDEST:
        raise ConfigurationError(f"width {width:g}: a figure is {NARROWEST:g} to {WIDEST:g} inches wide")
    return width


def _quantities(subject: Subject, names: Sequence[str]) -> tuple[Quantity, ...]:
    """Those named; else those that have a trend and what the study has drawn beside them."""
    known = {quantity.name: quantity for quantity in subject.study.quantities}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"quantity {name!r} is unknown; study {subject.study.name} measures {', '.join(known)}"
            )
    if names:
        return tuple(known[name] for name in dict.fromkeys(names))
    trends = [trend.quantity for trend in subject.study.trends]
    measured = {name for profile in subject.profiles for point in profile.summary.points for name in point.quantities}
    return tuple(
        known[name] for name in dict.fromkeys([*trends, *subject.study.drawn]) if name in measured or name in trends
    )


def _block(subject: Subject, kind: Kind, quantities: Sequence[Quantity], log: bool | None) -> Block:
    if kind == "epochs":
        return epochs_block(subject, log=log)
    return depth_block(subject, quantities, log=log) if kind == "depth" else cost_block(subject, log=log)


def _has_content(block: Block) -> bool:
    return any(panel.series for panel in block.panels)


def _lacking(subject: Subject, kind: Kind, quantities: Sequence[Quantity]) -> str:
    """Why a kind of figure has nothing to show."""
    if kind == "epochs":
        return (
            "no run has an epoch" if subject.study.has_epochs else f"runs of study {subject.study.name} have no epochs"
        )
    if kind == "cost" and not subject.study.costs:
        return f"study {subject.study.name} declares no costs"
    wanted = quantities if kind == "depth" else [q for q in subject.study.quantities if q.name in _costs(subject)]
    return f"no run that ended well has a value of {' or '.join(quantity.label for quantity in wanted)}"


def _costs(subject: Subject) -> set[str]:
    return {cost.quantity for cost in subject.study.costs}
