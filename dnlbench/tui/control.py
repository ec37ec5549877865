"""Control requests that screens send to an engine, with the text of their confirmation dialogs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench import units
from dnlbench.events import Action, Command
from dnlbench.tui.rows import RunRow


@dataclass(frozen=True, kw_only=True)
class ControlRequest:
    """A command and the dialog that confirms it."""

    command: Command
    prompt: str = ""
    """Title of the dialog; empty for a command that needs no confirmation."""
    consequence: str = ""
    verb: str = "Do it"
    """Label of the button that confirms."""


def toggle_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Resume the runs if all of them are paused, else pause those that are running or waiting; None if there are none."""
    paused = [row for row in rows if row.state == "paused"]
    if paused and len(paused) == len(rows):
        return _runs("resume", paused)
    active = [row for row in rows if row.state in ("running", "waiting")]
    return _runs("pause", active) if active else None


def cancel_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Cancel the runs that have not ended; None if all have."""
    unfinished = [row for row in rows if row.state in ("running", "waiting", "paused")]
    if not unfinished:
        return None
    started = sum(row.history.epochs_done > 0 or row.state == "running" for row in unfinished)
    if len(unfinished) == 1:
        title, them = unfinished[0].run.title, "it"
        progress = "It has started and is recorded as cancelled." if started else "It hasn't started."
    else:
        title, them = f"{len(unfinished)} runs", "them"
        recorded = f"{started} of them {'has' if started == 1 else 'have'} started and"
        progress = (
            f"{recorded} {'is' if started == 1 else 'are'} recorded as cancelled." if started else "None has started."
        )
    return ControlRequest(
        command=_runs("cancel", unfinished).command,
        prompt=f"Cancel {title}?",
        consequence=f"{progress} You can retry {them} later.",
        verb=f"Cancel {them}",
    )


def retry_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Retry the runs that failed, ran out of memory, diverged or were cancelled; None if there are none."""
    bad = [row for row in rows if row.state in ("failed", "oom", "diverged", "cancelled")]
    return _runs("retry", bad) if bad else None


def end_sweep(running: int) -> ControlRequest:
    """End the engine."""
    suspended = f"{units.counted(running, 'run')} {'is' if running == 1 else 'are'} suspended with a checkpoint."
    return ControlRequest(
        command=Command(action="cancel"),
        prompt="End the sweep?",
        consequence=f"{suspended} A partial profile is saved. You can resume the sweep later.",
        verb="End the sweep",
    )


def retry_sweep(bad: int) -> ControlRequest:
    """Retry all runs that failed, ran out of memory, diverged or were cancelled."""
    return ControlRequest(
        command=Command(action="retry"),
        prompt=f"Retry all {bad} runs that failed, ran out of memory, diverged or were cancelled?",
        consequence="The new results replace their current ones.",
        verb="Retry all",
    )


def sweep(action: Action) -> ControlRequest:
    """Pause or resume the sweep."""
    return ControlRequest(command=Command(action=action))


def device(name: str, action: Action) -> ControlRequest:
    """Pause, release or resume a device."""
    if action != "release":
        return ControlRequest(command=Command(action=action, device=name))
    return ControlRequest(
        command=Command(action=action, device=name),
        prompt=f"Release {name}?",
        consequence="Its runs are suspended with a checkpoint. Its worker processes exit, which frees its memory.",
        verb="Release it",
    )


def _runs(action: Action, rows: Sequence[RunRow]) -> ControlRequest:
    return ControlRequest(command=Command(action=action, run_ids=tuple(row.run.run_id for row in rows)))
