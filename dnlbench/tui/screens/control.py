"""Keys that control the engine of a sweep, with a confirmation if work would be lost."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from dnlbench.engine.control import give_command
from dnlbench.errors import DnlbenchError
from dnlbench.events import Action, device_of
from dnlbench.store import RunDir
from dnlbench.tui import control
from dnlbench.tui.control import ControlRequest
from dnlbench.tui.device_lines import NODE
from dnlbench.tui.engines import resume
from dnlbench.tui.screens.confirm import ConfirmDialog
from dnlbench.tui.view_model import SweepViewModel
from dnlbench.tui.widgets.devices import DevicePanel
from dnlbench.tui.widgets.runs_table import RunsTable


class ControlScreen(Screen[None]):
    """A screen with a `RunsTable` and a `DevicePanel` that controls a sweep."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_runs", "pause", id="sweep.pause_runs"),
        Binding("k", "cancel_runs", "cancel", id="sweep.cancel_runs"),
        Binding("r", "retry_runs", "retry", id="sweep.retry_runs"),
        Binding("P", "toggle_sweep", "pause all", show=False, id="sweep.pause"),
        Binding("K", "end_sweep", "end", show=False, id="sweep.end"),
        Binding("R", "retry_sweep", "retry all", show=False, id="sweep.retry"),
        Binding("g", "resume_sweep", "resume sweep", show=False, id="sweep.go_on"),
        Binding("p", "toggle_device", "pause device", show=False, id="sweep.pause_device"),
        Binding("D", "release_device", "release device", show=False, id="sweep.release_device"),
    ]

    def __init__(self, run_dir: RunDir) -> None:
        super().__init__()
        self._run_dir = run_dir
        self._view_model = SweepViewModel()
        """The view model on the screen."""

    def action_toggle_runs(self) -> None:
        self._request(control.toggle_runs(self.query_one(RunsTable).chosen), "No run here can be paused or resumed")

    def action_cancel_runs(self) -> None:
        self._request(control.cancel_runs(self.query_one(RunsTable).chosen), "No run here can be cancelled")

    def action_retry_runs(self) -> None:
        self._request(control.retry_runs(self.query_one(RunsTable).chosen), "No run here can be retried")

    def action_toggle_sweep(self) -> None:
        view = self._view_model.snapshot.view
        self._request(control.sweep("resume" if view is not None and view.pause_state.sweep else "pause"))

    def action_end_sweep(self) -> None:
        view = self._view_model.snapshot.view
        self._request(control.end_sweep(len(view.leased) if view else 0))

    def action_retry_sweep(self) -> None:
        view = self._view_model.snapshot.view
        bad = len(view.not_ok) if view else 0
        self._request(control.retry_sweep(bad) if bad else None, "No run can be retried")

    def action_toggle_device(self) -> None:
        self._device("pause")

    def action_release_device(self) -> None:
        self._device("release")

    def _device(self, action: Action) -> None:
        name, view = self.query_one(DevicePanel).selected, self._view_model.snapshot.view
        if not name or view is None:
            self.app.notify("No device is selected. Press 3, then the up and down keys.", severity="warning")
            return
        if name.startswith(NODE):
            self.app.notify("A single node cannot be paused. Select ray to pause the cluster.", severity="warning")
            return
        is_paused = any(view.pause_state.of_slot(slot) for slot in view.slots if device_of(slot) == name)
        self._request(control.device(name, "resume" if is_paused else action))

    @work
    async def _request(self, request: ControlRequest | None, otherwise: str = "") -> None:
        """Send a request, after confirmation if it has a prompt; show ``otherwise`` if there is no request."""
        if request is None:
            self.app.notify(otherwise, severity="warning")
            return
        if self._view_model.snapshot.engine is None and request.command.action != "retry":
            self.app.notify("No engine is running. Press g to resume the sweep.", severity="warning")
            return
        if request.prompt and not await self.app.push_screen_wait(
            ConfirmDialog(request.prompt, request.consequence, request.verb)
        ):
            return
        self._send(request)

    @work(thread=True, group="commands")
    def _send(self, request: ControlRequest) -> None:
        """Send a command and show the reply."""
        try:
            result = give_command(self._run_dir, request.command)
        except DnlbenchError as error:
            self._notify(str(error), "error")
            return
        self._notify(result.answer, "warning" if result.refused else "information")

    @work(thread=True, group="commands")
    def action_resume_sweep(self) -> None:
        """Start an engine for the unfinished runs."""
        self._notify("Resuming the sweep …", "information")
        try:
            resume(self._run_dir)
        except DnlbenchError as error:
            self._notify(str(error), "error")

    def _notify(self, text: str, severity: Any) -> None:
        self.app.call_from_thread(self.app.notify, text, severity=severity, markup=False)
