"""The sweep specs that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

FIRST = "digits-quick"
"""The preset for a first sweep: minutes on two CPU cores, without a download."""
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
    """Return all presets: `FIRST`, then the others by name."""
    texts = {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in _FOLDER.iterdir()
        if file.name.endswith(".toml")
    }
    return tuple(Preset(name=name, text=texts[name]) for name in sorted(texts, key=lambda name: (name != FIRST, name)))


def read_preset(name: str) -> Preset:
    """Return the preset with this name.

    Raises:
        KeyError: if there is none.
    """
    return {preset.name: preset for preset in list_presets()}[name]
