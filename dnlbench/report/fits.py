"""What a profile's fits over depth say, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import FitRecord, Profile
from dnlbench.profiles.fitted_model import best_words, order_list
from dnlbench.report.grid import Column, Grid
from dnlbench.studies import STUDIES, Quantity


def fit_grids(profile: Profile) -> Iterator[Grid]:
    """Orders of convergence, and a table of limits for each quantity that has one; none where nothing could be fitted."""
    quantities = {quantity.name: quantity for quantity in STUDIES[profile.study].quantities}
    fitted = [fit for fit in profile.summary.fits if not fit.problem]  # with those that are refused
    powers = [fit for fit in fitted if fit.model == "power"]
    if local := [fit for fit in powers if fit.local_orders]:
        yield _local_orders(local, quantities)
    if slopes := [fit for fit in powers if not fit.local_orders]:
        yield _orders(slopes, quantities)
    limits = [fit for fit in fitted if fit.model != "power"]
    for name in dict.fromkeys(fit.quantity for fit in limits):
        yield _limits([fit for fit in limits if fit.quantity == name], quantities[name])


def fit_problems(profile: Profile) -> list[str]:
    """A line for each reason why something could not be fitted."""
    quantities = {quantity.name: quantity for quantity in STUDIES[profile.study].quantities}
    powers = {fit.quantity: fit.model == "power" for fit in profile.summary.fits}
    networks: dict[tuple[str, str], list[str]] = {}
    for fit in profile.summary.fits:
        if fit.problem:
            networks.setdefault((fit.quantity, fit.problem), []).append(fit.network)
    return [
        f"{'order' if powers[quantity] else 'depth limit'} of the {quantities[quantity].label} of {', '.join(names)}: {problem}"
        for (quantity, problem), names in networks.items()
    ]


def refusals(profile: Profile, network: str) -> list[str]:
    """Each quantity whose fit was refused, with the reason and what can be said instead."""
    quantities = {quantity.name: quantity for quantity in STUDIES[profile.study].quantities}
    return [
        f"{quantities[fit.quantity].label}: {fit.refused}; {best_words(fit, quantities[fit.quantity])}"
        for fit in profile.summary.fits
        if fit.refused and fit.network == network
    ]


def _orders(fits: Sequence[FitRecord], quantities: dict[str, Quantity]) -> Grid:
    judged = any(fit.theory or fit.seen for fit in fits)
    rows = [
        [
            fit.network,
            quantities[fit.quantity].label,
            f"{min(fit.depths)} … {max(fit.depths)}",
            units.bounded(fit.order, fit.order_low, fit.order_high),
            units.number(fit.expected_order),
            {True: "yes", False: "no", None: units.NOTHING}[fit.agrees],
            *([fit.theory or units.NOTHING, fit.seen or units.NOTHING] if judged else []),
        ]
        for fit in fits
    ]
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="of", drop_order=2 if judged else 0),
        Column(head="L", numeric=True, drop_order=1),
        Column(head="order p [95 %]", numeric=True),
        Column(head="theory", numeric=True),
        Column(head="within 0.1", drop_order=3 if judged else 0),
    ]
    note = (
        "p: slope of log value against log L, mean over the seeds, whose problems differ; the interval is over them\n"
        "theory: the p that it has, of values or of their bound; within 0.1: whether the mean slope is as near to that"
    )
    if judged:
        columns += [Column(head="by theory", no_wrap=True), Column(head="seen")]
        note += "\nseen: whether p is above 0, by more than 0.1 and with its whole interval; a power of L is taken for granted"
    return Grid(title="Order of convergence: value ≈ C / L^p", columns=columns, rows=rows, note=note)


def _local_orders(fits: Sequence[FitRecord], quantities: dict[str, Quantity]) -> Grid:
    """Orders between successive depths, and their limit beside the bound that theory has for it."""
    rows = [
        [
            fit.network,
            quantities[fit.quantity].label,
            f"{min(fit.depths)} … {max(fit.depths)}",
            order_list(fit.local_orders),
            units.bounded(fit.order_limit, fit.order_limit_low, fit.order_limit_high),
            units.NOTHING if fit.expected_order is None else f"≥ {units.number(fit.expected_order)}",
            _agreement(fit),
        ]
        for fit in fits
    ]
    return Grid(
        title="Order of convergence: value ≈ C / L^p",
        columns=[
            Column(head="network", no_wrap=True),
            Column(head="of", drop_order=2),
            Column(head="L", numeric=True, drop_order=1),
            Column(head="local orders", numeric=True, drop_order=3),
            Column(head="limit p [95 %]", numeric=True),
            Column(head="theory", numeric=True),
            Column(head="agrees", no_wrap=True),
        ],
        rows=rows,
        note="\n".join(_order_notes(fits)),
    )


def _order_notes(fits: Sequence[FitRecord]) -> Iterator[str]:
    yield "local orders: log2(value at L / value at 2 L) for successive L, means over the seeds, whose problems differ"
    yield "limit p: where the line through them over 1 / L ends as L → ∞; the interval is over the seeds"
    if any(fit.expected_order is not None for fit in fits):
        yield (
            "theory: an upper bound C / L^p, which a higher order meets too; agrees: yes where limit p is at most 0.1 below "
            "it, no where its whole interval is lower"
        )
    if any(fit.expected_order is None for fit in fits):
        yield "theory –: these networks are outside its assumptions, so it says nothing of their order"


def _agreement(fit: FitRecord) -> str:
    if fit.expected_order is None:
        return units.NOTHING
    return {True: "yes", False: "no", None: "unclear"}[fit.agrees]


def _limits(fits: Sequence[FitRecord], quantity: Quantity) -> Grid:
    timed = any(fit.next_time_factor is not None for fit in fits)
    shrinking = any(fit.shrinking for fit in fits)
    deepest = "max" if len({max(fit.depths) for fit in fits}) > 1 else max(fits[0].depths)
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L → ∞ [95 %]", numeric=True),
        Column(head="misfit p", numeric=True, drop_order=3),
        Column(head=f"fit at L={deepest}", numeric=True, drop_order=2),
        Column(head="order p [95 %]", numeric=True, drop_order=4 if timed else 0),
        Column(head="next L", numeric=True, drop_order=5 if timed else 1),
        Column(head="it gains [95 %]", numeric=True, drop_order=0 if timed else 1),
    ]
    if timed:
        columns += [
            Column(head="time", numeric=True),
            Column(head="gain a doubling of time", numeric=True, drop_order=1),
            Column(head="worth it"),
        ]
    if shrinking:
        columns.append(Column(head="differences shrink by", numeric=True))
    return Grid(
        title=f"Depth limit of the {quantity.label}",
        columns=columns,
        rows=[
            [*_limit_row(fit), *(_cost(fit, quantity) if timed else []), *([_factors(fit)] if shrinking else [])]
            for fit in fits
        ],
        note="\n".join(_reading(fits, quantity, timed=timed)),
    )


def _reading(fits: Sequence[FitRecord], quantity: Quantity, *, timed: bool) -> Iterator[str]:
    yield from _reasons(fits, quantity)
    if any(fit.model == "limit" for fit in fits):
        yield (
            "L → ∞: the interval spans all forms of curve that the seeds do not reject at 1 % (power, exponential and more)\n"
            "misfit p: lack-of-fit test of the curve shown; below 0.04 for all forms: no limit"
        )
    if any(fit.model == "curve-limit" for fit in fits):
        yield "each seed is a problem of its own: intervals are over problems, and say nothing of the limit of one of them"
    if any(fit.shrinking for fit in fits):
        yield "differences: of means at successive L; by what factor they shrink from one doubling to the next"
    unit = f", in {quantity.unit}" if quantity.unit else ""
    yield f"it gains: fall of the fitted {quantity.label} from the largest L to the next, twice as large{unit}"
    if timed:
        yield (
            "time: of a sample there, by the throughput of the last depths; worth it: whether a doubling of time takes at "
            f"least {units.percent(quantity.tolerance)} off, by the gain's interval"
        )


def _reasons(fits: Sequence[FitRecord], quantity: Quantity) -> Iterator[str]:
    """Why there is no limit, and what can be said instead."""
    for fit in fits:
        if fit.refused:
            yield f"{fit.network}: no limit: {fit.refused}; {best_words(fit, quantity)}"
        elif fit.undetermined:
            yield f"{fit.network}: limit undetermined: {fit.undetermined}; {best_words(fit, quantity)}"


def _limit_row(fit: FitRecord) -> list[str]:
    if fit.refused:
        return [fit.network, "none", _p(fit), *[units.NOTHING] * 4]
    return [
        fit.network,
        "undetermined" if fit.undetermined else units.bounded(fit.limit, fit.limit_low, fit.limit_high),
        _p(fit),
        units.number(fit.fitted_value),
        _order(fit),
        str(2 * max(fit.depths)),
        units.bounded(fit.next_gain, fit.next_gain_low, fit.next_gain_high),
    ]


def _p(fit: FitRecord) -> str:
    """Of curves without noise the misfit itself."""
    if fit.misfit_p is not None:
        return "< 0.001" if fit.misfit_p < 0.001 else f"{fit.misfit_p:.2g}"
    return units.NOTHING if fit.residual is None else f"off by {units.percent(fit.residual)}"


def _order(fit: FitRecord) -> str:
    if fit.order is not None:
        return units.bounded(fit.order, fit.order_low, fit.order_high)
    return "undetermined" if fit.form in ("", "power") else f"none: {fit.form}"


def _cost(fit: FitRecord, quantity: Quantity) -> list[str]:
    factor = fit.next_time_factor
    if fit.refused:
        return [units.NOTHING] * 3
    if factor is None or factor <= 1 or fit.next_gain is None:
        return [units.NOTHING, units.NOTHING, "unknown"]
    doublings = math.log2(factor)
    return [f"× {factor:.2f}", units.number(fit.next_gain / doublings), _verdict(fit, quantity.tolerance * doublings)]


def _verdict(fit: FitRecord, least: float) -> str:
    """Whether the next doubling takes off the share ``least`` of the fitted value, as far as the seeds can tell."""
    if fit.next_gain_low is None or fit.next_gain_high is None or fit.next_gain is None or fit.next_value is None:
        return "unknown"
    threshold = least * (fit.next_value + fit.next_gain)
    if fit.next_gain_low > threshold:
        return "yes"
    return "no" if fit.next_gain_high <= threshold else "unclear"


def _factors(fit: FitRecord) -> str:
    return ", ".join(f"{factor:.2f}" for factor in fit.shrinking) or units.NOTHING
