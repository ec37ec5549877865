"""Tables of the fits over depth in a profile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import FitRecord, Profile
from dnlbench.profiles.fitted_model import best_words, growth_words, next_gain, order_list
from dnlbench.report.grid import Column, Grid
from dnlbench.report.outcomes import transient_note
from dnlbench.studies import Quantity
from dnlbench.studies.base import BEST_VALUE, POWERS


def fit_grids(profile: Profile) -> Iterator[Grid]:
    """Yield the orders of convergence, and a table of limits for each quantity with a limit. Empty without fits."""
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    fitted = [fit for fit in profile.summary.fits if not fit.problem]  # includes refused fits
    powers = [fit for fit in fitted if fit.model == "power"]
    if growths := [fit for fit in fitted if fit.model == "growth"]:
        yield _growths(profile, growths)
    if local := [fit for fit in powers if fit.local_orders]:
        yield _local_orders(local, quantities)
    if slopes := [fit for fit in powers if not fit.local_orders]:
        yield _orders(profile, slopes)
    limits = [fit for fit in fitted if fit.model not in POWERS]
    for name in dict.fromkeys(fit.quantity for fit in limits):
        yield _limits(profile, [fit for fit in limits if fit.quantity == name], quantities[name])


def fit_problems(profile: Profile) -> list[str]:
    """Return a line for each reason for a missing fit."""
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    powers = {fit.quantity: fit.model in POWERS for fit in profile.summary.fits}
    networks: dict[tuple[str, str], list[str]] = {}
    for fit in profile.summary.fits:
        if fit.problem:
            networks.setdefault((fit.quantity, fit.problem), []).append(fit.series)
    return [
        f"no {'order' if powers[quantity] else 'depth limit'} of {quantities[quantity].label} of {', '.join(names)}: {problem}"
        for (quantity, problem), names in networks.items()
    ]


def refusals(profile: Profile, network: str) -> list[str]:
    """Return each quantity with a refused fit, with the reason and the best measured value."""
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    return [
        f"{quantities[fit.quantity].label}: {fit.refused}; {best_words(fit, quantities[fit.quantity])}"
        for fit in profile.summary.fits
        if fit.refused and fit.series == network
    ]


def _verdict_rules(profile: Profile) -> list[str]:
    """Return the meanings of the study's verdicts."""
    return list(dict.fromkeys(fit.verdict.rule for fit in profile.declared.fits if fit.verdict))


def _growths(profile: Profile, fits: Sequence[FitRecord]) -> Grid:
    """Return the exponents of depth, and the verdicts on them."""
    labels = {quantity.name: quantity.label for quantity in profile.declared.quantities}
    return Grid(
        title="Growth with depth: value ≈ C L^q",
        columns=[
            Column(head="network", no_wrap=True),
            Column(head="quantity"),
            Column(head="L", numeric=True, drop_order=1),
            Column(head="q [95 % CI]", numeric=True),
            Column(head="observed", no_wrap=True),
        ],
        rows=[
            [fit.series, labels[fit.quantity], f"{min(fit.depths)} … {max(fit.depths)}", growth_words(fit), fit.seen]
            for fit in fits
        ],
        note="\n".join([*_growth_notes(fits), *_verdict_rules(profile)]),
    )


def _growth_notes(fits: Sequence[FitRecord]) -> Iterator[str]:
    if any(fit.quantity != BEST_VALUE for fit in fits):
        yield "q: slope of log value vs. log L, mean and interval over seeds"
    if any(fit.quantity == BEST_VALUE for fit in fits):
        yield "q: slope of log best value vs. log L; its interval follows from those of the best values"


def _orders(profile: Profile, fits: Sequence[FitRecord]) -> Grid:
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    has_verdicts = any(fit.theory or fit.seen for fit in fits)
    rows = [
        [
            fit.series,
            quantities[fit.quantity].label,
            f"{min(fit.depths)} … {max(fit.depths)}",
            units.bounded(fit.order, fit.order_low, fit.order_high),
            units.number(fit.expected_order),
            {True: "yes", False: "no", None: units.NOTHING}[fit.agrees],
            *([fit.theory or units.NOTHING, fit.seen or units.NOTHING] if has_verdicts else []),
        ]
        for fit in fits
    ]
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="quantity", drop_order=2 if has_verdicts else 0),
        Column(head="L", numeric=True, drop_order=1),
        Column(head="order p [95 % CI]", numeric=True),
        Column(head="expected p", numeric=True),
        Column(head="within 0.1 of expected", drop_order=3 if has_verdicts else 0),
    ]
    note = (
        "p: minus the slope of log value vs. log L, mean and interval over seeds, each a different problem\n"
        "expected p: predicted by theory, for the values or for their bound"
    )
    if has_verdicts:
        columns += [Column(head="theory", no_wrap=True), Column(head="observed")]
        note += "".join(f"\nobserved: {rule}" for rule in _verdict_rules(profile))
    return Grid(title="Order of convergence: value ≈ C / L^p", columns=columns, rows=rows, note=note)


def _local_orders(fits: Sequence[FitRecord], quantities: dict[str, Quantity]) -> Grid:
    """Return the orders between successive depths, with their limit and its theoretical bound."""
    rows = [
        [
            fit.series,
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
            Column(head="quantity", drop_order=2),
            Column(head="L", numeric=True, drop_order=1),
            Column(head="local orders", numeric=True, drop_order=3),
            Column(head="limit p [95 % CI]", numeric=True),
            Column(head="expected p", numeric=True),
            Column(head="agrees", no_wrap=True),
        ],
        rows=rows,
        note="\n".join(_order_notes(fits)),
    )


def _order_notes(fits: Sequence[FitRecord]) -> Iterator[str]:
    yield "local orders: log2(value at L / value at 2 L) for successive L, means over seeds, each a different problem"
    yield "limit p: extrapolation of the local orders to L → ∞, linear in 1 / L; the interval is over seeds"
    if any(fit.expected_order is not None for fit in fits):
        yield (
            "expected p: from an upper bound C / L^p, which higher orders satisfy too\n"
            "agrees: yes if limit p is at most 0.1 below expected p, no if its interval lies below"
        )
    if any(fit.expected_order is None for fit in fits):
        yield "expected p –: the network violates the assumptions of the theory, which predicts no order"


def _agreement(fit: FitRecord) -> str:
    if fit.expected_order is None:
        return units.NOTHING
    return {True: "yes", False: "no", None: "unclear"}[fit.agrees]


def _limits(profile: Profile, fits: Sequence[FitRecord], quantity: Quantity) -> Grid:
    timed = any(fit.next_time_factor is not None for fit in fits)
    has_factors = any(fit.shrinking for fit in fits)
    deepest = "max" if len({max(fit.depths) for fit in fits}) > 1 else max(fits[0].depths)
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="limit L → ∞ [95 % CI]", numeric=True),
        Column(head="lack-of-fit p", numeric=True, drop_order=3),
        Column(head=f"fitted value at L={deepest}", numeric=True, drop_order=2),
        Column(head="order p [95 % CI]", numeric=True, drop_order=4 if timed else 0),
        Column(head="next L", numeric=True, drop_order=5 if timed else 1),
        Column(head="gain at next L [95 % CI]", numeric=True, drop_order=0 if timed else 1),
    ]
    if timed:
        columns += [
            Column(head="time factor", numeric=True),
            Column(head="gain per doubling of time", numeric=True, drop_order=1),
            Column(head="worth the time"),
        ]
    if has_factors:
        columns.append(Column(head="differences shrink by factor", numeric=True))
    return Grid(
        title=f"Depth limit of {quantity.label}",
        columns=columns,
        rows=[
            [
                *_limit_row(fit, quantity),
                *(_cost(fit, quantity) if timed else []),
                *([_factors(fit)] if has_factors else []),
            ]
            for fit in fits
        ],
        note="\n".join(filter(None, [*_reading(fits, quantity, timed=timed), transient_note(profile, quantity.name)])),
    )


def _reading(fits: Sequence[FitRecord], quantity: Quantity, *, timed: bool) -> Iterator[str]:
    yield from _reasons(fits, quantity)
    if any(fit.model == "limit" for fit in fits):
        yield (
            "limit L → ∞: the interval covers all curve forms (power, exponential and others) not rejected at the 1 % level\n"
            "lack-of-fit p: test of the fitted curve; no limit is reported if it is below 0.04 for all forms"
        )
    if any(fit.model == "curve-limit" for fit in fits):
        yield "each seed is a different problem: intervals are over problems, not for the limit of a single problem"
    if any(fit.shrinking for fit in fits):
        yield "differences: between means at successive L; the factor compares one doubling with the next"
    unit = f", in {quantity.unit}" if quantity.unit else ""
    change = "increase" if quantity.better == "higher" else "decrease"
    yield f"gain at next L: {change} of the fitted {quantity.label} from the largest L to twice that depth{unit}"
    if timed:
        yield (
            "time factor: of a sample at the next L, extrapolated from the throughput of the last depths\n"
            f"worth the time: the interval of the gain per doubling of time exceeds {units.percent(quantity.tolerance)}"
        )


def _reasons(fits: Sequence[FitRecord], quantity: Quantity) -> Iterator[str]:
    """Yield the reasons for missing limits, with the best measured value."""
    for fit in fits:
        if fit.refused:
            yield f"{fit.series}: no limit: {fit.refused}; {best_words(fit, quantity)}"
        elif fit.undetermined:
            yield f"{fit.series}: limit undetermined: {fit.undetermined}; {best_words(fit, quantity)}"


def _limit_row(fit: FitRecord, quantity: Quantity) -> list[str]:
    if fit.refused:
        return [fit.series, "none", _p(fit), *[units.NOTHING] * 4]
    return [
        fit.series,
        "undetermined" if fit.undetermined else units.bounded(fit.limit, fit.limit_low, fit.limit_high),
        _p(fit),
        units.number(fit.fitted_value),
        _order(fit),
        str(2 * max(fit.depths)),
        units.bounded(*next_gain(fit, quantity)),
    ]


def _p(fit: FitRecord) -> str:
    """Format the p value of the lack-of-fit test; for curves without noise, the residual."""
    if fit.misfit_p is not None:
        return "< 0.001" if fit.misfit_p < 0.001 else f"{fit.misfit_p:.2g}"
    return units.NOTHING if fit.residual is None else f"residual {units.percent(fit.residual)}"


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
    """Decide if the next doubling reduces the fitted value by at least the fraction ``least``."""
    if fit.next_gain_low is None or fit.next_gain_high is None or fit.next_gain is None or fit.next_value is None:
        return "unknown"
    threshold = least * (fit.next_value + fit.next_gain)
    if fit.next_gain_low > threshold:
        return "yes"
    return "no" if fit.next_gain_high <= threshold else "unclear"


def _factors(fit: FitRecord) -> str:
    return ", ".join(f"{factor:.2f}" for factor in fit.shrinking) or units.NOTHING
