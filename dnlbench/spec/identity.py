"""Content hashes: specs that request the same results have equal hashes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dnlbench.studies import StudySpec


def content_hash(content: Any, digits: int = 16) -> str:
    """Return the hexadecimal SHA-256 of plain data, truncated to ``digits``. The order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def spec_hash(spec: StudySpec) -> str:
    """Hash the requested results. Name, file locations and execution settings are not included."""
    return content_hash(spec.identity())
