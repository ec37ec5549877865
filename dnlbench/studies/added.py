"""Compatibility with the specs of older versions: added keys and renamed values.

A key that is added with a new default would change the meaning of older specs. `Added` marks such a key with the value that
every sweep ran with before the key existed. Saved specs without the key (in ``sweep.json`` and in profiles) are completed
with that value, never with today's default. Identities omit the key if it has that value, so a spec that describes the
computation of an older version keeps that version's hash and run ids.

`Renamed` marks a key whose values have new names. The old names are still accepted and read as the new ones. Identities
contain the old names, so hashes and run ids do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

M = TypeVar("M")


@dataclass(frozen=True)
class Added:
    """Metadata of an added key: ``key: Annotated[str, Added(before="old")] = "new"``."""

    before: Any
    """The value that sweeps ran with when the key did not exist, as in JSON."""


@dataclass(frozen=True)
class Renamed:
    """Metadata of a key with renamed values: ``key: Annotated[Literal["new"], Renamed({"old": "new"})]``."""

    names: Mapping[str, Any]
    """Old names to new values."""

    def new(self, value: Any) -> Any:
        """Return the new value of an old name."""
        return self.names.get(value, value) if isinstance(value, str) else value

    def old(self, value: Any) -> Any:
        """Return the old name of a value; a value without one is returned as it is."""
        return next((old for old, new in self.names.items() if new == value), value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.new, handler(source))


def completed(model: type[BaseModel], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Add the keys that a saved spec lacks, with their values from before they existed, and rename old values.

    The result may be invalid if the saved spec is; only the model validates it.
    """
    result = dict(saved)
    for name, field in model.model_fields.items():
        table, added, renamed = _table(field), _metadata(field, Added), _metadata(field, Renamed)
        if added:
            result.setdefault(name, added.before)
        elif renamed and name in result:
            result[name] = renamed.new(result[name])
        elif table and isinstance(inner := result.get(name, {}), Mapping) and (filled := completed(table, inner)):
            result[name] = filled
    return result


def essential(model: type[BaseModel], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the added keys whose value is the one from before they existed, and give renamed values their old names.

    An added table, all of whose keys are dropped, is dropped too.
    """
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        field = model.model_fields[name]
        table, added, renamed = _table(field), _metadata(field, Added), _metadata(field, Renamed)
        if table:
            inner = essential(table, value)
            if inner or not value:
                kept[name] = inner
        elif added is None or value != added.before:
            kept[name] = renamed.old(value) if renamed else value
    return kept


def _table(field: FieldInfo) -> type[BaseModel] | None:
    model = field.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _metadata(field: FieldInfo, kind: type[M]) -> M | None:
    return next((each for each in field.metadata if isinstance(each, kind)), None)
