"""Messages from screens to the application."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message


class OpenSweep(Message):
    """Follow a sweep."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir


class OpenProfiles(Message):
    """Show one profile, or compare several; the first is the reference."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        super().__init__()
        self.paths = paths


class EditSpec(Message):
    """Edit the text of a spec for a new sweep."""

    def __init__(self, text: str, origin: str) -> None:
        super().__init__()
        self.text = text
        self.origin = origin


class StartSpec(Message):
    """Start a sweep of a preset or a file."""

    def __init__(self, spec: str) -> None:
        super().__init__()
        self.spec = spec
