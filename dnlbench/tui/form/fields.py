"""The fields of a form, read from the JSON Schema of the study's spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dnlbench.spec.lines import Key
from dnlbench.spec.values import ANY, ValueType, find_type, read_toml, write_value
from dnlbench.studies import StudySpec

Kind = Literal["choice", "switch", "text", "value"]

_NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "on or off"}
_LIMITS = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
_NO_LIMIT = 2**62
"""Bounds of at least this size only prevent integer overflow, so hints omit them."""


@dataclass(frozen=True, kw_only=True)
class FormField:
    """A key of a spec."""

    key: Key
    kind: Kind
    hint: str
    """Type, allowed values and default."""
    about: str
    """Description from the spec; empty if there is none."""
    type: ValueType = ANY
    """Type that input is parsed as."""
    required: bool = False
    default: Any = None
    """Default if the key is absent from its table."""
    default_without_table: Any = None
    """Default if the table is absent."""

    @property
    def name(self) -> str:
        return self.key[-1]

    @property
    def placeholder(self) -> str:
        """Text of an empty field: the default, or ``required``."""
        if self.required:
            return "required"
        if isinstance(self.default, bool):
            return f"default {'on' if self.default else 'off'}"
        return f"default {self.text(self.default) or 'none'}"

    def text(self, value: Any) -> str:
        """Return the text that `read_value` parses as this value; empty for no value."""
        if value is None or value == {}:
            return ""
        is_bare = isinstance(value, str) and self.kind in ("choice", "text") and not isinstance(read_toml(value), str)
        return str(value) if is_bare else write_value(value)


@dataclass(frozen=True, kw_only=True)
class FormSection:
    """A table of a spec. The section without a name contains the keys above all tables."""

    name: str
    about: str
    fields: tuple[FormField, ...]


def read_sections(spec: type[StudySpec]) -> tuple[FormSection, ...]:
    """Return a section for the keys above all tables, and one for each table."""
    schema = spec.model_json_schema()
    properties = schema["properties"]
    tables = {
        name: schema["$defs"][each["$ref"].rpartition("/")[2]] for name, each in properties.items() if "$ref" in each
    }
    top = {**schema, "properties": {name: each for name, each in properties.items() if name not in tables}}
    return (
        FormSection(name="", about="", fields=tuple(_fields(spec, (), top, None))),
        *(
            FormSection(
                name=name,
                about=_section_about(table["description"]),
                fields=tuple(_fields(spec, (name,), table, properties[name].get("default"))),
            )
            for name, table in tables.items()
        ),
    )


def unknown_field(key: Key) -> FormField:
    """Return a field for an unknown key of the spec, so that users can see and remove it."""
    return FormField(key=key, kind="value", hint="unknown key: clear the field to remove it", about="")


def _section_about(description: str) -> str:
    text = _plain(re.sub(r"^``\[\w+\]``:\s*", "", description))
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "").split())


def _fields(
    spec: type[StudySpec], table: Key, schema: Mapping[str, Any], table_default: Mapping[str, Any] | None
) -> Iterator[FormField]:
    for name, info in schema["properties"].items():
        type_ = find_type(spec, (*table, name)) or ANY
        default = info.get("default")
        field = FormField(
            key=(*table, name),
            kind=_kind(type_),
            hint="",
            about=_plain(info.get("description", "")),
            type=type_,
            required=name in schema.get("required", ()),
            default=default,
            default_without_table=default if table_default is None else table_default[name],
        )
        if field.key == ("study",):  # it determines the fields of the form
            yield replace(field, hint="fixed: start from a spec of another study to change it")
        else:
            yield replace(field, hint=_allowed(info, type_) + ("" if field.required else f"; {field.placeholder}"))


def _kind(type_: ValueType) -> Kind:
    if type_.is_list:
        return "value"
    return "choice" if type_.choices else "switch" if type_.element is bool else "text" if type_.is_words else "value"


def _allowed(info: Mapping[str, Any], type_: ValueType) -> str:
    kinds = [each for each in info.get("anyOf", [info]) if each.get("type") != "null"]
    kind = next((each["items"] for each in kinds if "items" in each), kinds[0])
    choices = type_.choices or kind.get("examples")
    if choices:
        return f"{'list of' if type_.is_list else 'one of'} {', '.join(choices)}"
    limits = [f"{sign} {kind[name]:,}" for name, sign in _LIMITS if abs(kind.get(name, _NO_LIMIT)) < _NO_LIMIT]
    limited = f"{_NAMES.get(kind.get('type', ''), 'TOML table, as in { key = 1 }')} {', '.join(limits)}".strip()
    return f"list of {limited.replace('number', 'numbers')}" if type_.is_list else limited
