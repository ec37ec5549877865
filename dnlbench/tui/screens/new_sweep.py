"""The form of a new sweep, with a preview for this machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static

from dnlbench import units
from dnlbench.files import read_text
from dnlbench.outputs import write_output
from dnlbench.report.grid import Grid
from dnlbench.tui.durations import learn_durations
from dnlbench.tui.messages import StartSpec
from dnlbench.tui.screens.confirm import ConfirmDialog
from dnlbench.tui.widgets.form_field import FieldRow, Fields
from dnlbench.tui.widgets.grid_view import GridView
from dnlbench.tui.widgets.key_line import KeyLine

if TYPE_CHECKING:  # imported when a form is opened: the imports would delay reading this screen's keys
    from dnlbench.machine import Machine
    from dnlbench.spec.lines import Key
    from dnlbench.studies import StudySpec
    from dnlbench.tui.form import Form, FormResult, FormSection
    from dnlbench.tui.plan_preview import PlanPreview

DEBOUNCE_S = 0.15
"""Pause in typing, in seconds, after which the values are checked."""
MOST_POINTS = 200
"""Maximum number of points in the preview."""


class NewSweepScreen(Screen[None]):
    """The form on the left and the preview on the right; one at a time in narrow terminals."""

    CSS_PATH = "new_sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "start", id="new.start"),
        Binding("ctrl+s", "save", "save", id="new.save"),
        Binding("f2", "preview", "form / preview", id="new.meaning"),
        Binding("escape", "back", "back", id="new.back"),
        Binding("q", "back", "back", show=False, id="new.leave"),
    ]

    class PreviewReady(Message):
        """The preview of a check is ready, or failed with a problem."""

        def __init__(self, number: int, preview: PlanPreview | None, problem: str = "") -> None:
            super().__init__()
            self.number = number
            self.preview = preview
            self.problem = problem

    def __init__(self, text: str, origin: str, folder: Path) -> None:
        from dnlbench.tui.form import open_form

        super().__init__()
        self._form: Form = open_form(text, origin)
        self._folder = folder
        self._known = {text}
        """Texts that may be overwritten without confirmation: the opened one and the saved ones."""
        self._texts: dict[Key, str] = dict(self._form.initial)
        self._saved = dict(self._texts)
        self._checked: FormResult | None = None
        self._numbers = itertools.count(1)
        self._number = 0
        self._preview: PlanPreview | None = None
        self._machine: Machine | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield Static(id="heading", markup=False)
            yield Button("Save ^s", id="save", compact=True)
            yield Button("▶ Start ^r", id="start", variant="primary", compact=True)
        yield Static(id="problems", markup=False)
        with Horizontal(id="both"):
            with Fields(id="form"):
                for section in self._form.sections:
                    yield from self._section(section)
            with VerticalScroll(id="preview"):
                yield Static(id="state", markup=False)
                yield GridView(id="points")
                yield Static(id="notes", markup=False)
        yield Static(id="summary", markup=False)
        yield Static(id="help", markup=False)
        yield KeyLine()

    def _section(self, section: FormSection) -> ComposeResult:
        if section.name:
            with Vertical(classes="section"):
                yield Label(section.name, markup=False, classes="head")
                yield Static(section.about, markup=False, classes="about")
        for field in section.fields:
            yield FieldRow(field, self._form.initial[field.key])

    def on_mount(self) -> None:
        """Check the values after the first paint."""
        self.query_one("#form").border_title = "Spec"
        self.query_one("#preview").border_title = "Preview"
        self.query_one("#form").query(Input).first().focus()
        self.call_after_refresh(self._check)

    def on_resize(self) -> None:
        """Update the available keys: only narrow terminals need to switch between form and preview."""
        self.refresh_bindings()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = next((node for node in event.widget.ancestors if isinstance(node, FieldRow)), None)
        self.query_one("#help", Static).update(row.help if row else "")

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        self._texts[event.key] = event.text
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_S, self._check)

    def _check(self) -> FormResult:
        from dnlbench.tui.form import TOP

        if self._timer is not None:
            self._timer.stop()
        checked = self._checked = self._form.check(self._texts)
        changed = set(self._form.changed(self._texts))
        for row in self.query(FieldRow):
            row.show_state(changed=row.field.key in changed, error=checked.errors.get(row.field.key, ""))
        top = [problem for problem in (self._form.problem, checked.errors.get(TOP, "")) if problem]
        problems = self.query_one("#problems", Static)
        problems.display = bool(top)
        problems.update("\n".join(f"✗ {problem}" for problem in top))
        self._number = next(self._numbers)
        if checked.spec is not None:
            self.run_worker(partial(self._load_preview, checked.spec, self._number), thread=True, group="preview")
        self._show_heading(len(changed))
        self._show_preview()
        return checked

    def _load_preview(self, spec: StudySpec, number: int) -> None:
        """Compute the preview in a thread, because it queries devices and reads earlier sweeps."""
        from dnlbench.engine.placement import choose_placement
        from dnlbench.engine.request import RunRequest
        from dnlbench.errors import DnlbenchError
        from dnlbench.machine import read_machine
        from dnlbench.plan import Plan
        from dnlbench.spec import SpecText
        from dnlbench.tui.plan_preview import preview_plan

        try:
            machine = self._machine = self._machine or read_machine()
            plan = Plan(spec)
            placement = choose_placement(RunRequest(spec=SpecText.of(spec)), machine)
            if number == self._number:  # else the user has typed more in the meantime
                estimator = learn_durations(self._folder, plan, machine, placement.slots, pack_size=placement.pack_size)
                preview = preview_plan(plan, machine, placement.slots, estimator, pack_size=placement.pack_size)
                self.post_message(self.PreviewReady(number, preview))
        except (DnlbenchError, OSError) as error:
            self.post_message(self.PreviewReady(number, None, str(error)))

    @on(PreviewReady)
    def _take(self, ready: PreviewReady) -> None:
        if ready.number == self._number:
            self._preview = ready.preview
            self._show_preview(ready.problem)

    def _show_heading(self, changed: int) -> None:
        state = [f"• {changed} changed"] if changed else []
        state += ["not saved"] if self._dirty else ["saved"] if self._saved != self._form.initial else []
        origin = self._form.origin.removeprefix("preset ")
        self.query_one("#heading", Static).update(" · ".join([f"new sweep ▸ {origin}", *state]))

    def _show_preview(self, problem: str = "") -> None:
        assert self._checked is not None
        errors, preview = _error_count(self._checked), self._preview
        lines = [Content("computing …")] if not preview and not errors else []
        if errors:
            lines = [Content.styled(f"✗ {errors}. The sweep cannot start.", "$text-error")]
            lines += [Content("Below: preview of the last valid values")] if preview else []
        elif problem:
            lines = [Content.styled(f"! {problem}", "$text-error")]
        self._update("#state", Content("\n").join([*lines, *(_head(preview) if preview else [])]))
        self.query_one("#points", GridView).show([_shortened(preview.grid)] if preview else [])
        self._update("#notes", Content.styled("\n".join(preview.notes if preview else ()), "dim"))
        summary = f"✗ {errors}" if errors else preview.summary if preview else "computing …"
        self._update("#summary", Content(summary))
        self.query_one("#summary").set_class(bool(errors or (preview and preview.problems)), "-wrong")

    def _update(self, selector: str, content: Content) -> None:
        """Update a widget, and hide it if it is empty."""
        text = self.query_one(selector, Static)
        text.update(content)
        text.set_class(not content.plain, "-empty")

    @property
    def _dirty(self) -> bool:
        return self._texts != self._saved

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.has_class("-narrow") if action == "preview" else True

    def action_preview(self) -> None:
        self.toggle_class("-preview")
        try:
            target: Widget = self.query_one("#preview") if self.has_class("-preview") else self.query(Input).first()
        except NoMatches:
            return
        target.focus()

    def action_save(self) -> None:
        self._save(lambda path: self.notify(f"Saved as {path}", markup=False))

    @on(Button.Pressed, "#save")
    def _save_pressed(self) -> None:
        self.action_save()

    def action_start(self) -> None:
        self._save(lambda path: self.post_message(StartSpec(str(path))))

    @on(Button.Pressed, "#start")
    def _start_pressed(self) -> None:
        self.action_start()

    def _save(self, then: Callable[[Path], object]) -> None:
        checked = self._check()
        if checked.spec is None:
            self._show_first_error(checked)
            return
        path = self._folder / "sweeps" / f"{checked.spec.name}.toml"
        if self._would_overwrite(path, checked.text):
            alternative = "To keep that file, change the name of this sweep."
            self.app.push_screen(
                ConfirmDialog(f"{path} contains another spec. Overwrite it?", alternative, "Overwrite it"),
                lambda yes: self._write(path, checked.text, then) if yes else None,
            )
        else:
            self._write(path, checked.text, then)

    def _show_first_error(self, checked: FormResult) -> None:
        self.remove_class("-preview")
        invalid = [row for row in self.query(FieldRow) if row.field.key in checked.errors]
        if invalid:
            invalid[0].query("Input, Choice, Switch").first().focus()
        self.notify(f"Not saved: {_error_count(checked)}", severity="error", markup=False)

    def _would_overwrite(self, path: Path, text: str) -> bool:
        try:
            return read_text(path) not in {text, *self._known}
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, UnicodeError):
            return True

    def _write(self, path: Path, text: str, then: Callable[[Path], object]) -> None:
        try:
            write_output(path, text.encode())
        except OSError as error:
            self.notify(f"Cannot write {path}: {error.strerror}", severity="error", markup=False)
            return
        self._known.add(text)
        self._saved = dict(self._texts)
        self._show_heading(len(self._form.changed(self._texts)))
        then(path)

    def action_back(self) -> None:
        """Return to the previous screen, after confirmation if changes are not saved."""
        if self._dirty:
            dialog = ConfirmDialog("Leave the form?", "Your changes are not saved.", "Leave")
            self.app.push_screen(dialog, lambda yes: self._leave() if yes else None)
        else:
            self._leave()

    def _leave(self) -> None:
        self.dismiss()


def _error_count(checked: FormResult) -> str:
    """Return ``2 invalid fields``; empty if there are no errors."""
    fields = sum(bool(key) for key in checked.errors)
    return units.counted(fields, "invalid field") if fields else "invalid spec" if checked.errors else ""


def _shortened(grid: Grid) -> Grid:
    more = len(grid.rows) - MOST_POINTS
    return replace(grid, rows=grid.rows[:MOST_POINTS], note=f"… and {more:,} more") if more > 0 else grid


def _head(preview: PlanPreview) -> list[Content]:
    lines = [Content(preview.concurrency)]
    if preview.sweep_s is not None:
        lines.append(Content(f"about {units.seconds(preview.sweep_s)} in total, estimated from earlier sweeps"))
    return [*lines, *(Content.styled(f"✗ {problem}", "$text-error") for problem in preview.problems)]
