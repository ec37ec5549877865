"""What the studies of the vector form share: the size of its states, and what distinguishes its networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dnlbench.architecture import ActivationName, KernelName
from dnlbench.studies.axes import Axes, Axis, Depths, Seeds
from dnlbench.studies.base import Section, StudySpec

_MOST_NUMBERS = 1024


class VectorAxes(Axes):
    """``[sweep]``: every kernel with every activation at every depth with every seed."""

    kernels: Axis[KernelName]
    activations: Axis[ActivationName] = ("tanh",)
    depths: Depths
    seeds: Seeds = (0, 1, 2)
    """A list, or a count n for 0 … n − 1. Each is a problem of its own."""


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


class VectorSpec(StudySpec):
    """The part that the specs of these studies share. Everything is computed in float64."""

    sweep: VectorAxes
    network: VectorSettings
    curves: CurveSettings

    @property
    def networks(self) -> dict[str, tuple[KernelName, ActivationName]]:
        """Kernel and activation of each network, by its name, such as ``attention-tanh``."""
        return {f"{k}-{a}": (k, a) for k in self.sweep.kernels for a in self.sweep.activations}


def parameter_count(settings: VectorSettings, kernel: KernelName, depth: int) -> int:
    """``L (d² + d) + L (L + 1) / 2 d²`` for A, b and K, and ``c²`` for each matrix inside N: 3 of them for attention."""
    d, c = settings.positions * settings.channels, settings.channels
    inner = 3 if kernel == "attention" else 1
    return depth * (d * d + d + inner * c * c) + depth * (depth + 1) // 2 * d * d
