"""Strict reading of specs: TOML text and ``--set`` overrides in, a checked spec or every error at once out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnlbench.errors import SpecError
from dnlbench.spec.explain import Source, explain, nearest
from dnlbench.spec.presets import list_presets, read_preset
from dnlbench.studies import STUDIES, StudySpec


def read_spec(name: str, overrides: Sequence[str] = ()) -> StudySpec:
    """The spec of a preset's name or of a TOML file, with ``KEY=VALUE`` overrides applied.

    Raises:
        SpecError: for a name that is neither, and for every error in the spec, with file, line, key and remedy.
    """
    try:
        preset = read_preset(name)
    except KeyError:
        return parse_spec(_read_file(name), name, overrides)
    return parse_spec(preset.text, f"preset {preset.name}", overrides)


def parse_spec(text: str, origin: str, overrides: Sequence[str] = ()) -> StudySpec:
    """As `read_spec`, for a text that is at hand; ``origin`` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{origin}: not valid TOML: {error}") from error
    set_keys: dict[tuple[str, ...], str] = {}
    for override in overrides:
        key = _apply(table, override)
        set_keys[key] = f"--set {override}"
    source = Source(origin=origin, text=text, overrides=set_keys)
    study = _study_of(table, source)
    try:
        # Strict JSON: a list may become a tuple, but a string never becomes a number.
        return study.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise SpecError(explain(error, source, study)) from error


def _read_file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        presets = [preset.name for preset in list_presets()]
        raise SpecError(
            f"{name}: no such file, and no preset of that name{nearest(name, presets)} Presets: {', '.join(presets)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{name}: cannot be read: {error}") from error


def _study_of(table: dict[str, Any], source: Source) -> type[StudySpec]:
    name = table.get("study", "training")
    if not isinstance(name, str) or name not in STUDIES:
        known = ", ".join(STUDIES)
        raise SpecError(
            f"{source.place(('study',))}: study = {name!r}: allowed: {known}{nearest(str(name), list(STUDIES))}"
        )
    return STUDIES[name].spec


def _apply(table: dict[str, Any], override: str) -> tuple[str, ...]:
    """Puts ``a.b=value`` into the table and gives the key back. The value is TOML; a bare word is a string."""
    _check_is_text(override)
    key_text, equals, value_text = override.partition("=")
    key = tuple(part.strip() for part in key_text.split("."))
    if not equals or not all(key):
        raise SpecError(f"--set {override}: write it as KEY=VALUE, for example --set sweep.depths=[2,4]")
    inner = table
    for part in key[:-1]:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SpecError(f"--set {override}: {part!r} is a value, not a table, so nothing can be set in it")
    inner[key[-1]] = _value(value_text.strip())
    return key


def _check_is_text(override: str) -> None:
    """Bytes of an argument that are no text reach Python as surrogates, which JSON cannot carry."""
    try:
        override.encode()
    except UnicodeEncodeError as error:
        shown = override.encode(errors="backslashreplace").decode()
        raise SpecError(f"--set {shown}: not valid UTF-8") from error


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text
