"""Operations on the axis of seeds.

A network is written for one seed, and `torch.vmap` batches several. An operation that vmap does not support, or not well,
receives all seeds at once instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def for_all_seeds(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply an operation to tensors with a leading axis of seeds: those of `torch.vmap`, or a single one."""
    if any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors):
        return _AcrossSeeds.apply(operation, *tensors)  # type: ignore[no-any-return]
    return operation(*(tensor.unsqueeze(0) for tensor in tensors)).squeeze(0)


class _AcrossSeeds(Function):
    """Pass the batched tensors behind vmap's single ones to an operation."""

    @staticmethod
    def forward(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        raise AssertionError("used under torch.vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Store nothing: autograd records the operation."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], operation: Callable[..., Tensor], *tensors: Tensor
    ) -> tuple[Tensor, int]:
        """Move the seeds to the first dimension of each tensor."""
        seeds = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        return operation(*seeds), 0
