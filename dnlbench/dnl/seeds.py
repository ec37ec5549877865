"""Operations that see the axis of seeds.

A network is written for one seed, and `torch.vmap` trains several side by side. Where it does so badly, or cannot, an operation
is given all seeds at once instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def for_all_seeds(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """An operation on tensors with a leading axis of seeds, of which there is one unless `torch.vmap` has more."""
    if any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors):
        return _AcrossSeeds.apply(operation, *tensors)  # type: ignore[no-any-return]
    return operation(*(tensor.unsqueeze(0) for tensor in tensors)).squeeze(0)


class _AcrossSeeds(Function):
    """Hands the tensors behind vmap's single ones to an operation."""

    @staticmethod
    def forward(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        raise AssertionError("used under torch.vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the operation is recorded by autograd itself."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], operation: Callable[..., Tensor], *tensors: Tensor
    ) -> tuple[Tensor, int]:
        """Each tensor with the seeds first."""
        seeds = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        return operation(*seeds), 0
