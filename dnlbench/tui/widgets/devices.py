"""The panel of devices: telemetry of each device, and the runs on it."""

from __future__ import annotations

import re
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from dnlbench.machine import DeviceHistory
from dnlbench.tui.device_lines import DeviceLine, choose_layout, columns_before_work, device_lines, widest_lines
from dnlbench.watch import SweepView

TITLE = "Devices"
REMOTE = "no telemetry, the sweep runs on another machine"
CURVE, WORDS = re.compile("[▁-█]+"), re.compile(r"\b(util|memory|power|of)\b")
MUTED = "$foreground-muted"
STYLES = {"": "", "running": "", "idle": MUTED, "paused": "$text-warning", "bad": "$text-error"}
"""Style of each state of a device; the text of the line states it too."""


class DevicePanel(Widget, can_focus=True):
    """A list of devices, one of which is selected."""

    HELP = """
## Devices

A line for each device of this machine, with the runs on it:

- **util**: utilization, with its history, one reading per cell, the newest at the right
- **memory**: memory in use by all processes, and total memory
- **°C**: temperature; **power**: power draw and its limit

On a cluster, **ray** is the whole cluster. Below it is a line for each node that has started a run.

A *paused* device starts no runs. A *released* device is paused and its memory is free. A *disabled* device or slot gets
no more runs, for the given reason. Values that a device does not report, or that do not fit, are omitted.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "device up", show=False, id="devices.up"),
        Binding("down", "move(1)", "device down", show=False, id="devices.down"),
        Binding("home", "move(-10000)", "first device", show=False, id="devices.first"),
        Binding("end", "move(10000)", "last device", show=False, id="devices.last"),
        Binding("enter", "details", "details", id="devices.details"),
    ]
    DEFAULT_CSS = """
    DevicePanel {
        height: auto;
        border-top: solid $panel-lighten-2;
        border-title-color: $foreground;
        border-title-style: bold;
        &:focus { border-top: heavy $primary; }
    }
    """
    selected: reactive[str] = reactive("", init=False)
    """Label of the device under the cursor; empty while there is none."""

    class Selected(Message):
        """Another device was selected."""

        def __init__(self, panel: DevicePanel, label: str) -> None:
            super().__init__()
            self.panel = panel
            self.label = label

        @property
        def control(self) -> DevicePanel:
            return self.panel

    def __init__(
        self,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.border_title = f" {TITLE} "
        self._lines: tuple[DeviceLine, ...] = ()
        self._top = 0
        self._remote = False

    def update(self, history: DeviceHistory, view: SweepView | None, *, remote: bool = False) -> None:
        """Show the current devices."""
        before, self._lines, self._remote = self._lines, device_lines(history, view, remote=remote), remote
        labels = [line.label for line in self._lines]
        if self.selected not in labels:
            self.selected = labels[0] if labels else ""
        self.refresh(layout=len(before) != len(labels))

    @property
    def details(self) -> str:
        """The uncut text about the runs on the selected device; empty if no device is selected."""
        lines = [line for line in self._lines if line.label == self.selected]
        return lines[0].work if lines else ""

    def watch_selected(self) -> None:
        self.post_message(self.Selected(self, self.selected))

    def action_move(self, by: int) -> None:
        self._select(self._index + by)

    def action_details(self) -> None:
        if self.details:
            self.notify(self.details, title=self.selected, markup=False)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and self._top + offset.y < len(self._lines):
            self._select(self._top + offset.y)

    @property
    def _index(self) -> int:
        return next((index for index, line in enumerate(self._lines) if line.label == self.selected), 0)

    def _select(self, index: int) -> None:
        if self._lines:
            self.selected = self._lines[max(0, min(index, len(self._lines) - 1))].label

    def get_content_height(self, *_: object) -> int:
        return max(1, len(self._lines))

    def render(self) -> Content:
        width, height = self.content_size
        count = len(self._lines)
        self._top = max(0, min(self._top, self._index, count - height), self._index - height + 1)
        shown = range(self._top, min(self._top + height, count))
        self._entitle(shown)
        if not self._lines:
            return Content.styled("no devices yet", MUTED)
        like_all, visible = widest_lines(self._lines), self._lines[shown.start : shown.stop]
        texts = columns_before_work([*visible, *like_all], choose_layout(like_all, width - 2))
        return Content("\n").join(self._line(line, text, width) for line, text in zip(visible, texts, strict=False))

    def _entitle(self, shown: range) -> None:
        some = f" {shown.start + 1}–{shown.stop} of {len(self._lines)}" if 0 < len(shown) < len(self._lines) else ""
        title = f" {TITLE}{some}{f': {REMOTE}' if self._remote else ''} "
        if self.border_title != title:
            self.border_title = title

    def _line(self, line: DeviceLine, text: str, width: int) -> Content:
        chosen = line.label == self.selected
        numbers = Content(text).highlight_regex(CURVE, style="$primary").highlight_regex(WORDS, style=MUTED)
        mark, work = Content.styled("▸ " if chosen else "  ", "$accent"), Content.styled(line.work, STYLES[line.state])
        if chosen:
            numbers = numbers.stylize("bold", 0, len(line.head))
        content = Content.assemble(mark, numbers, "  " if line.work else "", work)
        content = content.truncate(width, ellipsis=True, pad=True)
        return content.stylize_before("on $boost") if chosen and self.has_focus else content
