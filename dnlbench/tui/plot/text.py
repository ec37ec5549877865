"""Text that takes a given number of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size

from dnlbench.tui.plot.ink import PLAIN, Run


def shortened(text: str, width: int) -> str:
    """Not longer than that, with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def width_of(runs: Iterable[Run]) -> int:
    """Columns that they take."""
    return sum(cell_len(run.text) for run in runs)


def fitted(runs: Sequence[Run], width: int) -> tuple[Run, ...]:
    """Cut or filled with blanks to a width."""
    result: list[Run] = []
    left = max(0, width)
    for text, ink in runs:
        wide = cell_len(text)
        if wide > left:
            text, wide = shortened(text, left), left
            text = set_cell_size(text, left)
        if text:
            result.append(Run(text, ink))
        left -= wide
    return (*result, Run(" " * left, PLAIN)) if left > 0 else tuple(result)


def two_sides(left: Sequence[Run], right: Sequence[Run], width: int) -> tuple[Run, ...]:
    """Something at either end of a line. The left one is cut if need be; the right one is left out if it takes too much."""
    wide = width_of(right)
    if wide > width // 2:
        return fitted(left, width)
    return (*fitted(left, width - wide), *right) if wide else fitted(left, width)
