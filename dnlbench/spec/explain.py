"""Validation errors in the user's terms: file, line, key, value, what is allowed and the nearest known key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Key = tuple[str, ...]

_NEAR = 0.6
"""Likeness, 0 to 1, from which on a known word is offered for an unknown one."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a spec came from: a text, and the overrides put on top of it."""

    origin: str
    text: str
    overrides: Mapping[Key, str]

    def place(self, key: Key) -> str:
        """Where the value of a key was given: an override, or file and line; the file alone for an absent key."""
        for depth in range(len(key), 0, -1):
            if key[:depth] in self.overrides:
                return self.overrides[key[:depth]]
        line = line_of(self.text, key)
        return f"{self.origin}:{line}" if line else self.origin


def line_of(text: str, key: Key) -> int | None:
    """Line, from 1, of the statement that gives a key its value; of its nearest table where the key itself is absent.

    TOML readers tell no positions, so the text is read with one line more each time: the statement that makes the key
    appear begins after the longest beginning of the text that is valid and lacks it.
    """
    lines = text.splitlines(keepends=True)
    for depth in range(len(key), 0, -1):
        before = 0
        for end in range(len(lines) + 1):
            try:
                table = tomllib.loads("".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue
            if _holds(table, key[:depth]):
                return before + 1
            before = end
    return None


def _holds(table: Any, key: Key) -> bool:
    for part in key:
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def nearest(word: str, known: Sequence[str]) -> str:
    """``; did you mean 'x'?``, or a full stop when no known word is near: the end of a sentence."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=_NEAR)
    return f"; did you mean {close[0]!r}?" if close else "."


def _nearest_key(key: Key, model: type[BaseModel]) -> str:
    """As `nearest`, over the keys of all tables; among equally near ones that of the same table comes first.

    A key of another table is named in full: it has to be written elsewhere.
    """

    def likeness(known: Key) -> tuple[float, bool]:
        return difflib.SequenceMatcher(None, known[-1], key[-1]).ratio(), known[:-1] == key[:-1]

    best = max(_keys(model), key=likeness)
    ratio, same_table = likeness(best)
    return f"; did you mean {best[-1] if same_table else '.'.join(best)!r}?" if ratio >= _NEAR else "."


def explain(error: ValidationError, source: Source, model: type[BaseModel]) -> str:
    """One line per error."""
    errors = error.errors()
    # A list whose values are all refused is reported as empty too, which its author did not write.
    refused = {details["loc"][:-1] for details in errors}
    told = [details for details in errors if details["type"] != "too_short" or details["loc"] not in refused]
    return "\n".join(_line(details, source, model) for details in told)


def _line(details: ErrorDetails, source: Source, model: type[BaseModel]) -> str:
    context = details.get("ctx", {})
    location = tuple(context["key"].split(".")) if "key" in context else details["loc"]
    key = tuple(part for part in location if isinstance(part, str))
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{source.place(key)}: {shown.removeprefix('.')}{_complaint(details, key, model)}"


def _complaint(details: ErrorDetails, key: Key, model: type[BaseModel]) -> str:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            allowed = [known[-1] for known in _keys(model) if known[:-1] == key[:-1]]
            return f": unknown key{_nearest_key(key, model)} Allowed: {', '.join(allowed)}"
        case "missing":
            return ": this key is required and missing"
        case "literal_error" | "unknown_choice":
            choices = _choices(details)
            reason = f" ({details['msg']})" if details["type"] == "unknown_choice" else ""
            return f" = {value!r}: allowed: {', '.join(choices)}{nearest(str(value), choices)}{reason}"
        case "too_short":
            return " is empty: at least one value is needed"
        case "too_long":
            return f" holds too many values: at most {context['max_length']:,} are allowed"
        case "too_many_runs":
            return f": {details['msg']}"
        case "does_not_fit":
            return f" = {context['value']!r}: {details['msg']}"
        case "model_type" | "model_attributes_type":
            return f" = {value!r}: must be a table"
        case "repeated":
            return f" repeats {details['msg']}"
        case "string_pattern_mismatch":
            return f" = {value!r}: may hold letters, digits, dots, dashes and underscores, 64 at most (files bear it)"
    return f" = {value!r}: {details['msg'].replace('Input should be', 'must be').replace('Value error, ', '')}"


def _choices(details: ErrorDetails) -> list[str]:
    context = details.get("ctx", {})
    if "choices" in context:
        return list(context["choices"])
    expected = str(context.get("expected", ""))
    return [word.strip().strip("'") for word in expected.replace(" or ", ",").split(",") if word.strip()]


def _keys(model: type[BaseModel], table: Key = ()) -> Iterator[Key]:
    """Every key of a spec, its tables and their keys alike."""
    for name, field in model.model_fields.items():
        key = (*table, name)
        yield key
        for annotation in (field.annotation, *get_args(field.annotation)):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from _keys(annotation, key)
