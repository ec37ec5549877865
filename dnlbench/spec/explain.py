"""Validation errors in the user's terms: file, line, key, value, what is allowed and the nearest known key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Key = tuple[str, ...]


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
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "."


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
    key = tuple(part for part in location if isinstance(part, str) and not _is_branch(part))
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if not _is_branch(part))
    return f"{source.place(key)}: {shown.lstrip('.')}{_complaint(details, key, model)}"


def _is_branch(part: int | str) -> bool:
    """Whether pydantic names a branch of a union or a validator here rather than a key."""
    return isinstance(part, str) and ("[" in part or "(" in part)


def _complaint(details: ErrorDetails, key: Key, model: type[BaseModel]) -> str:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            known = _keys_of_table(model, key[:-1])
            return f": unknown key{nearest(key[-1], known)} Allowed: {', '.join(known)}"
        case "missing":
            return ": this key is required and missing"
        case "literal_error" | "unknown_choice":
            choices = _choices(details)
            reason = f" ({details['msg']})" if details["type"] == "unknown_choice" else ""
            return f" = {value!r}: allowed: {', '.join(choices)}{nearest(str(value), choices)}{reason}"
        case "too_short":
            return " is empty: at least one value is needed"
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


def _keys_of_table(model: type[BaseModel], key: Key) -> list[str]:
    """The keys that the table at ``key`` may hold."""
    for part in key:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
