"""Parse the SVG of a figure, independent of the code that rendered it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from dnlbench.charts.figure import Kind, figure_layout
from dnlbench.charts.mpl import DPI, Width, figure_bytes
from dnlbench.profiles import Profile
from dnlbench.studies import TRAIN_LOSS

SVG = "{http://www.w3.org/2000/svg}"


LOSS = TRAIN_LOSS


def plot_bytes(
    profiles: Sequence[Profile],
    format_: str,
    *kinds: Kind,
    width: Width = "page",
    log: bool | None = None,
    quantities: Sequence[str] = (),
    dpi: int = DPI,
) -> bytes:
    """Render profiles like ``dnlbench plot``."""
    layout = figure_layout(profiles, kinds, metric=LOSS, log=log, quantities=quantities)
    return figure_bytes(layout, format_, width=width, dpi=dpi)


def plot_svg(
    profiles: Sequence[Profile],
    *kinds: Kind,
    width: Width = "page",
    log: bool | None = None,
    quantities: Sequence[str] = (),
) -> str:
    """Render profiles as SVG."""
    return plot_bytes(profiles, "svg", *kinds, width=width, log=log, quantities=quantities).decode()


@dataclass(frozen=True)
class ParsedSvg:
    """The parsed SVG of a figure."""

    root: ElementTree.Element

    @property
    def texts(self) -> list[str]:
        return [text.text or "" for text in self.root.iter(f"{SVG}text")]

    @property
    def sizes_pt(self) -> list[float]:
        """Return the font sizes; a user unit of the SVG is a point."""
        styles = [text.get("style", "") for text in self.root.iter(f"{SVG}text")]
        return [float(match[1]) for style in styles if (match := re.search(r"([\d.]+)px", style))]

    def named(self, what: str, panel: str = "", key: str = "") -> dict[str, ElementTree.Element]:
        """Return the groups of a kind, such as ``series``, by the last part of their ids, such as ``densenet-L-2``."""
        ids = {group.get("id", ""): group for group in self.root.iter(f"{SVG}g")}
        groups = [(id_.split("--"), group) for id_, group in ids.items()]
        return {
            parts[2]: group
            for parts, group in groups
            if len(parts) == 3 and parts[0] == what and panel in ("", parts[1]) and key in ("", parts[2])
        }

    def panel(self, index: int) -> ElementTree.Element:
        """Return the axes with this index."""
        return next(group for group in self.root.iter(f"{SVG}g") if group.get("id") == f"axes_{index + 1}")

    def ticks(self, index: int, axis: Literal["x", "y"]) -> dict[str, float]:
        """Return the tick positions of an axis by label."""
        positions = {}
        for group in self.panel(index).iter(f"{SVG}g"):
            label = next((text.text for text in group.iter(f"{SVG}text")), None)
            mark = next(group.iter(f"{SVG}use"), None)
            if re.fullmatch(f"{axis}tick_\\d+", group.get("id", "")) and label and mark is not None:
                positions[label] = float(mark.get(axis, "nan"))
        return positions

    def value(self, index: int, y: float, *, log: bool) -> float:
        """Return the value at a height, interpolated from two ticks of the panel."""
        ticks = {label: y for label, y in self.ticks(index, "y").items() if re.fullmatch(r"[\d.]+", label)}
        (a, ya), *_, (b, yb) = ((float(label), height) for label, height in ticks.items())
        to, back = (math.log, math.exp) if log else (float, float)
        return back(to(a) + (to(b) - to(a)) * (y - ya) / (yb - ya))


def points(group: ElementTree.Element) -> list[tuple[float, float]]:
    """Return the points of the path of a line."""
    path = next(group.iter(f"{SVG}path")).get("d", "")
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]


def read(svg: str) -> ParsedSvg:
    """Parse an SVG."""
    return ParsedSvg(ElementTree.fromstring(svg))


def style_of(group: ElementTree.Element) -> str:
    """Return the style of the path of a line."""
    return next(group.iter(f"{SVG}path")).get("style", "")


def marks(group: ElementTree.Element) -> list[tuple[float, float]]:
    """Return the positions of the markers of a line."""
    return [(float(use.get("x", "nan")), float(use.get("y", "nan"))) for use in group.iter(f"{SVG}use")]
