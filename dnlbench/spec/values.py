"""Read and write the values of a spec as TOML. Quotes and brackets are optional if the key's type makes them unnecessary."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from dnlbench.spec.lines import MOST_PARTS, Key

_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Numbers, including ``.5``, ``1.`` and ``1.e3``, which are not valid TOML."""
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST_WORDS = 8
"""Maximum number of list items in a message."""
_WORD = re.compile(r"[^\s,\[\](){}\"']+")


@dataclass(frozen=True, kw_only=True)
class ValueType:
    """The properties of a key's type that determine how its text is read."""

    element: Any = None
    """bool, int, float, str or dict; for a list, the type of its items. None: any type."""
    choices: tuple[str, ...] = ()
    """Allowed strings. Empty: all strings."""
    is_list: bool = False
    is_count: bool = False
    """A single number is a count, not a list with one item."""
    is_optional: bool = False
    """The value may be None."""

    @property
    def is_words(self) -> bool:
        """True for strings and lists of strings."""
        return self.element is str


ANY = ValueType()
"""The type of user-defined keys."""


def value_type(info: FieldInfo) -> ValueType:
    """Return the type of a field of a spec."""
    annotation, metadata = without_none(info.annotation, info.metadata)
    element, _ = element_of(annotation)
    choices = tuple(map(str, get_args(element))) if get_origin(element) is Literal else ()
    return ValueType(
        element=str if choices else get_origin(element) or element,
        choices=choices,
        is_list=element is not annotation,
        is_count=any(isinstance(each, BeforeValidator) for each in metadata),
        is_optional=NoneType in get_args(info.annotation),
    )


def find_type(model: type[BaseModel], key: Key) -> ValueType | None:
    """Return the type of a key in nested tables; None if the spec does not have the key."""
    name, *rest = key
    if name not in model.model_fields:
        return None
    annotation = model.model_fields[name].annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return find_type(annotation, tuple(rest)) if rest else ValueType(element=dict)
    type_ = value_type(model.model_fields[name])
    if not rest:
        return type_
    return ANY if type_.element is dict else None


def without_none(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Return ``X`` for ``X | None``, with its metadata."""
    if NoneType in get_args(annotation):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*metadata, *inner]
    return annotation, metadata


def element_of(annotation: Any) -> tuple[Any, list[Any]]:
    """Return ``X`` for ``tuple[X, ...]``, and other annotations unchanged."""
    if get_origin(annotation) is not tuple:
        return annotation, []
    return without_none(get_args(annotation)[0], [])


def read_value(text: str, type_: ValueType) -> Any:
    """Convert a text to a value: TOML, or a simpler form that is unambiguous for this type.

    Strings need no quotes and lists no brackets. Numbers may start or end with a decimal point, integers may have an exponent,
    a list with one item may be written as the item, and ``none`` removes an optional key.

    Returns:
        The value; None for ``none``. A word that is not a value of the type is returned as a string; validation rejects it.

    Raises:
        ValueError: for unmatched brackets or quotes, with the correct form, and for values that are nested too deeply.
    """
    if type_.is_optional and text.lower() in ("none", "null"):
        return None
    value = _read_list(text, type_) if type_.is_list else _read_item(text, type_)
    if is_deep(value):
        raise ValueError(f"is nested more than {MOST_PARTS} levels deep")
    return value


def is_deep(value: Any, levels: int = MOST_PARTS) -> bool:
    """Return true if lists and tables are nested in more than ``levels`` levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(is_deep(each, levels - 1) for each in inner)


def _read_list(text: str, type_: ValueType) -> Any:
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    if type_.is_count and inner is text and "," not in text:
        return _read_item(text, type_)
    items = read_toml(f"[{inner}]")
    if items is None:
        items = read_toml(f"[{text}]")  # [1], [2, 3]
    if items is not None:
        return [_convert(item, type_) for item in items]
    parts = [part.strip() for part in inner.split(",")]
    if set(inner) & set("[](){}"):
        raise ValueError(_message(text, type_))
    return [_read_item(part, type_) for part in parts if part]


def _read_item(text: str, type_: ValueType) -> Any:
    value = read_toml(text)
    if type_.is_words and not type_.is_list:
        return value if isinstance(value, str) else text  # 12 is a name, too
    if value is None and _NUMBER.fullmatch(text) and type_.element in (int, float, None):
        value = float(text) if math.isfinite(float(text)) else None
    if value is None and type_.element is bool:
        value = _SWITCH.get(text.lower())
    if value is None and type_.element is None and text in ("True", "False"):
        value = text == "True"
    if value is None and (text[:1] in ("[", "{", '"', "'") or (type_.element is None and text in ("None", "null"))):
        raise ValueError(_message(text, type_))
    return text if value is None else _convert(value, type_)


def _convert(value: Any, type_: ValueType) -> Any:
    """Convert a float such as ``1e3`` to an integer if the type is int. Above 2**53, a float may differ from the typed text."""
    is_integer = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_integer and type_.element is int else value


def _message(text: str, type_: ValueType) -> str:
    words = _WORD.findall(text)[:_MOST_WORDS]
    if type_.element is dict or (type_.element is None and text[:1] == "{"):
        return "is not a valid table; write it as { key = 1 }"
    if type_.is_list or text[:1] == "[":
        items = [_read_item(word, type_) for word in words] or (["one", "two"] if type_.is_words else [2, 4, 8])
        return f"is not a valid list; write it as {write_value(items)}"
    if type_.element is None and text in ("None", "null"):
        return f"is not a TOML value; remove the key or, for the word, write it as {write_value(text)}"
    return f"is not a valid string; write it as {write_value(' '.join(words))}"


def read_toml(text: str) -> Any:
    """Return the value of a TOML text; None if it is not valid."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return None
    return parsed["value"] if set(parsed) == {"value"} else None


def write_value(value: Any) -> str:
    """Format a value as TOML in one line."""
    import tomlkit  # deferred: only messages and forms need it

    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(write_pair(name, inner) for name, inner in value.items())} }}" if value else "{}"
    return str(tomlkit.item(value).as_string())


def write_pair(name: str, value: Any) -> str:
    """Format ``name = value``, with quotes around the name if TOML needs them."""
    import tomlkit

    return f"{tomlkit.key(name).as_string()} = {write_value(value)}"
