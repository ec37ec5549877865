"""The line on top of a sweep: is it going well, how far is it, and when will it end?"""

from __future__ import annotations

from rich.text import Text

from dnlbench import units
from dnlbench.tui.poller import Snapshot
from dnlbench.watch import SweepView

WIDE = 110
"""Columns from which on there is room for words."""
BAR = 20
STATES = {
    "running": ("▶ running", "bold"),
    "starting": ("… starting", "bold"),
    "paused": ("‖ paused", "bold yellow"),
    "disk full": ("‖ disk full", "bold red"),
    "done": ("✓ done", "bold green"),
    "interrupted": ("⊘ interrupted", "bold yellow"),
    "error": ("✗ ended by an error", "bold red"),
    "gone": ("✗ its engine is gone", "bold red"),
    "idle": ("· not running", "bold"),
}


def state_of(snapshot: Snapshot) -> str:
    """One of `STATES`."""
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
    return "gone" if view.slots else "idle"


def headline(snapshot: Snapshot, name: str, width: int, *, colors: bool = True) -> Text:
    """As much of it as fits."""
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
    """Samples per second of all runs under way together, each by its last epoch."""
    if view.engine_ended is not None:
        return 0.0
    under_way = [view.histories[run_id].epochs for run_id in view.leased]
    return sum(epochs[-1].samples_per_s for epochs in under_way if epochs)
