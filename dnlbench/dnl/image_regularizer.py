r"""The regularizer ``R_L`` of an image network: the parameters that are samples in depth. See `dnlbench.dnl.regularizer`.

``R_L`` sums over the blocks. A block of ``L`` layers, ``l = 0 .. L − 1``, with the step ``tau = 1/L`` has

- in a dense network one two-index array, under ``r2``: the slices ``K^{l,k}``, ``1 <= k <= l``, of the layers' filters on the
  states ``x^k``, (L − 1, L − 1) of them; and one-index sequences, each under ``r1``:

  - the slices ``A^l`` on the block's input ``x^0``, which has other channels;
  - with a bottleneck, whose 1×1 filters have the slices, the 3×3 filters behind them;
  - with attention ``Q`` and ``R`` of ``x^1 .. x^{L−1}``, and ``Q`` and ``R`` of ``x^0``, sequences of a single element;

- in the baselines only one-index sequences: the filters of the layers, with a bottleneck the 1×1 and the 3×3 filters.

A state that a layer does not read (``connectivity``) has the weight zero there, as in the paper's partially dense networks;
the difference between a weight and such a zero counts as any other. With a step (``step_scaling``) ``R_L`` is also computed
from the learned parameters, without the step.

Scales and shifts of batch norms, the stem, the transitions and the classifier have no index in depth and are excluded. Batch
norm removes a common factor of a state, so ``R_L`` can decrease by smaller filters alone, as with weight decay.

Source: arXiv 2510.02049, Eq. (4)–(6). Its displayed formulas were not legible in the available text; these forms are
derived from its words, and the extension to convolutions is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dnlbench.dnl.kernels import NonLocal
from dnlbench.dnl.regularizer import sequence_energy, square_energy

if TYPE_CHECKING:
    from dnlbench.dnl.networks import Block

Sources = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ParametersInDepth:
    """The parameters of a block that are samples in depth."""

    square: Tensor | None
    """``K^{l,k}`` of a dense block, ``1 <= l, k <= L − 1``, shape (L − 1, L − 1, …); None for baselines."""
    sequences: Mapping[str, Tensor]
    """The one-index parameters by name, shape (L, …); for the matrices of attention (L − 1, …) or (1, …)."""


def parameters_in_depth(block: Block) -> ParametersInDepth:
    """Return the parameters of one block that ``R_L`` sums over."""
    first, *behind = zip(*(_filters(layer) for layer in block.layers), strict=True)
    sequences = {"second filter": torch.stack(behind[0])} if behind else {}
    square = None
    if block.dense:
        square, sequences["A"] = connection_weights(first, tuple(block.sources), tuple(block.widths))
    else:
        sequences["filter"] = torch.stack(first)
    return ParametersInDepth(square=square, sequences={**sequences, **dict(_kernel_matrices(block))})


def block_regularizer(block: Block) -> Tensor:
    """Compute the part of one block in ``R_L``, ``r2(K) + sum r1(p)`` over its one-index sequences ``p``. A scalar."""
    step = 1 / len(block.layers)
    parameters = parameters_in_depth(block)
    parts = [] if parameters.square is None else [square_energy(parameters.square, step)]
    parts += [sequence_energy(p, step) for p in parameters.sequences.values()]
    return torch.stack(parts).sum()


def connection_weights(filters: Sequence[Tensor], sources: Sources, widths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Split the filters of a dense block's layers into ``K^{l,k}`` and ``A^l``, with zeros for states that are not read.

    Args:
        filters: filters of layers ``0 .. L − 1``, shape (out, channels of the states read, h, w).
        sources: the states that each layer reads, increasing.
        widths: channels of the states ``x^0 .. x^L``; c of the first, g of the others.

    Returns:
        ``K^{l,k}`` for ``1 <= l, k <= L − 1``, shape (L − 1, L − 1, g, out, h, w), and ``A^l``, shape (L, c, out, h, w).
    """
    depth, c, g = len(filters), widths[0], widths[-1]
    # One index copy of all concatenated filters: the number of operations does not grow with the pairs (l, k).
    slices = torch.cat([weight.transpose(0, 1) for weight in filters])
    squares, inputs, filter_shape = (depth - 1) ** 2 * g, depth * c, slices.shape[1:]
    indices = _target_indices(sources, c, g, slices.device)
    table = slices.new_zeros(squares + inputs, *filter_shape).index_copy(0, indices, slices)
    K, A = torch.split(table, [squares, inputs])
    # A copy of A: a view would keep the entire table in memory until the gradient is computed.
    return K.view(depth - 1, depth - 1, g, *filter_shape), A.clone().view(depth, c, *filter_shape)


@lru_cache(maxsize=256)
def _target_indices(sources: Sources, c: int, g: int, device: torch.device) -> Tensor:
    """Return the target index of each input channel of all layers' filters: in ``K``, row by row, or in ``A`` behind it."""
    depth = len(sources)
    indices: list[int] = []
    for layer, read in enumerate(sources):
        for k in read:
            in_K, in_A = ((layer - 1) * (depth - 1) + k - 1) * g, (depth - 1) ** 2 * g + layer * c
            indices += range(in_K, in_K + g) if k else range(in_A, in_A + c)
    return torch.tensor(indices, device=device)


def _filters(layer: nn.Module) -> list[Tensor]:
    return [part.weight for part in layer.modules() if isinstance(part, nn.Conv2d)]


def _kernel_matrices(block: Block) -> Iterator[tuple[str, Tensor]]:
    """Yield the sequences of the kernel's matrices, such as ``Q`` and ``R``, shapes (L − 1, g, g) and (1, c, c)."""
    kernels = [
        kernel.matrices for kernel in block.transforms.values() if isinstance(kernel, NonLocal)
    ]  # by their states
    for sequence, of in ((kernels[:1], " of x^0"), (kernels[1:], "")):
        for name in sequence[0] if sequence else ():
            yield f"{name}{of}", torch.stack([matrices[name] for matrices in sequence])
