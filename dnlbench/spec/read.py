"""Read specs strictly: parse TOML text and ``--set`` overrides into a validated spec, or report all errors at once."""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnlbench.errors import ConfigurationError, SpecError, did_you_mean
from dnlbench.files import read_text
from dnlbench.spec.explain import LONGEST_VALUE, Problem, Source, explain, shown, spec_error
from dnlbench.spec.lines import MOST_PARTS, Key
from dnlbench.spec.presets import list_presets, read_preset
from dnlbench.spec.settings import flat_settings
from dnlbench.spec.values import ANY, ValueType, find_type, is_deep, read_toml, read_value, write_pair, write_value
from dnlbench.studies import STUDIES, StudySpec

_LONGEST_OVERRIDE = 200
"""Maximum number of characters of an override in a message."""
_TOO_DEEP = f"values are nested more than {MOST_PARTS} levels deep"
_STATEMENT = re.compile(
    r"\s*([A-Za-z0-9_-]+)\s*=\s*([.+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[A-Za-z][\w./:+-]*|\[[\w.,/:+\s-]*\])\s*(?:#.*)?"
)
"""A key with a number, a word or a list of them, in valid or invalid TOML."""
_LONG_INTEGER = re.compile(r"[0-9][0-9_]{4299}")
"""Python cannot read integers of more than 4,300 digits."""


GRID = ("sweep", "grid")
"""The table with the axes of a grid."""


@dataclass(frozen=True, kw_only=True)
class SpecText:
    """The text of a spec and its overrides. Other versions of dnlbench may interpret it differently."""

    text: str
    """TOML."""
    origin: str
    """The text's name in errors: a file, or ``preset NAME``."""
    settings: tuple[str, ...] = ()
    """``KEY=VALUE`` overrides."""

    @classmethod
    def read(cls, name: str, settings: Sequence[str] = ()) -> SpecText:
        """Read a preset or a TOML file.

        Raises:
            SpecError: if there is neither.
        """
        try:
            preset = read_preset(name)
        except KeyError:
            return cls(text=_read_file(name), origin=name, settings=tuple(settings))
        return cls(text=preset.text, origin=f"preset {preset.name}", settings=tuple(settings))

    @classmethod
    def of(cls, spec: StudySpec) -> SpecText:
        """Write a spec as TOML, in a time that is linear in its length."""
        return cls.of_tables(json.loads(spec.model_dump_json(exclude_none=True)), spec.name)

    @classmethod
    def of_tables(cls, tables: Mapping[str, Any], origin: str, settings: Sequence[str] = ()) -> SpecText:
        """Write nested tables of numbers, strings and lists as TOML."""
        text = "\n".join(write_pair(name, value) for name, value in tables.items())
        return cls(text=text, origin=origin, settings=tuple(settings))

    def parse(self) -> StudySpec:
        """Check the text and apply the overrides.

        Raises:
            SpecError: for every error in the spec, with file, line, key and remedy.
        """
        return parse_spec(self.text, self.origin, self.settings)


def read_spec(name: str, overrides: Sequence[str] = ()) -> StudySpec:
    """Read a preset or a TOML file and apply ``KEY=VALUE`` overrides.

    Raises:
        SpecError: if there is neither, or with all errors in the spec, each with file, line, key and remedy.
    """
    return SpecText.read(name, overrides).parse()


def parse_spec(text: str, origin: str, overrides: Sequence[str] = ()) -> StudySpec:
    """Parse the text of a spec and apply overrides. ``origin`` names the text in errors.

    Raises:
        SpecError: with all errors in the spec, each with file, line, key and remedy.
    """
    table = load_toml(text, origin)
    settings = [_Override.read(override) for override in overrides]
    source = Source(origin=origin, text=text, overrides={setting.key: setting.label for setting in settings})
    study = _study_of(table, settings, source)
    for setting in settings:
        setting.apply(table, study)
    _check_plain(table, source)
    _begin_with_the_grid(table, study)
    try:
        # Strict JSON: a list may become a tuple, but a string never becomes a number.
        return study.model_validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        raise explain(error, source, study) from error


def load_toml(text: str, origin: str) -> dict[str, Any]:
    """Parse a TOML text.

    Raises:
        SpecError: if it is not valid TOML.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{origin}: not valid TOML: {error}{_suggestion(text, error)}") from error
    except RecursionError as error:
        raise SpecError(f"{origin}: {_TOO_DEEP}") from error
    except ValueError as error:
        long = _LONG_INTEGER.search(text)
        line = f":{text.count(chr(10), 0, long.start()) + 1}" if long else ""
        raise SpecError(f"{origin}{line}: a number has too many digits") from error
    if is_deep(table):
        raise SpecError(f"{origin}: {_TOO_DEEP}")
    return table


def _suggestion(text: str, error: tomllib.TOMLDecodeError) -> str:
    """Suggest a replacement for the invalid line if its meaning is unambiguous; otherwise return an empty string."""
    number = re.search(r"at line (\d+)", str(error))
    statement = _STATEMENT.fullmatch(text.splitlines()[int(number[1]) - 1]) if number else None
    if statement is None or len(statement[2]) > LONGEST_VALUE:
        return ""
    name, value = statement.groups()
    try:
        read = read_value(value, ANY)
    except ValueError as refusal:
        return f": {value} {refusal}"
    is_clear = value[0].isalpha() or not isinstance(read, str)  # 01 may be a number or a string
    return f"; write {name} = {write_value(read)}" if is_clear else ""


def _read_file(name: str) -> str:
    try:
        return read_text(Path(name))
    except (FileNotFoundError, NotADirectoryError) as error:
        presets = [preset.name for preset in list_presets()]
        near = did_you_mean(name, presets) or "."
        raise SpecError(
            f"{name}: no such file, and no preset with this name{near} Presets: {', '.join(presets)}"
        ) from error
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise SpecError(f"{name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Override:
    """A ``KEY=VALUE`` override."""

    label: str
    """Name of the override in errors."""
    key: Key
    text: str

    @classmethod
    def read(cls, override: str) -> _Override:
        _check_is_text(override)
        label = f"--set {override}"
        if len(override) > _LONGEST_OVERRIDE:
            label = f"{label[:_LONGEST_OVERRIDE]}…"
        key_text, equals, value_text = override.partition("=")
        key = tuple(part.strip() for part in key_text.split("."))
        if not equals or not all(key):
            raise SpecError(f"{label}: write it as KEY=VALUE, for example --set sweep.depths=[2,4]")
        if len(key) > MOST_PARTS:
            raise SpecError(f"{label}: the key has {len(key):,} parts; at most {MOST_PARTS} are allowed")
        return cls(label=label, key=key, text=value_text.strip())

    def apply(self, table: dict[str, Any], study: type[StudySpec]) -> None:
        """Set the value in the table; ``none`` removes an optional key."""
        inner = table
        for part in self.key[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{self.label}: {part!r} is a value, not a table; it has no keys")
        value = self._value(study)
        if value is None:
            inner.pop(self.key[-1], None)
        else:
            inner[self.key[-1]] = value

    def _value(self, study: type[StudySpec]) -> Any:
        type_ = _type_of(study, self.key)
        if type_ is None:  # unknown key: rejected later with any value
            return self.text
        try:
            return read_value(self.text, type_)
        except ValueError as error:
            message, write, form = str(error).partition("write it as ")
            quoted = shlex.quote(f"{'.'.join(self.key)}={form}")
            raise SpecError(
                f"{self.label}: {message}{write}--set {quoted}" if form else f"{self.label}: {message}"
            ) from error


def _begin_with_the_grid(table: dict[str, Any], study: type[StudySpec]) -> None:
    """Give keys of the grid that the spec does not set their first value: other keys may require one."""
    sweep = table.get("sweep")
    grid = sweep.get("grid") if isinstance(sweep, dict) else None
    for dotted, values in flat_settings(grid) if isinstance(grid, dict) else ():
        key = tuple(dotted.split("."))
        if (
            key[0] in ("sweep", "name", "study")
            or not isinstance(values, list)
            or not values
            or not find_type(study, key)
        ):
            continue
        inner: Any = table
        for part in key[:-1]:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.setdefault(key[-1], values[0])


def _type_of(study: type[StudySpec], key: Key) -> ValueType | None:
    """Return the type of a key. That of an axis of the grid is a list of values of the key."""
    if key[:2] != GRID or len(key) == len(GRID):
        return find_type(study, key)
    type_ = find_type(study, key[len(GRID) :])
    of_items = ANY if type_ is None or type_.is_list else replace(type_, is_optional=False)
    return replace(of_items, is_list=True)


def _study_of(table: dict[str, Any], settings: Sequence[_Override], source: Source) -> type[StudySpec]:
    name = table.get("study", "training")
    for setting in settings:
        if setting.key == ("study",):
            quoted = read_toml(setting.text)
            name = quoted if isinstance(quoted, str) else setting.text
    if not isinstance(name, str) or name not in STUDIES:
        known = ", ".join(STUDIES)
        raise SpecError(
            f"{source.location(('study',))}: study = {shown(name)}: allowed: {known}{did_you_mean(str(name), STUDIES) or '.'}"
        )
    try:
        return STUDIES[name].spec
    except ConfigurationError as error:
        raise SpecError(f"{source.location(('study',))}: {error}") from error


def _check_plain(table: dict[str, Any], source: Source) -> None:
    """Reject TOML values that JSON does not have: specs are stored and compared as JSON.

    JSON would turn dates into strings, and infinite numbers and NaN into null.
    """
    if problems := list(_not_plain(table, ())):
        raise spec_error(problems, source)


def _not_plain(value: Any, key: Key) -> Iterator[Problem]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_plain(inner, (*key, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _not_plain(inner, key)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(key=key, index="", value=f" = {value}", message=": must be a finite number")
    elif isinstance(value, date | datetime | time):
        reason = f': dates and times are not supported; for a string write it in quotes: "{value}"'
        yield Problem(key=key, index="", value=f" = {value}", message=reason)
    elif isinstance(value, int) and abs(value) >= 2**64:
        yield Problem(key=key, index="", value=f" = {shown(value)}", message=": must be a number of at most 64 bits")


def _check_is_text(override: str) -> None:
    """Reject arguments that are not valid UTF-8. Python reads them as surrogates, which JSON does not support."""
    try:
        override.encode()
    except UnicodeEncodeError as error:
        label = override.encode(errors="backslashreplace").decode()
        raise SpecError(f"--set {label}: not valid UTF-8") from error
