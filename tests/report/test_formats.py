"""The choice of an output format: by its name, by the suffix of the file, or tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnlbench.errors import ConfigurationError
from dnlbench.report.formats import FORMATS, Content, choose_format


@pytest.mark.parametrize(
    ("content", "name", "output", "chosen"),
    [
        ("profile", None, None, "table"),
        ("profile", None, "a.txt", "table"),
        ("profile", None, "a.HTML", "html"),
        ("profile", None, "a.xml", "table"),  # junit renders no profiles
        ("comparison", None, "a.xml", "junit"),
        ("comparison", "markdown", "a.html", "markdown"),
        ("export", None, "rows.parquet", "parquet"),
    ],
)
def test_a_format_is_chosen(content: Content, name: str | None, output: str | None, chosen: str) -> None:
    assert choose_format(content, name, Path(output) if output else None) is FORMATS[chosen]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            "profile",
            "junit",
            r"^--format junit: does not render profiles; choose table, markdown, json, csv, html, latex$",
        ),
        ("profile", "htm", r"^--format htm: no such format; choose .*; did you mean 'html'\?$"),
        (
            "export",
            None,
            r"^-o a\.x: add --format; no format has this suffix\. Choose csv, jsonl, parquet, tensorboard$",
        ),
        ("export", "json.decoder:JSONDecoder", r"^format 'json\.decoder:JSONDecoder' is a type; it must be a Format$"),
        (
            "export",
            "nowhere:X",
            r"^format 'nowhere:X' cannot be imported: ModuleNotFoundError: No module named 'nowhere'$",
        ),
    ],
)
def test_other_formats_are_refused(content: Content, name: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose_format(content, name, Path("a.x"))
