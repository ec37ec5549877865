"""A figure's SVG, read back without any help of what drew it."""

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
    """As ``dnlbench plot`` draws them."""
    layout = figure_layout(profiles, kinds, metric=LOSS, log=log, quantities=quantities)
    return figure_bytes(layout, format_, width=width, dpi=dpi)


def plot_svg(
    profiles: Sequence[Profile],
    *kinds: Kind,
    width: Width = "page",
    log: bool | None = None,
    quantities: Sequence[str] = (),
) -> str:
    """The same as SVG."""
    return plot_bytes(profiles, "svg", *kinds, width=width, log=log, quantities=quantities).decode()


@dataclass(frozen=True)
class Drawn:
    """An SVG as it is read back, without any help of what drew it."""

    root: ElementTree.Element

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [text.text or "" for text in self.root.iter(f"{SVG}text")]

    @property
    def sizes_pt(self) -> list[float]:
        """Of the texts; an SVG's user unit is a point here."""
        styles = [text.get("style", "") for text in self.root.iter(f"{SVG}text")]
        return [float(found[1]) for style in styles if (found := re.search(r"([\d.]+)px", style))]

    def named(self, what: str, panel: str = "", key: str = "") -> dict[str, ElementTree.Element]:
        """Groups of a kind by their ids' last part, such as ``series`` and ``densenet-L-2``."""
        ids = {group.get("id", ""): group for group in self.root.iter(f"{SVG}g")}
        found = [(id_.split("--"), group) for id_, group in ids.items()]
        return {
            parts[2]: group
            for parts, group in found
            if len(parts) == 3 and parts[0] == what and panel in ("", parts[1]) and key in ("", parts[2])
        }

    def panel(self, place: int) -> ElementTree.Element:
        """The axes at that place."""
        return next(group for group in self.root.iter(f"{SVG}g") if group.get("id") == f"axes_{place + 1}")

    def ticks(self, place: int, axis: Literal["x", "y"]) -> dict[str, float]:
        """Where the labels of an axis have their ticks."""
        found = {}
        for group in self.panel(place).iter(f"{SVG}g"):
            label = next((text.text for text in group.iter(f"{SVG}text")), None)
            mark = next(group.iter(f"{SVG}use"), None)
            if re.fullmatch(f"{axis}tick_\\d+", group.get("id", "")) and label and mark is not None:
                found[label] = float(mark.get(axis, "nan"))
        return found

    def value(self, place: int, y: float, *, log: bool) -> float:
        """What lies at a height, by two ticks of the panel."""
        ticks = {label: y for label, y in self.ticks(place, "y").items() if re.fullmatch(r"[\d.]+", label)}
        (a, ya), *_, (b, yb) = ((float(label), height) for label, height in ticks.items())
        to, back = (math.log, math.exp) if log else (float, float)
        return back(to(a) + (to(b) - to(a)) * (y - ya) / (yb - ya))


def points(group: ElementTree.Element) -> list[tuple[float, float]]:
    """Of a line's path."""
    path = next(group.iter(f"{SVG}path")).get("d", "")
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]


def read(svg: str) -> Drawn:
    """Its elements."""
    return Drawn(ElementTree.fromstring(svg))


def style_of(group: ElementTree.Element) -> str:
    """Of a line's path."""
    return next(group.iter(f"{SVG}path")).get("style", "")


def marks(group: ElementTree.Element) -> list[tuple[float, float]]:
    """Where a line has its markers."""
    return [(float(use.get("x", "nan")), float(use.get("y", "nan"))) for use in group.iter(f"{SVG}use")]
