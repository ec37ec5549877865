"""Tables and sentences on the contrasts within a profile: between depths and between networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import ContrastRecord, Profile
from dnlbench.report.grid import Column, Grid
from dnlbench.report.outcomes import transient_note
from dnlbench.report.values import named, p_text, pairing, ratio_text, reasons
from dnlbench.studies import Quantity

SETTINGS = "valid for the settings of this sweep; ratios can differ for another learning rate or number of epochs"


def contrast_grids(profile: Profile) -> Iterator[Grid]:
    """Yield the change with depth and the networks at equal depth, for each quantity with contrasts."""
    for quantity in profile.declared.quantities:
        contrasts = [contrast for contrast in profile.summary.contrasts if contrast.quantity == quantity.name]
        depths = [contrast for contrast in contrasts if is_depth(contrast)]
        networks = [contrast for contrast in contrasts if not is_depth(contrast)]
        tests = f"{_counted_tests(contrasts)} of {quantity.label} in this profile"
        family = f"p: Holm-adjusted over {tests}; intervals are not adjusted"
        if depths:
            title = f"{change_title(depths)}: {quantity.label}"
            notes = "\n".join(filter(None, [family, SETTINGS, transient_note(profile, quantity.name)]))
            yield _grid(title, depths, "ratio = deeper / shallower", quantity, notes)
        for first in dict.fromkeys(contrast.against.series for contrast in networks):
            title = f"Networks at equal depth: {quantity.label} relative to {first}"
            yield _grid(title, networks, f"ratio = network / {first}", quantity, family)


def is_depth(contrast: ContrastRecord) -> bool:
    """Return True for a change with depth, False for a difference between networks."""
    return contrast.series == contrast.against.series


def change_title(contrasts: Sequence[ContrastRecord]) -> str:
    """Return ``Change per doubling of depth`` if every step doubles the depth, else ``Change with depth``."""
    doubling = all(contrast.depth == 2 * contrast.against.depth for contrast in contrasts)
    return "Change per doubling of depth" if doubling else "Change with depth"


def steps_text(contrast: ContrastRecord) -> str:
    """Return ``2 → 4`` for a change with depth, or the depth for a difference between networks."""
    return f"{contrast.against.depth} → {contrast.depth}" if is_depth(contrast) else str(contrast.depth)


def contrast_sentence(contrasts: Sequence[ContrastRecord]) -> str:
    """Return ratio, interval, p and verdict of each change with depth of a network."""
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
        Column(head="ratio [95 % CI]", numeric=True, drop_order=3),
        Column(head="p (Holm)", numeric=True, drop_order=2),
        Column(head="verdict", no_wrap=True),
    ]
    rows = [_row(contrast) for contrast in contrasts]
    direction = f"{quantity.better} is better; " if quantity.better else ""
    tolerance = f"changes within {units.percent(quantity.tolerance)} count as no difference"
    tested = [contrast for contrast in contrasts if contrast.ratio is not None]
    definition = f"{', '.join([ratio, *pairing(tested, _where)])}; {direction}{tolerance}"
    note = "\n".join([definition, family, *reasons(contrasts, _where)])
    return Grid(title=title, columns=columns, rows=rows, note=note)


def _row(contrast: ContrastRecord) -> list[str]:
    return [
        contrast.series,
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
    return named([f"{contrast.series} L={steps_text(contrast)}" for contrast in contrasts], "rows")
