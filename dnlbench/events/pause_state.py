"""The pause state of a sweep: what the engine must not start at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dnlbench.events.commands import Action, Command
from dnlbench.events.records import CommandDone, DiskFree, DiskFull, EngineStarted, JournalEvent

Kind = Literal["pause", "release", "open"]
CLUSTER = "ray"
"""The device of slots on a cluster, which are named ``ray/0``, ``ray/1`` and so on."""


@dataclass(frozen=True, kw_only=True)
class PauseState:
    """The paused parts of a sweep. A new engine starts with nothing paused."""

    sweep: bool = False
    disk: str | None = None
    """The error while the disk is full."""
    runs: frozenset[str] = frozenset()
    devices: Mapping[str, Kind] = field(default_factory=dict)
    """The state of devices and single slots by the name in the command; later entries take precedence."""

    @property
    def all_paused(self) -> bool:
        return self.sweep or self.disk is not None

    @property
    def any_paused(self) -> bool:
        """True if running work may have to stop."""
        return self.sweep or bool(self.runs) or bool(self.devices)

    def of_slot(self, slot: str) -> Literal["pause", "release"] | None:
        """Return how a slot is paused, by the last command for it or its device."""
        if not self.devices:
            return None
        for name, kind in reversed(list(self.devices.items())):
            if name in (slot, device_of(slot)):
                return None if kind == "open" else kind
        return None

    def is_paused(self, run_id: str, slot: str) -> bool:
        return self.sweep or run_id in self.runs or self.of_slot(slot) is not None

    def after(self, event: JournalEvent) -> PauseState:
        match event:
            case EngineStarted():
                return PauseState()
            case DiskFull(message=message):
                return replace(self, disk=message)
            case DiskFree():
                return replace(self, disk=None)
            case CommandDone(refused=False, command=command):
                return self._after_command(command)
        return self

    def _after_command(self, command: Command) -> PauseState:
        if command.action == "retry" or (command.action == "cancel" and command.run_ids):
            return replace(self, runs=self.runs - set(command.run_ids))
        if command.action == "cancel":
            return self
        if command.device:
            return replace(self, devices=self._devices_after(command.device, command.action))
        if command.action == "resume":
            return (
                replace(self, runs=self.runs - set(command.run_ids)) if command.run_ids else PauseState(disk=self.disk)
            )
        return replace(self, runs=self.runs | set(command.run_ids)) if command.run_ids else replace(self, sweep=True)

    def _devices_after(self, name: str, action: Action) -> Mapping[str, Kind]:
        others = {other: kind for other, kind in self.devices.items() if name not in (other, device_of(other))}
        if action == "resume":
            return {**others, name: "open"} if device_of(name) in others else others
        return {**others, name: "release" if action == "release" else "pause"}


def device_of(slot: str) -> str:
    """Return the device of a slot: ``cuda:1`` for ``cuda:1/0``."""
    return slot.rpartition("/")[0]
