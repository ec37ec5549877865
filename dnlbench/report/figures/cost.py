"""What depth costs: each cost over depth on logarithmic axes, with the line that its exponent is the slope of."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dnlbench.profiles import CostRecord
from dnlbench.report.figures.lines import tied
from dnlbench.report.figures.looks import network_look
from dnlbench.report.figures.panel import Block, Curve, Panel, Series
from dnlbench.report.figures.quantity import (
    DEPTH,
    crosses,
    is_positive,
    measured,
    ruler_of,
    seeds_note,
    with_scale,
)
from dnlbench.report.figures.subject import (
    Subject,
    bad_entries,
    counted,
    groups,
    network_entries,
    profile_entries,
)
from dnlbench.studies import Cost, Quantity


def cost_block(subject: Subject, *, log: bool | None = None) -> Block:
    """A panel for each cost that the study declares and some run has a value of.

    Args:
        subject: the profiles.
        log: whether y axes are logarithmic; None: where all values are above 0, so that an exponent is a slope.
    """
    named = {quantity.name: quantity for quantity in subject.study.quantities}
    costs = [(cost, named[cost.quantity]) for cost in subject.study.costs]
    panels = [(_panel(subject, cost, quantity, log), cost, quantity) for cost, quantity in costs]
    drawn = [(panel, cost, quantity) for panel, cost, quantity in panels if panel.series]
    return Block(
        panels=tuple(panel for panel, _, _ in drawn),
        legend=groups([*network_entries(subject), *bad_entries(subject)], profile_entries(subject)),
        notes=(
            *seeds_note(subject, [quantity for _, _, quantity in drawn]),
            *(note for _, cost, quantity in drawn for note in _notes(subject, cost, quantity)),
            *_pack_notes(subject),
        ),
    )


def _panel(subject: Subject, cost: Cost, quantity: Quantity, log: bool | None) -> Panel:
    ruler, places = ruler_of(subject, quantity), range(len(subject.profiles))
    series = [each for place in places for each in measured(subject, place, quantity, ruler, list(subject.networks))]
    by_key = {each.key: each for each in series}
    panel = Panel(
        key=quantity.name,
        title="",
        x=DEPTH,
        y=ruler.axis,
        series=tuple(series),
        curves=tuple(
            curve
            for place in places
            for record in _records(subject, place, cost)
            for curve in _line(subject, place, record, cost, by_key.get(f"{subject.whose(place)}{record.network}"))
        ),
        crosses=tuple(each for place in places for each in crosses(subject, place, series)),
    )
    wanted = is_positive(panel) if log is None else log
    return with_scale(panel, "log" if wanted else "linear")


def _records(subject: Subject, profile: int, cost: Cost) -> list[CostRecord]:
    return [record for record in subject.profiles[profile].summary.costs if record.quantity == cost.quantity]


def _line(subject: Subject, profile: int, record: CostRecord, cost: Cost, series: Series | None) -> Iterator[Curve]:
    """``c · L^q`` through the middle of the points at the depths that the exponent is fitted over."""
    if record.exponent is None or series is None:
        return
    slope = -record.exponent if cost.inverse else record.exponent
    logs = [(math.log(x), math.log(y)) for x, y in zip(series.x, series.y, strict=True) if x in record.depths and y > 0]
    if logs:
        centre, height = (math.fsum(values) / len(logs) for values in zip(*logs, strict=True))
        x = [float(min(record.depths)), float(max(record.depths))]
        y = [math.exp(height + slope * (math.log(depth) - centre)) for depth in x]
        look = network_look(subject.networks[record.network], profile)
        yield Curve(key=f"{series.key} exponent", x=x, y=y, look=look)


def _notes(subject: Subject, cost: Cost, quantity: Quantity) -> Iterator[str]:
    """The exponents, what they are of, and what they leave out."""
    records = [(place, record) for place in range(len(subject.profiles)) for record in _records(subject, place, cost)]
    said = [
        tied(f"{subject.whose(place)}{record.network} {_exponent(record)}")
        for place, record in records
        if record.exponent is not None
    ]
    if said:
        meant = f", that is 1 / {quantity.label}," if cost.inverse else ""
        yield f"{cost.label[0].upper()}{cost.label[1:]}{meant} ~ L^q at the largest depths, q [95 %]: {'; '.join(said)}."
    for place, record in records:
        who = f"{subject.whose(place)}{record.network}"
        if record.problem:
            yield f"No exponent of the {cost.label} of {who}: {record.problem}."
        elif record.left_out:
            yield f"{who}: not in the exponent, because carried out otherwise: {counted(record.left_out)}."


def _exponent(record: CostRecord) -> str:
    middle, low, high = (
        "–" if value is None else f"{round(value, 2) + 0.0:.2f}"  # no minus before a zero
        for value in (record.exponent, record.exponent_low, record.exponent_high)
    )
    return middle if record.n == 1 else f"{middle} [{low}, {high}]"


def _pack_notes(subject: Subject) -> Iterator[str]:
    """The time of a run in a pack is not that of a run alone."""
    for place, profile in enumerate(subject.profiles):
        sizes = sorted({run.pack_size for run in profile.runs if run.pack_size is not None and run.pack_size > 1})
        if sizes:
            packs = f"packs of {' or '.join(map(str, sizes))} runs"
            told = "throughput and memory are not those of runs alone, and count once a pack"
            yield f"{subject.whose(place)}Trained in {packs}: {told}."
