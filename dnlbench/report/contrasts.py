"""Depth against depth and network against network within a profile, as tables and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import ContrastRecord, Profile
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import named, p_text, pairing, ratio_text, reasons
from dnlbench.studies import STUDIES, Quantity

SETTINGS = "at this sweep's settings; another learning rate or number of epochs may give other ratios"


def contrast_grids(profile: Profile) -> Iterator[Grid]:
    """For each quantity that is tested within the profile, its change with depth and its networks at equal depth."""
    for quantity in STUDIES[profile.study].quantities:
        own = [contrast for contrast in profile.summary.contrasts if contrast.quantity == quantity.name]
        depths = [contrast for contrast in own if is_depth(contrast)]
        networks = [contrast for contrast in own if not is_depth(contrast)]
        family = f"p by Holm over {_counted_tests(own)} of {quantity.label} in this profile; intervals are not adjusted"
        if depths:
            title = f"{change_title(depths)}: {quantity.label}"
            yield _grid(title, depths, "ratio = deeper / shallower", quantity, f"{family}\n{SETTINGS}")
        for first in dict.fromkeys(contrast.against.network for contrast in networks):
            title = f"Networks at equal depth: {quantity.label} over that of {first}"
            yield _grid(title, networks, f"ratio = network / {first}", quantity, family)


def is_depth(contrast: ContrastRecord) -> bool:
    """Tell a change with depth from a difference between networks."""
    return contrast.network == contrast.against.network


def change_title(contrasts: Sequence[ContrastRecord]) -> str:
    """``Change per doubling of depth`` where that is what all of them are."""
    doubling = all(contrast.depth == 2 * contrast.against.depth for contrast in contrasts)
    return "Change per doubling of depth" if doubling else "Change with depth"


def steps_text(contrast: ContrastRecord) -> str:
    """``2 → 4`` of a change with depth; the depth alone of two networks."""
    return f"{contrast.against.depth} → {contrast.depth}" if is_depth(contrast) else str(contrast.depth)


def contrast_sentence(contrasts: Sequence[ContrastRecord]) -> str:
    """What the tests say of one network's changes with depth: each with ratio, interval, p and verdict."""
    parts = [
        f"L={steps_text(contrast)}: × {ratio_text(contrast.interval)}, p {p_text(contrast.p_adjusted)}, {contrast.verdict}"
        if contrast.p_adjusted is not None
        else f"L={steps_text(contrast)}: {contrast.verdict}"
        for contrast in contrasts
    ]
    return "; ".join(parts)


def _grid(title: str, contrasts: Sequence[ContrastRecord], ratio: str, quantity: Quantity, family: str) -> Grid:
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head="seeds", numeric=True, drop_order=1),
        Column(head="ratio [95 %]", numeric=True, drop_order=3),
        Column(head="p", numeric=True, drop_order=2),
        Column(head="verdict", no_wrap=True),
    ]
    rows = [_row(contrast) for contrast in contrasts]
    direction = f"{quantity.better} is better; " if quantity.better else ""
    tolerance = f"within {units.percent(quantity.tolerance)} is no difference"
    tested = [contrast for contrast in contrasts if contrast.ratio is not None]
    definition = f"{', '.join([ratio, *pairing(tested, _where)])}; {direction}{tolerance}"
    note = "\n".join([definition, family, *reasons(contrasts, _where)])
    return Grid(title=title, columns=columns, rows=rows, note=note)


def _row(contrast: ContrastRecord) -> list[str]:
    return [
        contrast.network,
        steps_text(contrast),
        str(contrast.n) if contrast.n else units.NOTHING,
        ratio_text(contrast.interval),
        p_text(contrast.p_adjusted),
        contrast.verdict,
    ]


def _counted_tests(contrasts: Sequence[ContrastRecord]) -> str:
    tests = sum(contrast.p_adjusted is not None for contrast in contrasts)
    return "the only comparison" if tests == 1 else f"all {tests} comparisons"


def _where(contrasts: Sequence[ContrastRecord]) -> str:
    return named([f"{contrast.network} L={steps_text(contrast)}" for contrast in contrasts], "rows")
