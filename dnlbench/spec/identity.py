"""Identity by content: equal questions have equal hashes, wherever and whenever they are asked."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dnlbench.studies import StudySpec


def content_hash(content: Any, digits: int = 16) -> str:
    """Hexadecimal SHA-256 of plain data, cut to ``digits``; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def spec_hash(spec: StudySpec) -> str:
    """Hash of what was asked; how it was carried out, its label and where its files lie are not in it."""
    return content_hash(spec.identity())
