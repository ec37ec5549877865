"""The common part of the studies on the vector form: axes, network settings and random curves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dnlbench.architecture import KERNELS, ActivationName, KernelName
from dnlbench.studies.axes import Axes, Axis, Depths, Seeds
from dnlbench.studies.base import Section, StudySpec

_MOST_NUMBERS = 1024


class VectorAxes(Axes):
    """``[sweep]``: every kernel with every activation at every depth with every seed."""

    kernels: Axis[KernelName]
    """Kernels of the non-local transformation N."""
    activations: Axis[ActivationName] = ("tanh",)
    """Activations σ. A network is called, for example, local-tanh."""
    depths: Depths
    """Number of layers, L."""
    seeds: Seeds = (0, 1, 2)
    """A list, or a count n for the seeds 0 … n − 1. Each seed is a problem of its own."""


class VectorSettings(Section):
    """``[network]``: settings of all networks of the sweep. A state has ``positions`` × ``channels`` numbers."""

    positions: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 5
    """Positions of a state."""
    channels: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 3
    """Numbers at each position of a state."""
    bandwidth: Annotated[float, Field(gt=0)] = 1.0
    """h of the rbf kernel exp(−‖x_i − x_j‖² / (2 h²))."""
    slope: Annotated[float, Field(ge=0)] = 0.25
    """Slope of prelu for negative arguments."""


class CurveSettings(Section):
    """``[curves]``: random smooth parameters, cosine series with normal coefficients that fall like (1 + m)^-2."""

    modes: Annotated[int, Field(ge=1, le=64)] = 3
    """Terms of the cosine series of each parameter; coefficients are normal and fall like (1 + m)^-2."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor on all coefficients. Matrices are also divided by the square root of their size."""


class VectorSpec(StudySpec):
    """The common part of the specs of these studies. All computations are in float64."""

    sweep: VectorAxes
    network: VectorSettings
    curves: CurveSettings

    @property
    def networks(self) -> dict[str, tuple[KernelName, ActivationName]]:
        """Kernel and activation of each network, by its name, such as ``attention-tanh``."""
        return {f"{k}-{a}": (k, a) for k in self.sweep.kernels for a in self.sweep.activations}


def parameter_count(settings: VectorSettings, kernel: KernelName, depth: int) -> int:
    """Count the parameters: ``L (d² + d) + L (L + 1) / 2 d²`` for A, b and K, and ``L c²`` for each matrix inside N.

    These are V and the matrices of the kernel.
    """
    d, c = settings.positions * settings.channels, settings.channels
    inner = 1 + len(KERNELS[kernel].matrices)
    return depth * (d * d + d + inner * c * c) + depth * (depth + 1) // 2 * d * d
