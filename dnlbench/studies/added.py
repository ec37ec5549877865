"""Keys that a spec gained in a later version, and what specs from before then mean.

A key that is added with a new default would change what older specs ask for. `Added` marks such a key with the value that
every sweep ran with before the key existed. Saved specs without the key (in ``sweep.json`` and in profiles) are completed
with that value, never with today's default. Identities leave the key out where it has that value, so a spec that asks for
the computation of an older version keeps that version's hash and run ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Added:
    """Metadata of an added key: ``key: Annotated[str, Added(before="old")] = "new"``."""

    before: Any
    """The value that sweeps ran with when the key did not exist."""


def completed(form: type[BaseModel], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Add the keys that a saved spec lacks, with their values from before they existed.

    The saved spec may be damaged: the model is what judges it.
    """
    found = dict(saved)
    for name, field in form.model_fields.items():
        table, added = _table(field), _added(field)
        if added:
            found.setdefault(name, added.before)
        elif table and isinstance(inner := found.get(name, {}), Mapping) and (filled := completed(table, inner)):
            found[name] = filled
    return found


def essential(form: type[BaseModel], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the added keys whose value is the one from before they existed."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        field = form.model_fields[name]
        table, added = _table(field), _added(field)
        if added is None or value != added.before:
            kept[name] = essential(table, value) if table else value
    return kept


def _table(field: FieldInfo) -> type[BaseModel] | None:
    form = field.annotation
    return form if isinstance(form, type) and issubclass(form, BaseModel) else None


def _added(field: FieldInfo) -> Added | None:
    return next((each for each in field.metadata if isinstance(each, Added)), None)
