"""Known curves with the noise that seeds have, and how often `fit_limit` is right about them.

``python -m tests.stats.limit_curves 1000 powers|wrong|unseen`` prints the table behind `dnlbench.stats.fits` and the README.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dnlbench.stats import Interval, Refusal, fit_limit

DEPTHS = (2, 4, 8, 16, 32)
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A curve over depth."""

    value: Callable[[float], float]
    limit: float | None
    """None where there is none."""


def power(limit: float, amplitude: float, order: float) -> Truth:
    return Truth(value=lambda depth: limit + amplitude * depth**-order, limit=limit)


POWERS = {
    ".2 + 1/L": power(0.2, 1.0, 1.0),
    ".006 + .6/L^1.5": power(0.006, 0.6, 1.5),
    "1/L": power(0.0, 1.0, 1.0),
}
WRONG = {
    ".1 + 1/L + .01 L": Truth(value=lambda d: 0.1 + 1 / d + 0.01 * d, limit=None),
    ".2 + exp(-L/8)": Truth(value=lambda d: 0.2 + np.exp(-d / 8), limit=0.2),
    "drop at 16": Truth(value=lambda d: 0.2 + 0.8 / (1 + (d / 16) ** 4), limit=0.2),
    "hump at 8": Truth(value=lambda d: 0.3 + 0.9 * np.exp(-((np.log(d / 8) / 0.8) ** 2)), limit=0.3),
    "1 - .15 ln L": Truth(value=lambda d: 1 - 0.15 * np.log(d), limit=None),
    "1/(1 + ln L)": Truth(value=lambda d: 1 / (1 + np.log(d)), limit=0.0),
    ".1 + 1.5/L - 1.2/L^2": Truth(value=lambda d: 0.1 + 1.5 / d - 1.2 / d**2, limit=0.1),
    "max(.3, 2/L)": Truth(value=lambda d: max(0.3, 2 / d), limit=0.3),
    ".1 + 2 exp(-√L)": Truth(value=lambda d: 0.1 + 2 * np.exp(-(d**0.5)), limit=0.1),
    ".1 + tanh(3/L)": Truth(value=lambda d: 0.1 + np.tanh(3 / d), limit=0.1),
    ".3 + .7 exp(-(L/10)^2)": Truth(value=lambda d: 0.3 + 0.7 * np.exp(-((d / 10) ** 2)), limit=0.3),
}
"""Eight of a referee, and three more."""
BEYOND = {
    ".1 + ln(1 + L)/L": Truth(value=lambda d: 0.1 + np.log(1 + d) / d, limit=0.1),
    "1/L + .15/L^.25": Truth(value=lambda d: 1 / d + 0.15 * d**-0.25, limit=0.0),
}
"""None of the forms is like these: what they do after the last depth is not seen before."""
UNSEEN = {
    ".15 + .9/L^.7": power(0.15, 0.9, 0.7),
    ".2 + 1/(L + 3)": Truth(value=lambda d: 0.2 + 1 / (d + 3), limit=0.2),
    ".25 + .6/(1 + (L/6)^2)": Truth(value=lambda d: 0.25 + 0.6 / (1 + (d / 6) ** 2), limit=0.25),
    ".3 + .5/L + .3e^(-L/12)": Truth(value=lambda d: 0.3 + 0.5 / d + 0.3 * np.exp(-d / 12), limit=0.3),
    ".5 - .08 ln L": Truth(value=lambda d: 0.5 - 0.08 * np.log(d), limit=None),
    ".2 + 1/L, 1.15 × at 16": Truth(value=lambda d: (0.2 + 1 / d) * (1.15 if d == 16 else 1), limit=0.2),
    ".2 + .8/L + .004 L": Truth(value=lambda d: 0.2 + 0.8 / d + 0.004 * d, limit=None),
    ".1 + .5 e^(-ln²L/4)": Truth(value=lambda d: 0.1 + 0.5 * np.exp(-(np.log(d) ** 2) / 4), limit=0.1),
}
"""Chosen when forms and levels were settled, so that nothing was fitted to them."""
NOISE = {
    "3 %": (0.03,) * 5,
    "10 %": (0.1,) * 5,
    "digits": (0.03, 0.054, 0.107, 0.107, 0.107),
    "stability": tuple(np.geomspace(0.023, 0.164, 5)),
}
"""Relative, at each depth: equal ones, and two that were measured (the first from L = 2 to 8)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Shares of the data sets, and of those that have the value: a limit, a next value and gain."""

    refused: float
    undetermined: float
    printed: int
    limit: float
    next_value: float
    next_gain: float


def drawn(
    truth: Truth, sd: Sequence[float], seeds: int, random: np.random.Generator, depths: Sequence[int] = DEPTHS
) -> list[list[float]]:
    """Lognormal noise with mean 1, independent between depths."""
    noise = np.exp(
        np.array(sd)[:, None] * random.standard_normal((len(depths), seeds)) - np.array(sd)[:, None] ** 2 / 2
    )
    return [[truth.value(depth) * float(each) for each in row] for depth, row in zip(depths, noise, strict=True)]


def holds(interval: Interval, value: float) -> bool:
    return (interval.low is None or interval.low - ROUNDING <= value) and (
        interval.high is None or value <= interval.high + ROUNDING
    )


def simulate(truth: Truth, sd: Sequence[float], seeds: int, count: int) -> Row:
    random, found, deepest = np.random.default_rng(18), Counter[str](), DEPTHS[-1]
    following = truth.value(2 * deepest)
    for _ in range(count):
        fit = fit_limit(DEPTHS, drawn(truth, sd, seeds, random))
        if isinstance(fit, Refusal):
            found["refused"] += 1
            continue
        found["undetermined"] += fit.limit is None
        if fit.limit is not None:
            found["limit"] += truth.limit is not None and holds(fit.limit, truth.limit)
        found["value"] += holds(fit.next_value, following)
        found["gain"] += holds(fit.next_gain, truth.value(deepest) - following)
    fits = count - found["refused"]
    printed = fits - found["undetermined"]
    return Row(
        refused=found["refused"] / count,
        undetermined=found["undetermined"] / count,
        printed=printed,
        limit=found["limit"] / printed if printed else 1.0,
        next_value=found["value"] / fits if fits else 1.0,
        next_gain=found["gain"] / fits if fits else 1.0,
    )


def main(count: int, curves: dict[str, Truth]) -> None:
    print(f"{'':24} {'noise':10} seeds  refused  undetermined  printed   limit  next value  gain", flush=True)
    for name, truth in curves.items():
        for noise, sd in NOISE.items():
            if name not in POWERS and noise not in ("3 %", "10 %"):
                continue
            for seeds in (3, 5):
                row = simulate(truth, sd, seeds, count)
                print(
                    f"{name:24} {noise:10} {seeds:5} {100 * row.refused:8.1f} {100 * row.undetermined:13.1f} {row.printed:8} "
                    f"{100 * row.limit:7.1f} {100 * row.next_value:11.1f} {100 * row.next_gain:5.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]), {"powers": POWERS, "wrong": {**WRONG, **BEYOND}, "unseen": UNSEEN}[sys.argv[2]])
