"""Floating-point operations of a network's forward pass, counted as torch executes it.

Only products count: 2 operations for each multiply-add, as in `torch.utils.flop_counter.FlopCounterMode`. The kernels that
this counter knows depend on the version of torch; it counts unknown kernels as 0. This module therefore adds formulas for
scaled dot products, and returns no count for a pass with an unknown product, since the count would be too small.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCT = re.compile(
    r"attention|transformer|rnn|lstm|gru|convol|conv_|matmul|mm(_|$)|mv$|dot$|cdist|fft|linear|linalg"
)
"""Names of operators with products, except those that match `_CHEAP`."""
_CHEAP = re.compile("upsample|vector_norm")


def forward_flops(network: nn.Module, inputs: Tensor) -> float | None:
    """Count the operations of the forward pass per sample, in training mode, on a batch of at least 2 samples.

    The pass runs on a copy of the network and the random state is restored, so training is not affected. In evaluation mode
    torch would fuse transformer layers into operators without a known cost.

    Returns:
        None if the network cannot be copied, fails, or executes a product of unknown cost or no product.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, not above: it imports a compiler

    device = next(network.parameters(), torch.empty(0)).device
    counter = FlopCounterMode(display=False, custom_mapping=_scaled_dot_products())
    unknown = _UnknownProducts(counter.flop_registry)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), unknown, counter:
            copy.deepcopy(network).train()(inputs.to(device))
    except Exception:  # a network that cannot be counted may still train
        return None
    return None if unknown.names else counter.get_total_flops() / len(inputs) or None


def _scaled_dot_products() -> dict[Any, Callable[..., int]]:
    """Return the cost function of each kernel that `torch.nn.functional.scaled_dot_product_attention` may call."""
    kernels = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
    operators = (getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}", None) for kernel in kernels)
    return {operator: _scaled_dot_product for operator in operators if operator is not None}


def _scaled_dot_product(
    query: Sequence[int],
    key: Sequence[int],
    value: Sequence[int],
    *others: object,
    out_shape: object = None,
    **options: object,
) -> int:
    """Return ``2 b h n m (d + c)`` for ``n`` queries and ``m`` keys of ``d`` channels, and values of ``c`` channels."""
    b, h, n, d = query
    return 2 * b * h * n * key[-2] * (d + value[-1])


class _UnknownProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the names of executed operators that have products of unknown cost."""

    def __init__(self, known: Mapping[Any, object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: Collection[Any] = known.keys()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if func.overloadpacket not in self._known and _PRODUCT.search(name) and not _CHEAP.search(name):
            self.names.add(name)
        return func(*args, **(kwargs or {}))
