"""Error messages for invalid specs: file, line, key, value, allowed values and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dnlbench.errors import SpecError, did_you_mean
from dnlbench.spec.lines import Key, key_lines
from dnlbench.spec.values import find_type, write_value

_NEAR = 0.6
"""Minimum similarity, 0 to 1, at which a known key is suggested for an unknown one."""
MOST_ERRORS = 20
"""Maximum number of errors listed in a message. Further errors are only counted."""
LONGEST_VALUE = 80
"""Maximum number of characters of a value in a message."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The origin of a spec: a text, and the overrides applied to it."""

    origin: str
    text: str
    """Valid TOML."""
    overrides: Mapping[Key, str]

    def location(self, key: Key) -> str:
        """Return where a key is set: an override, or file and line; only the file for an absent key.

        The line is that of the first statement with the key, or else of the nearest table that contains it.
        """
        for end in range(len(key), 0, -1):
            if key[:end] in self.overrides:
                return self.overrides[key[:end]]
        line = next((self._lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._lines), None)
        return f"{self.origin}:{line}" if line else self.origin

    @cached_property
    def _lines(self) -> Mapping[Key, int]:
        return key_lines(self.text)


def _nearest_key(key: Key, value: Any, model: type[BaseModel]) -> str:
    """Suggest a key from all tables like `did_you_mean`, preferring the same table among equally similar keys.

    A key of another table is written in full. Tables are suggested only for tables, other keys only for other values.
    """
    matcher = difflib.SequenceMatcher(b=key[-1])

    def likeness(known: Key) -> tuple[float, bool]:
        matcher.set_seq1(known[-1])
        is_near = matcher.real_quick_ratio() >= _NEAR and matcher.quick_ratio() >= _NEAR  # upper bounds
        return matcher.ratio() if is_near else 0.0, known[:-1] == key[:-1]

    candidates = (known for known, is_table in _keys(model) if is_table == isinstance(value, dict))
    (ratio, same_table), best = max(((likeness(known), known) for known in candidates), key=itemgetter(0))
    return f"; did you mean {best[-1] if same_table else '.'.join(best)!r}?" if ratio >= _NEAR else "."


def _is_table(key: Key, model: type[BaseModel]) -> bool:
    type_ = find_type(model, key)
    return type_ is not None and type_.element is dict


def explain(error: ValidationError, source: Source, model: type[BaseModel]) -> SpecError:
    """Convert validation errors into a `SpecError` with a problem for each key."""
    errors = error.errors()
    # Pydantic also reports a list whose values are all invalid as empty.
    invalid = {details["loc"][:-1] for details in errors}
    relevant = [details for details in errors if details["type"] != "too_short" or details["loc"] not in invalid]
    return spec_error([_problem(details, model) for details in relevant], source)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An invalid value."""

    key: Key
    index: str
    """``[1]`` for an item of a list."""
    value: str
    """`` = 'x'``, for example. Empty if the message does not include the value."""
    message: str


def spec_error(problems: Sequence[Problem], source: Source) -> SpecError:
    """Create the error for invalid values: a line for each of the first `MOST_ERRORS`, and the number of the others."""
    lines = [
        f"{source.location(each.key)}: {'.'.join(each.key)}{each.index}{each.value}{each.message}"
        for each in problems[:MOST_ERRORS]
    ]
    more = len(problems) - MOST_ERRORS
    lines += [f"and {more:,} more error{'s' if more > 1 else ''}"] if more > 0 else []
    pairs = [
        (each.key, f"{each.index}{each.value if each.index else ''}{each.message}".removeprefix(": ").strip())
        for each in problems
    ]
    return SpecError("\n".join(lines), pairs)


def shown(value: Any) -> str:
    """Format a value for a message: its ``repr``, truncated if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers with too many digits
        return "an integer of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    context = details.get("ctx", {})
    path = tuple(context["key"].split(".")) if "key" in context else details["loc"]
    key = tuple(part for part in path if isinstance(part, str))
    index = "".join(f"[{part}]" for part in path if isinstance(part, int))
    message, value = _message(details, key, model), ""
    if message.startswith(" = "):
        value = f" = {shown(context.get('value', details['input']))}"
    return Problem(key=key, index=index, value=value, message=message.removeprefix(value))


def _message(details: ErrorDetails, key: Key, model: type[BaseModel]) -> str:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            allowed = [known[-1] for known, _ in _keys(model) if known[:-1] == key[:-1]]
            return f": unknown key{_nearest_key(key, value, model)} Allowed: {', '.join(allowed)}"
        case "missing":
            return ": required key is missing"
        case "literal_error" | "unknown_choice":
            choices = _choices(details)
            reason = f" ({details['msg']})" if details["type"] == "unknown_choice" else ""
            return f" = {shown(value)}: allowed: {', '.join(choices)}{did_you_mean(str(value), choices) or '.'}{reason}"
        case "too_short":
            return " is empty: at least one value is needed"
        case "too_long":
            return f" has too many values; at most {context['max_length']:,} are allowed"
        case "too_many_runs":
            return f": {details['msg']}"
        case "does_not_fit":
            return f" = {shown(context['value'])}: {details['msg']}"
        case "model_type" | "model_attributes_type":
            return f" = {shown(value)}: must be a table"
        case "repeated":
            return f" repeats {details['msg']}"
        case "string_pattern_mismatch":
            return (
                f" = {shown(value)}: use only the letters a–z and A–Z, digits, '.', '-' and '_' (at most 64 characters, the "
                "first a letter or digit), since files are named after it"
            )
        case "tuple_type":
            form = write_value([value])
            return f" = {shown(value)}: must be a list" + (f", as in {form}" if len(form) <= LONGEST_VALUE else "")
        case "int_type" | "int_from_float":
            return f" = {shown(value)}: must be a whole number"
        case "float_type":
            return f" = {shown(value)}: must be a number"
        case "bool_type":
            return f" = {shown(value)}: must be true or false"
        case "string_type":
            return f" = {shown(value)}: must be a string, in quotes"
    return f" = {shown(value)}: {details['msg'].replace('Input should be', 'must be').replace('Value error, ', '')}"


def _choices(details: ErrorDetails) -> list[str]:
    context = details.get("ctx", {})
    if "choices" in context:
        return list(context["choices"])
    expected = str(context.get("expected", ""))
    return [word.strip().strip("'") for word in expected.replace(" or ", ",").split(",") if word.strip()]


@cache
def _keys(model: type[BaseModel]) -> tuple[tuple[Key, bool], ...]:
    """Return every key of a spec, and whether it is a table."""
    return tuple((key, _is_table(key, model)) for key in _nested_keys(model))


def _nested_keys(model: type[BaseModel], table: Key = ()) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        key = (*table, name)
        yield key
        for annotation in (field.annotation, *get_args(field.annotation)):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from _nested_keys(annotation, key)
