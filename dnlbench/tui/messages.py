"""What screens ask of the application."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message


class OpenSweep(Message):
    """Follow a sweep."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir


class OpenProfiles(Message):
    """Look at one profile, or compare several, the first being the reference."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        super().__init__()
        self.paths = paths


class EditSpec(Message):
    """Make a new sweep of a spec's text."""

    def __init__(self, text: str, origin: str) -> None:
        super().__init__()
        self.text = text
        self.origin = origin


class StartSpec(Message):
    """Begin a sweep of a preset, or of a file."""

    def __init__(self, spec: str) -> None:
        super().__init__()
        self.spec = spec
