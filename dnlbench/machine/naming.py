"""Names of processors, graphics cards and hosts as people call them."""

from __future__ import annotations

import re

_NOISE = re.compile(r"\((R|TM)\)|^(NVIDIA|AMD|Intel)\b|\bGeForce\b|\b\d+-Core\b|\b(Processor|CPU)\b|@.*", re.IGNORECASE)
"""What a model's name is as clear without."""


def short_model(name: str) -> str:
    """A model without what all models of its maker are called: ``EPYC 9654``; the whole name if nothing else is left."""
    return " ".join(_NOISE.sub(" ", name).split()) or name


def short_host(name: str) -> str:
    """A host without its domain; an address has none."""
    return name if re.fullmatch(r"[\d.]+|.*:.*", name) else name.partition(".")[0] or name
