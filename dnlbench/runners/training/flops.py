"""Floating-point operations of a network's forward pass, counted as torch executes it.

Counted are products: 2 operations for each multiply-add, as `torch.utils.flop_counter.FlopCounterMode` has it. Which kernels
that counter knows changes with torch's version, and it takes the others for free. So scaled dot products are counted here, and
a pass with a product that nobody knows is not counted at all: no number is better than one that is too small.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

_BATCH = 2
"""Samples in the counted pass; batch norm refuses to train on one."""

_PRODUCT = re.compile(
    r"attention|transformer|rnn|lstm|gru|convol|conv_|matmul|mm(_|$)|mv$|dot$|cdist|fft|linear|linalg"
)
"""Names of operators that multiply and add, but for `_CHEAP`."""
_CHEAP = re.compile("upsample|vector_norm")


def forward_flops(network: nn.Module, shape: tuple[int, ...]) -> float | None:
    """Operations per sample of shape ``(C, H, W)`` in training mode, without those of the backward pass.

    A copy of the network is counted, and random numbers are restored, so training is not disturbed. In evaluation mode torch
    would fuse whole transformer layers into operators that no counter knows.

    Returns:
        None if the network cannot be copied, fails, or executes a product of unknown cost or none.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, not above: it imports a compiler

    device = next(network.parameters(), torch.empty(0)).device
    counter = FlopCounterMode(display=False, custom_mapping=_scaled_dot_products())
    unknown = _UnknownProducts(counter.flop_registry)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), unknown, counter:
            copy.deepcopy(network).train()(torch.zeros(_BATCH, *shape, device=device))
    except Exception:  # it may not bear being counted; that is no reason not to train it
        return None
    return None if unknown.found else counter.get_total_flops() / _BATCH or None


def _scaled_dot_products() -> dict[Any, Callable[..., int]]:
    """The cost of each kernel to which `torch.nn.functional.scaled_dot_product_attention` may come down."""
    kernels = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
    found = (getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}", None) for kernel in kernels)
    return {kernel: _scaled_dot_product for kernel in found if kernel is not None}


def _scaled_dot_product(
    query: Sequence[int],
    key: Sequence[int],
    value: Sequence[int],
    *others: object,
    out_shape: object = None,
    **options: object,
) -> int:
    """``2 b h n m (d + c)``: ``n`` queries and ``m`` keys of ``d`` channels, values of ``c``."""
    b, h, n, d = query
    return 2 * b * h * n * key[-2] * (d + value[-1])


class _UnknownProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds operators that multiply and add but have no known cost."""

    def __init__(self, known: Mapping[Any, object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: Collection[Any] = known.keys()
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if func.overloadpacket not in self._known and _PRODUCT.search(name) and not _CHEAP.search(name):
            self.found.add(name)
        return func(*args, **(kwargs or {}))
