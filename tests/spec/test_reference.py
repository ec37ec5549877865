"""The tables of keys in the documentation are those of the spec models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

import dnlbench.docs
from dnlbench.spec.reference import fill_in_keys, key_tables
from dnlbench.studies import STUDIES

PAGES = sorted(Path(dnlbench.docs.__file__).parent.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_of_keys_are_up_to_date(page: Path) -> None:
    """UPDATE_GOLDEN=1 writes them."""
    text = page.read_text(encoding="utf-8")
    expected = fill_in_keys(text)
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(expected, encoding="utf-8")
    else:
        assert text == expected


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_its_keys_on_a_page(study: str) -> None:
    assert sum(f"<!-- keys: {study} -->" in page.read_text(encoding="utf-8") for page in PAGES) == 1


@pytest.mark.parametrize("study", STUDIES)
def test_every_key_is_described(study: str) -> None:
    assert "|  |" not in key_tables(study)
    for name, field in STUDIES[study].spec.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert f"`[{name}]`" in key_tables(study)
            for key in field.annotation.model_fields:
                assert f"| `{key}` |" in key_tables(study)
