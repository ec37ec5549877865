"""Strict reading of specs: TOML text and ``--set`` overrides in, a checked spec or every error at once out."""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnlbench.errors import SpecError, did_you_mean
from dnlbench.files import read_text
from dnlbench.spec.explain import LONGEST_VALUE, Problem, Source, explain, shown, spec_error
from dnlbench.spec.lines import MOST_PARTS, Key
from dnlbench.spec.presets import list_presets, read_preset
from dnlbench.spec.values import ANY, find_type, is_deep, read_toml, read_value, write_value
from dnlbench.studies import STUDIES, StudySpec

_LONGEST_OVERRIDE = 200
"""Characters of an override in a message."""
_TOO_DEEP = f"values are nested more than {MOST_PARTS} levels deep"
_STATEMENT = re.compile(
    r"\s*([A-Za-z0-9_-]+)\s*=\s*([.+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[A-Za-z][\w./:+-]*|\[[\w.,/:+\s-]*\])\s*(?:#.*)?"
)
"""A key with a number, a word or a list of them, whether TOML has them or not."""
_LONG_INTEGER = re.compile(r"[0-9][0-9_]{4299}")
"""Python reads no integer of more than 4,300 digits."""


@dataclass(frozen=True, kw_only=True)
class SpecText:
    """A spec as its user wrote it, which another version of dnlbench may read in another way."""

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
        """Write a spec as TOML."""
        import tomlkit

        return cls(text=tomlkit.dumps(json.loads(spec.model_dump_json(exclude_none=True))), origin=spec.name)

    def parse(self) -> StudySpec:
        """Check the text and apply the overrides.

        Raises:
            SpecError: for every error in the spec, with file, line, key and remedy.
        """
        return parse_spec(self.text, self.origin, self.settings)


def read_spec(name: str, overrides: Sequence[str] = ()) -> StudySpec:
    """The spec of a preset's name or of a TOML file, with ``KEY=VALUE`` overrides applied.

    Raises:
        SpecError: for a name that is neither, and for every error in the spec, with file, line, key and remedy.
    """
    return SpecText.read(name, overrides).parse()


def parse_spec(text: str, origin: str, overrides: Sequence[str] = ()) -> StudySpec:
    """The same for a text that is at hand; ``origin`` names it in errors."""
    table = load_toml(text, origin)
    settings = [_Override.read(override) for override in overrides]
    source = Source(origin=origin, text=text, overrides={setting.key: setting.label for setting in settings})
    study = _study_of(table, settings, source)
    for setting in settings:
        setting.apply(table, study)
    _check_plain(table, source)
    try:
        # Strict JSON: a list may become a tuple, but a string never becomes a number.
        return study.model_validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        raise explain(error, source, study) from error


def load_toml(text: str, origin: str) -> dict[str, Any]:
    """The content of a TOML text.

    Raises:
        SpecError: if it is none.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{origin}: not valid TOML: {error}{_mended(text, error)}") from error
    except RecursionError as error:
        raise SpecError(f"{origin}: {_TOO_DEEP}") from error
    except ValueError as error:
        long = _LONG_INTEGER.search(text)
        line = f":{text.count(chr(10), 0, long.start()) + 1}" if long else ""
        raise SpecError(f"{origin}{line}: a number has too many digits") from error
    if is_deep(table):
        raise SpecError(f"{origin}: {_TOO_DEEP}")
    return table


def _mended(text: str, error: tomllib.TOMLDecodeError) -> str:
    """What to write in place of the line that is wrong, where it can only mean one thing; or empty."""
    number = re.search(r"at line (\d+)", str(error))
    statement = _STATEMENT.fullmatch(text.splitlines()[int(number[1]) - 1]) if number else None
    if statement is None or len(statement[2]) > LONGEST_VALUE:
        return ""
    name, value = statement.groups()
    try:
        read = read_value(value, ANY)
    except ValueError as refusal:
        return f": {value} {refusal}"
    is_clear = value[0].isalpha() or not isinstance(read, str)  # 01 may be a number or a text
    return f"; write {name} = {write_value(read)}" if is_clear else ""


def _read_file(name: str) -> str:
    try:
        return read_text(Path(name))
    except (FileNotFoundError, NotADirectoryError) as error:
        presets = [preset.name for preset in list_presets()]
        near = did_you_mean(name, presets) or "."
        raise SpecError(
            f"{name}: no such file, and no preset of that name{near} Presets: {', '.join(presets)}"
        ) from error
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise SpecError(f"{name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Override:
    """One ``KEY=VALUE``."""

    label: str
    """How errors name it."""
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
            raise SpecError(f"{label}: a key of {len(key):,} parts; no key of a spec has more than {MOST_PARTS}")
        return cls(label=label, key=key, text=value_text.strip())

    def apply(self, table: dict[str, Any], study: type[StudySpec]) -> None:
        """Puts the value into the table; ``none`` takes an optional one out of it."""
        inner = table
        for part in self.key[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{self.label}: {part!r} is a value, not a table, so nothing can be set in it")
        value = self._value(study)
        if value is None:
            inner.pop(self.key[-1], None)
        else:
            inner[self.key[-1]] = value

    def _value(self, study: type[StudySpec]) -> Any:
        type_ = find_type(study, self.key)
        if type_ is None:  # a key that the spec does not have is refused whatever its value
            return self.text
        try:
            return read_value(self.text, type_)
        except ValueError as error:
            said, write, form = str(error).partition("write it as ")
            quoted = shlex.quote(f"{'.'.join(self.key)}={form}")
            raise SpecError(
                f"{self.label}: {said}{write}--set {quoted}" if form else f"{self.label}: {said}"
            ) from error


def _study_of(table: dict[str, Any], settings: Sequence[_Override], source: Source) -> type[StudySpec]:
    name = table.get("study", "training")
    for setting in settings:
        if setting.key == ("study",):
            quoted = read_toml(setting.text)
            name = quoted if isinstance(quoted, str) else setting.text
    if not isinstance(name, str) or name not in STUDIES:
        known = ", ".join(STUDIES)
        raise SpecError(
            f"{source.place(('study',))}: study = {shown(name)}: allowed: {known}{did_you_mean(str(name), STUDIES) or '.'}"
        )
    return STUDIES[name].spec


def _check_plain(table: dict[str, Any], source: Source) -> None:
    """Refuses values that TOML has and JSON, in which specs are kept and compared, has not.

    Written as JSON, dates would become strings, and infinite numbers and NaN the same null.
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
    """Bytes of an argument that are no text reach Python as surrogates, which JSON cannot carry."""
    try:
        override.encode()
    except UnicodeEncodeError as error:
        label = override.encode(errors="backslashreplace").decode()
        raise SpecError(f"--set {label}: not valid UTF-8") from error
