"""The start screen: presets to run, sweeps to follow, and profiles to show and compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Label, OptionList, Static

from dnlbench import units
from dnlbench.tui.messages import EditSpec, OpenProfiles, OpenSweep, StartSpec
from dnlbench.tui.widgets.entry_list import EntryList, Row, profile_row, spec_row, sweep_row
from dnlbench.tui.widgets.key_line import KeyLine
from dnlbench.tui.workspace_index import ProfileEntry, SpecEntry, WorkspaceEntries, WorkspaceIndex

if TYPE_CHECKING:  # imported where needed at run time: the imports would delay the first paint
    from dnlbench.store.workspace import SweepEntry

POLL_S = 2.0
"""Seconds between polls of the workspace."""
BLANK = "digits-quick"
"""The preset that a new sweep starts from."""
EMPTY = {
    "presets": "No presets: reinstall dnlbench",
    "sweeps": "No sweeps yet: select a preset and press s",
    "profiles": "No profiles yet: a sweep saves one when it ends",
}


class StartScreen(Screen[None]):
    """Three lists side by side, or tabs in narrow terminals."""

    CSS_PATH = "start.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="start.new"),
        Binding("s", "start", "start", id="start.start"),
        Binding("space", "mark", "mark", id="start.mark"),
        Binding("c", "compare", "compare", id="start.compare"),
        Binding("slash", "filter", "filter", key_display="/", id="start.filter"),
        Binding("tab", "next_list(1)", "next list", show=False, id="start.next"),
        Binding("shift+tab", "next_list(-1)", "previous", show=False, id="start.previous"),
        Binding("escape", "show_all", "all", show=False, id="start.all"),
        *(Binding(str(n + 1), f"go({n})", f"list {n + 1}", show=False, id=f"start.list-{n + 1}") for n in range(3)),
    ]

    class EntriesRead(Message):
        """The workspace was polled; without entries, there was a problem."""

        def __init__(self, entries: WorkspaceEntries | None, problem: str = "") -> None:
            super().__init__()
            self.entries = entries
            self.problem = problem

    def __init__(self, folder: Path = Path(), clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._folder = folder
        self._clock = clock
        self._index = WorkspaceIndex(folder)
        self._entries = WorkspaceEntries(specs=(), sweeps=(), profiles=())
        self._polling = False
        self._known = False
        self._touched = False
        self._marked: list[Path] = []
        self._current = 0
        self._dimmed: list[bool | None] = []

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(id="tabs")
        with Horizontal(id="lists"):
            yield EntryList("Presets", id="presets")
            yield EntryList("Sweeps", id="sweeps")
            yield EntryList("Profiles", id="profiles")
        with Horizontal(id="filter"):
            yield Label("filter ")
            yield Input(placeholder="words that must all occur", compact=True)
            yield Label(" enter: go to the list · escape: show all")
        yield Static(id="detail", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Paint empty lists first, and fill them later."""
        self._go(0)
        self._timer = self.set_interval(POLL_S, self._poll)

    def on_screen_resume(self) -> None:
        """Poll at once after another screen was shown."""
        self._timer.resume()
        self.call_after_refresh(self._poll)

    def on_screen_suspend(self) -> None:
        self._timer.pause()

    def on_key(self, event: events.Key) -> None:
        """Stop moving the focus automatically."""
        self._touched = True

    def on_mouse_down(self) -> None:
        self._touched = True

    def _poll(self) -> None:
        if not self._polling:
            self._polling = True
            self.run_worker(self._read, thread=True, group="poll")

    def _read(self) -> None:
        try:
            entries = self._index.poll()
        except OSError as error:
            self.post_message(
                self.EntriesRead(None, f"{error.filename or self._folder}: cannot be read: {error.strerror}")
            )
        else:
            self.post_message(self.EntriesRead(entries))

    @on(EntriesRead)
    def _take(self, event: EntriesRead) -> None:
        self._polling = False
        if event.entries is None:
            self.query_one("#detail", Static).update(Content.styled(f"! {event.problem}", "$text-error"))
            return
        first, self._known, self._entries = not self._known, True, event.entries
        there = {entry.path for entry in self._entries.profiles}
        self._marked = [path for path in self._marked if path in there]
        self._show()
        if first and not self._touched and any(entry.at_work for entry in self._entries.sweeps):
            self._go(1)

    @property
    def _lists(self) -> list[EntryList]:
        return list(self.query(EntryList))

    def _rows(self) -> list[list[Row]]:
        now = self._clock()
        return [
            [spec_row(entry) for entry in self._entries.specs],
            [sweep_row(entry, now) for entry in self._entries.sweeps],
            [profile_row(entry, self._marked) for entry in self._entries.profiles],
        ]

    def _show(self) -> None:
        words = self.query_one(Input).value.lower().split()
        for panel, rows in zip(self._lists, self._rows(), strict=True):
            shown = [row for row in rows if row.has(words)]
            nothing = f"No match for {' '.join(words)!r}: press escape to show all" if rows else EMPTY[panel.id or ""]
            if self._known:
                panel.show_rows(shown, nothing)
            panel.count = f"{len(shown):,} of {len(rows):,}" if words else f"{len(rows):,}"
        self._show_titles()
        self._show_detail()

    def _show_titles(self) -> None:
        at_work = sum(entry.at_work for entry in self._entries.sweeps)
        running = f"▶ {units.counted(at_work, 'sweep')} running" if at_work else "no sweep running"
        location = "" if self._folder == Path() else f" · in {self._folder}"
        self.query_one("#title", Static).update(f"dnlbench   {running}{location}", layout=False)
        tabs = []
        for number, panel in enumerate(self._lists):
            marked = f" · {len(self._marked)} marked" if panel.id == "profiles" and self._marked else ""
            here = number == self._current
            panel.border_title = Content(f"{'▸' if here else ' '} {panel.title} · {panel.count}{marked} ")
            label = f"{'▸' if here else ' '}{number + 1} {panel.title} · {panel.count}{marked}  "
            style = f"{'bold underline ' if here else ''}@click=screen.go({number})"
            tabs.append(Content.from_markup(f"[{style}]$label[/]", label=label))
        self.query_one("#tabs", Static).update(Content("").join(tabs))

    def _show_detail(self) -> None:
        self.query_one("#detail", Static).update(self._detail(), layout=False)
        dimmed = [self.check_action(action, ()) for action in ("start", "mark", "compare")]
        if dimmed != self._dimmed:  # only then, because rebuilding the key line is slow
            self._dimmed = dimmed
            self.refresh_bindings()

    def _detail(self) -> Content:
        """Return the full text of the selected entry, which its list may have cut, and the keys for it."""
        spec, sweep, profile = self._spec, self._sweep, self._profile
        entry = spec or sweep or profile
        if entry is None:
            return Content("")
        if entry.problem:
            location = spec.spec if spec else str(sweep.run_dir) if sweep else str(profile.path) if profile else ""
            return Content.styled(f"! {location}: {entry.problem}", "$text-error")
        if spec:
            return Content(f"{spec.summary or spec.spec}\nenter to edit · s to start · dnlbench run {spec.spec}")
        if sweep:
            return Content(f"{sweep.run_dir}\nenter to follow · dnlbench attach {sweep.run_dir}")
        assert profile is not None
        return Content(
            f"{profile.path} · {profile.study} · {profile.machine}\nenter to show · space to mark for comparison"
        )

    @property
    def _chosen(self) -> str | None:
        return self._lists[self._current].chosen

    @property
    def _spec(self) -> SpecEntry | None:
        specs = self._entries.specs if self._current == 0 else ()
        return next((entry for entry in specs if entry.spec == self._chosen), None)

    @property
    def _sweep(self) -> SweepEntry | None:
        sweeps = self._entries.sweeps if self._current == 1 else ()
        return next((entry for entry in sweeps if str(entry.run_dir) == self._chosen), None)

    @property
    def _profile(self) -> ProfileEntry | None:
        profiles = self._entries.profiles if self._current == 2 else ()
        return next((entry for entry in profiles if str(entry.path) == self._chosen), None)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Make the focused list the current one; the mouse may have focused it."""
        if event.widget in self._lists:
            self._current = self._lists.index(event.widget)
            for number, panel in enumerate(self._lists):
                panel.set_class(number == self._current, "-current")
            self._show_titles()
            self._show_detail()

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        self._show_detail()

    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        if (entry := self._spec or self._sweep or self._profile) is None:
            return
        if entry.problem:
            self._open_broken(entry.problem)
        elif isinstance(entry, SpecEntry):
            self._edit(entry)
        elif isinstance(entry, ProfileEntry):
            self.post_message(OpenProfiles((entry.path,)))
        else:
            self.post_message(OpenSweep(entry.run_dir))

    def _open_broken(self, problem: str) -> None:
        if (spec := self._spec) is not None and spec.text:
            self._edit(spec)  # the form shows the errors
        else:
            self.notify(problem, title="Cannot open", severity="error", markup=False)

    def _edit(self, entry: SpecEntry) -> None:
        self.post_message(EditSpec(entry.text, f"preset {entry.name}" if entry.preset else entry.spec))

    def _go(self, number: int) -> None:
        """Focus a list. Show it first, because a hidden list cannot take the focus."""
        lists = self._lists
        for index, panel in enumerate(lists):
            panel.set_class(index == number, "-current")
        self._current = number
        lists[number].focus()
        self._show_titles()
        self._show_detail()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        try:
            if action == "start":
                return True if self._spec and not self._spec.problem else None
            if action == "mark":
                return True if self._profile and not self._profile.problem else None
            if action == "compare":
                return True if len(self._marked) > 1 else None
        except (NoMatches, IndexError):  # called before the first poll
            return None
        return True

    def action_go(self, number: int) -> None:
        self._go(number)

    def action_next_list(self, step: int) -> None:
        """Focus the next list; from the filter, focus the current list."""
        if isinstance(self.focused, Input):
            self._lists[self._current].focus()
        else:
            self._go((self._current + step) % len(self._lists))

    def action_new(self) -> None:
        preset = next((entry for entry in self._entries.specs if entry.preset and entry.name == BLANK), None)
        if preset is not None:
            self._edit(preset)

    def action_start(self) -> None:
        if self._spec is not None:
            self.post_message(StartSpec(self._spec.spec))

    def action_mark(self) -> None:
        if self._profile is None:
            return
        path = self._profile.path
        self._marked = (
            [other for other in self._marked if other != path] if path in self._marked else [*self._marked, path]
        )
        self._show()

    def action_compare(self) -> None:
        """Compare the marked profiles with the one that was marked first."""
        self.post_message(OpenProfiles(tuple(self._marked)))

    def action_filter(self) -> None:
        self.query_one("#filter").display = True
        self.query_one(Input).focus()

    def action_show_all(self) -> None:
        self.query_one(Input).value = ""
        self.query_one("#filter").display = False
        self._lists[self._current].focus()

    @on(Input.Changed)
    def _filtered(self) -> None:
        self._show()

    @on(Input.Submitted)
    def _to_list(self) -> None:
        self._lists[self._current].focus()
