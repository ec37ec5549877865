"""The image networks: one skeleton for the dense non-local networks and the baselines.

::

    3×3 stem → block → transition → block → … → block → batch norm, ReLU, global average → linear classifier

A block has ``L`` layers; layer ``l`` computes state ``l + 1`` from earlier ones, which `dnlbench.architecture` defines::

    x^{l+1} = [x^l + tau *]  conv(relu(norm([ N(x^k) for k in sources(l) ])))             x^0: the block's input

The convolution of concatenated states is ``sum_k K^{l,k} * relu(norm(N(x^k)))``: its filter slices are the two-index
connection weights of Eq. (1) of arXiv 2510.02049, and those on ``x^0`` its ``A^l``. With the local kernel a block is that of
DenseNet (Huang et al. 2017). A dense block outputs all its states, a baseline its last one.

There are two implementations of one function: ``standard``, which concatenates the inputs of each layer, and
``memory-efficient``, which stores states and their batch statistics once (`dnlbench.dnl.memory_efficient`). They differ only
in training mode; evaluation mode always uses the standard one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.architecture import (
    ARCHITECTURES,
    Architecture,
    ConnectivityName,
    InitializationName,
    RequestedImplementation,
    Sources,
    choose_implementation,
    most_blocks,
    sources_of,
)
from dnlbench.dnl.image_regularizer import block_regularizer
from dnlbench.dnl.initialization import kaiming
from dnlbench.dnl.kernels import image_kernel
from dnlbench.dnl.memory_efficient import SharedStates
from dnlbench.dnl.states import SeparateStates, States

NewStates = Callable[[Sequence[int]], States]


class NormReluConv(nn.Module):
    """Batch norm, ReLU, a convolution that keeps the image's size, and dropout; the norm comes first, as in DenseNet.

    ``scaled`` is True for the input channels whose filter slices are multiplied by ``step``; None: for none.
    """

    scaled: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        scaled: Tensor | None = None,
        step: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.step = step
        self.register_buffer("scaled", None if scaled is None else scaled.view(1, -1, 1, 1), persistent=False)

    def forward(self, states: States, indices: Sequence[int]) -> Tensor:
        filters = self.conv.weight
        if self.scaled is not None:
            filters = torch.where(self.scaled, self.step * filters, filters)
        out = states.read(indices, self.norm, filters)
        return functional.dropout(out, self.dropout, self.training) if self.dropout else out


class Block(nn.Module):
    """``depth`` layers on states of the given widths.

    ``transforms[k]`` is the non-local transformation of state ``k``. It is computed once and shared by all layers that read the
    state. A state that no layer reads has none.
    """

    def __init__(
        self,
        architecture: Architecture,
        sources: Sources,
        depth: int,
        channels: int,
        out_channels: int,
        *,
        bottleneck: bool,
        step: float,
        bandwidth: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dense = architecture.dense
        self.non_local = not architecture.kernel_data.is_identity
        self.residual = architecture.family == "residual"
        self.step = step
        self.sources = [sources(layer) for layer in range(depth)]
        self.widths = width = [channels, *[out_channels] * depth]  # of x^0 .. x^L
        self.layers = nn.ModuleList(
            _layer(
                [width[k] for k in read],
                [architecture.scaled_by_step(k) for k in read],
                out_channels,
                bottleneck=bottleneck,
                step=step,
                dropout=dropout,
            )
            for read in self.sources
        )
        self.transforms = nn.ModuleDict(
            {
                str(k): image_kernel(architecture.kernel, width[k], bandwidth)
                for k in sorted({k for r in self.sources for k in r})
            }
        )

    @property
    def outputs(self) -> tuple[int, ...]:
        """The indices of the output states: all of a dense block, the last of a baseline."""
        return tuple(range(len(self.widths))) if self.dense else (len(self.layers),)

    def forward(self, x: Tensor, new_states: NewStates) -> States:
        """Compute the block's states from its input, shape (B, channels, H, W).

        Returns:
            The states without the non-local transformation. The next part of the network reads those in `outputs`.
        """
        states = new_states(self.widths)
        transformed = new_states(self.widths) if self.non_local else states
        states.add(x)
        self._add_transformed(0, x, transformed)
        for index in range(len(self.layers)):
            x = self.advance(index, x, transformed, new_states)
            states.add(x)
            self._add_transformed(index + 1, x, transformed)
        return states

    def advance(self, layer: int, x: Tensor, transformed: States, new_states: NewStates) -> Tensor:
        """Compute state ``layer + 1`` from the last state ``x^l`` and the transformed ones ``N(x^0) .. N(x^l)``."""
        new = _apply(self.layers[layer], transformed, self.sources[layer], new_states)
        return x + self.step * new if self.residual else new

    def transform(self, index: int, state: Tensor) -> Tensor:
        """Return ``N(x^k)``; in a local block, and for a state that no layer reads, the state itself."""
        key = str(index)
        return self.transforms[key](state) if key in self.transforms else state

    def _add_transformed(self, index: int, state: Tensor, transformed: States) -> None:
        """Add ``N(x^k)``, computed once, to the states that layers read; nothing to do in a local block."""
        if self.non_local:
            transformed.add(self.transform(index, state))


def _apply(layer: nn.Module, states: States, read: Sequence[int], new_states: NewStates) -> Tensor:
    """Apply a layer, or the two of a bottleneck, to some states."""
    first, *behind = layer if isinstance(layer, nn.Sequential) else [layer]
    assert isinstance(first, NormReluConv)
    output: Tensor = first(states, read)
    for part in behind:
        assert isinstance(part, NormReluConv)
        inner = new_states([output.shape[1]])
        inner.add(output)
        output = part(inner, [0])
    return output


def _layer(
    widths: Sequence[int],
    stepped: Sequence[bool],
    out_channels: int,
    *,
    bottleneck: bool,
    step: float,
    dropout: float,
) -> nn.Module:
    """Build a layer that reads states of the given widths; ``stepped`` ones have the step before their weights."""
    scaled = None
    if step != 1.0 and any(stepped):
        scaled = torch.tensor([on for width, on in zip(widths, stepped, strict=True) for _ in range(width)])
    if not bottleneck:
        return NormReluConv(sum(widths), out_channels, 3, scaled, step, dropout)
    return nn.Sequential(
        NormReluConv(sum(widths), 4 * out_channels, 1, scaled, step, dropout),
        NormReluConv(4 * out_channels, out_channels, 3, dropout=dropout),
    )


class DNLNetwork(nn.Module):
    """A network of `dnlbench.architecture.ARCHITECTURES`: images (B, C, H, W) to logits (B, classes).

    Args:
        network: the name of the architecture.
        depth: layers per block, ``L``.
        input_shape: channels, height and width of an image.
        classes: number of logits.
        blocks: number of blocks; each halves the image size of the one before.
        growth_rate: channels of a state in a dense block.
        stem: channels of the first convolution; None: ``2 * growth_rate``.
        compression: fraction of channels that a transition between dense blocks keeps; baselines keep all channels.
        bottleneck: a 1×1 convolution to ``4 * growth_rate`` channels before each 3×3 one.
        dropout: probability of setting an output of a convolution to 0 in training mode, for all convolutions but the stem.
        step_scaling: the exponent alpha of the step ``tau = (depth / base_depth)^-alpha`` before the connection weights
            ``K^{l,k}``, not before ``A^l``, or before the branch of a residual layer; 0 absorbs the step in the weights. Batch
            norm removes a factor that is common to the entire output of a layer, so tau acts relative to ``x^0``. It has almost
            no effect in a dense layer that does not read ``x^0``.
        base_depth: the depth with the step 1.
        connectivity: which earlier states a dense layer reads: ``full``, ``window`` or ``strides``.
        window: number of states that a layer reads, for ``window``.
        bandwidth: ``h`` of the rbf kernel.
        width: channels of a baseline's states; None: those of the stem.
        implementation: ``standard``, ``memory-efficient`` or ``auto``, usually the faster one. Equal up to rounding.
        initialization: ``torch`` or ``kaiming``; see `dnlbench.dnl.initialization`.

    Raises:
        ValueError: if the depth or the number of blocks is below 1, or if the image is too small for the blocks.
    """

    def __init__(
        self,
        network: str,
        *,
        depth: int,
        input_shape: tuple[int, int, int],
        classes: int,
        blocks: int = 4,
        growth_rate: int = 6,
        stem: int | None = None,
        compression: float = 0.5,
        bottleneck: bool = False,
        dropout: float = 0.0,
        step_scaling: float = 0.0,
        base_depth: int = 1,
        connectivity: ConnectivityName = "full",
        window: int | None = None,
        bandwidth: float = 1.0,
        width: int | None = None,
        implementation: RequestedImplementation = "auto",
        initialization: InitializationName = "kaiming",
    ) -> None:
        super().__init__()
        image_channels, height, image_width = input_shape
        if depth < 1 or blocks < 1:
            raise ValueError(f"a network has at least 1 block of at least 1 layer, not {blocks} of {depth}")
        if blocks > most_blocks(height, image_width):
            raise ValueError(
                f"{blocks} blocks halve the image {blocks - 1} times; {height}×{image_width} pixels allow at most "
                f"{most_blocks(height, image_width)} blocks"
            )
        architecture = ARCHITECTURES[network]
        self.implementation = choose_implementation(implementation, architecture, height, image_width)
        sources = sources_of(architecture, connectivity, window)
        step = (base_depth / depth) ** step_scaling
        stem = stem or 2 * growth_rate
        channels = stem if architecture.dense else width or stem
        parts: list[nn.Module] = [nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)]
        for block in range(blocks):
            out_channels = growth_rate if architecture.dense else channels
            parts.append(
                Block(
                    architecture,
                    sources,
                    depth,
                    channels,
                    out_channels,
                    bottleneck=bottleneck,
                    step=step,
                    bandwidth=bandwidth,
                    dropout=dropout,
                )
            )
            channels += depth * growth_rate if architecture.dense else 0
            if block < blocks - 1:
                kept = max(1, int(channels * compression)) if architecture.dense else channels
                parts += [NormReluConv(channels, kept, 1, dropout=dropout), nn.AvgPool2d(2)]
                channels = kept
        self.features = nn.Sequential(*parts)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)
        if initialization == "kaiming":
            kaiming(self)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        states, output_indices = self._new_states([]), tuple[int, ...]()
        for part in self.features:
            if isinstance(part, Block):
                states, output_indices = part(x, self._new_states), part.outputs
            else:
                x = part(states, output_indices) if isinstance(part, NormReluConv) else part(x)
        features = states.read(output_indices, self.norm, None)
        return self.classifier(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def _new_states(self, widths: Sequence[int]) -> States:
        memory_efficient = self.implementation == "memory-efficient" and self.training
        return SharedStates(widths, self.norm.eps) if memory_efficient else SeparateStates()

    def regularizer(self) -> Tensor:
        """Return ``R_L`` of the current parameters, a scalar; see `dnlbench.dnl.image_regularizer`."""
        return torch.stack([block_regularizer(block) for block in self.blocks]).sum()

    @property
    def blocks(self) -> list[Block]:
        return [part for part in self.features if isinstance(part, Block)]
