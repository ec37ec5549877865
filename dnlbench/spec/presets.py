"""The sweep specs that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

_FOLDER = resources.files("dnlbench") / "presets"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A spec that ships with the package. Its first comment line is its summary."""

    name: str
    text: str

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0].lstrip("# ").strip()


def list_presets() -> tuple[Preset, ...]:
    """Return all presets, sorted by name."""
    files = sorted((entry for entry in _FOLDER.iterdir() if entry.name.endswith(".toml")), key=lambda file: file.name)
    return tuple(Preset(name=file.name.removesuffix(".toml"), text=file.read_text(encoding="utf-8")) for file in files)


def read_preset(name: str) -> Preset:
    """Return the preset with this name.

    Raises:
        KeyError: if there is none.
    """
    return {preset.name: preset for preset in list_presets()}[name]
