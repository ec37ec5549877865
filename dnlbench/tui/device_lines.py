"""A line for each device: how busy, full, warm and hungry it is, and what runs there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dnlbench import units
from dnlbench.events.holds import device_of
from dnlbench.machine import DeviceHistory, Reading
from dnlbench.plan import Run, title
from dnlbench.tui.sparkline import sparkline
from dnlbench.watch import SweepView

NAME_WIDTH, SHORT_NAME_WIDTH = 16, 10
"""Cells of a device's name at most: what comes after them tells few people anything."""
WORK_SHARE, WORK_WIDTH = 0.35, 48
"""Of the width, and cells at most, kept free for what runs there."""
SPARK_WIDTH, POWER_SPARK_WIDTH = 8, 5
"""Cells of the curves, if there is room for them at all."""
LONGEST_SPARK = 30
HEADROOM = 8 / 7
"""Highest value of a curve by the largest possible one: curves one above the other do not touch."""
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
NOISE = re.compile(r"\((R|TM)\)|^(NVIDIA|AMD|Intel)\b|\bGeForce\b|\b\d+-Core\b|\b(Processor|CPU)\b|@.*", re.IGNORECASE)
"""What a model's name is as clear without."""


@dataclass(frozen=True, kw_only=True)
class DeviceLine:
    """What is known of one device."""

    label: str
    readings: tuple[Reading, ...] = ()
    """The oldest first; none where its telemetry is not available."""
    work: str = ""
    """What runs there, or why nothing does."""
    state: str = ""
    """A key of `STYLES`; empty without a sweep."""

    @property
    def now(self) -> Reading | None:
        """The newest reading."""
        return self.readings[-1] if self.readings else None

    @property
    def name(self) -> str:
        """The model, without what all models of its maker are called."""
        return " ".join(NOISE.sub(" ", self.now.name).split()) if self.now else ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which parts of a line there is room for. It depends on the width and on what devices tell, not on what they do."""

    utilisation: bool = False
    memory: bool = False
    name: int = 0
    """Cells of it at most."""
    power: bool = False
    temperature: bool = False
    spark: int = 0
    words: bool = False
    """Whether each number says of what it is; the units alone tell it too."""
    power_spark: int = 0


PRIORITY: tuple[Callable[[Layout], Layout], ...] = (
    lambda layout: replace(layout, utilisation=True),
    lambda layout: replace(layout, memory=True),
    lambda layout: replace(layout, name=SHORT_NAME_WIDTH),
    lambda layout: replace(layout, spark=SPARK_WIDTH),
    lambda layout: replace(layout, power=True),
    lambda layout: replace(layout, temperature=True),
    lambda layout: replace(layout, name=NAME_WIDTH),
    lambda layout: replace(layout, words=True),
    lambda layout: replace(layout, power_spark=POWER_SPARK_WIDTH),
    *[lambda layout: replace(layout, spark=layout.spark + 1, power_spark=layout.power_spark + 1)]
    * (LONGEST_SPARK - SPARK_WIDTH),
)
"""What a line gets, one after the other, as long as there is room."""


def device_lines(history: DeviceHistory, view: SweepView | None, *, remote: bool = False) -> tuple[DeviceLine, ...]:
    """The devices of this machine and those that the sweep runs on; if that is another machine, the latter alone.

    Args:
        history: readings of this machine's devices.
        view: the sweep, if there is one.
        remote: whether the sweep runs on another machine.
    """
    known: DeviceHistory = {} if remote else history
    of_sweep = [device_of(slot) for slot in view.slots] if view else []
    lines = [DeviceLine(label=label, readings=known.get(label, ())) for label in dict.fromkeys([*known, *of_sweep])]
    return tuple(_with_work(line, view) if view else line for line in lines)


def _with_work(line: DeviceLine, view: SweepView) -> DeviceLine:
    """What is wrong comes first, since a line may be cut off."""
    slots = [slot for slot in view.slots if device_of(slot) == line.label]
    jobs = [runs for slot, runs in view.jobs.items() if device_of(slot) == line.label]
    aside = _set_aside(view, slots)
    held = _held(view, slots) if view.engine_ended is None else ""
    state = "bad" if aside else "held" if held else "running" if jobs else "idle"
    work = [text for text in (aside, held, _jobs(jobs)) if text]
    return replace(line, work=" · ".join(work) or _idle(view, slots), state=state)


def _idle(view: SweepView, slots: Sequence[str]) -> str:
    if view.engine_ended is not None:
        return ""
    return "idle" if slots else "not used by this sweep"


def _set_aside(view: SweepView, slots: Sequence[str]) -> str:
    reasons = [view.set_aside[slot] for slot in slots if slot in view.set_aside]
    return f"{_some(len(reasons), slots)}set aside: {'; '.join(dict.fromkeys(reasons))}" if reasons else ""


def _held(view: SweepView, slots: Sequence[str]) -> str:
    if slots and view.holds.everything:
        return "sweep paused" if view.holds.sweep else "waits for room on the disk"
    kinds = Counter(kind for slot in slots if slot not in view.set_aside and (kind := view.holds.on_slot(slot)))
    names = {"pause": "paused", "release": "released"}
    return ", ".join(f"{_some(count, slots)}{names[kind]}" for kind, count in kinds.items())


def _some(count: int, slots: Sequence[str]) -> str:
    return "" if count == len(slots) else f"{count} of {len(slots)} slots "


def _jobs(jobs: Sequence[Sequence[Run]]) -> str:
    """``densenet L=16 seed 0``, or ``3 runs: densenet L=16 seeds 0–1, densenet L=8 seed 0``."""
    if len(jobs) < 2:
        return title(jobs[0]) if jobs else ""
    runs = sorted((run for job in jobs for run in job), key=lambda run: run.seed)
    points = dict.fromkeys(job[0].point for job in jobs)
    texts = [title([run for run in runs if run.point == point]) for point in points]
    return f"{len(runs)} runs: {', '.join(texts)}"


def choose_layout(lines: Sequence[DeviceLine], width: int) -> Layout:
    """As much as fits into the width beside what runs there."""
    kept_free = min(round(WORK_SHARE * width), WORK_WIDTH) if any(line.state for line in lines) else 0
    layout = Layout()
    for more in PRIORITY:
        wider = more(layout)
        if _width(lines, wider) > width - kept_free:
            break
        layout = wider
    return layout


def _width(lines: Sequence[DeviceLine], layout: Layout) -> int:
    return max((len(text) for text in _texts(lines, layout)), default=0)


def _texts(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    """What stands before that which runs there, of one length for all devices."""
    columns = [_column(lines, lambda line: line.label, str.ljust)]
    if layout.name:
        columns.append(_column(lines, lambda line: _shortened(line.name, layout.name), str.ljust))
    if layout.utilisation:
        columns.append(_utilisation(lines, layout))
    if layout.memory:
        columns.append(_memory(lines, layout))
    if layout.temperature:
        columns.append(_column(lines, lambda line: _celsius(line.now), str.rjust))
    if layout.power:
        columns.append(_power(lines, layout))
    first, *others = [column for column in columns if any(text.strip() for text in column)] or [[""] * len(lines)]
    gap = "   " if layout.words else "  "
    return [first[place] + "".join(gap + column[place] for column in others) for place in range(len(lines))]


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def _column(
    lines: Sequence[DeviceLine], text: Callable[[DeviceLine], str], justify: Callable[[str, int], str]
) -> list[str]:
    texts = [text(line) for line in lines]
    width = max(map(len, texts), default=0)
    return [justify(text, width) for text in texts]


def _utilisation(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    def text(line: DeviceLine) -> str:
        values = [reading.utilisation for reading in line.readings]
        if not any(value is not None for value in values):
            return ""
        share = "     " if values[-1] is None else f"{100 * values[-1]:3.0f} %"
        curve = f"{sparkline(values, layout.spark, 0, HEADROOM)} " if layout.spark else ""
        return f"util {curve}{share}"

    return _column(lines, text, str.ljust)


def _memory(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    pairs = [_amounts(line.now) for line in lines]
    widths = [max((len(pair[place]) for pair in pairs if pair), default=0) for place in (0, 1)]
    word = "memory " if layout.words else ""
    blank = " " * (len(word) + sum(widths) + 4)
    return [f"{word}{pair[0]:>{widths[0]}} of {pair[1]:>{widths[1]}}" if pair else blank for pair in pairs]


def _amounts(reading: Reading | None) -> tuple[str, str] | None:
    """Used memory in the unit of the whole, both as wide whatever is used: ``(" 31", "139 GiB")``."""
    if reading is None or reading.memory_used_bytes is None or reading.memory_bytes is None:
        return None
    unit = units.size(reading.memory_bytes).rpartition(" ")[2]
    used, whole = reading.memory_used_bytes / BYTES[unit], reading.memory_bytes / BYTES[unit]
    text = f"{whole:.{0 if whole >= 10 else 1}f}"
    return f"{used:{len(text)}.{0 if whole >= 10 else 1}f}", f"{text} {unit}"


def _celsius(reading: Reading | None) -> str:
    return "" if reading is None or reading.temperature_c is None else f"{reading.temperature_c:3.0f} °C"


def _power(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    limits = [line.now.power_limit_w if line.now else None for line in lines]
    width = max([3, *(len(f"{limit:.0f}") for limit in limits if limit)])

    def text(line: DeviceLine) -> str:
        values = [reading.power_w for reading in line.readings]
        if line.now is None or line.now.power_w is None:
            return ""
        limit = line.now.power_limit_w
        most = HEADROOM * (limit or max(value for value in values if value is not None))
        curve = f"{sparkline(values, layout.power_spark, 0, most)} " if layout.power_spark else ""
        watts = f"{line.now.power_w:{width}.0f}" + (f" of {limit:{width}.0f} W" if limit else " W")
        return f"{'power ' if layout.words else ''}{curve}{watts}"

    return _column(lines, text, str.ljust)
