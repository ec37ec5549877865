"""The architectures of built-in networks, as plain data.

All networks consist of a stem, blocks of ``L`` layers with transitions between them, and a classifier. A layer ``l``
(``0 <= l < L``) reads some of the states ``x^0 .. x^l``, each through the kernel's transformation ``N``, and computes the next
state::

    x^{l+1} = [x^l + tau *]  conv(relu(norm([ N(x^k) for k in sources(l) ])))

Networks differ only in the kernel, in the sources, and in the presence of the bracketed term.
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
"""Number of pixels from which ``auto`` selects the memory-efficient implementation of dense networks. It trains faster on 32×32
images and needs far less memory. On 8×8 images it is slower, by a factor of 1.4 at depth 8."""

Sources = Callable[[int], tuple[int, ...]]
"""Maps a layer index ``l`` to the increasing indices ``k <= l`` of the states that the layer reads."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel of the non-local transformation ``N``, as plain data; `dnlbench.dnl.kernels` computes it.

    The numbers describe ``N`` of one state with ``c`` channels. Query, key, value and average are stored for the backward pass
    unless the kernel says otherwise. One number for each pixel is stored in addition.
    """

    matrices: tuple[str, ...] = ()
    """Names of the learned matrices (c, c) beside ``V``. `dnlbench.dnl.parameters.Arrays` has ``Q`` and ``R``."""
    is_identity: bool = False
    """``N(x) = x``: nothing is computed or stored."""
    compared: Callable[[int], int] = lambda c: c
    """Channels of query and key."""
    stored: Callable[[int], int] = lambda c: 4 * c
    """Channels that the standard implementation stores."""
    stored_memory_efficient: Callable[[int], int] = lambda c: 4 * c
    """Channels that the memory-efficient implementation stores."""


KERNELS: Mapping[KernelName, Kernel] = {
    "local": Kernel(is_identity=True),
    "attention": Kernel(matrices=("Q", "R")),
    # Query, key and value are the state. The norm stores it; the memory-efficient implementation has its own copy.
    "gaussian": Kernel(stored=lambda c: c, stored_memory_efficient=lambda c: 2 * c),
    # The square of the norm is one more channel. The memory-efficient implementation also stores the centered state.
    "rbf": Kernel(compared=lambda c: c + 1, stored_memory_efficient=lambda c: 4 * (c + 1) + c),
}
"""Kernels by name."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The architecture of a built-in network."""

    name: str
    kernel: KernelName
    """The pairwise weight inside the non-local transformation ``N``."""
    family: Family
    """``dense`` reads many states, ``residual`` adds to the last one, ``sequential`` replaces it."""
    summary: str
    """The line of the network in ``dnlbench list``."""

    @property
    def kernel_data(self) -> Kernel:
        return KERNELS[self.kernel]

    @property
    def dense(self) -> bool:
        """True if layers read earlier states than the last one, and the block outputs all states."""
        return self.family == "dense"

    def scaled_by_step(self, source: int) -> bool:
        """Return true if the step ``tau`` of ``step_scaling`` multiplies a layer's weights on this source.

        In Eq. (1) of the DNL framework, ``tau`` multiplies the sum over states but not ``A^l x^0``, which corresponds to the
        filter slices on the block's input. Residual layers scale the full added term instead. Sequential networks have no step.
        """
        return self.dense and source > 0


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            name="densenet", kernel="local", family="dense", summary="DenseNet: each layer reads all earlier states."
        ),
        Architecture(
            name="dense-attention",
            kernel="attention",
            family="dense",
            summary="DenseNet with dot-product attention between positions.",
        ),
        Architecture(
            name="dense-gaussian",
            kernel="gaussian",
            family="dense",
            summary="DenseNet with a Gaussian kernel between positions, exp(x_i · x_j).",
        ),
        Architecture(
            name="dense-rbf",
            kernel="rbf",
            family="dense",
            summary="DenseNet with a radial kernel between positions, exp(−‖x_i − x_j‖² / (2 h²)).",
        ),
        Architecture(
            name="resnet",
            kernel="local",
            family="residual",
            summary="Residual network: each layer adds to the previous state.",
        ),
        Architecture(
            name="plain",
            kernel="local",
            family="sequential",
            summary="Sequential network: each layer replaces the previous state.",
        ),
    )
}


def full(layer: int) -> tuple[int, ...]:
    """Return all states so far: ``0 .. l``."""
    return tuple(range(layer + 1))


def window(width: int) -> Sources:
    """Return the function that selects the last ``width`` states: ``l − width < k <= l``.

    Raises:
        ValueError: if ``width < 1``.
    """
    if width < 1:
        raise ValueError(f"the window must have at least 1 state, not {width}")
    return lambda layer: tuple(range(max(0, layer + 1 - width), layer + 1))


def strides(layer: int) -> tuple[int, ...]:
    """Return the states at distances 1, 2, 4, 8, … from the new state: ``k = l + 1 − 2^j >= 0``."""
    return tuple(layer + 1 - 2**j for j in reversed(range((layer + 1).bit_length())))


def sources_of(architecture: Architecture, connectivity: ConnectivityName, window_width: int | None) -> Sources:
    """Return the function that selects the states that each layer of a network reads.

    Raises:
        ValueError: if the connectivity is ``window`` and no width is given.
    """
    if not architecture.dense:
        return window(1)
    if connectivity == "window":
        if window_width is None:
            raise ValueError("connectivity 'window' requires a width")
        return window(window_width)
    return full if connectivity == "full" else strides


def choose_implementation(
    requested: RequestedImplementation, architecture: Architecture, height: int, width: int
) -> ImplementationName:
    """Resolve ``auto`` for an architecture and image size. Baselines read each state once, so they have nothing to share."""
    if requested != "auto":
        return requested
    return "memory-efficient" if architecture.dense and height * width >= MEMORY_EFFICIENT_PIXELS else "standard"


def most_blocks(height: int, width: int) -> int:
    """Return the maximum number of blocks: each transition halves the sides of the image, rounding down, to at least 1."""
    return min(height, width).bit_length()
