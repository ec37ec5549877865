"""A sweep's spec as a form: its fields, the TOML that their values make, what is wrong with them, and what they mean."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dnlbench.errors import SpecError
from dnlbench.spec import list_presets, load_toml, parse_spec
from dnlbench.spec.explain import shown
from dnlbench.spec.lines import Key
from dnlbench.spec.values import (
    ANY,
    ValueType,
    element_of,
    read_toml,
    read_value,
    value_type,
    without_none,
    write_pair,
    write_value,
)
from dnlbench.studies import STUDIES, StudySpec

Kind = Literal["choice", "switch", "text", "value"]
Texts = Mapping[Key, str]
"""What each field holds, as it is typed; empty: the key is left out of the spec."""

TOP: Key = ()
"""Key of errors that belong to no field."""
_SPEC = "spec"
"""What errors call the text here, to be taken off again."""


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One key of a spec."""

    key: Key
    kind: Kind
    hint: str
    """Type, what is allowed and the default, for people."""
    about: str
    """What it means; empty where the spec does not say."""
    type: ValueType = ANY
    """How what is typed is read."""
    default: Any = None
    """Taken where the key is absent from its table."""
    default_without_table: Any = None
    """Taken where the whole table is absent."""

    @property
    def name(self) -> str:
        """The key within its table."""
        return self.key[-1]

    @property
    def placeholder(self) -> str:
        """What counts while the field is empty."""
        if self.default is PydanticUndefined:
            return "required"
        if isinstance(self.default, bool):
            return f"default {'on' if self.default else 'off'}"
        return f"default {_shown(self, self.default) or 'none'}"


@dataclass(frozen=True, kw_only=True)
class FormSection:
    """One table of a spec; the one without a name holds the keys above all tables."""

    name: str
    about: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a form's values come to."""

    text: str
    """As TOML."""
    spec: StudySpec | None
    """None if something is wrong."""
    errors: Mapping[Key, str]


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of one spec."""

    origin: str
    header: str
    """The comment above everything."""
    study: str
    question: str
    sections: tuple[FormSection, ...]
    initial: Texts
    given: frozenset[Key]
    """Keys and tables that the text had, which are written again whether they differ from the default or not."""
    problem: str
    """Why nothing of the text could be taken over; empty as a rule."""

    @property
    def fields(self) -> tuple[FormField, ...]:
        """Of all sections."""
        return tuple(field for section in self.sections for field in section.fields)

    def changed(self, texts: Texts) -> list[Key]:
        """Fields that hold something else than at first."""
        return [field.key for field in self.fields if texts[field.key].strip() != self.initial[field.key].strip()]

    def check(self, texts: Texts) -> Checked:
        """The spec that the values make, by the very rules of the command line, or what is wrong by field."""
        table, errors = self._table(texts)
        text = self._header(texts) + _document(table)
        try:
            spec = parse_spec(text, _SPEC)
        except SpecError as error:
            errors = {**_by_key(str(error), table, {field.key for field in self.fields}), **errors}
            return Checked(text=text, spec=None, errors=errors)
        return Checked(text=text, spec=None if errors else spec, errors=errors)

    def _table(self, texts: Texts) -> tuple[dict[str, Any], dict[Key, str]]:
        table: dict[str, Any] = {}
        errors: dict[Key, str] = {}
        changed = {*self.changed(texts)}
        for section in self.sections:
            inner = table if not section.name else {}
            is_new = (section.name,) not in self.given
            written = not is_new or any(field.key in changed for field in section.fields)
            for field in section.fields:
                # A table's own defaults hold as soon as it is there, so what stood in for it has to be spelled out.
                spelled_out = is_new and section.name and field.default != field.default_without_table
                if texts[field.key].strip() and (field.key in changed | self.given or (written and spelled_out)):
                    try:
                        value = read_value(texts[field.key].strip(), field.type)
                    except ValueError as error:
                        errors[field.key] = str(error)
                    else:
                        inner |= {} if value is None else {field.name: value}
            if section.name and written:
                table[section.name] = inner
        return table, errors

    def _header(self, texts: Texts) -> str:
        """A preset's comment says what the preset asks; of what was changed it may not be true any more."""
        changed = [".".join(key) for key in self.changed(texts) if key != ("name",)]
        if not self._is_preset or not changed:
            return f"{self.header}\n" if self.header else ""
        named = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
        return f"# As preset {self.origin.removeprefix('preset ')}, but with its own {named}.\n"

    @property
    def _is_preset(self) -> bool:
        return self.origin.removeprefix("preset ") in {preset.name for preset in list_presets()}


def open_form(text: str, origin: str) -> Form:
    """The form of a spec, which may have errors; of one that is not TOML at all an empty one with the reason."""
    problem = ""
    try:
        table = load_toml(text, origin)
    except SpecError as error:
        table, problem = {}, str(error)
    study = table.get("study", "training")
    if not isinstance(study, str) or study not in STUDIES:
        problem = f"{origin}: study = {study!r}: allowed: {', '.join(STUDIES)}"
        table, study = {key: value for key, value in table.items() if key != "study"}, "training"
    sections = tuple(_with_unknown(section, table) for section in _sections(STUDIES[study].spec))
    sections = tuple(replace(one, fields=tuple(_fitting(field, table) for field in one.fields)) for one in sections)
    return Form(
        origin=origin,
        header="\n".join(_leading_comment(text)),
        study=study,
        question=STUDIES[study].question,
        sections=sections,
        initial={field.key: _initial(field, table) for section in sections for field in section.fields},
        given=frozenset(_given(table)),
        problem=problem,
    )


def _leading_comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


def _given(table: Mapping[str, Any]) -> Iterator[Key]:
    yield ("",)
    for name, value in table.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, inner) for inner in value)


def _lookup(table: Mapping[str, Any], key: Key) -> Any:
    """The value at a key; ``PydanticUndefined`` where there is none."""
    value: Any = table
    for part in key:
        value = value.get(part, PydanticUndefined) if isinstance(value, dict) else PydanticUndefined
    return value


def _initial(field: FormField, table: Mapping[str, Any]) -> str:
    value = _lookup(table, field.key)
    if value is PydanticUndefined:
        has_table = len(field.key) == 1 or isinstance(table.get(field.key[0]), dict)
        value = field.default if has_table else field.default_without_table
    return _shown(field, value)


def _fitting(field: FormField, table: Mapping[str, Any]) -> FormField:
    """A switch or a choice cannot show a value that it does not have, so that one is shown as it stands, to be mended."""
    value = _lookup(table, field.key)
    if value is PydanticUndefined or field.kind in ("text", "value"):
        return field
    fits = isinstance(value, bool) if field.kind == "switch" else value in field.type.choices
    return field if fits else replace(field, kind="value")


def _with_unknown(section: FormSection, table: Mapping[str, Any]) -> FormSection:
    """The section with the keys that the spec should not have, so that they can be seen and emptied."""
    inner = table.get(section.name) if section.name else table
    tables = {name for name, field in _spec_model(table).model_fields.items() if _model_of(field)}
    known = {field.name for field in section.fields} | ({*tables, "study"} if not section.name else set())
    names = [name for name in inner if name not in known] if isinstance(inner, dict) else []
    unknown = tuple(
        FormField(key=_key(section.name, name), kind="value", hint="unknown key: empty it to leave it out", about="")
        for name in names
    )
    return replace(section, fields=(*section.fields, *unknown))


def _spec_model(table: Mapping[str, Any]) -> type[StudySpec]:
    return STUDIES[table.get("study", "training")].spec


def _key(section: str, name: str) -> Key:
    return (section, name) if section else (name,)


def _sections(model: type[StudySpec]) -> Iterator[FormSection]:
    about = _attribute_docs(model)
    top = [
        _field("", name, field, about.get(name, ""))
        for name, field in model.model_fields.items()
        if not _model_of(field)
    ]
    # What the study is decides which form this is: it is written, but not to be changed within it.
    study = replace(next(field for field in top if field.name == "study"), hint="fixed: another study has another form")
    yield FormSection(name="", about="", fields=tuple(study if field.name == "study" else field for field in top))
    for name, field in model.model_fields.items():
        table = _model_of(field)
        if table is not None:
            yield _table_section(name, table, field)


def _table_section(name: str, table: type[BaseModel], info: FieldInfo) -> FormSection:
    about, whole = _attribute_docs(table), info.get_default()
    fields = []
    for key, inner in table.model_fields.items():
        field = _field(name, key, inner, about.get(key, ""))
        if isinstance(whole, BaseModel):
            field = replace(field, default_without_table=getattr(whole, key))
        fields.append(field)
    described = re.sub(r"^``\[\w+\]``:\s*", "", " ".join((inspect.getdoc(table) or "").split()))
    return FormSection(name=name, about=_plain(described[:1].upper() + described[1:]), fields=tuple(fields))


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _field(section: str, name: str, info: FieldInfo, about: str) -> FormField:
    annotation, metadata = without_none(info.annotation, info.metadata)
    element, element_metadata = element_of(annotation)
    default = info.get_default(call_default_factory=True)
    type_ = value_type(info)
    field = FormField(
        key=_key(section, name),
        kind=_kind(type_),
        hint="",
        about=_plain(about),
        type=type_,
        default=default,
        default_without_table=default,
    )
    allowed = _allowed(element, element_metadata if type_.is_list else metadata, type_)
    return replace(field, hint=allowed + ("" if default is PydanticUndefined else f"; {field.placeholder}"))


def _kind(type_: ValueType) -> Kind:
    if type_.is_list:
        return "value"
    return "choice" if type_.choices else "switch" if type_.element is bool else "text" if type_.is_words else "value"


def _allowed(annotation: Any, metadata: list[Any], type_: ValueType) -> str:
    choices = (*_architectures(), "package.module:factory") if _is_network(metadata) else type_.choices
    if choices:
        return f"{'list of' if type_.is_list else 'one of'} {', '.join(choices)}"
    names = {int: "whole number", float: "number", str: "text", bool: "on or off"}
    name = names.get(annotation, "TOML table, as in { key = 1 }")
    limited = " ".join([name, ", ".join(_limits(metadata))]).strip()
    return f"list of {limited.replace('number', 'numbers')}" if type_.is_list else limited


def _is_network(metadata: list[Any]) -> bool:
    from dnlbench.studies.training.spec import Network

    _, check = get_args(Network)
    return check in metadata


def _architectures() -> tuple[str, ...]:
    from dnlbench.architecture import ARCHITECTURES

    return tuple(ARCHITECTURES)


def _limits(metadata: list[Any]) -> Iterator[str]:
    """``≥ 1``, ``≤ 32``, from annotations that may lie in one another. What no int of a computer reaches is no limit."""
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from _limits(one.metadata)
            continue
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            limit = getattr(one, name, None)
            if limit is not None and abs(limit) < 2**62:
                yield f"{sign} {limit:,}"


def _attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The strings below a model's fields, which Python itself throws away; none where there is no source to read."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            try:
                source = inspect.getsource(sys.modules[base.__module__])
            except (OSError, TypeError, KeyError):
                continue
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ClassDef) and node.name == base.__name__:
                    found.update(_docs_below(node))
    return found


def _docs_below(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, after in zip(node.body, node.body[1:], strict=False):
        is_field = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            target = cast(ast.Name, cast(ast.AnnAssign, statement).target)
            yield target.id, " ".join(str(after.value.value).split())


def _plain(about: str) -> str:
    return about.replace("``", "")


def _shown(field: FormField, value: Any) -> str:
    """The text that `read_value` reads as that value; empty for no value."""
    if value is None or value is PydanticUndefined or value == {}:
        return ""
    is_bare = isinstance(value, str) and field.kind in ("choice", "text") and not isinstance(read_toml(value), str)
    return str(value) if is_bare else write_value(value)


def _document(table: Mapping[str, Any]) -> str:
    blocks = ["\n".join(write_pair(name, value) for name, value in table.items() if not isinstance(value, dict))]
    for name, inner in table.items():
        if isinstance(inner, dict):
            head = tomli_w.dumps({name: {}}).strip()
            blocks.append("\n".join([head, *(write_pair(key, value) for key, value in inner.items())]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _by_key(message: str, table: Mapping[str, Any], keys: set[Key]) -> dict[Key, str]:
    """The lines of an explanation by the fields that they are about."""
    errors: dict[Key, str] = {}
    for line in message.splitlines():
        complaint = re.sub(rf"^{_SPEC}(:\d+)?: ", "", line)
        match = re.match(r"[\w-]+(?:\.[\w-]+|\[\d+\])*", complaint)
        path = tuple(re.sub(r"\[\d+\]", "", match[0]).split(".")) if match else TOP
        key = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in keys), TOP)
        if key != TOP:
            complaint = complaint.removeprefix(".".join(key))
            complaint = complaint.removeprefix(f" = {shown(_lookup(table, key))}").removeprefix(": ").strip()
        errors[key] = f"{errors[key]}\n{complaint}" if key in errors else complaint
    return errors
