"""Values of a spec as text: read as TOML with the ceremony left out that a key's type makes needless, and written as TOML."""

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
"""Also those that TOML refuses: ``.5``, ``1.``, ``1.e3``."""
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST_WORDS = 8
"""Items of a list that are repeated in a message."""
_WORD = re.compile(r"[^\s,\[\](){}\"']+")


@dataclass(frozen=True, kw_only=True)
class ValueType:
    """The type of a key's values, as far as it decides how a text is read."""

    element: Any = None
    """bool, int, float, str or dict; of a list, that of its items. None: any."""
    choices: tuple[str, ...] = ()
    """The only strings allowed; empty: all."""
    is_list: bool = False
    is_count: bool = False
    """Whether a single number is not a list of one, but stands for something else."""
    is_optional: bool = False
    """Whether the key may be absent without a default."""

    @property
    def is_words(self) -> bool:
        """Whether it holds strings, or a list of them."""
        return self.element is str


ANY = ValueType()
"""The type of keys that the user chooses."""


def value_type(info: FieldInfo) -> ValueType:
    """The type of one field of a spec."""
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
    """The type of a key in nested tables; None for one that the spec does not have."""
    name, *rest = key
    if name not in model.model_fields:
        return None
    annotation = model.model_fields[name].annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return find_type(annotation, tuple(rest)) if rest else ValueType(element=dict)
    found = value_type(model.model_fields[name])
    if not rest:
        return found
    return ANY if found.element is dict else None


def without_none(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """``X`` of ``X | None``, with the limits that are on it."""
    if NoneType in get_args(annotation):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*metadata, *inner]
    return annotation, metadata


def element_of(annotation: Any) -> tuple[Any, list[Any]]:
    """``X`` of ``tuple[X, ...]``, anything else itself."""
    if get_origin(annotation) is not tuple:
        return annotation, []
    return without_none(get_args(annotation)[0], [])


def read_value(text: str, type_: ValueType) -> Any:
    """A typed text as a value: TOML, or what it can only mean for this type.

    Strings need no quotes and lists no brackets, numbers may begin or end with their point, a whole number may have an
    exponent, a list of one may be its item, and ``none`` stands for a key that is absent.

    Returns:
        The value; None for ``none``. A word that is no value of the type is returned as a string, for the spec to refuse.

    Raises:
        ValueError: for brackets or quotes that do not match, with what to write, and for values nested too deeply.
    """
    if type_.is_optional and text.lower() in ("none", "null"):
        return None
    value = _read_list(text, type_) if type_.is_list else _read_item(text, type_)
    if is_deep(value):
        raise ValueError(f"is nested more than {MOST_PARTS} levels deep")
    return value


def is_deep(value: Any, levels: int = MOST_PARTS) -> bool:
    """Whether lists and tables are nested in more levels than that."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(is_deep(each, levels - 1) for each in inner)


def _read_list(text: str, type_: ValueType) -> Any:
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    if type_.is_count and inner is text and "," not in text:
        return _read_item(text, type_)
    items = read_toml(f"[{inner}]")
    if items is not None:
        return [_fitted(item, type_) for item in items]
    parts = [part.strip() for part in inner.split(",")]
    if set(inner) & set("[](){}"):
        raise ValueError(_refusal(text, type_))
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
        raise ValueError(_refusal(text, type_))
    return text if value is None else _fitted(value, type_)


def _fitted(value: Any, type_: ValueType) -> Any:
    """``1e3`` is a whole number where one is asked for; beyond 2**53 not every float is the number that was typed."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole and type_.element is int else value


def _refusal(text: str, type_: ValueType) -> str:
    words = _WORD.findall(text)[:_MOST_WORDS]
    if type_.element is dict or (type_.element is None and text[:1] == "{"):
        return "is not a valid table; write it as { key = 1 }"
    if type_.is_list or text[:1] == "[":
        items = [_read_item(word, type_) for word in words] or (["one", "two"] if type_.is_words else [2, 4, 8])
        return f"is not a valid list; write it as {write_value(items)}"
    if type_.element is None and text in ("None", "null"):
        return f"is no value in TOML; leave the key out or, for the word, write it as {write_value(text)}"
    return f"is not a valid text; write it as {write_value(' '.join(words))}"


def read_toml(text: str) -> Any:
    """The value of a TOML text; None if it is none."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return None
    return parsed["value"] if set(parsed) == {"value"} else None


def write_value(value: Any) -> str:
    """A value as TOML in one line."""
    import tomlkit  # messages and forms alone need it

    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(write_pair(name, inner) for name, inner in value.items())} }}" if value else "{}"
    return str(tomlkit.item(value).as_string())


def write_pair(name: str, value: Any) -> str:
    """``name = value``, the name in quotes where TOML needs them."""
    import tomlkit

    return f"{tomlkit.key(name).as_string()} = {write_value(value)}"
