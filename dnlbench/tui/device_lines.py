"""A line for each device: utilization, memory, temperature, power and the runs on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench import units
from dnlbench.charts.terminal.text import shortened
from dnlbench.events import CLUSTER
from dnlbench.events.pause_state import device_of
from dnlbench.machine import DeviceHistory, Reading, short_host, short_model
from dnlbench.plan import Run, title
from dnlbench.tui.sparkline import sparkline
from dnlbench.watch import SweepView

NAME_WIDTH, SHORT_NAME_WIDTH = 16, 10
"""Maximum cells of a device's name; model names are unique well before that."""
WORK_FRACTION, WORK_WIDTH = 0.35, 48
"""Fraction of the width, and maximum cells, reserved for the runs on a device."""
SPARK_WIDTH, POWER_SPARK_WIDTH = 8, 5
"""Minimum cells of a sparkline."""
LONGEST_SPARK = 30
NODE = "node "
"""Prefix of the labels of a cluster's nodes, which cannot be paused."""
HOST_WIDTH = 18
"""Maximum cells of a node's name."""
MOST_TEXTS = 12
"""Maximum number of points or reasons in a list."""
HEADROOM = 8 / 7
"""Top of a sparkline relative to the largest possible value, so that sparklines in adjacent lines do not touch."""


@dataclass(frozen=True, kw_only=True)
class DeviceLine:
    """A device with its readings and its runs."""

    label: str
    """Unique name, by which the device is selected."""
    readings: tuple[Reading, ...] = ()
    """Telemetry, the oldest first; empty if it is not available."""
    work: str = ""
    """The runs on the device, or why there are none."""
    state: str = ""
    """A key of `STYLES`; empty without a sweep."""
    model: str = ""
    """Model name of a device without telemetry."""

    @property
    def now(self) -> Reading | None:
        return self.readings[-1] if self.readings else None

    @property
    def name(self) -> str:
        """The model, without the vendor's common prefix."""
        return short_model(self.now.name) if self.now else self.model

    @property
    def head(self) -> str:
        """First column: the label. Nodes are indented below their cluster."""
        if not self.is_node:
            return self.label
        return f"  {shortened(short_host(self.label.removeprefix(NODE)), HOST_WIDTH)}"

    @property
    def is_elsewhere(self) -> bool:
        """True for a cluster and its nodes, which have no readings."""
        return self.is_node or self.label == CLUSTER

    @property
    def is_node(self) -> bool:
        return self.label.startswith(NODE)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts of a line that fit. They depend on the width and on the available telemetry, not on current values."""

    utilization: bool = False
    memory: bool = False
    name: int = 0
    """Maximum cells of the name; 0: no name."""
    power: bool = False
    temperature: bool = False
    spark: int = 0
    words: bool = False
    """True if each number has a label beside its unit."""
    power_spark: int = 0


PRIORITY: tuple[Callable[[Layout], Layout], ...] = (
    lambda layout: replace(layout, utilization=True),
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
"""Parts of a line in order of priority; they are added while there is room."""


def device_lines(history: DeviceHistory, view: SweepView | None, *, remote: bool = False) -> tuple[DeviceLine, ...]:
    """Return a line for each device of this machine and of the sweep, or of the sweep alone if it runs elsewhere."""
    known: DeviceHistory = {} if remote else history
    if view is None:
        return tuple(DeviceLine(label=label, readings=readings) for label, readings in known.items())
    slots: dict[str, list[str]] = {label: [] for label in known}
    for slot in view.slots:
        slots.setdefault(device_of(slot), []).append(slot)
    jobs: dict[str, list[Sequence[Run]]] = {}
    by_slot = view.jobs
    for slot, runs in by_slot.items():
        jobs.setdefault(device_of(slot), []).append(runs)
    lines = [
        _with_work(DeviceLine(label=label, readings=known.get(label, ())), view, device_slots, jobs.get(label, []))
        for label, device_slots in slots.items()
    ]
    return (*lines, *_node_lines(view, by_slot))


def _with_work(line: DeviceLine, view: SweepView, slots: Sequence[str], jobs: Sequence[Sequence[Run]]) -> DeviceLine:
    """Return the line with its runs. Problems come first, because a line may be cut off."""
    excluded = _exclusion(view, slots)
    paused_text = _pause_state(view, slots) if view.engine_ended is None else ""
    state = "bad" if excluded else "paused" if paused_text else "running" if jobs else "idle"
    at_work = _cluster_activity(view, slots, jobs) if line.label == CLUSTER else _jobs(jobs)
    work = [text for text in (excluded, paused_text, at_work) if text]
    return replace(line, work=" · ".join(work) or _idle_text(view, slots), state=state)


def _cluster_activity(view: SweepView, slots: Sequence[str], jobs: Sequence[Sequence[Run]]) -> str:
    """Return how many slots of a cluster are busy; its nodes list the runs."""
    nodes = {node for runs in jobs if (node := view.node_of(runs[0])) is not None}
    where = f" on {len(nodes)} node{'' if len(nodes) == 1 else 's'}" if nodes else ""
    return f"{len(jobs)} of {len(slots)} slots busy{where}" if jobs else ""


def _node_lines(view: SweepView, jobs: Mapping[str, Sequence[Run]]) -> Iterator[DeviceLine]:
    """Yield a line for each cluster node on which this engine has started a run, by name."""
    models: dict[str, list[str]] = {}
    for seat in view.last_started.values():
        if seat.node is not None:
            models.setdefault(seat.node.name, []).append(short_model(seat.device_name))
    running: dict[str, list[Sequence[Run]]] = {}
    for runs in jobs.values():
        if (name := view.node_of(runs[0])) is not None:
            running.setdefault(name, []).append(runs)
    for name in sorted(models, key=_natural_key):
        jobs_here = running.get(name, [])
        nothing = "" if view.engine_ended is not None else "idle"
        yield DeviceLine(
            label=f"{NODE}{name}",
            work=_jobs(jobs_here) or nothing,
            state="running" if jobs_here else "idle",
            model=", ".join(dict.fromkeys(models[name])),
        )


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts ``node-9`` before ``node-10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _idle_text(view: SweepView, slots: Sequence[str]) -> str:
    if view.engine_ended is not None:
        return ""
    if not slots and any(device_of(slot) == CLUSTER for slot in view.slots[:1]):
        return "this machine runs the engine only"
    return "idle" if slots else "not used by this sweep"


def _exclusion(view: SweepView, slots: Sequence[str]) -> str:
    reasons = [view.disabled_slots[slot] for slot in slots if slot in view.disabled_slots]
    return (
        f"{_fraction_of(len(reasons), slots)}disabled: {_joined(list(dict.fromkeys(reasons)), '; ')}" if reasons else ""
    )


def _pause_state(view: SweepView, slots: Sequence[str]) -> str:
    if slots and view.pause_state.all_paused:
        return "sweep paused" if view.pause_state.sweep else "paused: disk full"
    kinds = Counter(
        kind for slot in slots if slot not in view.disabled_slots and (kind := view.pause_state.of_slot(slot))
    )
    names = {"pause": "paused", "release": "released"}
    return ", ".join(f"{_fraction_of(count, slots)}{names[kind]}" for kind, count in kinds.items())


def _fraction_of(count: int, slots: Sequence[str]) -> str:
    return "" if count == len(slots) else f"{count} of {len(slots)} slots "


def _jobs(jobs: Sequence[Sequence[Run]]) -> str:
    """Return ``densenet L=16 seed 0`` or ``3 runs: densenet L=16 seeds 0–1, densenet L=8 seed 0``."""
    if len(jobs) < 2:
        return title(jobs[0]) if jobs else ""
    runs = sorted((run for job in jobs for run in job), key=lambda run: run.seed)
    points = dict.fromkeys(job[0].point for job in jobs)
    texts = [title([run for run in runs if run.point == point]) for point in points]
    return f"{len(runs)} runs: {_joined(texts, ', ')}"


def _joined(texts: Sequence[str], between: str) -> str:
    more = len(texts) - MOST_TEXTS
    return between.join([*texts[:MOST_TEXTS], *([f"and {more} more"] if more > 0 else [])])


def widest_lines(lines: Sequence[DeviceLine]) -> list[DeviceLine]:
    """Return a few lines that are as wide as all of them, since measuring a thousand lines of a cluster takes too long."""
    with_readings, without_readings = (
        [line for line in lines if line.readings],
        [line for line in lines if not line.readings],
    )
    widest = [
        max(without_readings, key=lambda line: len(getattr(line, part)))
        for part in ("head", "name", "state")
        if without_readings
    ]
    return [*with_readings, *widest]


def choose_layout(lines: Sequence[DeviceLine], width: int) -> Layout:
    """Return the parts that fit into the width beside the runs."""
    kept_free = min(round(WORK_FRACTION * width), WORK_WIDTH) if any(line.state for line in lines) else 0
    layout = Layout()
    for more in PRIORITY:
        wider = more(layout)
        if _width(lines, wider) > width - kept_free:
            break
        layout = wider
    return layout


def _width(lines: Sequence[DeviceLine], layout: Layout) -> int:
    return max((len(text) for text in columns_before_work(lines, layout)), default=0)


def columns_before_work(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    """Return the text of each line before its runs. All lines of this machine have equal length, and all of a cluster."""
    columns = [_column(lines, lambda line: line.head, str.ljust)]
    if layout.name:
        columns.append(_column(lines, lambda line: shortened(line.name, layout.name), str.ljust))
    if layout.utilization:
        columns.append(_utilization(lines, layout))
    if layout.memory:
        columns.append(_memory(lines, layout))
    if layout.temperature:
        columns.append(_column(lines, lambda line: _celsius(line.now), str.rjust))
    if layout.power:
        columns.append(_power(lines, layout))
    first, *others = [column for column in columns if any(text.strip() for text in column)] or [[""] * len(lines)]
    named = 1 if layout.name and others and any(line.name for line in lines) else 0
    gap = "   " if layout.words else "  "
    return [
        first[index] + "".join(gap + column[index] for column in (others[:named] if line.is_elsewhere else others))
        for index, line in enumerate(lines)
    ]


def _column(
    lines: Sequence[DeviceLine], text: Callable[[DeviceLine], str], justify: Callable[[str, int], str]
) -> list[str]:
    texts = [text(line) for line in lines]
    width = max(map(len, texts), default=0)
    return [justify(text, width) for text in texts]


def _utilization(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    def text(line: DeviceLine) -> str:
        values = [reading.utilization for reading in line.readings]
        if not any(value is not None for value in values):
            return ""
        percent = "     " if values[-1] is None else f"{100 * values[-1]:3.0f} %"
        curve = f"{sparkline(values, layout.spark, 0, HEADROOM)} " if layout.spark else ""
        return f"util {curve}{percent}"

    return _column(lines, text, str.ljust)


def _memory(lines: Sequence[DeviceLine], layout: Layout) -> list[str]:
    pairs = [_amounts(line.now) for line in lines]
    widths = [max((len(pair[index]) for pair in pairs if pair), default=0) for index in (0, 1)]
    word = "memory " if layout.words else ""
    blank = " " * (len(word) + sum(widths) + 4)
    return [f"{word}{pair[0]:>{widths[0]}} of {pair[1]:>{widths[1]}}" if pair else blank for pair in pairs]


def _amounts(reading: Reading | None) -> tuple[str, str] | None:
    """Return used and total memory in the unit of the total, with fixed widths: ``(" 31", "139 GiB")``."""
    if reading is None or reading.memory_used_bytes is None or reading.memory_bytes is None:
        return None
    divisor, unit = units.scale_for([reading.memory_bytes], "bytes")
    used, total = reading.memory_used_bytes / divisor, reading.memory_bytes / divisor
    text = f"{total:.{0 if total >= 10 else 1}f}"
    return f"{used:{len(text)}.{0 if total >= 10 else 1}f}", f"{text} {unit}"


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
