"""JSON documents of a run directory, each with the schema in which it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnlbench.errors import RunDirError
from dnlbench.files import read_regular


def read_document(path: Path, schema: str) -> dict[str, Any]:
    """Read a document.

    Raises:
        FileNotFoundError: if it does not exist.
        RunDirError: if it is damaged, or has another schema.
    """
    try:
        content = json.loads(read_regular(path))
    except FileNotFoundError:
        raise
    except RecursionError as error:
        raise damaged(path, "values are nested too deeply") from error
    except ValueError as error:
        raise damaged(path, f"not valid JSON: {error}") from error
    except OSError as error:
        raise RunDirError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise damaged(path, "must be a JSON object")
    written = content.get("schema")
    if written != schema:
        raise RunDirError(
            f"{path}: written by another version of dnlbench: its schema is {written!r}, this version reads {schema!r}. "
            "Choose another --run-dir."
        )
    return content


def damaged(path: Path, why: str) -> RunDirError:
    """Return the error for a damaged document."""
    return RunDirError(f"{path} is damaged: {why}. Choose another --run-dir.")


def first_problem(error: ValidationError, *table: str) -> str:
    """Describe the first problem of a document, or of a table in it."""
    details = error.errors()[0]
    return f'"{".".join(map(str, (*table, *details["loc"])))}": {details["msg"]}'
