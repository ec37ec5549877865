"""Settings of specs as dotted keys, and the settings in which specs with the same name differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def flat_settings(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested tables into dotted keys. Lists of plain values are kept as lists."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield from flat_settings(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(table, list) and any(isinstance(value, dict) for value in table):
        for index, value in enumerate(table):
            yield from flat_settings(value, f"{prefix}.{index}")
    else:
        yield prefix, table


def settings_text(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return every setting as text, by its dotted key."""
    return {key: _text(value) for key, value in flat_settings(spec)}


def differing_settings(specs: Sequence[Mapping[str, str]]) -> list[str]:
    """List, for each spec, the settings that differ among specs of the same study and name, as in ``train.lr=0.03``.

    ``specs`` are results of `settings_text`. A setting that is missing in a spec of an earlier version is not a difference.
    """
    groups: dict[str, list[Mapping[str, str]]] = {}
    names = [f"{settings.get('study')} {settings.get('name')}" for settings in specs]
    for name, settings in zip(names, specs, strict=True):
        groups.setdefault(name, []).append(settings)
    differing = {name: _differing(settings) for name, settings in groups.items()}
    return [
        ", ".join(f"{key}={settings[key]}" for key in differing[name] if key in settings)
        for name, settings in zip(names, specs, strict=True)
    ]


def _differing(group: Sequence[Mapping[str, str]]) -> list[str]:
    values: dict[str, set[str]] = {}
    for settings in group if len(group) > 1 else ():
        for key, value in settings.items():
            values.setdefault(key, set()).add(value)
    return [key for key, different in values.items() if len(different) > 1]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
