"""What distinguishes the networks that dnlbench builds, as plain data.

All of them are one skeleton: blocks of ``L`` layers with a stem in front, transitions between and a classifier behind.
A layer ``l`` (``0 <= l < L``) reads some of the states ``x^0 .. x^l``, each through the kernel's transformation ``N``,
and makes the next one::

    x^{l+1} = [x^l + tau *]  conv(relu(norm([ N(x^k) for k in sources(l) ])))

Networks differ in the kernel, in the sources and in whether the bracketed term is there; nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

KernelName = Literal["local", "attention", "gaussian", "rbf"]
ConnectivityName = Literal["full", "window", "strides"]
ActivationName = Literal["relu", "prelu", "tanh", "identity"]
Family = Literal["dense", "residual", "sequential"]
ImplementationName = Literal["standard", "memory-efficient"]
RequestedImplementation = Literal["auto", "memory-efficient", "standard"]
InitializationName = Literal["torch", "kaiming"]
AttentionInitializationName = Literal["torch", "unit-scores"]
WeightKind = Literal["dense", "conv"]
Direction = Literal["independent", "fixed"]
Roughness = Literal["smooth", "kink", "sqrt", "hoelder", "jump"]
Padding = Literal["zeros", "circular"]

MEMORY_EFFICIENT_PIXELS = 256
"""Image positions from which ``auto`` chooses the memory-efficient implementation for dense networks. It trains faster there (on
32×32 images) and needs far less memory; on 8×8 images it is slower, by a factor of 1.4 at depth 8."""

Sources = Callable[[int], tuple[int, ...]]
"""Layer index ``l`` to the indices ``k <= l`` of the states it reads, increasing."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the table of networks."""

    name: str
    kernel: KernelName
    """The pairwise weight inside the non-local transformation ``N``."""
    family: Family
    """``dense`` reads many states, ``residual`` adds to the last one, ``sequential`` replaces it."""

    @property
    def dense(self) -> bool:
        """Whether layers read states older than the last, and the block hands on all of them."""
        return self.family == "dense"

    def scaled_by_step(self, source: int) -> bool:
        """Whether ``step_scaling = "1/L"`` puts the step ``tau = 1/L`` on a layer's weights on this source.

        In Eq. (1) of the DNL framework ``tau`` stands before the sum over states but not before ``A^l x^0``, and the filter
        slices on the block's input are that one-index term. What a residual layer adds is scaled as a whole instead, and
        a sequential network has no step.
        """
        return self.dense and source > 0


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(name="densenet", kernel="local", family="dense"),
        Architecture(name="dense-attention", kernel="attention", family="dense"),
        Architecture(name="dense-gaussian", kernel="gaussian", family="dense"),
        Architecture(name="dense-rbf", kernel="rbf", family="dense"),
        Architecture(name="resnet", kernel="local", family="residual"),
        Architecture(name="plain", kernel="local", family="sequential"),
    )
}


def full(layer: int) -> tuple[int, ...]:
    """All states so far: ``0 .. l``."""
    return tuple(range(layer + 1))


def window(width: int) -> Sources:
    """The last ``width`` states: ``l − width < k <= l``.

    Raises:
        ValueError: if ``width < 1``.
    """
    if width < 1:
        raise ValueError(f"a window holds at least 1 state, not {width}")
    return lambda layer: tuple(range(max(0, layer + 1 - width), layer + 1))


def strides(layer: int) -> tuple[int, ...]:
    """The states at distances 1, 2, 4, 8, … from the new one: ``k = l + 1 − 2^j >= 0``."""
    return tuple(layer + 1 - 2**j for j in reversed(range((layer + 1).bit_length())))


def sources_of(architecture: Architecture, connectivity: ConnectivityName, window_width: int | None) -> Sources:
    """Which states each layer of a network reads.

    Raises:
        ValueError: if the connectivity is ``window`` and no width is given.
    """
    if not architecture.dense:
        return window(1)
    if connectivity == "window":
        if window_width is None:
            raise ValueError("connectivity 'window' needs a width")
        return window(window_width)
    return full if connectivity == "full" else strides


def choose_implementation(
    asked: RequestedImplementation, architecture: Architecture, height: int, width: int
) -> ImplementationName:
    """How a network trains on images of a size. Baselines read each state once, so there is nothing to share."""
    if asked != "auto":
        return asked
    return "memory-efficient" if architecture.dense and height * width >= MEMORY_EFFICIENT_PIXELS else "standard"


def most_blocks(height: int, width: int) -> int:
    """How many blocks fit an image: each transition between two blocks halves its sides, rounding down, to 1 at least."""
    return min(height, width).bit_length()
