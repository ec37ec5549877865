"""Tables of all keys of a spec, as Markdown: what the pages of the documentation show between two comments.

A page marks the place with ``<!-- keys: STUDY -->`` and ``<!-- end of keys -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dnlbench.spec.values import element_of, value_type, without_none, write_value
from dnlbench.studies import STUDIES
from dnlbench.studies.base import StudySpec

_MARKED = re.compile(r"(<!-- keys: ([\w-]+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)
_LARGEST_SHOWN = 10_000
"""Upper bounds beyond this only catch typing errors."""
_NAMES = {int: "integer", float: "number", str: "string", bool: "`true`, `false`", dict: "table"}
_PLURALS = {"integer": "integers", "number": "numbers"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def fill_in_keys(page: str) -> str:
    """Return the page with the tables between each pair of comments generated from the study's models."""
    return _MARKED.sub(lambda match: f"{match[1]}\n{key_tables(match[2])}\n\n{match[3]}", page)


def key_tables(study: str) -> str:
    """Return a table of key, values, default and meaning for each table of the study's spec."""
    spec = STUDIES[study].spec
    top_level = {name: field for name, field in spec.model_fields.items() if not _is_table(field)}
    parts = ["\n".join(_rows(top_level, None))]
    for name, field in spec.model_fields.items():
        if _is_table(field):
            section = field.annotation
            assert isinstance(section, type)
            assert issubclass(section, BaseModel)
            defaults = None if field.is_required() else field.default
            parts.append(f"`[{name}]`\n\n" + "\n".join(_rows(section.model_fields, defaults)))
    return "\n\n".join(parts)


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _rows(fields: dict[str, FieldInfo], defaults: BaseModel | None) -> Iterator[str]:
    """Yield the lines of a table. Defaults are those of the section as the study sets it, or of its fields."""
    yield "| key | values | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in fields.items():
        inherited = StudySpec.model_fields[name].description if name in StudySpec.model_fields else None
        meaning = " ".join((field.description or inherited or "").replace("``", "`").replace("|", r"\|").split())
        default = getattr(defaults, name) if defaults else field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else "–" if default is None else f"`{write_value(default)}`"
        yield f"| `{name}` | {_values(field)} | {shown} | {meaning} |"


def _values(field: FieldInfo) -> str:
    annotation, metadata = without_none(field.annotation, list(field.metadata))
    element, of_element = element_of(annotation)
    if element is annotation:
        return _value(annotation, [*metadata, field])
    if len(set(get_args(annotation)) - {Ellipsis}) == 1 and Ellipsis not in get_args(annotation):
        return f"list of {len(get_args(annotation))} {_plural(_value(element, of_element))}"
    return f"{'count, or ' if value_type(field).is_count else ''}list of {_plural(_value(element, of_element))}"


def _value(annotation: Any, metadata: list[Any]) -> str:
    constraints = [inner for each in metadata for inner in (each.metadata if isinstance(each, FieldInfo) else [each])]
    examples = [name for each in metadata if isinstance(each, FieldInfo) for name in each.examples or ()]
    if choices := examples or (get_args(annotation) if get_origin(annotation) is Literal else ()):
        return ", ".join(f"`{write_value(choice)}`" for choice in choices)
    bounds = [
        f"{sign} {bound:,g}"
        for name, sign in _BOUNDS.items()
        for bound in [next((getattr(each, name) for each in constraints if hasattr(each, name)), None)]
        if bound is not None and bound <= _LARGEST_SHOWN
    ]
    step = next((each.multiple_of for each in constraints if hasattr(each, "multiple_of")), None)
    more = [f"multiple of {step}"] if step else []
    return ", ".join([" ".join([_NAMES[get_origin(annotation) or annotation], *bounds[:1]]), *bounds[1:], *more])


def _plural(text: str) -> str:
    first, space, rest = text.partition(" ")
    return f"{_PLURALS.get(first, first)}{space}{rest}"
