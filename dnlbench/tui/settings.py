"""User settings: theme and keys, from ``config.toml`` in the user's configuration folder.

::

    theme = "dnlbench-light"

    [keys]
    "sweep.pause" = "f5"
    "chart.log_y" = "y"

The command palette lists the names of the keys.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from dnlbench.errors import did_you_mean
from dnlbench.files import read_text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """User settings."""

    theme: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """Messages about invalid settings, which are ignored."""


def settings_path() -> Path:
    """Return ``$DNLBENCH_CONFIG``, or ``config.toml`` in the platform's configuration folder."""
    named = os.environ.get("DNLBENCH_CONFIG")
    return Path(named) if named else user_config_path("dnlbench") / "config.toml"


def read_settings(path: Path, themes: Collection[str], known_keys: Callable[[], Collection[str]]) -> Settings:
    """Read settings; return the defaults if there is no file. Invalid settings are reported as problems, never raised.

    Args:
        path: a TOML file.
        themes: names of the available themes.
        known_keys: returns the names of all keys; called only if the file sets keys.
    """
    table, problems = _read(path)
    theme, table_keys = table.get("theme"), table.get("keys", {})
    if theme is not None and theme not in themes:
        problems.append(f"{path}: theme = {theme!r}: no such theme{did_you_mean(str(theme), themes)}")
        theme = None
    if not isinstance(table_keys, dict):
        problems.append(f"{path}: keys: write it as a table, [keys]")
        table_keys = {}
    known, keys = {}, known_keys() if table_keys else ()
    for name, key in table_keys.items():
        if name not in keys:
            problems.append(f"{path}: keys.{name}: no such key{did_you_mean(name, keys)}")
        elif not isinstance(key, str) or not key:
            problems.append(f'{path}: keys.{name} = {key!r}: write keys as text, for example "f5" or "ctrl+n,n"')
        else:
            known[name] = key
    return Settings(theme=theme, keys=known, problems=tuple(problems))


def settings_problems(path: Path) -> list[str]:
    """Return messages about a file that cannot be read and about unknown keys; empty if there is no file."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        table = tomllib.loads(read_text(path))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, RecursionError) as error:
        return {}, [f"{path}: cannot be read: {error}"]
    known = ("theme", "keys")
    return table, [
        f"{path}: {name}: no such setting{did_you_mean(name, known)}; allowed: theme and [keys], for the terminal UI"
        for name in table
        if name not in known
    ]
