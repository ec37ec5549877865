"""What the screens may ask of an engine, in words, and what has to be asked first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.events import Action, Command
from dnlbench.tui.rows import RunRow


@dataclass(frozen=True, kw_only=True)
class ControlRequest:
    """A command, with what it would mean."""

    command: Command
    prompt: str = ""
    """To be asked first; empty for what destroys nothing."""
    consequence: str = ""
    verb: str = "Do it"


def toggle_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Resumes runs if all of them are paused, and pauses those that can be otherwise; None if nothing can be done."""
    paused = [row for row in rows if row.state == "paused"]
    if paused and len(paused) == len(rows):
        return _runs("resume", paused)
    open_ones = [row for row in rows if row.state in ("running", "waiting")]
    return _runs("pause", open_ones) if open_ones else None


def cancel_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Ends runs that have not ended."""
    unfinished = [row for row in rows if row.state in ("running", "waiting", "paused")]
    if not unfinished:
        return None
    started_count = sum(row.history.epochs_done > 0 or row.state == "running" for row in unfinished)
    what = unfinished[0].run.title if len(unfinished) == 1 else f"{len(unfinished)} runs"
    lost = (
        f"{started_count} of them have begun: what they have computed counts as cancelled."
        if started_count
        else "None has begun."
    )
    request = _runs("cancel", unfinished)
    return ControlRequest(
        command=request.command,
        prompt=f"Cancel {what}?",
        consequence=f"{lost} They can be retried.",
        verb="Cancel them" if len(unfinished) > 1 else "Cancel it",
    )


def retry_runs(rows: Sequence[RunRow]) -> ControlRequest | None:
    """Does runs again that ended badly."""
    bad = [row for row in rows if row.state in ("failed", "oom", "diverged", "cancelled")]
    return _runs("retry", bad) if bad else None


def end_sweep(running: int) -> ControlRequest:
    """Ends the engine."""
    return ControlRequest(
        command=Command(action="cancel"),
        prompt="End the whole sweep?",
        consequence=f"{running} runs under way are put aside with a checkpoint and a partial profile is saved. "
        "The sweep can be gone on with later.",
        verb="End the sweep",
    )


def retry_sweep(bad: int) -> ControlRequest:
    """Does everything again that ended badly."""
    return ControlRequest(
        command=Command(action="retry"),
        prompt=f"Retry all {bad} runs that failed, ran out of memory, diverged or were cancelled?",
        consequence="Their curves so far are replaced.",
        verb="Retry all",
    )


def sweep(action: Action) -> ControlRequest:
    """Pauses or resumes everything."""
    return ControlRequest(command=Command(action=action))


def device(name: str, action: Action) -> ControlRequest:
    """Pauses, releases or resumes a device."""
    if action != "release":
        return ControlRequest(command=Command(action=action, device=name))
    return ControlRequest(
        command=Command(action=action, device=name),
        prompt=f"Release {name}?",
        consequence="Its runs are put aside with a checkpoint, and its worker processes end, so that its memory is free.",
        verb="Release it",
    )


def _runs(action: Action, rows: Sequence[RunRow]) -> ControlRequest:
    return ControlRequest(command=Command(action=action, run_ids=tuple(row.run.run_id for row in rows)))
