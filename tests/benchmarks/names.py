"""What dnlbench's networks call their parameters, and what the plain script calls the same ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of a `dnlbench.dnl.networks.DNLNetwork` for `plain_script.Network`."""
    return {_plain_name(name): value for name, value in state.items()}


def _plain_name(name: str) -> str:
    """``features`` holds the stem, then for each block the block itself, a transition and its pooling."""
    found = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if found is None:
        return name
    place, rest = int(found[1]), found[2]
    if place == 0:
        return f"stem.{rest}"
    block, kind = divmod(place - 1, 3)
    if kind:
        return f"transitions.{block}.{rest}"
    return f"blocks.{block}.{rest.replace('transforms.', 'kernels.')}"
