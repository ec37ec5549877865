"""The values of a form: their TOML text and their errors."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, cast

import tomlkit

from dnlbench.errors import SpecError
from dnlbench.spec import list_presets, load_toml, parse_spec
from dnlbench.spec.lines import Key
from dnlbench.spec.values import read_value, write_value
from dnlbench.studies import STUDIES, StudySpec
from dnlbench.tui.form.fields import FormField, FormSection, Kind, read_sections, unknown_field

Texts = Mapping[Key, str]
"""Text of each field; empty: the key is omitted from the spec."""

TOP: Key = ()
"""Key of errors that concern no single field."""
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class FormResult:
    """The spec that a form's values define, or their errors."""

    text: str
    """TOML text."""
    spec: StudySpec | None
    """None if there are errors."""
    errors: Mapping[Key, str]


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of one spec."""

    origin: str
    text: str
    """Valid TOML. Everything that the user does not change is kept, comments included."""
    header: str
    """The comment lines at the top."""
    study: str
    sections: tuple[FormSection, ...]
    initial: Texts
    problem: str
    """Why the text could not be loaded into the form; usually empty."""

    @property
    def fields(self) -> tuple[FormField, ...]:
        return tuple(field for section in self.sections for field in section.fields)

    def changed(self, texts: Texts) -> list[Key]:
        return [field.key for field in self.fields if texts[field.key].strip() != self.initial[field.key].strip()]

    def check(self, texts: Texts) -> FormResult:
        """Parse the values with the same rules as the command line; return the spec, or the errors by field."""
        document, errors = self._document(texts)
        text = self._header(texts) + document.as_string().removeprefix(self.header)
        try:
            spec = parse_spec(text, "spec")
        except SpecError as error:
            return FormResult(text=text, spec=None, errors={**self._by_field(error), **errors})
        return FormResult(text=text, spec=None if errors else spec, errors=errors)

    def _document(self, texts: Texts) -> tuple[tomlkit.TOMLDocument, dict[Key, str]]:
        """Return the text with the changed values, and the errors of values that cannot be parsed."""
        document, errors = tomlkit.parse(self.text), dict[Key, str]()
        changed = set(self.changed(texts))
        for section in self.sections:
            if changed.isdisjoint(field.key for field in section.fields):
                continue
            is_new = bool(section.name) and not isinstance(document.get(section.name), MutableMapping)
            if is_new:
                document[section.name] = tomlkit.table()
            table = cast("MutableMapping[str, Any]", document[section.name] if section.name else document)
            for field in section.fields:
                # A new table activates its own defaults, so write the values that applied without the table.
                if field.key in changed or (is_new and field.default != field.default_without_table):
                    try:
                        _put(table, field, texts[field.key].strip())
                    except ValueError as error:
                        errors[field.key] = str(error)
        return document, errors

    def _header(self, texts: Texts) -> str:
        """Return the top comment; a changed preset gets a new one, because the preset's comment may not apply."""
        changed = [".".join(key) for key in self.changed(texts) if key != ("name",)]
        preset = self.origin.removeprefix("preset ")
        if not changed or preset not in {each.name for each in list_presets()}:
            return self.header
        named = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
        return f"# Preset {preset} with changed {named}.\n"

    def _by_field(self, error: SpecError) -> dict[Key, str]:
        errors: dict[Key, str] = {}
        for path, message in error.problems or [(TOP, str(error))]:
            key = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.initial), TOP)
            inner = ".".join(path[len(key) :])
            text = f"{inner}: {message}" if inner else message
            errors[key] = f"{errors[key]}\n{text}" if key in errors else text
        return errors


def _put(table: MutableMapping[str, Any], field: FormField, text: str) -> None:
    value = read_value(text, field.type) if text else None
    if value is None:
        table.pop(field.name, None)
    else:
        table[field.name] = tomlkit.value(write_value(value))


def open_form(text: str, origin: str) -> Form:
    """Return the form of a spec, which may have errors. If the text is not TOML, the form is empty with a problem."""
    problem = ""
    header = "".join(_leading_comment(text))
    try:
        table = load_toml(text, origin)
    except SpecError as error:
        table, text, problem = {}, header, str(error)
    study = table.get("study", "training")
    if not isinstance(study, str) or study not in STUDIES:
        problem = f"{origin}: study = {study!r}: allowed: {', '.join(STUDIES)}"
        del table["study"]
        document = tomlkit.parse(text)
        del document["study"]
        text, study = document.as_string(), "training"
    spec = STUDIES[study].spec
    sections = tuple(_fitting(section, table, set(spec.model_fields)) for section in read_sections(spec))
    return Form(
        origin=origin,
        text=text,
        header=header,
        study=study,
        sections=sections,
        initial={field.key: _initial(field, table) for section in sections for field in section.fields},
        problem=problem,
    )


def _leading_comment(text: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]


def _lookup(table: Mapping[str, Any], key: Key) -> Any:
    """Return the value at a key, or `_ABSENT`."""
    value: Any = table
    for part in key:
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _initial(field: FormField, table: Mapping[str, Any]) -> str:
    value = _lookup(table, field.key)
    if value is _ABSENT:
        has_table = len(field.key) == 1 or isinstance(table.get(field.key[0]), dict)
        value = field.default if has_table else field.default_without_table
    return field.text(value)


def _fitting(section: FormSection, table: Mapping[str, Any], top: set[str]) -> FormSection:
    """Return the section for a spec's text, with fields for unknown keys, so that users can see and remove them."""
    outer = (section.name,) if section.name else TOP
    inner = _lookup(table, outer)
    known = {field.name for field in section.fields} if section.name else top
    unknown = [
        unknown_field((*outer, name)) for name in (inner if isinstance(inner, dict) else ()) if name not in known
    ]
    fields = [replace(field, kind=_kind_for(field, _lookup(table, field.key))) for field in section.fields]
    return replace(section, fields=(*fields, *unknown))


def _kind_for(field: FormField, value: Any) -> Kind:
    """Return the kind of control for a value: an invalid value of a switch or a choice needs a text field."""
    if value is _ABSENT or field.kind in ("text", "value"):
        return field.kind
    fits = isinstance(value, bool) if field.kind == "switch" else value in field.type.choices
    return field.kind if fits else "value"
