"""The headline of a sweep: state, progress, estimated time and throughput."""

from __future__ import annotations

from rich.text import Text

from dnlbench import units
from dnlbench.tui.poller import Snapshot
from dnlbench.watch import SweepView

WIDE = 110
"""Minimum terminal width for words instead of marks."""
BAR = 20
STATES = {
    "running": ("▶ running", "bold"),
    "starting": ("… starting", "bold"),
    "paused": ("‖ paused", "bold yellow"),
    "disk full": ("‖ disk full", "bold red"),
    "done": ("✓ done", "bold green"),
    "interrupted": ("⊘ interrupted", "bold yellow"),
    "error": ("✗ engine failed", "bold red"),
    "crashed": ("✗ engine exited unexpectedly", "bold red"),
    "idle": ("· not running", "bold"),
}


def state_of(snapshot: Snapshot) -> str:
    """Return a key of `STATES`."""
    view = snapshot.view
    if view is None:
        return "starting" if snapshot.engine else "idle"
    if snapshot.engine is not None:
        if view.pause_state.disk is not None:
            return "disk full"
        if view.pause_state.sweep:
            return "paused"
        return "running" if view.prepared is not None and view.engine_ended is None else "starting"
    if view.engine_ended is not None:
        return view.engine_ended.reason
    return "crashed" if view.slots else "idle"


def headline(snapshot: Snapshot, name: str, width: int, *, colors: bool = True) -> Text:
    """Return as much of the headline as fits."""
    text = _headline(snapshot, name, width)
    return text if colors else Text(text.plain, style="bold")


def _headline(snapshot: Snapshot, name: str, width: int) -> Text:
    word, style = STATES[state_of(snapshot)]
    text = Text(f" {name} ", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f" {word}  ", style=style)
    if snapshot.view is not None:
        for part in _parts(snapshot.view, width):
            text.append_text(part).append("  ")
    text.truncate(width, overflow="ellipsis")
    return text


def _parts(view: SweepView, width: int) -> list[Text]:
    total, ended, bad = len(view.plan.runs), len(view.ended), len(view.not_ok)
    done, wide = view.fraction_done, width >= WIDE
    parts = [Text(f"{ended} of {total} runs" if wide else f"{ended}/{total}")]
    if bad:
        parts[0].append(f" · {bad} not ok" if wide else f" · {bad} ✗", style="red")
    if wide:
        parts.append(_bar(done))
    parts.append(Text(f"{done * 100:.0f} %"))
    if ended < total and view.engine_ended is None:
        parts.append(Text(f"ETA {units.seconds(view.time_left.sweep_s)}"))
    if rate := throughput(view):
        parts.append(Text(f"{units.count(rate)} samples/s" if wide else f"{units.count(rate)}/s"))
    return parts


def _bar(done: float) -> Text:
    full = round(done * BAR)
    return Text("━" * full).append("─" * (BAR - full), style="dim")


def throughput(view: SweepView) -> float:
    """Return the total throughput of the running runs in samples per second, from the latest epoch of each."""
    if view.engine_ended is not None:
        return 0.0
    running = [view.histories[run_id].epochs for run_id in view.leased]
    return sum(epochs[-1].samples_per_s for epochs in running if epochs)
