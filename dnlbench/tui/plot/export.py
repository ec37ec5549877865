"""A figure for other programs: its numbers as CSV, its looks as SVG."""

from __future__ import annotations

import io

from dnlbench.escape import CsvWriter
from dnlbench.tui.plot.figure import Figure
from dnlbench.tui.plot.svg import to_svg

__all__ = ["COLUMNS", "to_csv", "to_svg"]

COLUMNS = ("series", "label", "n", "x", "y", "low", "high")


def to_csv(figure: Figure) -> str:
    """One line for each point of each series; empty where there is no band or no n."""
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.writerow(COLUMNS)
    for series in figure.series:
        for place, (x, y) in enumerate(zip(series.x, series.y, strict=False)):
            ends = [side[place] if side is not None and place < len(side) else "" for side in (series.low, series.high)]
            writer.writerow((series.key, series.label, "" if series.n is None else series.n, x, y, *ends))
    return text.getvalue()
