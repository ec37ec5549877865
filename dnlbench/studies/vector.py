"""What the studies of the vector form share: the size of its states, and what distinguishes its networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dnlbench.architecture import ActivationName, KernelName
from dnlbench.studies.base import Section

_MOST_NUMBERS = 1024


class VectorSettings(Section):
    """``[network]``: what all networks of the sweep share. A state has ``positions`` × ``channels`` numbers."""

    positions: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 5
    channels: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 3
    bandwidth: Annotated[float, Field(gt=0)] = 1.0
    """h of the rbf kernel exp(−‖x_i − x_j‖² / (2 h²))."""
    slope: Annotated[float, Field(ge=0)] = 0.25
    """Of prelu at negative arguments."""


class CurveSettings(Section):
    """``[curves]``: random smooth parameters, cosine series with normal coefficients that fall like (1 + m)^-2."""

    modes: Annotated[int, Field(ge=1, le=64)] = 3
    """Terms of a series."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor on all coefficients; matrices are scaled by one over the root of their size beside."""


def parameter_count(settings: VectorSettings, kernel: KernelName, depth: int) -> int:
    """``L (d² + d) + L (L + 1) / 2 d²`` for A, b and K, and ``c²`` for each matrix inside N: 3 of them for attention."""
    d, c = settings.positions * settings.channels, settings.channels
    inner = 3 if kernel == "attention" else 1
    return depth * (d * d + d + inner * c * c) + depth * (depth + 1) // 2 * d * d


def network_name(kernel: KernelName, activation: ActivationName) -> str:
    """Such as ``attention-tanh``."""
    return f"{kernel}-{activation}"
