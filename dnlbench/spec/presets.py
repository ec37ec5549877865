"""The sweep specs that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

_FOLDER = resources.files("dnlbench") / "presets"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A spec by name; its first comment line says what it asks."""

    name: str
    text: str

    @property
    def summary(self) -> str:
        """The first comment line."""
        return self.text.partition("\n")[0].lstrip("# ").strip()


def list_presets() -> tuple[Preset, ...]:
    """All presets, by name."""
    names = sorted(entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))
    return tuple(read_preset(name.removesuffix(".toml")) for name in names)


def read_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        KeyError: if there is none.
    """
    path = _FOLDER / f"{name}.toml"
    if not path.is_file():
        raise KeyError(name)
    return Preset(name=name, text=path.read_text(encoding="utf-8"))
