"""The application, with what all screens share. Each screen is a file in ``screens``."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from textual import constants, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen

from dnlbench.docs import topics
from dnlbench.errors import DnlbenchError
from dnlbench.escape import CONTROLS, terminal
from dnlbench.tui.messages import EditSpec, OpenProfiles, OpenSweep, StartSpec
from dnlbench.tui.settings import Settings, read_settings, settings_path
from dnlbench.tui.themes import DARK, THEMES

SWITCH_S = 0.001
GC_THRESHOLD = 10_000
ScreenFactory = Callable[[], Screen[None]]


class EscapeControls(LineFilter):
    """A filter that escapes control characters, which names and logs may contain, in every line of every widget."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if not any(CONTROLS.search(segment.text) for segment in segments):
            return segments
        escaped = [Segment(terminal(segment.text), segment.style, segment.control) for segment in segments]
        return Segment.adjust_line_length(escaped, Segment.get_line_length(segments))


ESCAPE_CONTROLS = EscapeControls()  # a single instance, since Textual caches filtered lines by it


class DnlbenchApp(App[None]):
    """The application. It opens with the screen that ``first`` returns, from which users reach the others."""

    TITLE = "dnlbench"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (120, "-wide"), (200, "-very-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall"), (44, "-very-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "toggle_help", "help", id="app.help"),
        Binding("q", "leave", "close", id="app.leave"),
    ]

    def __init__(self, first: ScreenFactory, folder: Path = Path()) -> None:
        super().__init__()
        self._first, self._folder = first, folder
        self._settings = Settings()

    def get_driver_class(self) -> type[Driver]:
        """Return the driver that TEXTUAL_DRIVER names (`textual serve` sets it), or ours on a POSIX terminal."""
        if constants.DRIVER is not None or sys.platform == "win32":
            return super().get_driver_class()
        from dnlbench.tui.driver import TerminalDriver

        return TerminalDriver

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [ESCAPE_CONTROLS, *super().get_line_filters()]

    def on_mount(self) -> None:
        reduce_pauses()
        for theme in THEMES:
            self.register_theme(theme)
        self._settings = read_settings(settings_path(), self.available_themes, binding_names)
        self.theme = self._settings.theme or DARK.name
        self.set_keymap(dict(self._settings.keys))
        for problem in self._settings.problems:
            self.notify(problem, severity="warning", timeout=20, markup=False)
        self.push_screen(self._first())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield Textual's commands, the pages of the documentation and all keys that do something now."""
        yield from super().get_system_commands(screen)
        yield SystemCommand("New sweep", "Edit a preset and run it", self.action_new_sweep)
        for topic, title in topics().items():
            yield SystemCommand(f"Documentation: {title.partition(':')[0]}", title, partial(self.open_topic, topic))
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.id and binding.description and active.node is not self:
                key = binding.key_display or binding.key
                title = f"{binding.description[0].upper()}{binding.description[1:]}"
                yield SystemCommand(
                    f"{title} ({key})",
                    f"The key {key} does the same",
                    self._binding_command(active.node, binding.action),
                )

    def _binding_command(self, node: object, action: str) -> Callable[[], None]:
        def run_binding() -> None:
            self.run_worker(self.run_action(action, node))  # type: ignore[arg-type]

        return run_binding

    def action_toggle_help(self) -> None:
        from dnlbench.tui.screens.help import DocsScreen, HelpScreen

        if isinstance(self.screen, (HelpScreen, DocsScreen)):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen(self.screen))

    def open_topic(self, topic: str) -> None:
        from dnlbench.tui.screens.help import DocsScreen

        self.push_screen(DocsScreen(topic))

    def action_leave(self) -> None:
        if len(self.screen_stack) > 2:
            self.pop_screen()
        else:
            self.exit()

    def action_new_sweep(self) -> None:
        from dnlbench.spec.presets import read_preset

        self.post_message(EditSpec(read_preset("digits-quick").text, "preset digits-quick"))

    def on_open_sweep(self, event: OpenSweep) -> None:
        self.attach(event.run_dir)

    def attach(self, run_dir: Path) -> None:
        self.push_screen(sweep_screen(run_dir))

    def on_open_profiles(self, event: OpenProfiles) -> None:
        self.push_screen(profiles_screen(event.paths))

    def on_edit_spec(self, event: EditSpec) -> None:
        from dnlbench.tui.screens.new_sweep import NewSweepScreen

        self.push_screen(NewSweepScreen(event.text, event.origin, self._folder))

    @work(thread=True, exclusive=True, group="start")
    def on_start_spec(self, event: StartSpec) -> None:
        """Start an engine, which takes seconds, and attach to it."""
        from dnlbench.tui.engines import start_sweep

        spec = event.spec
        self.call_from_thread(self.notify, f"{spec}: starting the engine and loading the data …", markup=False)
        try:
            run_dir = start_sweep(spec, self._folder)
        except DnlbenchError as error:
            self.call_from_thread(self.notify, str(error), severity="error", timeout=30, markup=False)
            return
        self.call_from_thread(self.attach, run_dir.root)


def reduce_pauses() -> None:
    """Reduce pauses of the interpreter that would delay key presses."""
    sys.setswitchinterval(SWITCH_S)  # other threads, such as one that reads a large sweep, yield sooner
    gc.freeze()  # imported modules live until the end, so the collector need not scan them
    gc.set_threshold(GC_THRESHOLD)  # a sweep may have 100,000 events, none of which is part of a cycle


def start_screen(folder: Path = Path()) -> Screen[None]:
    """Return the start screen of a folder."""
    from dnlbench.tui.screens.start import StartScreen

    return StartScreen(folder)


def sweep_screen(run_dir: Path) -> Screen[None]:
    """Return a screen that follows a run directory."""
    from dnlbench.store import RunDir
    from dnlbench.tui.screens.sweep import SweepScreen

    return SweepScreen(RunDir(run_dir), time.time)


def profiles_screen(paths: Iterable[Path]) -> Screen[None]:
    """Return a screen that shows one profile, or compares several with the first."""
    from dnlbench.tui.screens.compare import CompareScreen

    return CompareScreen(tuple(paths))


def binding_names() -> frozenset[str]:
    """Return the names of all keys that users can rebind."""
    from dnlbench.tui.screens import columns, compare, confirm, control, new_sweep, run, start, sweep
    from dnlbench.tui.widgets import chart, devices, form_field, log_view, runs_table

    screens = (columns, compare, confirm, control, help, new_sweep, run, start, sweep)
    modules = (*screens, chart, devices, form_field, log_view, runs_table)
    classes = [DnlbenchApp, *(each for module in modules for each in vars(module).values() if isinstance(each, type))]
    bindings = [binding for each in classes for binding in vars(each).get("BINDINGS", ())]
    return frozenset(binding.id for binding in bindings if isinstance(binding, Binding) and binding.id)
